/* alsa/stream.c - the thread that plays and captures, and its end; see alsa.h. */
#include "alsa/alsa.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/memory.h"

enum { MOST_POLLED = 16, LONGEST_WAIT_MSEC = 1000 };

struct xpa_alsa_stream {
    /* Set before the thread runs, and the same ever after: for both. */
    struct xpa_relay *relay;
    struct xpa_alsa_wish wish;
    int quit_fd, state_fd;
    bool threaded;
    pthread_t thread;

    /* The thread's. */
    struct {
        struct xpa_alsa_device device;
        uint8_t *scratch; /* a buffer of the device's */
    } own;

    /* Both. */
    struct {
        _Atomic int state;
        char why[XPA_ALSA_WHY]; /* written before state says that it has ended */
    } shared;
};

static void tell(struct xpa_alsa_stream *s, int state) {
    /* release, pairs with xpa_alsa_stream_state()'s acquire: the words are there before */
    atomic_store_explicit(&s->shared.state, state, memory_order_release);
    uint64_t one = 1;
    ssize_t written = write(s->state_fd, &one, sizeof one);
    (void)written;
}

static uint64_t nsec_of(const struct xpa_alsa_stream *s, int64_t frames) {
    return (uint64_t)(frames * 1000000000 / (int64_t)s->wish.rate);
}

/* What the relay has given, to the device. */
static int write_frames(struct xpa_alsa_stream *s) {
    struct xpa_alsa_device *d = &s->own.device;
    const struct xpa_alsa_library *snd = d->snd;
    uint32_t frames = xpa_relay_ready(s->relay), done = 0;
    if (frames > d->buffer_frames)
        frames = (uint32_t)d->buffer_frames;
    xpa_relay_take(s->relay, s->own.scratch, frames);
    while (done < frames) {
        snd_pcm_sframes_t n = snd->pcm_writei(
            d->pcm, s->own.scratch + (size_t)done * s->relay->frame_bytes, frames - done);
        if (n == -EAGAIN)
            break; /* we asked for no more than fits: this one does not do as it says */
        if (n < 0)
            return (int)n;
        done += (uint32_t)n;
    }
    if (snd->pcm_state(d->pcm) == SND_PCM_STATE_PREPARED) {
        int result = snd->pcm_start(d->pcm);
        if (result < 0)
            return result;
    }
    uint64_t nsec;
    int64_t delay_frames;
    if (xpa_alsa_device_time(d, &nsec, &delay_frames))
        xpa_relay_mark(s->relay, nsec + nsec_of(s, delay_frames), xpa_relay_count(s->relay));
    return 0;
}

static int ask_frames(struct xpa_alsa_stream *s) {
    struct xpa_alsa_device *d = &s->own.device;
    snd_pcm_sframes_t room = d->snd->pcm_avail_update(d->pcm);
    if (room < 0)
        return (int)room;
    if ((snd_pcm_uframes_t)room > d->buffer_frames)
        room = (snd_pcm_sframes_t)d->buffer_frames;
    if (room > 0)
        xpa_relay_ask(s->relay, (uint32_t)room);
    return 0;
}

static int read_frames(struct xpa_alsa_stream *s) {
    struct xpa_alsa_device *d = &s->own.device;
    uint64_t nsec;
    int64_t delay_frames;
    snd_pcm_sframes_t there = d->snd->pcm_avail_update(d->pcm);
    if (there < 0)
        return (int)there;
    if ((snd_pcm_uframes_t)there < d->period_frames)
        return 0;
    bool timed = xpa_alsa_device_time(d, &nsec, &delay_frames);
    if ((snd_pcm_uframes_t)there > d->buffer_frames)
        there = (snd_pcm_sframes_t)d->buffer_frames;
    there = d->snd->pcm_readi(d->pcm, s->own.scratch, (snd_pcm_uframes_t)there);
    if (there < 0)
        return there == -EAGAIN ? 0 : (int)there;
    if (there == 0)
        return 0;
    uint64_t newest_nsec = xpa_now_nsec();
    if (timed) { /* one that does not run, such as one that drains, has frames and no time */
        newest_nsec = nsec - nsec_of(s, delay_frames - there);
        xpa_relay_mark(s->relay, nsec, xpa_relay_count(s->relay) + (uint64_t)delay_frames);
    }
    if (!xpa_relay_put(s->relay, s->own.scratch, (uint32_t)there, newest_nsec))
        xpa_relay_shift(s->relay);
    return 0;
}

static bool captures(const struct xpa_alsa_stream *s) { return s->relay->direction == XPA_CAPTURE; }

/* Waits for the device, or for frames that were asked for: not for both, since a device that has
 * room says so until it is filled. 1: it is to end. */
static int wait_for_work(struct xpa_alsa_stream *s) {
    struct xpa_alsa_device *d = &s->own.device;
    struct pollfd polled[MOST_POLLED] = {{s->quit_fd, POLLIN, 0}};
    unsigned int count = 1;
    bool asked = !captures(s) && xpa_relay_pending(s->relay) > 0;
    if (asked && xpa_relay_ready(s->relay) > 0) /* given while it had to be prepared anew */
        return write_frames(s);
    if (asked) {
        polled[count++] = (struct pollfd){s->relay->given_fd, POLLIN, 0};
    } else {
        int more = d->snd->pcm_poll_descriptors(d->pcm, polled + 1, MOST_POLLED - 1);
        if (more < 0)
            return more;
        count += (unsigned int)more;
    }
    if (poll(polled, count, LONGEST_WAIT_MSEC) < 0 && errno != EINTR)
        return -errno;
    if (polled[0].revents)
        return 1;
    if (asked) {
        xpa_relay_clear_given(s->relay);
        return xpa_relay_ready(s->relay) > 0 ? write_frames(s) : 0;
    }
    unsigned short events;
    int result = d->snd->pcm_poll_descriptors_revents(d->pcm, polled + 1, count - 1, &events);
    if (result < 0)
        return result;
    if (events & POLLHUP) /* a device that was pulled out */
        return -ENODEV;
    if (!(events & (POLLIN | POLLOUT | POLLERR)))
        return 0;
    return captures(s) ? read_frames(s) : ask_frames(s);
}

static int begin(struct xpa_alsa_stream *s) {
    struct xpa_alsa_device *d = &s->own.device;
    xpa_relay_shift(s->relay);
    return captures(s) ? d->snd->pcm_start(d->pcm) : 0;
}

static int play(struct xpa_alsa_stream *s) {
    struct xpa_alsa_device *d = &s->own.device;
    int result = begin(s);
    while (result <= 0) {
        if (result < 0) {
            result = xpa_alsa_device_recover(d, result);
            if (result < 0)
                return result;
            result = begin(s);
            if (result < 0)
                return result;
        }
        result = wait_for_work(s);
    }
    return result;
}

static void *run(void *data) {
    struct xpa_alsa_stream *s = data;
    struct xpa_alsa_device *d = &s->own.device;
    (void)prctl(PR_SET_NAME, "xenpv-alsa"); /* what top -H shows */
    (void)xpa_loop_make_realtime(pthread_self());
    int result = xpa_alsa_device_open(d, &s->wish, s->shared.why);
    if (result == 0) {
        s->own.scratch = xpa_calloc(d->buffer_frames, s->relay->frame_bytes);
        result = s->own.scratch ? 0 : -ENOMEM;
    }
    if (result == 0) {
        tell(s, XPA_ALSA_RUNS);
        result = play(s);
    }
    if (result < 0 && s->shared.why[0] == 0)
        snprintf(s->shared.why, sizeof s->shared.why, "%.60s has stopped: %s", s->wish.name,
                 d->snd->strerror(result));
    xpa_alsa_device_close(d);
    free(s->own.scratch);
    tell(s, XPA_ALSA_ENDED);
    return NULL;
}

struct xpa_alsa_stream *xpa_alsa_stream_new(struct xpa_relay *relay, const char *device,
                                            uint32_t sndif_format, uint32_t rate, uint32_t channels,
                                            uint32_t quantum_frames) {
    const char *why;
    const struct xpa_alsa_library *snd = xpa_alsa_library(&why);
    struct xpa_alsa_stream *s = snd ? xpa_calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    s->relay = relay;
    s->own.device.snd = snd;
    s->own.device.direction = relay->direction;
    s->wish = (struct xpa_alsa_wish){
        .sndif_format = sndif_format,
        .rate = rate,
        .channels = channels,
        .quantum_frames = quantum_frames,
    };
    snprintf(s->wish.name, sizeof s->wish.name, "%s", device);
    s->quit_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->state_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    sigset_t all, before;
    sigfillset(&all);
    /* signals are the main thread's: a new thread inherits the mask */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->threaded =
        s->quit_fd >= 0 && s->state_fd >= 0 && pthread_create(&s->thread, NULL, run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->threaded) {
        xpa_alsa_stream_free(s);
        return NULL;
    }
    return s;
}

int xpa_alsa_stream_fd(struct xpa_alsa_stream *s) { return s->state_fd; }

int xpa_alsa_stream_state(struct xpa_alsa_stream *s, char *why, uint32_t room) {
    uint64_t count;
    ssize_t got = read(s->state_fd, &count, sizeof count);
    (void)got;
    int state = atomic_load_explicit(&s->shared.state, memory_order_acquire);
    if (state == XPA_ALSA_ENDED)
        snprintf(why, room, "%s", s->shared.why);
    return state;
}

void xpa_alsa_stream_free(struct xpa_alsa_stream *s) {
    if (!s)
        return;
    if (s->threaded) {
        uint64_t one = 1;
        ssize_t written = write(s->quit_fd, &one, sizeof one);
        (void)written;
        pthread_join(s->thread, NULL);
    }
    if (s->quit_fd >= 0)
        close(s->quit_fd);
    if (s->state_fd >= 0)
        close(s->state_fd);
    free(s);
}

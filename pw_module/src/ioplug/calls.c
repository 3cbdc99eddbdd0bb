/* ioplug/calls.c - alsa-lib's calls; see ioplug/plug.h.
 *
 * What the program writes is copied to the memory that the frontend passes on at once. A frontend
 * or backend that is gone is an xrun (-EPIPE) to the program: snd_pcm_prepare() opens the PCM anew,
 * or says -ENODEV.
 */
#include "ioplug/plug.h"

#include <errno.h>
#include <math.h>
#include <time.h>

enum { RECONNECT_TRIES = 80 };
static const struct timespec RECONNECT_PAUSE = {.tv_nsec = 100000000};

static void publish(struct xpa_plug *p, uint64_t frames) {
    atomic_store_explicit(&p->link.share->program.appl_frames, xpa_pcm_word(p->epoch, frames),
                          memory_order_release);
}

/* --- asking --- */

int xpa_plug_ask(struct xpa_plug *p, uint32_t what, struct xpa_pcm_answer *answer) {
    p->question.version = XPA_PCM_VERSION;
    p->question.ask = what;
    return xpa_link_ask(&p->link, &p->question, answer);
}

static void tell(struct xpa_plug *p, enum xpa_pcm_ask what) {
    atomic_store_explicit(&p->link.share->program.ask, xpa_pcm_word(p->epoch, what),
                          memory_order_release);
    xpa_link_kick(&p->link);
}

static void tell_limits(struct xpa_plug *p, bool goes_on_in_xrun) {
    if (!p->link.share)
        return;
    atomic_store_explicit(&p->link.share->program.avail_min, p->avail_min, memory_order_relaxed);
    atomic_store_explicit(&p->link.share->program.goes_on_in_xrun, goes_on_in_xrun,
                          memory_order_relaxed);
}

/* What was open is over: the frontend or the backend has gone, and may be back. */
static int open_again(struct xpa_plug *p) {
    struct xpa_pcm_answer answer;
    bool goes_on = p->link.share && p->link.share->program.goes_on_in_xrun;
    int result = -ENODEV, tries = p->io.nonblock ? 1 : RECONNECT_TRIES;
    for (int i = 0; result < 0 && i < tries; i++) {
        if (i > 0)
            nanosleep(&RECONNECT_PAUSE, NULL);
        result = xpa_plug_ask(p, XPA_PCM_OPEN, &answer);
        if (result < 0 && xpa_link_connect(&p->link) == 0)
            result = xpa_plug_ask(p, XPA_PCM_OPEN, &answer);
    }
    tell_limits(p, goes_on);
    return result < 0 ? -ENODEV : 0;
}

/* --- alsa-lib's calls --- */

static int on_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params) {
    struct xpa_plug *p = io->private_data;
    struct xpa_pcm_answer answer;
    (void)params;
    p->question.format = (uint32_t)io->format;
    p->question.rate = io->rate;
    p->question.channels = io->channels;
    p->question.period_frames = (uint32_t)io->period_size;
    p->question.buffer_frames = (uint32_t)io->buffer_size;
    p->frame_bytes = (size_t)snd_pcm_format_physical_width(io->format) / 8 * io->channels;
    p->avail_min = io->period_size;
    int result = xpa_plug_ask(p, XPA_PCM_OPEN, &answer);
    if (result == 0)
        tell_limits(p, false);
    return result;
}

static int on_hw_free(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    struct xpa_pcm_answer answer;
    if (p->link.share && !xpa_link_lost(&p->link))
        xpa_plug_ask(p, XPA_PCM_CLOSE, &answer);
    xpa_link_unmap(&p->link);
    return 0;
}

static int on_sw_params(snd_pcm_ioplug_t *io, snd_pcm_sw_params_t *params) {
    struct xpa_plug *p = io->private_data;
    snd_pcm_uframes_t stop = 0;
    snd_pcm_sw_params_get_boundary(params, &p->boundary);
    snd_pcm_sw_params_get_avail_min(params, &p->avail_min);
    snd_pcm_sw_params_get_stop_threshold(params, &stop);
    tell_limits(p, stop >= p->boundary);
    return 0;
}

static int on_prepare(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    if (xpa_plug_lost(p) || xpa_link_lost(&p->link)) {
        int result = open_again(p);
        if (result < 0)
            return result;
    }
    p->epoch = (p->epoch + 1) & 0xffff;
    p->appl_ptr = io->appl_ptr;
    p->appl_frames = p->handed_frames = p->hw_frames = 0;
    p->line = (struct xpa_pcm_line){.epoch = p->epoch};
    publish(p, 0);
    tell(p, XPA_PCM_ASK_STOP);
    xpa_link_set_awake(&p->link, !p->capture); /* there is room to write */
    return 0;
}

static int on_start(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    if (xpa_plug_lost(p))
        return -ENODEV;
    tell(p, XPA_PCM_ASK_START);
    return 0;
}

static int on_stop(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    if (p->link.share)
        tell(p, XPA_PCM_ASK_STOP);
    return 0;
}

static int on_drain(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    if (!p->link.share)
        return -ENODEV;
    tell(p, XPA_PCM_ASK_DRAIN);
    for (;;) {
        struct pollfd fds[] = {{p->link.wake_fd, POLLIN, 0}, {p->link.socket, POLLIN, 0}};
        if (xpa_plug_state(p) == XPA_PCM_DRAINED || xpa_plug_state(p) == XPA_PCM_XRUN)
            return 0;
        if (xpa_plug_lost(p) || fds[1].revents)
            return -ENODEV;
        if (io->nonblock)
            return -EAGAIN;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        if (fds[1].revents)
            return -ENODEV;
        xpa_link_set_awake(&p->link, false);
    }
}

static snd_pcm_sframes_t on_pointer(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    if (xpa_plug_lost(p))
        return -ENODEV; /* alsa-lib makes an xrun of it */
    if (p->capture)
        publish(p, xpa_plug_appl_frames(p));
    if (xpa_plug_state(p) == XPA_PCM_XRUN && io->state == SND_PCM_STATE_RUNNING)
        return -EPIPE;
    return (snd_pcm_sframes_t)(xpa_plug_hw_frames(p) % p->boundary);
}

static int on_delay(snd_pcm_ioplug_t *io, snd_pcm_sframes_t *delay) {
    struct xpa_plug *p = io->private_data;
    if (xpa_plug_lost(p))
        return -ENODEV;
    if (xpa_plug_state(p) == XPA_PCM_XRUN)
        return -EPIPE;
    double there = xpa_pcm_line_at(xpa_plug_line(p), xpa_plug_now_nsec()),
           appl = (double)xpa_plug_appl_frames(p);
    double frames = p->capture ? there - appl : appl - there;
    *delay = frames > 0 ? lround(frames) : 0;
    return 0;
}

static uint8_t *samples(struct xpa_plug *p, uint64_t frame, snd_pcm_uframes_t *frames) {
    snd_pcm_uframes_t offset = frame % p->io.buffer_size, left = p->io.buffer_size - offset;
    *frames = *frames < left ? *frames : left;
    return (uint8_t *)p->link.share + XPA_PCM_SAMPLES + offset * p->frame_bytes;
}

static void copy(struct xpa_plug *p, uint8_t *program, uint64_t frame, snd_pcm_uframes_t frames) {
    while (frames > 0) {
        snd_pcm_uframes_t n = frames;
        uint8_t *shared = samples(p, frame, &n);
        memcpy(p->capture ? program : shared, p->capture ? shared : program, n * p->frame_bytes);
        program += n * p->frame_bytes;
        frame += n;
        frames -= n;
    }
}

/* What was handed over cannot be taken back: written again, it stays as it was. */
static void write_frames(struct xpa_plug *p, uint8_t *program, uint64_t frame,
                         snd_pcm_uframes_t frames) {
    uint64_t end = frame + frames;
    uint64_t over = p->handed_frames > frame ? p->handed_frames - frame : 0;
    if (over >= frames)
        return;
    copy(p, program + over * p->frame_bytes, frame + over, frames - over);
    if (xpa_plug_hw_frames(p) + p->io.buffer_size < end + p->avail_min)
        xpa_link_set_awake(&p->link, false); /* before the frontend can see the new frames */
    p->handed_frames = end;
    publish(p, end);
    if (p->io.state == SND_PCM_STATE_RUNNING)
        xpa_link_kick(&p->link);
}

static snd_pcm_sframes_t on_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                     snd_pcm_uframes_t offset, snd_pcm_uframes_t frames) {
    struct xpa_plug *p = io->private_data;
    if (xpa_plug_lost(p))
        return -EPIPE;
    uint8_t *program = (uint8_t *)areas->addr + (areas->first + offset * areas->step) / 8;
    uint64_t frame = xpa_plug_appl_frames(p);
    if (p->capture)
        copy(p, program, frame, frames);
    else
        write_frames(p, program, frame, frames);
    return (snd_pcm_sframes_t)frames;
}

static int on_poll_count(snd_pcm_ioplug_t *io) {
    (void)io;
    return 2;
}

static int on_poll_descriptors(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int space) {
    struct xpa_plug *p = io->private_data;
    if (space < 2)
        return 0;
    fds[0] = (struct pollfd){p->link.wake_fd, POLLIN, 0};
    fds[1] = (struct pollfd){p->link.socket, POLLIN, 0};
    return 2;
}

static int on_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int count,
                           unsigned short *revents) {
    struct xpa_plug *p = io->private_data;
    *revents = 0;
    if (count != 2)
        return -EINVAL;
    unsigned short ready = p->capture ? POLLIN : POLLOUT;
    if (xpa_plug_lost(p) || (fds[1].revents && xpa_link_lost(&p->link))) {
        if (p->link.share)
            atomic_store(&p->link.share->frontend.lost, 1);
        if (io->state == SND_PCM_STATE_RUNNING)
            snd_pcm_ioplug_set_state(io, SND_PCM_STATE_XRUN);
        *revents = ready | POLLERR;
        return 0;
    }
    if (xpa_plug_state(p) == XPA_PCM_XRUN || xpa_plug_state(p) == XPA_PCM_DRAINED ||
        xpa_plug_avail_frames(p) >= p->avail_min) {
        *revents = ready;
        return 0;
    }
    if (fds[0].revents)
        xpa_link_set_awake(&p->link, false);
    if (xpa_plug_avail_frames(p) >= p->avail_min) /* it came meanwhile */
        *revents = ready;
    return 0;
}

static int on_close(snd_pcm_ioplug_t *io) {
    struct xpa_plug *p = io->private_data;
    xpa_link_close(&p->link);
    free(p);
    return 0;
}

const snd_pcm_ioplug_callback_t xpa_plug_calls = {
    .start = on_start,
    .stop = on_stop,
    .pointer = on_pointer,
    .transfer = on_transfer,
    .close = on_close,
    .hw_params = on_hw_params,
    .hw_free = on_hw_free,
    .sw_params = on_sw_params,
    .prepare = on_prepare,
    .drain = on_drain,
    .poll_descriptors_count = on_poll_count,
    .poll_descriptors = on_poll_descriptors,
    .poll_revents = on_poll_revents,
    .delay = on_delay,
};

/* A sound card for tests: a plugin of alsa-lib whose clock is CLOCK_MONOTONIC, with an error that
 * is set, and whose loudspeaker writes down what it plays. speaker.py compiles it and reads the
 * files.
 *
 *   pcm.NAME { type xpaspeaker folder "..." ppm 100 latency 480 drains 0 }
 *
 * playback: folder/played, the frames; folder/starts, a line "FRAME NSEC" a start: that frame of
 * the file was heard at that moment, `latency` frames after it was given, and those after it by the
 * rate. capture: folder/heard is what reaches the microphone, over and over; folder/capture-starts.
 * As hardware, it is one program's at a time and direction. With `drains 1` it says of every fifth
 * tenth of a second that it does not run, but drains, though its frames can be read.
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct speaker {
    snd_pcm_ioplug_t io;
    int timer_fd, data_fd, starts_fd;
    bool capture, running, drains;
    double ppm;
    long latency;
    off_t heard_bytes;
    int64_t start_nsec;
    int64_t appl, hw; /* since prepare */
    int64_t base;     /* frames of the file before that */
    int64_t frame_bytes;
};

static int64_t now_nsec(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static double rate(const struct speaker *s) { return s->io.rate * (1 + s->ppm * 1e-6); }

/* What is captured is alsa-lib's to count: for plug it has all copied that are there, and takes
 * fewer. */
static void turn(struct speaker *s) {
    if (s->capture && s->running)
        s->appl = (int64_t)s->io.appl_ptr;
    if (s->running)
        s->hw = (int64_t)((double)(now_nsec() - s->start_nsec) * 1e-9 * rate(s));
    if (s->running && s->drains)
        s->io.state = s->hw * 10 / s->io.rate % 5 == 4 ? SND_PCM_STATE_DRAINING
                                                       : SND_PCM_STATE_RUNNING;
}

static int on_start(snd_pcm_ioplug_t *io) {
    struct speaker *s = io->private_data;
    char line[64];
    s->start_nsec = now_nsec();
    s->running = true;
    int64_t heard_nsec = s->start_nsec + (int64_t)(s->latency * 1e9 / rate(s));
    if (s->capture)
        heard_nsec = s->start_nsec - (int64_t)(s->latency * 1e9 / rate(s));
    int n = snprintf(line, sizeof line, "%lld %lld %.6f\n", (long long)s->base,
                     (long long)heard_nsec, rate(s));
    long tick = (long)(io->period_size * 1000000000ull / io->rate / 2);
    struct itimerspec often = {{0, tick}, {0, tick}};
    timerfd_settime(s->timer_fd, 0, &often, NULL);
    return write(s->starts_fd, line, (size_t)n) == n ? 0 : -errno;
}

static int on_stop(snd_pcm_ioplug_t *io) {
    struct speaker *s = io->private_data;
    s->running = false;
    timerfd_settime(s->timer_fd, 0, &(struct itimerspec){0}, NULL);
    return 0;
}

static int on_prepare(snd_pcm_ioplug_t *io) {
    struct speaker *s = io->private_data;
    on_stop(io);
    s->frame_bytes = snd_pcm_format_physical_width(io->format) / 8 * io->channels;
    s->base += s->appl;
    s->appl = s->hw = 0;
    /* one that is not started yet has room, and says so */
    struct itimerspec once = {{0, 10000000}, {0, 1}};
    if (!s->capture)
        timerfd_settime(s->timer_fd, 0, &once, NULL);
    return 0;
}

static snd_pcm_sframes_t on_pointer(snd_pcm_ioplug_t *io) {
    struct speaker *s = io->private_data;
    turn(s);
    int64_t ahead = s->capture ? s->hw - s->appl - (int64_t)io->buffer_size : s->hw - s->appl;
    if (ahead > 0) {
        on_stop(io);
        return -EPIPE;
    }
    return (snd_pcm_sframes_t)(s->hw % (int64_t)io->buffer_size);
}

static int on_delay(snd_pcm_ioplug_t *io, snd_pcm_sframes_t *delay) {
    struct speaker *s = io->private_data;
    turn(s);
    *delay = (snd_pcm_sframes_t)(s->capture ? s->hw - s->appl : s->appl - s->hw) + s->latency;
    return 0;
}

static snd_pcm_sframes_t on_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                     snd_pcm_uframes_t offset, snd_pcm_uframes_t frames) {
    struct speaker *s = io->private_data;
    char *at = (char *)areas->addr + areas->first / 8 + areas->step / 8 * offset;
    size_t bytes = frames * (size_t)s->frame_bytes;
    int64_t first = s->capture ? (int64_t)io->appl_ptr : s->appl;
    for (size_t done = 0; done < bytes;) {
        ssize_t n;
        if (s->capture) {
            off_t from = ((s->base + first) * s->frame_bytes + (off_t)done) % s->heard_bytes;
            n = pread(s->data_fd, at + done, bytes - done, from);
        } else {
            n = write(s->data_fd, at + done, bytes - done);
        }
        if (n <= 0)
            return -EIO;
        done += (size_t)n;
    }
    s->appl = s->capture ? s->appl : s->appl + (int64_t)frames;
    return (snd_pcm_sframes_t)frames;
}

static int on_revents(snd_pcm_ioplug_t *io, struct pollfd *polled, unsigned int count,
                      unsigned short *events) {
    struct speaker *s = io->private_data;
    uint64_t times;
    ssize_t got = read(s->timer_fd, &times, sizeof times);
    (void)got, (void)polled, (void)count;
    turn(s);
    int64_t there = s->capture ? s->hw - s->appl : (int64_t)io->buffer_size - (s->appl - s->hw);
    *events = 0;
    if (there >= (int64_t)io->period_size)
        *events = s->capture ? POLLIN : POLLOUT;
    return 0;
}

static int on_close(snd_pcm_ioplug_t *io) {
    struct speaker *s = io->private_data;
    close(s->timer_fd);
    close(s->data_fd);
    close(s->starts_fd);
    free(s);
    return 0;
}

static const snd_pcm_ioplug_callback_t CALLBACKS = {
    .start = on_start,
    .stop = on_stop,
    .prepare = on_prepare,
    .pointer = on_pointer,
    .delay = on_delay,
    .transfer = on_transfer,
    .poll_revents = on_revents,
    .close = on_close,
};

static int open_files(struct speaker *s, const char *folder) {
    char path[512];
    struct stat size;
    snprintf(path, sizeof path, "%s/%s", folder, s->capture ? "capture-starts" : "starts");
    s->starts_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (s->starts_fd < 0)
        return -errno;
    if (flock(s->starts_fd, LOCK_EX | LOCK_NB) < 0)
        return -EBUSY;
    snprintf(path, sizeof path, "%s/%s", folder, s->capture ? "heard" : "played");
    s->data_fd = s->capture ? open(path, O_RDONLY | O_CLOEXEC)
                            : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (s->data_fd < 0 || fstat(s->data_fd, &size) < 0)
        return -errno;
    s->heard_bytes = size.st_size;
    s->base = s->capture ? 0 : size.st_size / 8;
    return 0;
}

static int set_constraints(snd_pcm_ioplug_t *io) {
    static const unsigned int FORMATS[] = {SND_PCM_FORMAT_FLOAT_LE};
    static const unsigned int ACCESSES[] = {SND_PCM_ACCESS_RW_INTERLEAVED,
                                            SND_PCM_ACCESS_MMAP_INTERLEAVED};
    int result = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 2, ACCESSES);
    if (result >= 0)
        result = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, FORMATS);
    if (result >= 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, 2, 2);
    if (result >= 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, 48000, 48000);
    if (result >= 0)
        result =
            snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64 * 8, 8192 * 8);
    if (result >= 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 16);
    return result;
}

SND_PCM_PLUGIN_DEFINE_FUNC(xpaspeaker) {
    const char *folder = NULL;
    long ppm = 0, latency = 0, drains = 0;
    snd_config_iterator_t i, next;
    (void)root;
    snd_config_for_each(i, next, conf) {
        snd_config_t *entry = snd_config_iterator_entry(i);
        const char *id;
        if (snd_config_get_id(entry, &id) < 0)
            continue;
        if (strcmp(id, "folder") == 0)
            snd_config_get_string(entry, &folder);
        else if (strcmp(id, "ppm") == 0)
            snd_config_get_integer(entry, &ppm);
        else if (strcmp(id, "latency") == 0)
            snd_config_get_integer(entry, &latency);
        else if (strcmp(id, "drains") == 0)
            snd_config_get_integer(entry, &drains);
    }
    if (!folder)
        return -EINVAL;
    struct speaker *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->capture = stream == SND_PCM_STREAM_CAPTURE;
    s->ppm = (double)ppm;
    s->latency = latency;
    s->drains = s->capture && drains;
    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    s->starts_fd = s->data_fd = -1;
    s->io.version = SND_PCM_IOPLUG_VERSION;
    s->io.name = "a sound card for tests";
    s->io.callback = &CALLBACKS;
    s->io.private_data = s;
    s->io.poll_fd = s->timer_fd;
    s->io.poll_events = POLLIN;
    s->io.flags = SND_PCM_IOPLUG_FLAG_MONOTONIC;
    int result = open_files(s, folder);
    if (result >= 0)
        result = snd_pcm_ioplug_create(&s->io, name, stream, mode);
    if (result < 0) {
        close(s->timer_fd);
        close(s->starts_fd);
        close(s->data_fd);
        free(s);
        return result;
    }
    result = set_constraints(&s->io);
    if (result < 0) {
        snd_pcm_ioplug_delete(&s->io);
        return result;
    }
    *pcmp = s->io.pcm;
    return 0;
}
SND_PCM_PLUGIN_SYMBOL(xpaspeaker);

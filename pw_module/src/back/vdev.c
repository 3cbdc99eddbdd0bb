/* back/vdev.c - a host device without hardware, on the data loop.
 *
 * null: takes what the guest plays, captures silence. loopback: what it plays comes back as
 * capture after a set delay and gain. Its clock is CLOCK_MONOTONIC with a settable error, so the
 * whole time path can be tried with a drift that is known. Every tick exchanges one quantum:
 * playback frames [k*q, k*q+q) are handed over at the moment at which the first of them is heard,
 * captured frames when the last of them has reached the microphone.
 */
#include "base/memory.h"
#include "base/silence.h"
#include "back/back.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CATCH_UP_TICKS = 64 };
/* What is later than this is not made up for. Not less: a guest may have seconds in its buffer, and
 * counts them as heard while its clock says so. */
static const uint64_t LATEST_NSEC = 10000000000;

struct xpa_vdev {
    /* Set before the data loop knows the device, and the same ever after. */
    struct xpa_plane *plane;
    struct xpa_source timer_source;
    uint32_t rate, quantum_frames, delay_frames;
    double gain, nsec_per_frame;
    bool loopback;
    /* what was played, by device frame modulo history_frames; in the playback stream's encoding */
    uint8_t *history, *scratch;
    uint64_t history_frames;

    /* Data loop. */
    struct {
        struct xpa_back *play, *capture;
        bool ticking;
        uint64_t origin_nsec, ticks;
        uint32_t frame_bytes; /* of what is in the history */
        struct xpa_config encoding;
    } state;
};

static uint64_t tick_nsec(const struct xpa_vdev *v, uint64_t tick) {
    return v->state.origin_nsec +
           (uint64_t)llround((double)(tick * v->quantum_frames) * v->nsec_per_frame);
}

static bool same_encoding(const struct xpa_config *a, const struct xpa_config *b) {
    return a->rate == b->rate && a->channels == b->channels && a->format == b->format;
}

static void apply_gain(const struct xpa_vdev *v, void *data, uint32_t frames) {
    uint64_t samples = (uint64_t)frames * v->state.encoding.channels;
    if (v->gain == 1.0)
        return;
    switch (v->state.encoding.sample_kind) {
    case XPA_SAMPLE_S16:
        for (uint64_t i = 0; i < samples; i++)
            ((int16_t *)data)[i] =
                (int16_t)fmax(fmin(((int16_t *)data)[i] * v->gain, INT16_MAX), INT16_MIN);
        break;
    case XPA_SAMPLE_S32:
        for (uint64_t i = 0; i < samples; i++)
            ((int32_t *)data)[i] =
                (int32_t)fmax(fmin(((int32_t *)data)[i] * v->gain, INT32_MAX), INT32_MIN);
        break;
    case XPA_SAMPLE_F32:
        for (uint64_t i = 0; i < samples; i++)
            ((float *)data)[i] = (float)(((float *)data)[i] * v->gain);
        break;
    }
}

static void copy_history(const struct xpa_vdev *v, uint64_t frame, void *data, bool store) {
    for (uint32_t i = 0; i < v->quantum_frames; i++) {
        uint8_t *at = v->history + (frame + i) % v->history_frames * v->state.frame_bytes;
        uint8_t *out = (uint8_t *)data + (size_t)i * v->state.frame_bytes;
        memcpy(store ? at : out, store ? out : at, v->state.frame_bytes);
    }
}

static void forget_history(struct xpa_vdev *v) {
    for (uint64_t f = 0; f < v->history_frames; f++)
        xpa_fill_silence(&v->state.encoding, v->history + f * v->state.frame_bytes, 1);
}

/* False: nothing was played. */
static bool play_tick(struct xpa_vdev *v, uint64_t nsec, uint64_t device_frames,
                      uint64_t now_nsec) {
    struct xpa_back *b = v->state.play;
    if (!b || !b->stream.open)
        return false;
    xpa_back_collect(b, now_nsec);
    if (!b->stream.open || b->stream.config.rate != v->rate ||
        b->stream.frame_bytes > XPA_VDEV_FRAME_BYTES)
        return false;
    uint64_t before = b->stream.host_frames;
    xpa_back_pull(b, v->scratch, v->quantum_frames);
    xpa_back_mark(b, nsec, before);
    if (!v->loopback)
        return true;
    if (!same_encoding(&v->state.encoding, &b->stream.config)) {
        v->state.encoding = b->stream.config;
        v->state.frame_bytes = b->stream.frame_bytes;
        forget_history(v);
    }
    copy_history(v, device_frames, v->scratch, true);
    return true;
}

static void capture_tick(struct xpa_vdev *v, uint64_t nsec, uint64_t device_frames) {
    struct xpa_back *b = v->state.capture;
    uint64_t behind = v->quantum_frames + v->delay_frames;
    if (!b || !b->stream.open || b->stream.config.rate != v->rate ||
        b->stream.frame_bytes > XPA_VDEV_FRAME_BYTES)
        return;
    if (v->loopback && same_encoding(&v->state.encoding, &b->stream.config) &&
        device_frames >= behind) {
        copy_history(v, device_frames - behind, v->scratch, false);
        apply_gain(v, v->scratch, v->quantum_frames);
    } else {
        xpa_fill_silence(&b->stream.config, v->scratch, v->quantum_frames);
    }
    xpa_back_push(b, v->scratch, v->quantum_frames, 0);
    xpa_back_mark(b, nsec, b->stream.host_frames);
}

/* Positions go on from where they are: the time between was nobody's. */
static void shift(struct xpa_back *b) {
    if (b)
        xpa_clock_shift(&b->stream.clock);
}

/* The machine was suspended, or we were stopped, while the clock went on: a card would have played
 * nothing either. To make up for hours would be a minute of work, and nobody else's turn. */
static void skip_what_is_too_late(struct xpa_vdev *v, uint64_t now_nsec) {
    if (tick_nsec(v, v->state.ticks) + LATEST_NSEC > now_nsec)
        return;
    double tick = v->quantum_frames * v->nsec_per_frame;
    v->state.ticks = (uint64_t)((double)(now_nsec - v->state.origin_nsec) / tick);
    shift(v->state.play);
    shift(v->state.capture);
    if (v->loopback && v->state.frame_bytes > 0)
        forget_history(v);
}

static void on_tick(struct xpa_source *source, uint32_t events) {
    struct xpa_vdev *v = source->data;
    (void)events;
    xpa_timer_ack(source->fd);
    uint64_t now = xpa_now_nsec();
    skip_what_is_too_late(v, now);
    for (int i = 0; tick_nsec(v, v->state.ticks) <= now && i < MAX_CATCH_UP_TICKS; i++) {
        uint64_t nsec = tick_nsec(v, v->state.ticks), frames = v->state.ticks * v->quantum_frames;
        capture_tick(v, nsec, frames);
        if (!play_tick(v, nsec, frames, now) && v->loopback && v->state.frame_bytes > 0) {
            xpa_fill_silence(&v->state.encoding, v->scratch, v->quantum_frames);
            copy_history(v, frames, v->scratch, true);
        }
        v->state.ticks++;
    }
    xpa_timer_set(source->fd, tick_nsec(v, v->state.ticks));
}

static void do_connect(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xpa_vdev *v = command->arg.pointer;
    if (b->direction == XPA_PLAYBACK)
        v->state.play = b;
    else
        v->state.capture = b;
    if (!v->state.ticking && xpa_loop_add(&v->plane->loop, &v->timer_source) == 0) {
        v->state.ticking = true;
        v->state.origin_nsec = xpa_now_nsec();
        v->state.ticks = 1;
        xpa_timer_set(v->timer_source.fd, tick_nsec(v, v->state.ticks));
    }
}

static void do_disconnect(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xpa_vdev *v = command->arg.pointer;
    if (v->state.play == b)
        v->state.play = NULL;
    if (v->state.capture == b)
        v->state.capture = NULL;
    if (!v->state.play && !v->state.capture && v->state.ticking) {
        xpa_timer_set(v->timer_source.fd, 0);
        xpa_loop_remove(&v->plane->loop, &v->timer_source);
        v->state.ticking = false;
    }
}

static int command(struct xpa_vdev *v, struct xpa_back *b,
                   void (*func)(const struct xpa_command *)) {
    struct xpa_command c = {.func = func, .object = b, .arg.pointer = v};
    return xpa_plane_command(v->plane, &c);
}

int xpa_vdev_connect(struct xpa_vdev *v, struct xpa_back *b) { return command(v, b, do_connect); }

/* Disconnect, then detach or close the stream: its RELEASED or DETACHED notice says that the
 * device no longer uses it either, since commands are carried out in order. */
int xpa_vdev_disconnect(struct xpa_vdev *v, struct xpa_back *b) {
    return command(v, b, do_disconnect);
}

struct xpa_vdev *xpa_vdev_new(struct xpa_plane *plane, uint32_t rate, uint32_t quantum_frames,
                              double ppm, int loopback, uint32_t delay_frames, double gain) {
    struct xpa_vdev *v = xpa_calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->plane = plane;
    v->rate = rate;
    v->quantum_frames = quantum_frames;
    v->delay_frames = delay_frames;
    v->gain = gain;
    v->loopback = loopback;
    v->nsec_per_frame = 1e9 / (rate * (1.0 + ppm * 1e-6));
    v->history_frames = delay_frames + 4ull * quantum_frames;
    v->history = loopback ? xpa_calloc(v->history_frames, XPA_VDEV_FRAME_BYTES) : NULL;
    v->scratch = xpa_calloc(quantum_frames, XPA_VDEV_FRAME_BYTES);
    int fd = xpa_timer_create();
    v->timer_source = (struct xpa_source){fd, on_tick, v};
    if (fd < 0 || !v->scratch || (loopback && !v->history)) {
        xpa_vdev_free(v);
        return NULL;
    }
    return v;
}

/* After the last stream's RELEASED or DETACHED notice. */
void xpa_vdev_free(struct xpa_vdev *v) {
    if (!v)
        return;
    if (v->timer_source.fd >= 0)
        close(v->timer_source.fd);
    free(v->history);
    free(v->scratch);
    free(v);
}

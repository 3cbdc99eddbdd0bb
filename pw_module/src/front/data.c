/* front/data.c - frames between the graph and the shared buffer, frontend side; data loop. */
#include "front/front.h"

#include <string.h>

#include "base/silence.h"

static uint32_t offset_of(const struct xpa_front *f, uint64_t frame) {
    return (uint32_t)(frame % f->config.buffer_frames);
}

static uint8_t *at(const struct xpa_front *f, uint64_t frame) {
    return (uint8_t *)f->config.buffer + (size_t)offset_of(f, frame) * f->frame_bytes;
}

/* Frames from `frame` on up to the end of the buffer, `frames` at the most. */
static uint32_t run(const struct xpa_front *f, uint64_t frame, uint32_t frames) {
    uint32_t left = f->config.buffer_frames - offset_of(f, frame);
    return frames < left ? frames : left;
}

static bool transfer(struct xpa_front *f, uint8_t operation, uint32_t frames) {
    bool sent = xpa_front_transfer(f, operation, offset_of(f, f->written_frames) * f->frame_bytes,
                                   frames * f->frame_bytes, frames);
    if (sent)
        f->written_frames += frames;
    return sent;
}

uint32_t xpa_front_room(const struct xpa_front *f) {
    if (!f->open || f->broken || xpa_front_slots(f) < 2) /* two: the buffer's end may split one */
        return 0;
    return f->config.buffer_frames - (uint32_t)f->pending_frames;
}

void xpa_front_put(struct xpa_front *f, const void *source, uint32_t frames) {
    const uint8_t *from = source;
    while (frames > 0) {
        uint32_t n = run(f, f->written_frames, frames);
        if (from)
            memcpy(at(f, f->written_frames), from, (size_t)n * f->frame_bytes);
        else
            xpa_fill_silence(&f->config, at(f, f->written_frames), n);
        if (!transfer(f, XENSND_OP_WRITE, n)) { /* not after checking the room */
            f->stats.dropped_frames += frames;
            break;
        }
        from = from ? from + (size_t)n * f->frame_bytes : NULL;
        frames -= n;
    }
    f->stats.written_frames = f->written_frames;
    xpa_front_flush(f);
}

void xpa_front_silence(struct xpa_front *f, uint64_t frames) {
    uint64_t room = xpa_front_room(f);
    xpa_front_put(f, NULL, (uint32_t)(frames < room ? frames : room));
}

/* What is asked for again lies where frames that nobody read still are: those are lost. */
static void skip_unread(struct xpa_front *f, uint64_t end_frames) {
    uint64_t oldest =
        end_frames > f->config.buffer_frames ? end_frames - f->config.buffer_frames : 0;
    if (f->read_frames >= oldest)
        return;
    f->stats.xruns++;
    f->stats.dropped_frames += oldest - f->read_frames;
    f->read_frames = oldest;
}

void xpa_front_ask(struct xpa_front *f) {
    uint64_t end = f->position_frames;
    if (!f->started || end <= f->written_frames)
        return;
    if (end - f->written_frames > f->config.buffer_frames) {
        if (f->pending_frames > 0)
            return; /* answers under way belong to the old count: skip when they are in */
        f->written_frames = end - f->config.buffer_frames;
    }
    skip_unread(f, end);
    while (f->written_frames < end && xpa_front_slots(f) > 0) {
        uint32_t n = run(f, f->written_frames, (uint32_t)(end - f->written_frames));
        if (!transfer(f, XENSND_OP_READ, n))
            break;
    }
    xpa_front_flush(f);
}

uint32_t xpa_front_ready(const struct xpa_front *f) {
    if (!f->open || !f->started)
        return 0;
    /* The counters are modulo 2^64: a backend that began again moves them back past 0. */
    int64_t ready = (int64_t)(f->written_frames - f->pending_frames - f->read_frames);
    return ready > 0 ? (uint32_t)ready : 0;
}

void xpa_front_get(struct xpa_front *f, void *target, uint32_t frames) {
    uint8_t *to = target;
    while (frames > 0) {
        uint32_t n = run(f, f->read_frames, frames);
        memcpy(to, at(f, f->read_frames), (size_t)n * f->frame_bytes);
        f->read_frames += n;
        to += (size_t)n * f->frame_bytes;
        frames -= n;
    }
    f->stats.written_frames = f->read_frames;
}

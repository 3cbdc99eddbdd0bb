/* front/data.c - frames between the graph and the shared buffer, frontend side; data loop. */
#include "front/front.h"

#include <string.h>

#include "base/silence.h"

static uint32_t offset_of(const struct xpa_front_stream *s, uint64_t frame) {
    return (uint32_t)(frame % s->config.buffer_frames);
}

static uint8_t *at(const struct xpa_front_stream *s, uint64_t frame) {
    return (uint8_t *)s->config.buffer + (size_t)offset_of(s, frame) * s->frame_bytes;
}

/* Frames from `frame` on up to the end of the buffer, `frames` at the most. */
static uint32_t run(const struct xpa_front_stream *s, uint64_t frame, uint32_t frames) {
    uint32_t left = s->config.buffer_frames - offset_of(s, frame);
    return frames < left ? frames : left;
}

static bool transfer(struct xpa_front *f, uint8_t operation, uint32_t frames) {
    struct xpa_front_stream *s = &f->stream;
    bool sent = xpa_front_transfer(f, operation, offset_of(s, s->written_frames) * s->frame_bytes,
                                   frames * s->frame_bytes, frames);
    if (sent)
        s->written_frames += frames;
    return sent;
}

/* A backend may leave those of an earlier OPEN unanswered, whose buffer was longer. */
static uint32_t answered_room(const struct xpa_front *f) {
    uint64_t buffer = f->stream.config.buffer_frames, pending = f->link.pending_frames;
    return pending < buffer ? (uint32_t)(buffer - pending) : 0;
}

uint32_t xpa_front_room(const struct xpa_front *f) {
    /* two: the buffer's end may split one */
    if (!f->stream.open || f->link.broken || xpa_front_slots(f) < 2)
        return 0;
    uint32_t clear = xpa_front_clear_frames(f, offset_of(&f->stream, f->stream.written_frames));
    uint32_t room = answered_room(f);
    return room < clear ? room : clear;
}

void xpa_front_put(struct xpa_front *f, const void *source, uint32_t frames) {
    struct xpa_front_stream *s = &f->stream;
    const uint8_t *from = source;
    while (frames > 0) {
        uint32_t n = run(s, s->written_frames, frames);
        if (from)
            memcpy(at(s, s->written_frames), from, (size_t)n * s->frame_bytes);
        else
            xpa_fill_silence(&s->config, at(s, s->written_frames), n);
        if (!transfer(f, XENSND_OP_WRITE, n)) { /* not after checking the room */
            f->stats.dropped_frames += frames;
            break;
        }
        from = from ? from + (size_t)n * s->frame_bytes : NULL;
        frames -= n;
    }
    f->stats.written_frames = s->written_frames;
    xpa_front_flush(f);
    if (s->started)
        xpa_front_send_control(f);
}

void xpa_front_silence(struct xpa_front *f, uint64_t frames) {
    uint64_t room = xpa_front_room(f);
    xpa_front_put(f, NULL, (uint32_t)(frames < room ? frames : room));
}

/* Frames from `from` to `to`. The counters are modulo 2^64: a backend that began again moves them
 * back past 0. */
static int64_t between(uint64_t from, uint64_t to) { return (int64_t)(to - from); }

/* What is asked for again lies where frames that nobody read still are: those are lost. */
static void skip_unread(struct xpa_front *f, uint64_t end_frames) {
    struct xpa_front_stream *s = &f->stream;
    int64_t lost = between(s->read_frames, end_frames) - s->config.buffer_frames;
    if (lost <= 0)
        return;
    xpa_stats_xrun(&f->stats, xpa_now_nsec());
    f->stats.dropped_frames += (uint64_t)lost;
    s->read_frames = end_frames - s->config.buffer_frames;
}

void xpa_front_ask(struct xpa_front *f) {
    struct xpa_front_stream *s = &f->stream;
    uint64_t end = s->position_frames;
    if (!s->started || between(s->written_frames, end) <= 0)
        return;
    if (between(s->written_frames, end) > s->config.buffer_frames) {
        if (f->link.pending_frames > 0)
            return; /* answers under way belong to the old count: skip when they are in */
        s->written_frames = end - s->config.buffer_frames;
    }
    skip_unread(f, end);
    while (between(s->written_frames, end) > 0 && xpa_front_slots(f) > 0) {
        uint32_t n = run(s, s->written_frames, (uint32_t)between(s->written_frames, end));
        uint32_t clear = xpa_front_clear_frames(f, offset_of(s, s->written_frames));
        n = n < clear ? n : clear;
        if (n == 0 || !transfer(f, XENSND_OP_READ, n))
            break;
    }
    xpa_front_flush(f);
}

void xpa_front_find(struct xpa_front *f) {
    struct xpa_front_stream *s = &f->stream;
    uint32_t more = xpa_evt_ring_filled(&f->link.event_ring) - (uint32_t)s->written_frames;
    uint32_t quarter = s->config.buffer_frames / 4; /* more it cannot have put between two looks */
    if (f->link.pending_frames > 0 || more > quarter)
        return;
    s->written_frames += more;
    skip_unread(f, s->written_frames + quarter);
}

uint32_t xpa_front_ready(const struct xpa_front *f) {
    const struct xpa_front_stream *s = &f->stream;
    if (!s->open || !s->started)
        return 0;
    int64_t ready = between(s->read_frames, s->written_frames - f->link.pending_frames);
    return ready > 0 ? (uint32_t)ready : 0;
}

void xpa_front_get(struct xpa_front *f, void *target, uint32_t frames) {
    struct xpa_front_stream *s = &f->stream;
    uint8_t *to = target;
    while (frames > 0) {
        uint32_t n = run(s, s->read_frames, frames);
        memcpy(to, at(s, s->read_frames), (size_t)n * s->frame_bytes);
        xpa_bound_samples(&s->config, to, n);
        s->read_frames += n;
        to += (size_t)n * s->frame_bytes;
        frames -= n;
    }
    f->stats.written_frames = s->read_frames;
    xpa_front_send_control(f);
}

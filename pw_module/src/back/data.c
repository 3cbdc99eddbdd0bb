/* back/data.c - frames between the guest's buffer, the private store and the host; data loop. */
#include "back/back.h"

#include "base/silence.h"

#include <errno.h>
#include <string.h>

enum { HOLD_GUARD_NSEC = 1000000, HOLD_SLACK_NSEC = 5000000 };

static uint8_t *slot(const struct xpa_back_stream *s, uint64_t frame) {
    return s->store + (size_t)(frame % s->store_frames) * s->frame_bytes;
}

/* Frames from `frame` on that lie together in the store, `frames` at the most. */
static uint32_t run(const struct xpa_back_stream *s, uint64_t frame, uint32_t frames) {
    uint32_t left = s->store_frames - (uint32_t)(frame % s->store_frames);
    return frames < left ? frames : left;
}

static void store_put(struct xpa_back_stream *s, uint64_t frame, const uint8_t *source,
                      uint32_t frames) {
    uint32_t first = run(s, frame, frames);
    memcpy(slot(s, frame), source, (size_t)first * s->frame_bytes);
    memcpy(s->store, source + (size_t)first * s->frame_bytes,
           (size_t)(frames - first) * s->frame_bytes);
}

static void store_get(const struct xpa_back_stream *s, uint64_t frame, uint8_t *target,
                      uint32_t frames) {
    uint32_t first = run(s, frame, frames);
    memcpy(target, slot(s, frame), (size_t)first * s->frame_bytes);
    memcpy(target + (size_t)first * s->frame_bytes, s->store,
           (size_t)(frames - first) * s->frame_bytes);
}

/* The ladder of every READ and WRITE: inside the buffer, whole frames. */
static int check_range(const struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes) {
    const struct xpa_back_stream *s = &b->stream;
    uint64_t buffer_bytes = (uint64_t)s->config.buffer_frames * s->frame_bytes;
    if (!s->open)
        return -EIO;
    if (offset_bytes >= buffer_bytes || length_bytes > buffer_bytes - offset_bytes)
        return -EINVAL;
    if (offset_bytes % s->frame_bytes || length_bytes % s->frame_bytes)
        return -EINVAL;
    return 0;
}

static int check_write(const struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes) {
    int result = check_range(b, offset_bytes, length_bytes);
    return result == 0 && b->direction != XPA_PLAYBACK ? -EINVAL : result;
}

bool xpa_back_prepared_anew(const struct xpa_back *b, uint32_t offset_bytes,
                            uint32_t length_bytes) {
    return b->stream.paused && offset_bytes == 0 && check_write(b, offset_bytes, length_bytes) == 0;
}

/* WRITE. Frames are taken in the order of the requests, whatever their offset; an offset that
 * steps back into what was not heard is snd_pcm_rewind() and replaces it. What the host has taken
 * of that cannot be replaced any more: as many frames come too late and are dropped, so that the
 * guest's count and ours stay the same. */
int xpa_back_write(struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes) {
    struct xpa_back_stream *s = &b->stream;
    int result = check_write(b, offset_bytes, length_bytes);
    if (result < 0)
        return result;
    uint32_t offset = offset_bytes / s->frame_bytes, frames = length_bytes / s->frame_bytes;
    uint32_t buffer = s->config.buffer_frames;
    uint32_t back = (s->next_offset_frames + buffer - offset) % buffer;
    uint64_t begin = s->written_frames - s->late_frames; /* as the guest counts */
    uint64_t unheard = begin > s->reported_frames ? begin - s->reported_frames : 0;
    if (back == 0 && !s->running && unheard + frames > buffer)
        back = buffer;   /* filled, prepared again without a STOP, and filled again */
    if (back <= unheard) /* else it steps forward */
        begin -= back;
    uint64_t late = s->taken_frames > begin ? s->taken_frames - begin : 0;
    uint32_t skip = late < frames ? (uint32_t)late : frames;
    if (frames - skip > s->store_frames - (begin + late - s->taken_frames))
        return -ENOSPC;
    /* memcpy of shared pages: samples are data only, nothing is decided by them */
    const uint8_t *source = (const uint8_t *)s->config.buffer + offset_bytes;
    store_put(s, begin + late, source + (size_t)skip * s->frame_bytes, frames - skip);
    s->late_frames = late - skip;
    s->written_frames = begin + frames + s->late_frames;
    s->next_offset_frames = (offset + frames) % buffer;
    b->stats.written_frames = begin + frames;
    return 0;
}

/* READ. The guest's buffer is a window on the capture timeline: an offset means the newest frames
 * there that have been reported, as with a hardware buffer. */
int xpa_back_read(struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes) {
    struct xpa_back_stream *s = &b->stream;
    int result = check_range(b, offset_bytes, length_bytes);
    if (result < 0)
        return result;
    if (b->direction != XPA_CAPTURE)
        return -EINVAL;
    uint32_t offset = offset_bytes / s->frame_bytes, frames = length_bytes / s->frame_bytes;
    uint32_t buffer = s->config.buffer_frames;
    uint8_t *target = (uint8_t *)s->config.buffer + offset_bytes;
    uint64_t end = s->running ? (uint64_t)xpa_back_position(b, xpa_now_nsec()) : s->stopped_frames;
    uint64_t begin = 0;
    bool there = end >= frames;
    if (there) {
        begin = end - frames;
        uint64_t lap = (begin - offset) % buffer; /* wraps as uint64: begin may be < offset */
        if (begin < offset)
            lap = (buffer - (offset - begin) % buffer) % buffer;
        there = begin >= lap;
        begin -= there ? lap : 0;
    }
    if (there && begin >= s->taken_frames && begin + s->store_frames >= s->written_frames) {
        store_get(s, begin, target, frames);
    } else { /* nothing captured there yet, or overwritten since */
        xpa_fill_silence(&s->config, target, frames);
        b->stats.silence_frames += frames;
    }
    return 0;
}

/* Captured frames from `begin` on into the guest's buffer, each at its offset. Charged as a READ
 * is: a guest can make it begin as often as it likes. */
static void put_captured(struct xpa_back *b, uint64_t begin, uint64_t now_nsec) {
    const struct xpa_back_stream *s = &b->stream;
    uint32_t buffer = s->config.buffer_frames;
    uint64_t bytes = (s->written_frames - begin) * s->frame_bytes;
    xpa_budget_charge(b->link.budget, bytes / XPA_WORK_BYTES_PER_NSEC, false, now_nsec);
    while (begin < s->written_frames) {
        uint32_t offset = (uint32_t)(begin % buffer), left = buffer - offset;
        uint64_t frames = s->written_frames - begin < left ? s->written_frames - begin : left;
        uint8_t *target = (uint8_t *)s->config.buffer + (size_t)offset * s->frame_bytes;
        store_get(s, begin, target, (uint32_t)frames);
        begin += frames;
    }
}

/* A guest that takes captured frames when it is time for them has to find them there: all that the
 * host gave lie at their offsets, before their position is told. What was told before may not have
 * been asked for by then: so it begins with a quarter of the buffer. */
void xpa_back_fill(struct xpa_back *b, bool fills, uint64_t now_nsec) {
    struct xpa_back_stream *s = &b->stream;
    uint64_t begin = s->fills ? s->filled_frames : s->taken_frames;
    uint64_t most = s->fills ? s->config.buffer_frames : s->config.buffer_frames / 4;
    s->fills = fills && s->running && !b->link.rests_until_nsec;
    if (!s->fills)
        return;
    if (s->written_frames - begin > most)
        begin = s->written_frames - most;
    put_captured(b, begin, now_nsec);
    s->filled_frames = s->written_frames;
    xpa_evt_ring_set_filled(&b->link.event_ring, (uint32_t)s->filled_frames);
}

uint32_t xpa_back_pull(struct xpa_back *b, void *target, uint32_t frames) {
    struct xpa_back_stream *s = &b->stream;
    uint64_t available = s->running && !s->paused ? s->written_frames - s->taken_frames : 0;
    uint32_t n = available < frames ? (uint32_t)available : frames;
    if (n > 0) {
        if (!s->timeline.valid)
            xpa_timeline_start(&s->timeline, s->taken_frames, s->host_frames);
        store_get(s, s->taken_frames, target, n);
        xpa_bound_samples(&s->config, target, n);
        s->taken_frames += n;
    }
    if (n < frames) {
        uint8_t *rest = (uint8_t *)target + (size_t)n * s->frame_bytes;
        xpa_fill_silence(&s->config, rest, frames - n);
        bool begins = xpa_timeline_gap(&s->timeline, s->host_frames + n, frames - n);
        if (s->running && !s->paused && s->timeline.valid) {
            b->stats.silence_frames += frames - n;
            if (begins) /* once when the guest's data ends, not every cycle after */
                xpa_stats_xrun(&b->stats, xpa_now_nsec());
        }
    }
    s->host_frames += frames;
    b->stats.cycles++;
    if (b->tap && s->running)
        xpa_tap_push(b->tap, target, (uint64_t)frames * s->frame_bytes);
    return n;
}

void xpa_back_missed(struct xpa_back *b, uint32_t frames) {
    struct xpa_back_stream *s = &b->stream;
    xpa_timeline_gap(&s->timeline, s->host_frames, frames);
    s->host_frames += frames;
    if (s->running && s->timeline.valid)
        xpa_stats_xrun(&b->stats, xpa_now_nsec());
}

void xpa_back_hold(struct xpa_back *b, uint32_t frames) {
    xpa_back_missed(b, frames);
    b->stats.held_cycles++;
    b->stats.silence_frames += frames;
    b->stats.cycles++;
}

/* How far a captured position stays behind the microphone: a whole chunk and the way to us must
 * have passed before its last frame is promised, and a little for the scheduler; past that the
 * position waits for the data (xpa_back_position). In whole frames, so that the guest can be told
 * exactly, and steady: chunks differ by a frame when the host resamples. */
static void keep_hold(struct xpa_back *b, uint64_t need_nsec) {
    struct xpa_back_stream *s = &b->stream;
    if (s->hold_nsec >= need_nsec && s->hold_nsec - need_nsec < HOLD_SLACK_NSEC)
        return;
    s->hold_frames = (uint32_t)((need_nsec * s->config.rate + 999999999) / 1000000000);
    s->hold_nsec = (uint64_t)(s->hold_frames * 1e9 / s->config.rate);
}

void xpa_back_push(struct xpa_back *b, const void *source, uint32_t frames, uint64_t latency_nsec) {
    struct xpa_back_stream *s = &b->stream;
    uint32_t kept = frames < s->store_frames ? frames : s->store_frames;
    if (s->running && !s->paused) {
        if (!s->timeline.valid)
            xpa_timeline_start(&s->timeline, s->written_frames, s->host_frames);
        const uint8_t *newest = (const uint8_t *)source + (size_t)(frames - kept) * s->frame_bytes;
        store_put(s, s->written_frames + frames - kept, newest, kept);
        s->written_frames += frames;
        b->stats.written_frames = s->written_frames;
        if (b->tap)
            xpa_tap_push(b->tap, source, (uint64_t)frames * s->frame_bytes);
    } else {
        xpa_timeline_gap(&s->timeline, s->host_frames, frames);
    }
    s->host_frames += frames;
    b->stats.cycles++;
    keep_hold(b, latency_nsec + (uint64_t)(frames * 1e9 / s->config.rate) + HOLD_GUARD_NSEC);
}

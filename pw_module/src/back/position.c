/* back/position.c - the guest's position as it is heard, and the timer that reports it; data loop.
 *
 * The position is read off the host's clock, not off what the host has taken: a guest that adds
 * nothing to it reads the true delay. Events are sent when the position is one frame past a period
 * boundary: the kernel's frontend tests "more than a period", strictly (packaging/doc/peers.md).
 *
 * A frontend that runs by its own idea of our clock needs no event at any moment, only some to keep
 * that idea true. It says so in the event page, and is then told where the stream is when the host
 * takes frames, which wakes us anyway: no timer here, no notification there.
 */
#include "back/back.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "xen/position_ext.h"

enum {
    LATEST_TIMER_NSEC = 100000000,
    REARM_NSEC = 20000,
    SETTLE_NSEC = 50000, /* a timer that came too soon tries again after this, not at once */
    HOLD_NSEC = 2000000, /* how often a TRIGGER that must wait looks again */
    DELAY_WINDOW_NSEC = 1000000000,
};

double xpa_back_heard_host_frames(const struct xpa_back *b, uint64_t now_nsec) {
    const struct xpa_back_stream *s = &b->stream;
    if (!xpa_clock_ready(&s->clock))
        return 0;
    uint64_t behind = b->direction == XPA_CAPTURE ? s->hold_nsec : 0;
    double heard = xpa_clock_position_at(&s->clock, now_nsec - behind);
    double limit = (double)s->host_frames;
    return heard < limit ? heard : limit;
}

/* True while the host plays silence because the guest has delivered nothing more. */
static bool starved(const struct xpa_back *b) {
    const struct xpa_back_stream *s = &b->stream;
    return s->written_frames == s->taken_frames && s->running && !s->paused &&
           xpa_timeline_in_gap(&s->timeline, s->host_frames);
}

static double gap_start(const struct xpa_back *b) {
    const struct xpa_timeline *t = &b->stream.timeline;
    return (double)t->gaps[t->gap_count - 1].start_frames;
}

/* A starved position may go on to one frame past the end of the last period, as a hardware pointer
 * does, and no further: snd_pcm_drain() of a kernel guest waits for just that event. */
static double starved_limit(const struct xpa_back *b) {
    uint64_t period = b->stream.config.period_frames ? b->stream.config.period_frames : 1;
    return (double)((b->stream.written_frames + period - 1) / period * period + 1);
}

double xpa_back_position(struct xpa_back *b, uint64_t now_nsec) {
    const struct xpa_back_stream *s = &b->stream;
    double position = (double)s->reported_frames;
    if (!s->timeline.valid)
        return position;
    double heard = xpa_back_heard_host_frames(b, now_nsec);
    double guest = xpa_timeline_guest_at(&s->timeline, heard);
    if (b->direction == XPA_PLAYBACK && starved(b) && heard > gap_start(b)) {
        guest = (double)s->written_frames + heard - gap_start(b);
        guest = fmin(guest, starved_limit(b));
    }
    return fmax(guest, position);
}

/* When the guest's position will be `target_frames`; 0: not before the host's next cycle, which
 * asks again (a host that stands still must not make us look at a time that has passed). */
static uint64_t time_of(struct xpa_back *b, double target_frames, uint64_t now_nsec) {
    const struct xpa_back_stream *s = &b->stream;
    if (!s->timeline.valid || !xpa_clock_ready(&s->clock))
        return now_nsec + LATEST_TIMER_NSEC;
    double host;
    if (b->direction == XPA_PLAYBACK && starved(b) && target_frames > (double)s->written_frames) {
        if (target_frames > starved_limit(b))
            return 0;
        host = gap_start(b) + target_frames - (double)s->written_frames;
    } else {
        host = xpa_timeline_host_at(&s->timeline, target_frames);
    }
    if (host > (double)s->host_frames)
        return 0;
    uint64_t behind = b->direction == XPA_CAPTURE ? s->hold_nsec : 0;
    return xpa_clock_time_at(&s->clock, host) + behind;
}

/* Whether the frontend may look at the page by itself. Not where events are to be late: it would
 * not notice. */
static bool may_be_polled(const struct xpa_back *b) {
    return b->position_ext && !xpa_back_has_faults(b);
}

bool xpa_back_polled(const struct xpa_back *b) {
    return may_be_polled(b) && xpa_evt_ring_polled(&b->link.event_ring);
}

/* No event is missed then: captured frames are there already. */
static bool wakes_nobody(const struct xpa_back *b) {
    return xpa_back_polled(b) && (b->direction == XPA_PLAYBACK || b->stream.fills);
}

void xpa_back_schedule(struct xpa_back *b, uint64_t now_nsec) {
    const struct xpa_back_stream *s = &b->stream;
    uint64_t at = 0;
    if (s->running && !s->paused && s->config.period_frames > 0 && !wakes_nobody(b)) {
        at = time_of(b, (double)s->next_event_frames, now_nsec);
        if (at > now_nsec + LATEST_TIMER_NSEC)
            at = now_nsec + LATEST_TIMER_NSEC;
        if (at > 0 && at <= now_nsec)
            at = now_nsec + SETTLE_NSEC;
    }
    if (b->link.holding && (at == 0 || at > now_nsec + HOLD_NSEC))
        at = now_nsec + HOLD_NSEC;
    if (b->link.starting && (at == 0 || at > b->link.start_until_nsec))
        at = b->link.start_until_nsec;
    if (b->link.rests_until_nsec && (at == 0 || at > b->link.rests_until_nsec))
        at = b->link.rests_until_nsec;
    uint64_t moved = at > b->link.armed_nsec ? at - b->link.armed_nsec : b->link.armed_nsec - at;
    if (at == b->link.armed_nsec || (at && b->link.armed_nsec > now_nsec && moved < REARM_NSEC))
        return;
    b->link.armed_nsec = at;
    xpa_timer_set(b->timer_fd, at);
}

static void track_delay(struct xpa_back *b, uint64_t now_nsec) {
    struct xpa_back_stream *s = &b->stream;
    double delay = b->direction == XPA_PLAYBACK
                       ? (double)s->host_frames - xpa_back_heard_host_frames(b, now_nsec)
                       : (double)s->hold_frames;
    b->stats.host_delay_frames = delay;
    if (delay > s->delay_window_max)
        s->delay_window_max = delay;
    if (s->delay_window_max > b->stats.host_delay_max_frames)
        b->stats.host_delay_max_frames = s->delay_window_max;
    if (now_nsec - s->delay_window_nsec > DELAY_WINDOW_NSEC) {
        b->stats.host_delay_max_frames = s->delay_window_max;
        s->delay_window_max = delay;
        s->delay_window_nsec = now_nsec;
    }
}

void xpa_back_next_boundary(struct xpa_back *b) {
    uint64_t period = b->stream.config.period_frames;
    if (period > 0)
        b->stream.next_event_frames = (b->stream.reported_frames / period + 1) * period + 1;
}

/* Through silence that was played because the guest had delivered nothing more. */
static bool runs_ahead(const struct xpa_back *b, double position) {
    return b->direction == XPA_PLAYBACK && position > (double)b->stream.written_frames;
}

/* How far the host's count is ahead of the guest's changes by just the gaps that were heard. */
static bool heard_gap(struct xpa_back *b, uint64_t now_nsec) {
    struct xpa_back_stream *s = &b->stream;
    if (b->direction == XPA_CAPTURE || !s->timeline.valid)
        return false;
    double heard = xpa_back_heard_host_frames(b, now_nsec);
    double ahead = heard - xpa_timeline_guest_at(&s->timeline, heard);
    bool gap = s->ahead_known && fabs(ahead - s->ahead_frames) > 0.5;
    s->ahead_frames = ahead;
    s->ahead_known = true;
    return gap;
}

/* Gives the event its number and queues it: 0, -ENOSPC, -EPROTO.
 *
 * Linux's frontend drops every event whose id is not its own count of slots. Up to 7.1 it counts
 * since the connection began; since 7.2 it counts anew from each OPEN; nothing says which of the
 * two is there (packaging/doc/event-numbering.md). Where the counts differ, the position takes two
 * slots, one by either count: each kernel believes one of them and drops the other. A frontend that
 * asked for our extension does not look at ids.
 *
 * An id is taken only by a slot that is really queued, or all later ones would be dropped. */
int xpa_back_put_event(struct xpa_back *b, const struct xensnd_evt *event) {
    struct xensnd_evt slots[2] = {*event, *event};
    uint16_t since_open = (uint16_t)(b->link.event_id - b->stream.first_event_id);
    uint32_t count = b->position_ext || since_open == b->link.event_id ? 1 : 2;
    slots[0].id = b->link.event_id;
    slots[1].id = (uint16_t)(since_open + 1);
    int result = xpa_evt_ring_put_all(&b->link.event_ring, slots, count);
    if (result == 0)
        b->link.event_id = (uint16_t)(b->link.event_id + count);
    return result;
}

int xpa_back_send_position(struct xpa_back *b, uint64_t position_frames, uint64_t age_nsec,
                           uint64_t now_nsec) {
    struct xensnd_evt event;
    memset(&event, 0, sizeof event);
    event.type = XENSND_EVT_CUR_POS;
    event.op.cur_pos.position = position_frames * b->stream.frame_bytes;
    if (b->position_ext) {
        struct xpa_position_ext ext = {
            .host_frames = (uint32_t)lround(fmax(b->stats.host_delay_frames, 0)),
            .host_frames_max = (uint32_t)lround(fmax(b->stats.host_delay_max_frames, 0)),
            .age_nsec = age_nsec > UINT32_MAX ? UINT32_MAX : (uint32_t)age_nsec,
            .time_low_nsec = (uint32_t)now_nsec,
            .time_high_nsec = (uint32_t)(now_nsec >> 32),
            .flags = may_be_polled(b) ? XPA_MAY_POLL : 0,
        };
        xpa_position_ext_put(&event, &ext);
    }
    b->stream.reported_frames = position_frames;
    b->stats.position_frames = position_frames;
    xpa_back_next_boundary(b);
    int result = xpa_back_put_event(b, &event);
    if (result < 0) {
        b->stats.events_skipped++;
        return result == -ENOSPC ? 0 : result;
    }
    b->stats.events++;
    if (!wakes_nobody(b))
        xpa_back_notify_position(b, now_nsec);
    return 0;
}

/* When `frames` of the guest had been heard. By the clock: the position itself is bounded by what
 * the host has taken, and may have waited there for a timer that was late. */
static uint64_t heard_nsec(const struct xpa_back *b, double frames) {
    const struct xpa_back_stream *s = &b->stream;
    uint64_t behind = b->direction == XPA_CAPTURE ? s->hold_nsec : 0;
    return xpa_clock_time_at(&s->clock, xpa_timeline_host_at(&s->timeline, frames)) + behind;
}

static int report_position(struct xpa_back *b, uint64_t now_nsec) {
    const struct xpa_back_stream *s = &b->stream;
    track_delay(b, now_nsec);
    if (b->link.broken || !s->open || !s->running || s->paused || s->config.period_frames == 0)
        return 0;
    /* a timer may fire a rounding error early: a hundredth of a frame is the same moment */
    double position = xpa_back_position(b, now_nsec) + 0.01;
    if (position < (double)s->next_event_frames)
        return 0;
    double whole = floor(position);
    uint64_t at = heard_nsec(b, whole);
    uint64_t age_nsec = at < now_nsec ? now_nsec - at : 0;
    if (heard_gap(b, now_nsec))
        age_nsec |= XPA_AFTER_GAP;
    if (runs_ahead(b, whole))
        age_nsec = XPA_NO_AGE;
    return xpa_back_send_position(b, (uint64_t)whole, age_nsec, now_nsec);
}

int xpa_back_tell_position(struct xpa_back *b, uint64_t now_nsec) {
    int result = report_position(b, now_nsec);
    xpa_back_schedule(b, now_nsec);
    return result;
}

void xpa_back_host_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames,
                        uint64_t now_nsec) {
    struct xpa_back_stream *s = &b->stream;
    if (xpa_clock_locked(&s->clock)) {
        uint64_t expected_nsec = xpa_clock_time_at(&s->clock, (double)host_frames);
        xpa_jitter_add(&s->jitter, (double)(int64_t)(nsec - expected_nsec));
        b->stats.jitter_nsec = xpa_jitter_nsec(&s->jitter);
    }
    xpa_clock_mark(&s->clock, nsec, host_frames);
    s->host_seen_nsec = now_nsec;
    b->stats.ppm = xpa_clock_ppm(&s->clock);
    if (s->timeline.valid)
        xpa_timeline_forget(&s->timeline, xpa_back_heard_host_frames(b, now_nsec));
    double position = xpa_back_position(b, now_nsec);
    double written = (double)s->written_frames - (double)s->late_frames;
    b->stats.delay_frames = (int64_t)floor(written - position);
}

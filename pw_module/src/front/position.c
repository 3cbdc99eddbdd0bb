/* front/position.c - what the backend's events say, frontend side; data loop.
 *
 * A position may be lost, late, stale, or garbage before a backend's first timing; it may start
 * again at 0. What is believed moves the clock. An event tells the past: its age (the extension
 * says it) and the way it came (see transport) are taken off before the clock sees it.
 */
#include "front/front.h"

#include <math.h>

#include "xen/position_ext.h"
#include "xen/volume_ext.h"

static const uint64_t MAX_POSITION_FRAMES = 1ull << 48;

/* So many positions in a row that cannot be true are believed after all: a backend that began to
 * count anew. A single one is garbage or late. */
enum { ODD_POSITIONS = 8 };

/* How far the position may have come, beside what the time since the last one explains. */
static uint64_t slack_frames(const struct xpa_front *f) {
    const struct xpa_config *c = &f->stream.config;
    return c->buffer_frames + 2ull * c->period_frames + c->rate / 10;
}

/* So far a stream may have come since the last position: clocks of streams are a quarter off at the
 * most. */
static double most_since(const struct xpa_front *f, uint64_t now_nsec) {
    return (double)(now_nsec - f->stream.event_nsec) * 1.25e-9 * f->stream.config.rate;
}

/* Could a stream that was at `from` when the last position came be at `position` now? */
static bool credible(const struct xpa_front *f, uint64_t from, uint64_t position,
                     uint64_t now_nsec) {
    uint64_t most = (uint64_t)most_since(f, now_nsec);
    return position >= from && position - from <= slack_frames(f) + most;
}

/* The graph's cycles follow the position, and nothing else says how fast they may run: what each
 * position may be ahead, all of them together may not. Of frames that were never written nothing
 * follows. */
static bool in_time(struct xpa_front *f, uint64_t position, uint64_t now_nsec) {
    struct xpa_front_stream *s = &f->stream;
    if (f->direction == XPA_PLAYBACK && position > s->written_frames)
        position = s->written_frames;
    double moved = position > s->position_frames ? (double)(position - s->position_frames) : 0;
    double left = s->slack_frames + most_since(f, now_nsec) - moved;
    if (left >= 0)
        s->slack_frames = fmin(left, (double)slack_frames(f));
    return left >= 0;
}

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* The count goes on from `found` where we thought of `base`. */
static void move_base(struct xpa_front *f, uint64_t found) {
    struct xpa_front_stream *s = &f->stream;
    s->written_frames += found - s->base_frames; /* modulo 2^64: may go back */
    s->read_frames += found - s->base_frames;
    s->base_frames = found;
}

/* The first position after START: did the backend go on where we thought, or start again at 0?
 * The first position comes about a period after either. False: neither, so it is not believed. */
static bool rebase(struct xpa_front *f, uint64_t position, uint64_t now_nsec) {
    uint64_t base = f->stream.base_frames, period = f->stream.config.period_frames;
    bool goes_on = credible(f, base, position, now_nsec);
    bool restarts = credible(f, 0, position, now_nsec);
    if (!goes_on && !restarts)
        return false;
    if (!goes_on || (restarts && distance(position, period) < distance(position, base + period)))
        move_base(f, 0);
    return true;
}

/* The backend insists on a position that we did not believe: the delay is taken to be what it was
 * with the last one, or at the start what it is a period later. */
static void give_in(struct xpa_front *f, uint64_t position) {
    struct xpa_front_stream *s = &f->stream;
    uint64_t known = s->positioned ? s->position_frames : s->base_frames + s->config.period_frames;
    move_base(f, s->base_frames + position - known); /* modulo 2^64, as everything that follows */
    s->position_frames = position > 0 ? position - 1 : 0;
    s->positioned = true;
    xpa_front_expect_jump(f);
}

/* False: the position says nothing. */
static bool accept(struct xpa_front *f, uint64_t position, uint64_t now_nsec) {
    struct xpa_front_stream *s = &f->stream;
    if (s->positioned && position == s->position_frames)
        return false;
    bool good = s->positioned ? credible(f, s->position_frames, position, now_nsec) &&
                                    in_time(f, position, now_nsec)
                              : rebase(f, position, now_nsec);
    if (!good && ++s->odd_positions < ODD_POSITIONS)
        return false;
    s->odd_positions = 0;
    if (!good)
        give_in(f, position);
    if (!s->positioned) {
        s->position_frames = s->base_frames;
        s->slack_frames = (double)slack_frames(f);
    }
    s->positioned = true;
    return position > s->position_frames;
}

static uint64_t age_of(const struct xpa_position_ext *ext) {
    uint32_t age_nsec = ext->age_nsec & ~XPA_AFTER_GAP;
    return age_nsec < XPA_MAX_AGE_NSEC ? age_nsec : 0;
}

static void on_position(struct xpa_front *f, const struct xensnd_evt *event, bool after_gap,
                        uint64_t now_nsec, bool woken) {
    struct xpa_front_stream *s = &f->stream;
    uint64_t position = event->op.cur_pos.position / s->frame_bytes;
    struct xpa_position_ext ext = {0};
    if (position > MAX_POSITION_FRAMES)
        return; /* no such stream ran that long: garbage before a backend's first timing */
    if (f->position_ext)
        ext = xpa_position_ext_of(event);
    f->stats.events++;
    if (!s->started) {
        s->base_frames = position;
        return;
    }
    if (!accept(f, position, now_nsec))
        return; /* late, stale or garbage */
    bool was_starved = s->starved;
    s->starved = f->direction == XPA_PLAYBACK && position > s->written_frames;
    /* one that came and went between two looks shows only in this */
    s->ran_out |= !was_starved && (s->starved || (after_gap && !woken));
    if (s->starved)
        position = s->written_frames;
    s->position_frames = position;
    s->event_nsec = now_nsec;
    if (f->position_ext) {
        s->host_frames = ext.host_frames;
        s->host_frames_max = ext.host_frames_max;
        s->may_poll = ext.flags & XPA_MAY_POLL;
    }
    /* The pointer moved through silence: no statement about our frames. Only the extension tells,
     * if we wrote more since. */
    if (s->starved || after_gap)
        xpa_front_expect_jump(f);
    uint64_t sent_nsec = (uint64_t)ext.time_high_nsec << 32 | ext.time_low_nsec;
    xpa_front_time_sent(f, sent_nsec, now_nsec, woken);
    /* one that lay in the page says nothing of the way: as if it had taken no time */
    uint64_t came_nsec =
        woken || !s->timed ? now_nsec : xpa_peer_clock_ours(f->link.peer, sent_nsec);
    bool ready = xpa_front_time_ready(f);
    if ((!s->starved && ext.age_nsec != XPA_NO_AGE) ||
        !ready) /* some line is needed to start from */
        xpa_front_time_mark(f, position, age_of(&ext), sent_nsec, came_nsec);
    if (!ready && s->starved)
        xpa_front_expect_jump(f);
    f->stats.position_frames = position;
    f->stats.ppm = xpa_front_ppm(f);
    f->stats.host_delay_frames = s->host_frames;
    f->stats.host_delay_max_frames = s->host_frames_max;
    f->stats.transport_nsec = xpa_transport_nsec(&f->link.peer->transport);
}

/* --- volumes that the host has changed --- */

/* One at a time, as Python reads them: a backend can send any number. */
void xpa_front_pass_volume(struct xpa_front *f) {
    if (f->volume.unread && xpa_plane_noticed(f->plane, f->volume.ticket))
        f->volume.unread = false;
    if (!f->volume.due || f->volume.unread)
        return;
    f->volume.ticket = xpa_plane_notify(f->plane, XPA_NOTICE_VOLUME, f->id, 0, &f->volume.event);
    f->volume.unread = true;
    f->volume.due = false;
}

static void on_volume(struct xpa_front *f, const struct xensnd_evt *event) {
    uint8_t before = f->volume.due ? xpa_volume_ext_of(&f->volume.event).changed : 0;
    f->volume.event = *event;
    xpa_volume_ext_add(&f->volume.event, before);
    f->volume.due = true;
}

/* Of several positions only the newest says where the stream is now, but any of them that no line
 * leads to it. A backend may write more while we read: no more than there is room for is read at
 * once. */
int xpa_front_read_events(struct xpa_front *f, uint64_t now_nsec, bool woken) {
    struct xensnd_evt event, newest = {0};
    bool any = false, after_gap = false;
    int got = 0;
    for (int i = 0; i < XPA_EVT_RING_SLOTS; i++) {
        got = xpa_evt_ring_pop(&f->link.event_ring, &event);
        if (got <= 0)
            break;
        if (event.type == XENSND_EVT_CUR_POS) {
            newest = event;
            any = true;
            after_gap |= f->position_ext && xpa_position_ext_of(&event).age_nsec & XPA_AFTER_GAP;
        } else if (event.type == XPA_EVT_VOLUME && f->volume_ext) {
            on_volume(f, &event);
        }
    }
    xpa_evt_ring_ack(&f->link.event_ring);
    xpa_front_pass_volume(f);
    if (got >= 0 && any && f->stream.open)
        on_position(f, &newest, after_gap, now_nsec, woken);
    return got < 0 ? got : 0;
}

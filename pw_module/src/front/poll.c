/* front/poll.c - whether the backend's events wake us; data loop.
 *
 * Once the backend's clock is known, a cycle starts by it, and an event is only one more mark of
 * that clock: it is soon enough to read it in the cycle. A backend with the position extension is
 * told so in the event page, and then neither notifies us nor needs a timer of its own. What is
 * lost by that is the time at which events arrive, which is what the two clocks are compared by:
 * so now and then they wake us for a while (time/peer_clock.h).
 */
#include "front/front.h"

static void set(struct xpa_front *f, bool polls, uint64_t now_nsec) {
    if (polls == f->link.polls)
        return;
    f->link.polls = polls;
    if (polls) /* what a stream before this one found there is not ours */
        xpa_evt_ring_set_filled(&f->link.event_ring, (uint32_t)f->stream.written_frames);
    bool unread = xpa_evt_ring_set_polled(&f->link.event_ring, polls);
    if (!polls && unread)
        xpa_front_poll(f, now_nsec);
}

void xpa_front_poll(struct xpa_front *f, uint64_t now_nsec) {
    xpa_front_look(f, now_nsec);
    if (f->link.polls && f->direction == XPA_CAPTURE)
        xpa_front_find(f);
}

void xpa_front_let_poll(struct xpa_front *f, bool may, uint64_t now_nsec) {
    if (!may)
        xpa_peer_clock_leave(f->link.peer, f);
    set(f,
        may && f->stream.may_poll && f->stream.timed && xpa_front_time_locked(f) &&
            !xpa_peer_clock_listens(f->link.peer, f, now_nsec),
        now_nsec);
}

void xpa_front_hear(struct xpa_front *f, uint64_t now_nsec) {
    xpa_peer_clock_doubt(f->link.peer);
    set(f, false, now_nsec);
}

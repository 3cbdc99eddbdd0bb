/* front/poll.c - whether the backend's events wake us; data loop.
 *
 * Once the backend's clock is known, a cycle starts by it, and an event is only one more mark of
 * that clock: it is soon enough to read it in the cycle. A backend with the position extension is
 * told so in the event page, and then neither notifies us nor needs a timer of its own. What is
 * lost by that is the time at which events arrive, which is what the two clocks are compared by:
 * so now and then they wake us for a while (time/peer_clock.h).
 */
#include "front/front.h"

int xpa_front_look(struct xpa_front *f, uint64_t now_nsec) {
    int result = xpa_front_read_events(f, now_nsec, false);
    if (result >= 0 && f->link.polls && f->direction == XPA_CAPTURE)
        xpa_front_find(f);
    return result;
}

/* What came before the backend knew that it is to wake us again nobody will tell: one more look. */
static int set(struct xpa_front *f, bool polls, uint64_t now_nsec) {
    if (polls == f->link.polls)
        return 0;
    f->link.polls = polls;
    if (polls) /* what a stream before this one found there is not ours */
        xpa_evt_ring_set_filled(&f->link.event_ring, (uint32_t)f->stream.written_frames);
    bool unread = xpa_evt_ring_set_polled(&f->link.event_ring, polls);
    return !polls && unread ? xpa_front_look(f, now_nsec) : 0;
}

/* The backend heeds it, and a cycle can start by its clock. */
static bool can_poll(const struct xpa_front *f) {
    return f->stream.may_poll && f->stream.timed && xpa_front_time_locked(f);
}

int xpa_front_choose(struct xpa_front *f, bool may, uint64_t now_nsec) {
    if (!may)
        xpa_peer_clock_leave(f->link.peer, f);
    bool polls = may && can_poll(f) && !xpa_peer_clock_listens(f->link.peer, f, now_nsec);
    return set(f, polls, now_nsec);
}

int xpa_front_listen(struct xpa_front *f, uint64_t now_nsec) {
    xpa_peer_clock_doubt(f->link.peer);
    return set(f, false, now_nsec);
}

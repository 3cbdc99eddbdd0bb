/* front/rest.c - how much of the data loop's time the backend may take; see front/front.h.
 *
 * A guest has one data loop for all its backends, and its PipeWire's graph may run on it. To be
 * woken costs the same whether or not there is something to read, and a backend chooses how often.
 * One that has used up its budget (base/budget.h) is not looked at for a moment: what it has sent
 * lies in its pages, and is read then, or by the next cycle of the graph.
 */
#include "front/front.h"

static void rest(struct xpa_front *f, uint64_t until_nsec) {
    xpa_loop_remove(&f->plane->loop, &f->request_source);
    xpa_loop_remove(&f->plane->loop, &f->event_source);
    f->link.rests_until_nsec = until_nsec;
    f->stats.rests++;
    xpa_timer_set(f->rest_fd, until_nsec);
}

bool xpa_front_may_wake(struct xpa_front *f, uint64_t now_nsec) {
    xpa_budget_charge(f->link.budget, XPA_WAKE_WORK_NSEC, false, now_nsec);
    if (f->link.rests_until_nsec)
        return false;
    uint64_t until_nsec = xpa_budget_rests_until(f->link.budget, now_nsec);
    if (until_nsec == 0)
        return true;
    rest(f, until_nsec);
    return false;
}

void xpa_front_charge_events(struct xpa_front *f, uint32_t events, uint64_t now_nsec) {
    xpa_budget_charge(f->link.budget, (uint64_t)events * XPA_EVENT_WORK_NSEC, false, now_nsec);
}

int xpa_front_wake(struct xpa_front *f) {
    xpa_timer_ack(f->rest_fd);
    if (f->link.rests_until_nsec == 0)
        return 0;
    f->link.rests_until_nsec = 0;
    int result = xpa_loop_add(&f->plane->loop, &f->request_source);
    return result < 0 ? result : xpa_loop_add(&f->plane->loop, &f->event_source);
}

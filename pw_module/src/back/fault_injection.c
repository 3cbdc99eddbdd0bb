/* back/fault_injection.c - makes position events reach the guest late, on purpose and by a known
 * law.
 *
 * For measurements of how well a frontend copes. The event is queued in time, with the position
 * and age of that moment; only the notification waits, as it does when a vCPU is not scheduled.
 */
#include "back/back.h"

#include <math.h>

/* How late a timer's own callback comes, about. */
enum { TIMER_COST_NSEC = 60000 };

/* One-sided: exponential, cut at four times the mean. A small generator of its own: the same
 * sequence every time. */
static uint64_t jitter(struct xpa_fault_injection *t) {
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    double uniform = ((double)(t->random >> 11) + 1.0) / 9007199254740993.0;
    double late = -log(uniform);
    return (uint64_t)((late < 4.0 ? late : 4.0) * (double)t->jitter_nsec);
}

/* What is left of a stall that began at a multiple of its interval. */
static uint64_t stall(const struct xpa_fault_injection *t, uint64_t now_nsec) {
    if (t->stall_every_nsec == 0)
        return 0;
    uint64_t into = now_nsec % t->stall_every_nsec;
    return into < t->stall_nsec ? t->stall_nsec - into : 0;
}

bool xpa_back_has_faults(const struct xpa_back *b) {
    return b->faults.jitter_nsec > 0 || b->faults.stall_every_nsec > 0;
}

void xpa_back_notify_position(struct xpa_back *b, uint64_t now_nsec) {
    struct xpa_fault_injection *t = &b->faults;
    if (!xpa_back_has_faults(b)) {
        xpa_channel_notify(&b->event_channel);
        return;
    }
    if (t->due_nsec != 0)
        return; /* one notification tells of all that is queued */
    uint64_t late = stall(t, now_nsec) + (t->jitter_nsec ? jitter(t) : 0);
    if (late <= TIMER_COST_NSEC) { /* a timer would make it later than that */
        xpa_channel_notify(&b->event_channel);
        return;
    }
    t->due_nsec = now_nsec + late - TIMER_COST_NSEC;
    xpa_timer_set(t->timer_fd, t->due_nsec);
}

static void on_timer(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    xpa_timer_ack(source->fd);
    b->faults.due_nsec = 0;
    xpa_channel_notify(&b->event_channel);
}

static void do_set(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    uint64_t figures[3];
    memcpy(figures, command->arg.packet, sizeof figures);
    struct xpa_fault_injection *t = &b->faults;
    t->jitter_nsec = figures[0];
    t->stall_nsec = figures[1];
    t->stall_every_nsec = figures[2];
    if (!t->added && b->link.attached) {
        t->source = (struct xpa_source){t->timer_fd, on_timer, b};
        t->added = xpa_loop_add(&b->plane->loop, &t->source) == 0;
    }
}

void xpa_back_end_faults(struct xpa_back *b) {
    if (b->faults.added)
        xpa_loop_remove(&b->plane->loop, &b->faults.source);
    b->faults.added = false;
}

int xpa_back_inject_faults(struct xpa_back *b, uint64_t jitter_nsec, uint64_t stall_nsec,
                           uint64_t stall_every_nsec) {
    struct xpa_command c = {.func = do_set, .object = b};
    uint64_t figures[3] = {jitter_nsec, stall_nsec, stall_every_nsec};
    memcpy(c.arg.packet, figures, sizeof figures);
    return xpa_plane_command(b->plane, &c);
}

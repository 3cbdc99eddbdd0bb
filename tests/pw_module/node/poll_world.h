/* A guest's sink or source once the backend's clock is known: see graph_world.h. */
#ifndef POLL_WORLD_H
#define POLL_WORLD_H

#include "graph_world.h"

#include "xen/position_ext.h"

static inline uint64_t fired(int fd) { return sim_timer(fd)->fired; }

static int timer_acked; /* its fd */
static uint64_t acked;  /* how often it was read: a system call each time */

void __real_xpa_timer_ack(int fd);
void __wrap_xpa_timer_ack(int fd);

void __wrap_xpa_timer_ack(int fd) {
    acked += fd == timer_acked;
    __real_xpa_timer_ack(fd);
}

/* A sink or a source whose positions wake nobody any more. */
static inline struct world *world_polled(int direction, uint32_t quantum) {
    struct world *w = world_new(direction, quantum);
    CHECK(!w->front->link.polls, "before the clock is known");
    sim_run(w->plane, 5 * SIM_SEC);
    CHECK(w->front->link.polls, "positions still wake us");
    timer_acked = w->node.timer_source.fd;
    return w;
}

static inline int notified(struct world *w) {
    int count = 0, got;
    while ((got = xpa_channel_ack(&w->link->events[GUEST])) > 0)
        count += got;
    return count;
}

#endif

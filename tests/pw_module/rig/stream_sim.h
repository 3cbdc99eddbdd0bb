/*
 * Streams on a simulated clock: time passes only in sim_run, timers fire exactly then, channels are
 * real sockets. Linked with --wrap for the four functions below, so the sources under test are the
 * real ones. One thread plays all parts: data loop, Python, guest, host device.
 */
#ifndef STREAM_SIM_H
#define STREAM_SIM_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "check.h"
#include "plane/plane.h"
#include "xen/ring.h"
#include "xen/sndif.h"
#include "stream_link.h"

#define SIM_MSEC 1000000ull
#define SIM_SEC 1000000000ull

/* --- time --- */

struct sim_timer {
    int fd;
    uint64_t at_nsec, fired;
    struct xpa_source *source;
    uint64_t sets; /* system calls, else */
};

/* Something that happens at a time, outside of the data plane. */
struct sim_actor {
    uint64_t at_nsec; /* 0: never */
    void (*func)(struct sim_actor *actor);
    void *data;
};

enum { SIM_SLOTS = 64 };

static uint64_t sim_now = 1000 * SIM_SEC;
static struct sim_timer sim_timers[SIM_SLOTS];
static struct sim_actor *sim_actors[SIM_SLOTS];
static void (*sim_poll[SIM_SLOTS])(void *data); /* after every step: peers look at their rings */
static void *sim_poll_data[SIM_SLOTS];
static uint64_t sim_fired;
/* No slot from these on was ever used: each step looks at the others. */
static int sim_timers_end, sim_actors_end, sim_polls_end;

uint64_t __wrap_xpa_now_nsec(void);
void __wrap_xpa_timer_set(int fd, uint64_t abs_nsec);
int __wrap_xpa_loop_add(struct xpa_loop *l, struct xpa_source *src);
void __wrap_xpa_loop_remove(struct xpa_loop *l, struct xpa_source *src);
int __real_xpa_loop_add(struct xpa_loop *l, struct xpa_source *src);
void __real_xpa_loop_remove(struct xpa_loop *l, struct xpa_source *src);

uint64_t __wrap_xpa_now_nsec(void) { return sim_now; }

static inline struct sim_timer *sim_timer(int fd) {
    struct sim_timer *unused = NULL;
    for (int i = 0; i < sim_timers_end; i++) {
        if (sim_timers[i].fd == fd + 1)
            return &sim_timers[i];
        if (!unused && sim_timers[i].fd == 0)
            unused = &sim_timers[i];
    }
    if (!unused && sim_timers_end == SIM_SLOTS)
        abort();
    if (!unused)
        unused = &sim_timers[sim_timers_end++];
    *unused = (struct sim_timer){.fd = fd + 1};
    return unused;
}

void __wrap_xpa_timer_set(int fd, uint64_t abs_nsec) {
    sim_timer(fd)->at_nsec = abs_nsec;
    sim_timer(fd)->sets++;
}

int __wrap_xpa_loop_add(struct xpa_loop *l, struct xpa_source *src) {
    int result = __real_xpa_loop_add(l, src);
    if (result == 0)
        sim_timer(src->fd)->source = src;
    return result;
}

void __wrap_xpa_loop_remove(struct xpa_loop *l, struct xpa_source *src) {
    __real_xpa_loop_remove(l, src);
    *sim_timer(src->fd) = (struct sim_timer){0};
}

static inline void sim_add_actor(struct sim_actor *actor) {
    if (sim_actors_end == SIM_SLOTS)
        abort();
    sim_actors[sim_actors_end++] = actor;
}

static inline void sim_add_poll(void (*func)(void *data), void *data) {
    if (sim_polls_end == SIM_SLOTS)
        abort();
    sim_poll[sim_polls_end] = func;
    sim_poll_data[sim_polls_end++] = data;
}

/* A new world for the next test. The clock goes on. */
static inline void sim_reset(void) {
    memset(sim_timers, 0, sizeof sim_timers);
    memset(sim_actors, 0, sizeof sim_actors);
    memset(sim_poll, 0, sizeof sim_poll);
    sim_timers_end = sim_actors_end = sim_polls_end = 0;
}

/* Everything that needs no time to pass. */
static inline void sim_settle(struct xpa_plane *plane) {
    for (int idle = 0; idle < 2; idle++) {
        while (xpa_loop_dispatch(&plane->loop) > 0)
            idle = 0;
        for (int i = 0; i < sim_polls_end; i++)
            if (sim_poll[i])
                sim_poll[i](sim_poll_data[i]);
    }
}

static inline void sim_run_until(struct xpa_plane *plane, uint64_t until_nsec) {
    for (;;) {
        struct sim_timer *timer = NULL;
        struct sim_actor *actor = NULL;
        uint64_t at = until_nsec + 1;
        sim_settle(plane);
        for (int i = 0; i < sim_timers_end; i++) {
            struct sim_timer *t = &sim_timers[i];
            if (t->source && t->at_nsec && t->at_nsec < at) {
                timer = t;
                at = t->at_nsec;
            }
        }
        for (int i = 0; i < sim_actors_end; i++)
            if (sim_actors[i] && sim_actors[i]->at_nsec && sim_actors[i]->at_nsec < at) {
                actor = sim_actors[i];
                at = actor->at_nsec;
            }
        if (!timer && !actor)
            break;
        if (at > sim_now)
            sim_now = at;
        if (actor) {
            actor->at_nsec = 0;
            actor->func(actor);
        } else {
            sim_fired++;
            timer->fired++;
            timer->at_nsec = 0;
            timer->source->func(timer->source, EPOLLIN);
        }
    }
    sim_now = until_nsec;
    sim_settle(plane);
}

static inline void sim_run(struct xpa_plane *plane, uint64_t nsec) {
    sim_run_until(plane, sim_now + nsec);
}

#endif

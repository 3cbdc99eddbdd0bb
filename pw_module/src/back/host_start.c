/* back/host_start.c - START is answered when the host runs, not before; data loop.
 *
 * A host that was idle opens its card first, which may take longer than a guest has patience: Linux
 * lets a blocked write wait for max(100 ms, 1.1 buffers), counted from the moment at which START
 * was answered, and then fails it with EIO (sound/core/pcm_lib.c, wait_for_avail). START itself may
 * take as long as any request, 3 s. The host side is woken at OPEN already, so mostly nothing is
 * waited for here.
 */
#include "back/back.h"

enum { HOST_ALIVE_NSEC = 250000000 }; /* longer than a cycle of 8192 frames at 44100 Hz */

static const uint64_t HOST_START_NSEC = 1500000000;

bool xpa_back_must_await_host(struct xpa_back *b, uint64_t now_nsec) {
    if (!atomic_load_explicit(&b->host_wakes, memory_order_relaxed))
        return false;
    return b->host_seen_nsec == 0 || now_nsec - b->host_seen_nsec > HOST_ALIVE_NSEC;
}

void xpa_back_await_host(struct xpa_back *b, const struct xensnd_req *start, uint64_t now_nsec) {
    b->held = *start;
    b->starting = b->waiting = true;
    b->start_until_nsec = now_nsec + HOST_START_NSEC;
    xpa_back_schedule(b, now_nsec);
}

/* The host has come to life, or is given up: a guest that is not answered gives up itself. */
void xpa_back_end_start(struct xpa_back *b, bool host_runs, uint64_t now_nsec) {
    if (!b->starting || (!host_runs && now_nsec < b->start_until_nsec))
        return;
    b->starting = b->waiting = false;
    if (b->broken || !b->attached)
        return;
    xpa_back_answer(b, &b->held, 0);
    xpa_back_collect(b);
}

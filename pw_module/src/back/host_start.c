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

static bool host_sleeps(const struct xpa_back *b, uint64_t now_nsec) {
    if (!atomic_load_explicit(&b->shared.host_wakes, memory_order_relaxed))
        return false;
    return b->stream.host_seen_nsec == 0 || now_nsec - b->stream.host_seen_nsec > HOST_ALIVE_NSEC;
}

/* The host has come to life, or is given up: a guest that is not answered gives up itself. */
int xpa_back_answer_start(struct xpa_back *b, uint64_t now_nsec) {
    if (host_sleeps(b, now_nsec)) {
        if (b->link.start_until_nsec == 0) {
            b->link.start_until_nsec = now_nsec + HOST_START_NSEC;
            xpa_back_schedule(b, now_nsec);
        }
        if (now_nsec < b->link.start_until_nsec)
            return 0;
    }
    b->link.starting = b->link.waiting = false;
    int result = xpa_back_answer(b, &b->link.held, 0);
    return result < 0 ? result : 1;
}

/* base/budget.h - how much of the data loop's time one peer may take.
 *
 * Work is charged before anyone knows what it really costs: a price for each thing done, set for a
 * slow machine. A budget is a debt that is paid off as time passes, at one part in SHARE of it;
 * when the debt is as large as a burst, the peer rests until half of it is paid. So its work comes
 * in bursts of a bounded length with bounded pauses, whatever it asks for, and nothing is refused:
 * what it asked for waits in its ring.
 *
 * No system call, no thread of its own: whoever owns the streams of a peer, the data loop.
 */
#ifndef XPA_BASE_BUDGET_H
#define XPA_BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/abi.h"

enum {
    /* A request with its answer. */
    XPA_REQUEST_WORK_NSEC = 5000,
    /* To be woken by an event, whether or not there is a request: in a virtual machine a processor
     * that slept costs most of it. */
    XPA_WAKE_WORK_NSEC = 8000,
    /* Each event more that had come by then. */
    XPA_EVENT_WORK_NSEC = 2000,
    /* Bytes that are copied in a nanosecond. */
    XPA_WORK_BYTES_PER_NSEC = 2,
};

/* `slow`: it also costs Python's thread, which has a debt of its own. */
void xpa_budget_charge(struct xpa_budget *b, uint64_t work_nsec, bool slow, uint64_t now_nsec);
/* 0: there is something left. Else when half of a burst is paid off. */
uint64_t xpa_budget_rests_until(const struct xpa_budget *b, uint64_t now_nsec);

#endif

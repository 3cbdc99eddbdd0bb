/* base/budget.c - see base/budget.h. */
#include "base/budget.h"

#include <stdbool.h>

/* An eighth of one processor, in bursts of 2 ms: 25000 WRITEs a second, or 250 MB/s. Ten streams of
 * 64 frames need 7500; Linux fills a buffer of 256 KiB for 0.2 ms. */
enum { SHARE = 8, BURST_NSEC = 2000000 };
/* What Python answers: 500 a second, 256 in a row. ALSA asks some tens of times at an open. */
enum { SLOW_NSEC = 2000000, SLOW_BURST_NSEC = 256 * SLOW_NSEC };

static void add(uint64_t *due_nsec, uint64_t debt_nsec, uint64_t now_nsec) {
    *due_nsec = (*due_nsec > now_nsec ? *due_nsec : now_nsec) + debt_nsec;
}

void xpa_budget_charge(struct xpa_budget *b, uint64_t work_nsec, bool slow, uint64_t now_nsec) {
    add(&b->work_due_nsec, SHARE * work_nsec, now_nsec);
    if (slow)
        add(&b->slow_due_nsec, SLOW_NSEC, now_nsec);
}

static uint64_t until(uint64_t due_nsec, uint64_t burst_nsec, uint64_t now_nsec) {
    return due_nsec < now_nsec + burst_nsec ? 0 : due_nsec - burst_nsec / 2;
}

uint64_t xpa_budget_rests_until(const struct xpa_budget *b, uint64_t now_nsec) {
    uint64_t work = until(b->work_due_nsec, SHARE * (uint64_t)BURST_NSEC, now_nsec);
    uint64_t slow = until(b->slow_due_nsec, SLOW_BURST_NSEC, now_nsec);
    return work > slow ? work : slow;
}

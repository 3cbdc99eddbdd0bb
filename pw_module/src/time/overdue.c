/* time/overdue.c - see time/overdue.h. */
#include "time/overdue.h"

/* Between the looks, and as much for a new cycle to bring its frames; a quarter of a short lead. */
static const uint64_t MOMENT_NSEC = 1000000;
/* A link may be told of so long before the graph is rebuilt for it: buffers come in between. */
static const uint64_t LATELY_NSEC = 1000000000;
/* By this part of itself the slowest cycle is forgotten in each one: in seconds. */
enum { FORGETS = 1024 };

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

bool xpa_overdue_lately(uint64_t links_nsec, uint64_t started_nsec) {
    return links_nsec + LATELY_NSEC >= started_nsec;
}

void xpa_overdue_start(struct xpa_overdue *o, uint64_t now_nsec, uint32_t returns) {
    o->running = true;
    o->lost = o->answered = false;
    o->returns = returns;
    o->started_nsec = now_nsec;
    o->again_nsec = 0;
}

void xpa_overdue_forget(struct xpa_overdue *o) { o->running = o->lost = false; }

void xpa_overdue_end(struct xpa_overdue *o, uint64_t now_nsec) {
    o->lost = false;
    if (!o->running)
        return;
    o->answered = true;
    if (--o->returns > 0)
        return;
    o->running = false;
    o->slow_nsec -= o->slow_nsec / FORGETS;
    o->slow_nsec = most(o->slow_nsec, now_nsec - o->started_nsec);
}

uint64_t xpa_overdue_look(struct xpa_overdue *o, uint64_t now_nsec, uint64_t lasts_nsec,
                          uint64_t quantum_nsec, uint64_t links_nsec) {
    if (!o->running)
        return 0;
    uint64_t ahead = lasts_nsec > o->started_nsec ? lasts_nsec - o->started_nsec : 0;
    uint64_t moment = least(MOMENT_NSEC, most(ahead, quantum_nsec) / 4);
    uint64_t end_nsec = o->started_nsec + most(2 * quantum_nsec, ahead);
    uint64_t patience = most(ahead > 2 * moment ? ahead - 2 * moment : 0, 2 * o->slow_nsec);
    patience = most(least(patience, most(quantum_nsec, ahead)), moment);
    if (o->again_nsec == 0) {
        if (now_nsec < o->started_nsec + patience)
            return o->started_nsec + patience;
        o->again_nsec = now_nsec + moment;
    }
    if (now_nsec < o->again_nsec)
        return o->again_nsec;
    if (now_nsec < end_nsec && !xpa_overdue_lately(links_nsec, o->started_nsec)) {
        o->again_nsec = least(now_nsec + moment, end_nsec); /* links may be heard of just now */
        return o->again_nsec;
    }
    o->running = false;
    o->lost = !o->answered;
    return 0;
}

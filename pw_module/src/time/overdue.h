/* time/overdue.h - a cycle was started and has not come back: is it late, or lost? Pure.
 *
 * A client that is late loses nothing as long as the lead lasts; a cycle that starts before it is
 * done costs it a quantum. But a cycle may never come back: PipeWire loses the one that runs while
 * it rebuilds the graph, and tells no client. Then, that is when links came or went lately, a cycle
 * is waited for only until frames would be missing soon; longer if cycles took long of late, since
 * a slow client is not a lost one. Otherwise it is waited for as long as frames last, or two quanta
 * if that is longer. PipeWire's own drivers start the next cycle after one quantum, always.
 *
 * It is given up at a second look, a moment after the first: when this machine stood still, clients
 * did so, too, and may be done in that moment.
 */
#ifndef XPA_TIME_OVERDUE_H
#define XPA_TIME_OVERDUE_H

#include <stdbool.h>
#include <stdint.h>

struct xpa_overdue {
    bool running;
    bool lost;        /* the last one was given up, nothing of it came */
    bool answered;    /* process() came for it, but is to come again */
    uint32_t returns; /* so often process() is still to come until it is over */
    uint64_t started_nsec;
    uint64_t slow_nsec;  /* so long a cycle took lately */
    uint64_t again_nsec; /* 0, or when the next look is due after the first */
};

/* Links came or went so shortly before a cycle's start, or since, that it may be lost. */
bool xpa_overdue_lately(uint64_t links_nsec, uint64_t started_nsec);
/* `returns`: so often process() will come until it is over. */
void xpa_overdue_start(struct xpa_overdue *o, uint64_t now_nsec, uint32_t returns);
/* No cycle runs, or none that anybody waits for. */
void xpa_overdue_forget(struct xpa_overdue *o);
/* process() came. */
void xpa_overdue_end(struct xpa_overdue *o, uint64_t now_nsec);
/* When to look again, if nothing comes before. 0: no cycle runs, or it is given up.
 * `lasts_nsec`: until then nothing is missing, even if it does not come back.
 * `links_nsec`: when links came or went last. */
uint64_t xpa_overdue_look(struct xpa_overdue *o, uint64_t now_nsec, uint64_t lasts_nsec,
                          uint64_t quantum_nsec, uint64_t links_nsec);

#endif

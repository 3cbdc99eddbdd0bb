/* node/graph.c - the next cycle's length, the driver's clock, the trigger; see node/graph.h. */
#include <math.h>

#include "node/graph.h"

bool xpa_node_fits(const struct xpa_node_format *graph, const struct xpa_config *stream) {
    return graph->format == stream->format && graph->rate == stream->rate &&
           graph->channels == stream->channels;
}

bool xpa_node_usable(const struct xpa_pw_node *n) {
    const struct xpa_front *f = n->state.front;
    return f && f->stream.open && !f->link.broken &&
           xpa_node_fits(&n->state.format, &f->stream.config);
}

void xpa_node_arm(struct xpa_pw_node *n, uint64_t nsec) {
    if (nsec == n->state.armed_nsec)
        return;
    n->state.armed_nsec = nsec;
    xpa_timer_set(n->timer_source.fd, nsec);
}

static struct xpa_clock_tail *tail(struct spa_io_clock *clock) {
    return (struct xpa_clock_tail *)((char *)&clock->next_nsec + sizeof clock->next_nsec);
}

static struct xpa_quantum quantum(const struct xpa_pw_node *n, uint64_t duration,
                                  struct spa_fraction rate) {
    struct xpa_quantum q = {.duration = duration, .rate = rate};
    uint32_t ours = n->state.rate ? n->state.rate : 48000;
    if (q.duration == 0 || q.rate.denom == 0) {
        q.duration = 1024;
        q.rate = SPA_FRACTION(1, ours);
    }
    q.step_frames = (double)q.duration * ours / q.rate.denom;
    return q;
}

struct xpa_quantum xpa_graph_now(const struct xpa_pw_node *n) {
    return quantum(n, n->io.position->clock.duration, n->io.position->clock.rate);
}

struct xpa_quantum xpa_graph_next(const struct xpa_pw_node *n) {
    const struct xpa_clock_tail *t = tail(&n->io.position->clock);
    if (n->version >= 3068 && t->target_duration && t->target_rate.denom)
        return quantum(n, t->target_duration, t->target_rate);
    return xpa_graph_now(n);
}

uint64_t xpa_graph_nsec(const struct xpa_quantum *q) {
    return q->duration * SPA_NSEC_PER_SEC / q->rate.denom;
}

void xpa_graph_clock(struct xpa_pw_node *n, const struct xpa_quantum *q, uint64_t nsec,
                     uint64_t next_nsec, uint32_t delay_frames, double rate_diff) {
    struct spa_io_clock *clock = &n->io.position->clock;
    clock->nsec = nsec;
    clock->next_nsec = next_nsec;
    clock->rate = q->rate;
    clock->position += clock->duration;
    clock->duration = q->duration;
    clock->delay = llround(delay_frames * (double)q->duration / q->step_frames);
    clock->rate_diff = rate_diff;
    n->cycle.quantum_frames = q->duration;
}

/* Between the graph's rate and ours, or a strange clock and ours. */
static bool resamples(const struct xpa_pw_node *n, const struct xpa_quantum *q) {
    return q->duration != q->step_frames ||
           (n->io.rate_match &&
            SPA_FLAG_IS_SET(n->io.rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE));
}

uint32_t xpa_graph_need(const struct xpa_pw_node *n, const struct xpa_quantum *q) {
    uint32_t asked = n->io.rate_match ? n->io.rate_match->size : 0;
    return xpa_converter_need(&n->cycle.converter, asked, q->step_frames, resamples(n, q));
}

void xpa_graph_converted(struct xpa_pw_node *n, const struct xpa_quantum *q) {
    xpa_converter_ran(&n->cycle.converter, q->step_frames, resamples(n, q));
}

/* What node_ready() of PipeWire's impl-node.c does: up to 0.3.70 the daemon wakes the driver for
 * the cycle before, since 1.1.81 the library runs its process() at once; in between neither. */
enum { RECOVERS_LATER_BEFORE = 3071, RECOVERS_AT_ONCE_SINCE = 1001081 };

bool xpa_graph_recovers(const struct xpa_pw_node *n) {
    return n->version < RECOVERS_LATER_BEFORE || n->version >= RECOVERS_AT_ONCE_SINCE;
}

void xpa_graph_trigger(struct xpa_pw_node *n, const struct xpa_quantum *q, uint64_t now_nsec) {
    uint64_t before = n->cycle.processed;
    n->cycle.triggered_nsec = now_nsec;
    if (n->direction == XPA_CAPTURE) {
        /* what process() will be asked for; it is not called for 0 */
        if (n->io.rate_match)
            n->io.rate_match->size = xpa_graph_need(n, q);
        xpa_graph_converted(n, q);
    }
    uint32_t returns = n->cycle.overdue.lost && n->version < RECOVERS_LATER_BEFORE ? 2 : 1;
    /* Capture: process() comes in here, and nothing tells the end of the cycle. Playback: process()
     * is the end, and may be called in here for the cycle before: see xpa_graph_recovers. */
    pw_stream_trigger_process(n->stream);
    n->cycle.served = n->cycle.processed != before;
    if (n->direction == XPA_PLAYBACK)
        xpa_overdue_start(&n->cycle.overdue, now_nsec, returns);
}

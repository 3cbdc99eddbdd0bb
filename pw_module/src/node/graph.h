/* node/graph.h - what a guest node says to its graph, and when it wakes by itself: what driving and
 * following stand on. Data loop.
 */
#ifndef XPA_NODE_GRAPH_H
#define XPA_NODE_GRAPH_H

#include "node/node.h"

/* Between the graph's change of format and Python's closing and opening the stream is another. */
bool xpa_node_fits(const struct xpa_node_format *graph, const struct xpa_config *stream);
bool xpa_node_usable(const struct xpa_pw_node *n);

/* The node wakes then, at the latest; 0: not by itself. */
void xpa_node_arm(struct xpa_pw_node *n, uint64_t nsec);

/* A cycle, in the graph's terms, and `step_frames` of the stream. */
struct xpa_quantum {
    uint64_t duration;
    struct spa_fraction rate;
    double step_frames;
};

/* The one that runs, and the one to start next. */
struct xpa_quantum xpa_graph_now(const struct xpa_pw_node *n);
struct xpa_quantum xpa_graph_next(const struct xpa_pw_node *n);
uint64_t xpa_graph_nsec(const struct xpa_quantum *q);

/* The driver's clock, from `nsec` to `next_nsec`. Nobody else writes it. */
void xpa_graph_clock(struct xpa_pw_node *n, const struct xpa_quantum *q, uint64_t nsec,
                     uint64_t next_nsec, uint32_t delay_frames, double rate_diff);

/* Capture: frames that PipeWire's converter needs to bring one cycle. */
uint32_t xpa_graph_need(const struct xpa_pw_node *n, const struct xpa_quantum *q);
/* Capture: the converter ran, or runs now, for a cycle of that length. */
void xpa_graph_converted(struct xpa_pw_node *n, const struct xpa_quantum *q);

/* Playback: a trigger first brings the frames of the cycle before, if that is not over. */
bool xpa_graph_recovers(const struct xpa_pw_node *n);
/* Starts the cycle that the clock tells of. */
void xpa_graph_trigger(struct xpa_pw_node *n, const struct xpa_quantum *q, uint64_t now_nsec);

#endif

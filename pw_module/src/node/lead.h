/* node/lead.h - the distance that is kept, and what applications are told of it; data loop. */
#ifndef XPA_NODE_LEAD_H
#define XPA_NODE_LEAD_H

#include "node/node.h"

/* The lead that the host's delay asks for now. */
uint32_t xpa_lead_wanted(const struct xpa_front *f);
void xpa_lead_set(struct xpa_front *f, uint32_t lead_frames);
/* ... and it becomes that at once: while no frames are under way, or the distance is new anyway. */
void xpa_lead_renew(struct xpa_pw_node *n);
/* A cycle was later than the margin. */
void xpa_lead_grow(struct xpa_pw_node *n, uint64_t now_nsec);
/* A cycle is over that needed so much of the margin. One that was not needed for long halves, and
 * what the lead has of it is a surplus. */
void xpa_lead_used(struct xpa_pw_node *n, double frames, uint64_t now_nsec);
/* The driver's next cycle is `step_frames` long: it gives back some of a surplus. */
void xpa_lead_shrink(struct xpa_pw_node *n, double step_frames);
/* What lies between a stream's counter and its position at the start of a cycle of `step_frames`,
 * so that applications were told the truth. Playback: written - position. Capture: position -
 * read, the cycle's own frames among it. */
double xpa_lead_distance(const struct xpa_front *f, double step_frames);
void xpa_lead_tell(struct xpa_front *f);
/* What applications should have been told of this cycle of `frames`, by the clock as it is known
 * now: before they move. One cycle in 16 is looked at. */
void xpa_lead_measure(const struct xpa_pw_node *n, uint32_t frames);
/* Each cycle: what PipeWire's resampler between the graph and this node holds. */
void xpa_lead_note_resampler(struct xpa_pw_node *n);

#endif

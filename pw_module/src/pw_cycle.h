/* pw_cycle.h - between the files that make a guest node's cycles; all on the data loop.
 *
 * pw_cycle.c   the stream's start and end, the audio callback
 * pw_lead.c    the distance that is kept, and what applications are told of it
 * pw_drive.c   this node starts the graph's cycles
 * pw_follow.c  another node does
 */
#ifndef XPA_PW_CYCLE_H
#define XPA_PW_CYCLE_H

#include "pw_node.h"

/* A client that did not finish a cycle for this long is left behind. */
static const uint64_t STUCK_NSEC = 200000000;

static inline bool xpa_node_usable(const struct xpa_pw_node *n) {
    return n->front && n->front->open && !n->front->broken;
}

void xpa_node_arm(struct xpa_pw_node *n, uint64_t nsec);
/* Playback: as much of it as there is room for. */
void xpa_node_silence(struct xpa_front *f, uint64_t frames);

/* --- pw_lead.c --- */

/* The lead that the host's delay asks for now. */
uint32_t xpa_lead_wanted(const struct xpa_front *f);
void xpa_lead_set(struct xpa_front *f, uint32_t lead_frames);
void xpa_lead_grow(struct xpa_pw_node *n);
/* What lies between a stream's counter and its position at the start of a cycle of `step_frames`,
 * so that applications were told the truth. Playback: written - position. Capture: position -
 * read, the cycle's own frames among it. */
double xpa_lead_distance(const struct xpa_front *f, double step_frames);
void xpa_lead_tell(struct xpa_front *f);
/* Each cycle: what PipeWire's resampler between the graph and this node holds. */
void xpa_lead_note_resampler(struct xpa_pw_node *n);

/* --- pw_drive.c --- */

/* Runs the cycle that is due, if one is. True: look again. */
bool xpa_drive(struct xpa_pw_node *n, uint64_t now_nsec);
/* No backend: after a while the graph runs on our own clock, into nothing. */
void xpa_drive_idle(struct xpa_pw_node *n, uint64_t now_nsec);

/* --- pw_follow.c --- */

/* A cycle of another driver. False: its frames must not be passed on. */
bool xpa_follow_playback(struct xpa_pw_node *n);
bool xpa_follow_capture(struct xpa_pw_node *n, uint32_t frames);
void xpa_follow_reset(struct xpa_pw_node *n);

#endif

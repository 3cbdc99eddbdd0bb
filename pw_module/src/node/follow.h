/* node/follow.h - another node starts the graph's cycles; data loop. */
#ifndef XPA_NODE_FOLLOW_H
#define XPA_NODE_FOLLOW_H

#include "node/node.h"

/* A cycle of another driver. False: its frames must not be passed on. */
bool xpa_follow_playback(struct xpa_pw_node *n);
bool xpa_follow_capture(struct xpa_pw_node *n, uint32_t frames);
/* The host holds captured frames longer from now on, or less long: so much less do they wait here,
 * and nobody hears or is told anything. (If nothing of the wait is left, the distance is set anew
 * by the next cycle.) */
void xpa_follow_held(struct xpa_pw_node *n);
void xpa_follow_reset(struct xpa_pw_node *n);

#endif

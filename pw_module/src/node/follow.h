/* node/follow.h - another node starts the graph's cycles; data loop. */
#ifndef XPA_NODE_FOLLOW_H
#define XPA_NODE_FOLLOW_H

#include "node/node.h"

/* A cycle of another driver. False: its frames must not be passed on. */
bool xpa_follow_playback(struct xpa_pw_node *n);
bool xpa_follow_capture(struct xpa_pw_node *n, uint32_t frames);
void xpa_follow_reset(struct xpa_pw_node *n);

#endif

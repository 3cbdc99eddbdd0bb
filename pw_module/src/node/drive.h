/* node/drive.h - this node starts the graph's cycles; data loop. */
#ifndef XPA_NODE_DRIVE_H
#define XPA_NODE_DRIVE_H

#include "node/node.h"

/* Starts the cycle that is due, if one is, and arms for the next. */
void xpa_drive(struct xpa_pw_node *n, uint64_t now_nsec);
/* No backend: after a while the graph runs on our own clock, into nothing. */
void xpa_drive_idle(struct xpa_pw_node *n, uint64_t now_nsec);

#endif

/* ioplug/link.h - a plugin's connection to the frontend. Calls block, for a few seconds at most;
 * the program's thread. */
#ifndef XPA_IOPLUG_LINK_H
#define XPA_IOPLUG_LINK_H

#include <sys/types.h>

#include "abi/abi.h"
#include "pcm/share.h"

/* How long the frontend may take to answer: it waits for the backend meanwhile. */
enum { XPA_LINK_ANSWER_MSEC = 20000 };

struct xpa_link {
    char path[108];
    /* The numbers stay the same over a reconnection, for programs keep them to poll(); -1: none */
    int socket, kick_fd, wake_fd;
    struct xpa_pcm_share *share; /* of what is open */
    uint64_t share_bytes;
};

/* `path` NULL: where the frontend of this user listens, or that of the machine. */
void xpa_link_init(struct xpa_link *link, const char *path);
/* Below: 0 or a negative errno. */
int xpa_link_connect(struct xpa_link *link);
int xpa_link_ask(struct xpa_link *link, const struct xpa_pcm_question *question,
                 struct xpa_pcm_answer *answer);
/* The frontend has closed, or is dead. */
bool xpa_link_lost(const struct xpa_link *link);
void xpa_link_kick(const struct xpa_link *link);
/* poll() on wake_fd is to return; is to wait for what comes. */
void xpa_link_set_awake(const struct xpa_link *link, bool awake);
/* Takes away what is open. */
void xpa_link_unmap(struct xpa_link *link);
void xpa_link_close(struct xpa_link *link);

#endif

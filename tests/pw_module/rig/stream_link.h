/* One stream's shared pages and both ends of its channels, as two domains would have them. */
#ifndef STREAM_LINK_H
#define STREAM_LINK_H

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pages.h"
#include "xen/xen_io.h"

enum { GUEST = 0, HOST = 1 };

struct link {
    union test_page ring_page, event_page;
    struct xpa_channel requests[2], events[2];
};

static inline struct xpa_channel sim_channel(int fd) {
    return (struct xpa_channel){.fd = fd, .kind = XPA_CHANNEL_SIM};
}

static inline struct link *link_new(void) {
    struct link *l = aligned_alloc(TEST_PAGE_BYTES, sizeof *l + (-sizeof *l % TEST_PAGE_BYTES));
    memset(l, 0x5a, sizeof *l);
    struct xpa_channel *pairs[2] = {l->requests, l->events};
    for (int i = 0; i < 2; i++) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
            abort();
        pairs[i][GUEST] = sim_channel(fds[0]);
        pairs[i][HOST] = sim_channel(fds[1]);
    }
    return l;
}

static inline void link_free(struct link *l) {
    for (int i = 0; i < 2; i++) {
        close(l->requests[i].fd);
        close(l->events[i].fd);
    }
    free(l);
}

#endif

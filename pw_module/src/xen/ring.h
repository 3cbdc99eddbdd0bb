/*
 * The two kinds of shared ring of sndif, both ends of each. No thread of their own, no system call.
 *
 * Request ring (one page, 32 slots of 64 bytes): Xen's generic ring of xen/io/ring.h as sndif.h
 * declares it with DEFINE_RING_TYPES(xen_sndif, ...). A response takes the slot of the oldest
 * unanswered request. Event ring (one page, 63 slots of 64 bytes): sndif.h, "Back to front events
 * delivery"; the backend produces, the frontend consumes, there is no hold-off.
 *
 * Threads: one end belongs to one thread at a time; the other end is another domain (or thread).
 * The peer may write anything anywhere in the page at any time, so every index is loaded once,
 * checked against private state, and only then used; slots are copied out before anyone looks.
 * What we published ourselves is remembered privately and never read back from the page.
 * All indices are free-running uint32_t and wrap.
 *
 * Errors: 0 or a count, or a negative errno. -EPROTO: the peer's index cannot be true; nothing was
 * taken and the connection should be given up (calling again is harmless).
 */
#ifndef XPA_XEN_RING_H
#define XPA_XEN_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <xen/io/sndif.h>

enum {
    XPA_RING_SLOTS = 32,                    /* checked against the header in xen/ring.c */
    XPA_EVT_RING_SLOTS = XENSND_IN_RING_LEN /* 63 */
};

/* The frontend's end of a request ring. */
struct xpa_front_ring {
    void *page;
    uint32_t req_prod_pvt; /* requests pushed */
    uint32_t rsp_cons;     /* responses popped */
    uint32_t req_prod_pub; /* requests published: the peer can answer no more than these */
};

/* Take over a fresh page: SHARED_RING_INIT and FRONT_RING_INIT. The slots are zeroed as well, so
 * that nothing of ours leaks to the peer. */
void xpa_front_ring_init(struct xpa_front_ring *r, void *page);
/* The same with all indices starting at index (for tests of the wrap). */
void xpa_front_ring_init_at(struct xpa_front_ring *r, void *page, uint32_t index);
/* Slots that may be pushed now, 0..32. */
uint32_t xpa_front_ring_free(const struct xpa_front_ring *r);
/* Write one request; invisible to the peer until publish. 0 or -ENOSPC. */
int xpa_front_ring_push(struct xpa_front_ring *r, const struct xensnd_req *req);
/* Show all pushed requests. true: the peer must be notified (RING_PUSH_REQUESTS_AND_CHECK_NOTIFY).
 */
bool xpa_front_ring_publish(struct xpa_front_ring *r);
/* Copy the next response out: 1 copied, 0 none, -EPROTO more responses than published requests. */
int xpa_front_ring_pop(struct xpa_front_ring *r, struct xensnd_resp *out);
/* Ask to be notified when `after` (>= 1) more responses have come: RING_FINAL_CHECK_FOR_RESPONSES.
 * true: responses are there already, pop them first, then rearm again. With `after` above the
 * number of unanswered requests no notification can ever come. */
bool xpa_front_ring_rearm(struct xpa_front_ring *r, uint32_t after);

/* The backend's end of a request ring. */
struct xpa_back_ring {
    void *page;
    uint32_t req_cons;     /* requests popped */
    uint32_t rsp_prod_pvt; /* responses pushed; req_cons - rsp_prod_pvt requests are unanswered */
    uint32_t rsp_prod_pub; /* responses published */
};

/* Attach to a page that the frontend has initialised; indices from 0. Writes nothing. */
void xpa_back_ring_init(struct xpa_back_ring *r, void *page);
void xpa_back_ring_init_at(struct xpa_back_ring *r, void *page, uint32_t index);
/* Requests popped and not answered by push yet, 0..32. */
uint32_t xpa_back_ring_unanswered(const struct xpa_back_ring *r);
/* Copy the next request out: 1 copied, 0 none, -EPROTO the peer's index is behind what was popped
 * or would leave more than 32 requests unanswered (RING_REQUEST_PROD_OVERFLOW and more). */
int xpa_back_ring_pop(struct xpa_back_ring *r, struct xensnd_req *out);
/* Answer the oldest unanswered request; invisible until publish. 0, or -EINVAL when there is no
 * unanswered request (our bug, not the peer's). */
int xpa_back_ring_push(struct xpa_back_ring *r, const struct xensnd_resp *resp);
/* Show all pushed responses. true: notify (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY). */
bool xpa_back_ring_publish(struct xpa_back_ring *r);
/* As xpa_front_ring_rearm, for requests: RING_FINAL_CHECK_FOR_REQUESTS. */
bool xpa_back_ring_rearm(struct xpa_back_ring *r, uint32_t after);

/* Either end of an event ring; each end owns one index and checks the other's. */
struct xpa_evt_ring {
    void *page;
    uint32_t in_prod; /* backend: events put */
    uint32_t in_cons; /* frontend: events popped */
};

/* Frontend: zero the page and start at 0 (init_front_at: at index, for tests). */
void xpa_evt_ring_init_front(struct xpa_evt_ring *r, void *page);
void xpa_evt_ring_init_front_at(struct xpa_evt_ring *r, void *page, uint32_t index);
/* Backend: attach to a page that the frontend has zeroed, and say so with our own index. References
 * may be those of rings that the guest has just made anew (packaging/doc/peers.md): what was mapped
 * as a request ring was then this page, and our req_event lies where in_prod does. Linux since 7.2
 * takes in_prod as where it reads on. */
void xpa_evt_ring_init_back(struct xpa_evt_ring *r, void *page);
void xpa_evt_ring_init_back_at(struct xpa_evt_ring *r, void *page, uint32_t index);
/* Backend: queue one event and show it. The peer is to be notified after each success. 0, -ENOSPC
 * the frontend has not acknowledged enough (keep the event's id for the next one), -EPROTO. */
int xpa_evt_ring_put(struct xpa_evt_ring *r, const struct xensnd_evt *evt);
/* The same for `count` events in a row, shown at once: all of them or none. */
int xpa_evt_ring_put_all(struct xpa_evt_ring *r, const struct xensnd_evt *evts, uint32_t count);
/* Backend: whether the frontend looks at the page by itself and is not to be notified of positions
 * (position-extension.md): to be asked after a put. Whatever the frontend has written there, it
 * only decides about that. */
bool xpa_evt_ring_polled(const struct xpa_evt_ring *r);
/* Backend: the guest's buffer holds captured frames up to this one, modulo 2^32. */
void xpa_evt_ring_set_filled(struct xpa_evt_ring *r, uint32_t frames);
/* Backend: whether the byte that a frontend with the liveness extension keeps set is set. */
bool xpa_evt_ring_front_lives(const struct xpa_evt_ring *r);
/* Frontend: copy the next event out: 1 copied, 0 none, -EPROTO more than 63 events unread. */
int xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out);
/* Frontend: says whether it looks by itself. True: there are events already, of which nobody may
 * tell it any more. */
bool xpa_evt_ring_set_polled(struct xpa_evt_ring *r, bool polled);
/* Frontend: what the backend says of the buffer. */
uint32_t xpa_evt_ring_filled(const struct xpa_evt_ring *r);
/* Frontend: give the slots of all popped events back. */
void xpa_evt_ring_ack(struct xpa_evt_ring *r);

#endif

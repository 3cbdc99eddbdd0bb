/*
 * What fuzz_requests.c knows of a backend stream: which requests it has taken and not answered, and
 * what they may cost. It stands before the two functions by which a request is taken and answered,
 * and there the guest may also do something in between.
 */
#ifndef REQUESTS_MODEL_H
#define REQUESTS_MODEL_H

#include "back/back.h"
#include "fuzz.h"

/* --- the model: what was taken and not answered --- */

struct asked {
    uint16_t id;
    uint8_t operation;
};

static struct world {
    struct xpa_plane *plane;
    struct link *link; /* its channels; the pages are by themselves */
    void *ring_page, *event_page;
    struct xpa_back *back;
    int direction;
    uint32_t guest_prod; /* what a guest that counts right has published */
    /* requests */
    struct asked asked[64];
    uint32_t taken, answered;
    uint64_t transfers, work_nsec, most_work_nsec, begin_nsec;
    struct record meanwhile; /* what the guest does just after the next request was taken */
    bool is_meanwhile;
    uint32_t refills; /* how often another thread of the guest's puts the last request in again */
    struct xensnd_req last;
    /* Python */
    bool asleep, open, ended;
    uint32_t notices[8], slow;
    uint8_t *buffers[64]; /* lent until RELEASED, the oldest first; the last is open */
    uint32_t buffers_begin, buffers_end;
    uint8_t *buffer;
    struct xpa_config config;
} w;

int __wrap_xpa_back_ring_pop(struct xpa_back_ring *r, struct xensnd_req *out);
int __real_xpa_back_ring_pop(struct xpa_back_ring *r, struct xensnd_req *out);
int __wrap_xpa_back_ring_push(struct xpa_back_ring *r, const struct xensnd_resp *response);
int __real_xpa_back_ring_push(struct xpa_back_ring *r, const struct xensnd_resp *response);

static void charge(const struct xensnd_req *request) {
    uint64_t work = XPA_REQUEST_WORK_NSEC;
    bool transfer = request->operation == XENSND_OP_READ || request->operation == XENSND_OP_WRITE;
    const struct xpa_back_stream *s = &w.back->stream;
    if (transfer && s->open) {
        uint64_t most = (uint64_t)s->config.buffer_frames * s->frame_bytes;
        uint64_t bytes = request->op.rw.length < most ? request->op.rw.length : most;
        work += bytes / XPA_WORK_BYTES_PER_NSEC;
    }
    w.transfers += transfer;
    w.slow += !transfer && request->operation != XENSND_OP_TRIGGER;
    w.work_nsec += work;
    if (work > w.most_work_nsec)
        w.most_work_nsec = work;
    /* an eighth of the time, a burst of 2 ms, and the request that ends it */
    uint64_t may_nsec = (sim_now - w.begin_nsec) / 8 + 2000000 + w.most_work_nsec;
    HOLDS(w.work_nsec <= may_nsec, "%llu ns of work in a time for %llu",
          (unsigned long long)w.work_nsec, (unsigned long long)may_nsec);
}

int __wrap_xpa_back_ring_pop(struct xpa_back_ring *r, struct xensnd_req *out) {
    uint32_t prod = ((struct xen_sndif_sring *)r->page)->req_prod;
    int got = __real_xpa_back_ring_pop(r, out);
    if (got != 1)
        return got;
    HOLDS(r->req_cons == w.taken + 1, "request %u taken after %u", r->req_cons, w.taken);
    HOLDS(prod - w.taken - 1 < XPA_RING_SLOTS, "%u requests at once", prod - w.taken);
    HOLDS(w.taken - w.answered < XPA_RING_SLOTS, "%u unanswered", w.taken - w.answered + 1);
    w.asked[w.taken++ % 64] = (struct asked){out->id, out->operation};
    charge(out);
    if (w.is_meanwhile) {
        w.is_meanwhile = false;
        struct xen_sndif_sring *ring = w.ring_page;
        memset(&ring->ring[(w.taken - 1) % XPA_RING_SLOTS], w.meanwhile.how, 64);
        if (w.meanwhile.small & 1)
            ring->req_prod += w.meanwhile.number;
    }
    return got;
}

static void guest_publish(const struct xensnd_req *request) {
    struct xen_sndif_sring *ring = w.ring_page;
    w.last = *request;
    memcpy(&ring->ring[w.guest_prod % XPA_RING_SLOTS], request, sizeof *request);
    ring->req_prod = ++w.guest_prod;
}

int __wrap_xpa_back_ring_push(struct xpa_back_ring *r, const struct xensnd_resp *response) {
    HOLDS(w.answered != w.taken, "an answer to nothing");
    const struct asked *a = &w.asked[w.answered++ % 64];
    HOLDS(a->id == response->id && a->operation == response->operation,
          "request %u (operation %u) is answered as %u (%u)", a->id, a->operation, response->id,
          response->operation);
    int result = __real_xpa_back_ring_push(r, response);
    if (w.refills > 0 && w.guest_prod - w.answered < XPA_RING_SLOTS) {
        w.refills--;
        guest_publish(&w.last);
    }
    return result;
}

#endif

/* back/requests.c - the request ring of one stream, backend side; see back/back.h.
 *
 * The data loop answers WRITE, READ and TRIGGER itself, at once and after the copy. Everything
 * else goes to Python as a notice; the ring then rests until Python has answered, so a guest sees
 * its requests carried out in the order in which it made them. Nothing here ends the stream: what
 * the guest did wrong is returned.
 */
#include "back/back.h"

#include <errno.h>
#include <string.h>

/* `insist`: notify even if the guest asked for no notification. Linux's driver looks at no answer
 * while its stream is closed, and then never asks again: one answer that came too late would leave
 * it deaf until it is connected anew. The first request of an open is a query, answered so. */
static int respond(struct xpa_back *b, const struct xensnd_resp *response, bool insist) {
    if (xpa_back_ring_push(&b->link.ring, response) < 0)
        return -EPROTO;
    if (xpa_back_ring_publish(&b->link.ring) || insist)
        xpa_channel_notify(&b->request_channel);
    return 0;
}

int xpa_back_answer(struct xpa_back *b, const struct xensnd_req *request, int status) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.id = request->id;
    response.operation = request->operation;
    response.status = status; /* Linux's errno values are Xen's XEN_E* (xen/errno.h) */
    return respond(b, &response, false);
}

/* A guest can START and STOP as fast as it likes, and each is a notice: the next one waits until
 * Python has read the last, or one guest could fill the queue that all streams share. */
static bool must_hold(struct xpa_back *b) {
    if (b->link.trigger_unread && xpa_plane_noticed(b->plane, b->link.trigger_ticket))
        b->link.trigger_unread = false;
    return b->link.trigger_unread;
}

static int serve_trigger(struct xpa_back *b, const struct xensnd_req *request) {
    if (must_hold(b)) {
        b->link.held = *request;
        b->link.holding = b->link.waiting = true;
        xpa_back_schedule(b, xpa_now_nsec());
        return 0;
    }
    bool was_running = b->stream.running;
    int status, result = xpa_back_trigger(b, request->op.trigger.type, &status);
    if (b->stream.running && !was_running) { /* answered when the host runs: see host_start.c */
        b->link.held = *request;
        b->link.starting = b->link.waiting = true;
        b->link.start_until_nsec = 0;
        return result;
    }
    int answered = xpa_back_answer(b, request, status);
    return result < 0 ? result : answered;
}

/* A paused stream that is written from the buffer's start was prepared anew. Linux's driver sends
 * PAUSE when the guest is suspended and never RESUME; ALSA then counts from 0 and tells nobody. */
static int serve_write(struct xpa_back *b, const struct xensnd_req *request) {
    uint32_t offset_bytes = request->op.rw.offset, length_bytes = request->op.rw.length;
    int result = 0;
    if (xpa_back_prepared_anew(b, offset_bytes, length_bytes))
        result = xpa_back_stop(b);
    int answered = xpa_back_answer(b, request, xpa_back_write(b, offset_bytes, length_bytes));
    return result < 0 ? result : answered;
}

static int serve(struct xpa_back *b, const struct xensnd_req *request) {
    switch (request->operation) {
    case XENSND_OP_WRITE:
        b->stats.transfers++;
        return serve_write(b, request);
    case XENSND_OP_READ:
        b->stats.transfers++;
        return xpa_back_answer(b, request,
                               xpa_back_read(b, request->op.rw.offset, request->op.rw.length));
    case XENSND_OP_TRIGGER:
        return serve_trigger(b, request);
    default: /* also what no version of the protocol knows: Python says so */
        b->link.waiting = true;
        xpa_plane_notify(b->plane, XPA_NOTICE_REQUEST, b->id, 0, request);
        return 0;
    }
}

/* Its channels are not looked at meanwhile either: to be woken costs as much as a request. */
static void rest(struct xpa_back *b, uint64_t until_nsec, uint64_t now_nsec) {
    xpa_loop_remove(&b->plane->loop, &b->request_source);
    xpa_loop_remove(&b->plane->loop, &b->event_source);
    b->link.rests_until_nsec = until_nsec;
    b->stats.rests++;
    xpa_back_schedule(b, now_nsec);
}

static int wake(struct xpa_back *b) {
    b->link.rests_until_nsec = 0;
    int result = xpa_loop_add(&b->plane->loop, &b->request_source);
    return result < 0 ? result : xpa_loop_add(&b->plane->loop, &b->event_source);
}

/* Whether the guest must wait now, with what it has asked for in its ring. */
static bool rests(struct xpa_back *b, uint64_t now_nsec) {
    uint64_t until_nsec = xpa_budget_rests_until(b->link.budget, now_nsec);
    if (until_nsec == 0)
        return false;
    rest(b, until_nsec, now_nsec);
    return true;
}

bool xpa_back_may_wake(struct xpa_back *b, uint64_t now_nsec) {
    xpa_budget_charge(b->link.budget, XPA_WAKE_WORK_NSEC, false, now_nsec);
    return b->link.rests_until_nsec == 0 && !rests(b, now_nsec);
}

static void charge(struct xpa_back *b, const struct xensnd_req *request, uint64_t now_nsec) {
    uint8_t operation = request->operation;
    bool transfer = operation == XENSND_OP_WRITE || operation == XENSND_OP_READ;
    uint64_t work_nsec = XPA_REQUEST_WORK_NSEC;
    if (transfer && b->stream.open) { /* more than the buffer is refused, not copied */
        uint64_t most = (uint64_t)b->stream.config.buffer_frames * b->stream.frame_bytes;
        uint64_t bytes = request->op.rw.length < most ? request->op.rw.length : most;
        work_nsec += bytes / XPA_WORK_BYTES_PER_NSEC;
    }
    xpa_budget_charge(b->link.budget, work_nsec, !transfer, now_nsec);
}

/* Notified after so many transfers at the latest; half of the ring, so that the rest is free. */
enum { QUIET_REQUESTS = XPA_RING_SLOTS / 2 };

/* A host that takes frames looks at the ring first, so no WRITE needs to wake us for that: it costs
 * the guest a hypercall and us a wake-up in every cycle. Only for a frontend that notifies us of
 * everything else without being asked (position-extension.md): any other one waits for answers. */
static uint32_t next_wake(const struct xpa_back *b) {
    bool taken_by_host = b->direction == XPA_PLAYBACK && b->stream.running && !b->stream.paused;
    return b->position_ext && taken_by_host ? QUIET_REQUESTS : 1;
}

int xpa_back_serve(struct xpa_back *b, uint64_t now_nsec) {
    struct xensnd_req request;
    int result = 0;
    if (now_nsec < b->link.rests_until_nsec)
        return 0;
    if (b->link.rests_until_nsec)
        result = wake(b);
    if (result < 0 || rests(b, now_nsec))
        return result;
    if (b->link.holding && !must_hold(b)) {
        b->link.holding = b->link.waiting = false;
        result = serve(b, &b->link.held);
    }
    do {
        while (result == 0 && !b->link.waiting) {
            int got = xpa_back_ring_pop(&b->link.ring, &request);
            if (got <= 0) {
                result = got;
                break;
            }
            charge(b, &request, now_nsec);
            result = serve(b, &request);
            if (result == 0 && rests(b, now_nsec))
                return 0;
        }
    } while (result == 0 && !b->link.waiting && xpa_back_ring_rearm(&b->link.ring, next_wake(b)));
    return result;
}

int xpa_back_pass_answer(struct xpa_back *b, const struct xensnd_resp *response) {
    b->link.waiting = false;
    return respond(b, response, true);
}

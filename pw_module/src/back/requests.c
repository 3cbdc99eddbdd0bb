/* back/requests.c - the request ring of one stream, backend side; see back/back.h.
 *
 * The data loop answers WRITE, READ and TRIGGER itself, at once and after the copy. Everything
 * else goes to Python as a notice; the ring then rests until Python has answered, so a guest sees
 * its requests carried out in the order in which it made them.
 */
#include "back/back.h"

#include <errno.h>
#include <string.h>

void xpa_back_tell_host(struct xpa_back *b, bool running) {
    b->trigger_ticket = xpa_plane_notify(b->plane, XPA_NOTICE_TRIGGER, b->id, running, NULL);
    b->trigger_unread = true;
}

/* `insist`: notify even if the guest asked for no notification. Linux's driver looks at no answer
 * while its stream is closed, and then never asks again: one answer that came too late would leave
 * it deaf until it is connected anew. The first request of an open is a query, answered so. */
static void respond(struct xpa_back *b, const struct xensnd_resp *response, bool insist) {
    if (xpa_back_ring_push(&b->ring, response) < 0) {
        xpa_back_break(b, -EPROTO);
        return;
    }
    if (xpa_back_ring_publish(&b->ring) || insist)
        xpa_channel_notify(&b->request_channel);
}

void xpa_back_answer(struct xpa_back *b, const struct xensnd_req *request, int status) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.id = request->id;
    response.operation = request->operation;
    response.status = status; /* Linux's errno values are Xen's XEN_E* (xen/errno.h) */
    respond(b, &response, false);
}

/* The rules are BACKEND_PCM's in sndif/stream_rules.py, whose test compares the two. */
static int trigger(struct xpa_back *b, uint8_t type) {
    if (type > XENSND_OP_TRIGGER_RESUME)
        return -EINVAL;
    if (!b->open)
        return -EIO;
    switch (type) {
    case XENSND_OP_TRIGGER_START:
        if (b->running && !b->paused)
            return 0;
        if (b->running && b->direction == XPA_PLAYBACK)
            break;
        if (b->running) /* after a guest's suspend, see xpa_back_write */
            xpa_back_stop(b);
        xpa_back_start(b);
        xpa_back_tell_host(b, true);
        return 0;
    case XENSND_OP_TRIGGER_STOP:
        if (!b->running)
            return 0;
        xpa_back_stop(b);
        xpa_back_tell_host(b, false);
        return 0;
    case XENSND_OP_TRIGGER_PAUSE:
        if (!b->running)
            return -EINVAL;
        b->paused = true;
        xpa_back_schedule(b, xpa_now_nsec());
        return 0;
    case XENSND_OP_TRIGGER_RESUME:
        if (!b->running)
            return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    b->paused = false;
    xpa_back_schedule(b, xpa_now_nsec());
    return 0;
}

/* A guest can START and STOP as fast as it likes, and each is a notice: the next one waits until
 * Python has read the last, or one guest could fill the queue that all streams share. */
static bool must_hold(struct xpa_back *b) {
    if (b->trigger_unread && xpa_plane_noticed(b->plane, b->trigger_ticket))
        b->trigger_unread = false;
    return b->trigger_unread;
}

static void serve_trigger(struct xpa_back *b, const struct xensnd_req *request) {
    if (must_hold(b)) {
        b->held = *request;
        b->holding = b->waiting = true;
        xpa_back_schedule(b, xpa_now_nsec());
        return;
    }
    bool was_running = b->running;
    int status = trigger(b, request->op.trigger.type);
    if (b->running && !was_running && xpa_back_must_await_host(b, xpa_now_nsec()))
        xpa_back_await_host(b, request, xpa_now_nsec());
    else
        xpa_back_answer(b, request, status);
}

static void serve(struct xpa_back *b, const struct xensnd_req *request) {
    switch (request->operation) {
    case XENSND_OP_WRITE:
        b->stats.transfers++;
        xpa_back_answer(b, request,
                        xpa_back_write(b, request->op.rw.offset, request->op.rw.length));
        break;
    case XENSND_OP_READ:
        b->stats.transfers++;
        xpa_back_answer(b, request, xpa_back_read(b, request->op.rw.offset, request->op.rw.length));
        break;
    case XENSND_OP_TRIGGER:
        serve_trigger(b, request);
        break;
    default: /* also what no version of the protocol knows: Python says so */
        b->waiting = true;
        xpa_plane_notify(b->plane, XPA_NOTICE_REQUEST, b->id, 0, request);
    }
}

/* Notified after so many transfers at the latest; half of the ring, so that the rest is free. */
enum { QUIET_REQUESTS = XPA_RING_SLOTS / 2 };

/* A host that takes frames looks at the ring first, so no WRITE needs to wake us for that: it costs
 * the guest a hypercall and us a wake-up in every cycle. Only for a frontend that notifies us of
 * everything else without being asked (position-extension.md): any other one waits for answers. */
static uint32_t next_wake(const struct xpa_back *b) {
    bool taken_by_host = b->direction == XPA_PLAYBACK && b->running && !b->paused;
    return b->position_ext && taken_by_host ? QUIET_REQUESTS : 1;
}

/* Carries out what the guest has queued; also called by host outputs just before they take. */
void xpa_back_collect(struct xpa_back *b) {
    struct xensnd_req request;
    if (b->broken || !b->attached)
        return;
    if (b->holding && !must_hold(b)) {
        b->holding = b->waiting = false;
        serve(b, &b->held);
    }
    do {
        while (!b->waiting && !b->broken) {
            int got = xpa_back_ring_pop(&b->ring, &request);
            if (got < 0) {
                xpa_back_break(b, got);
                return;
            }
            if (got == 0)
                break;
            serve(b, &request);
        }
    } while (!b->waiting && !b->broken && xpa_back_ring_rearm(&b->ring, next_wake(b)));
}

void xpa_back_pass_answer(struct xpa_back *b, const struct xensnd_resp *response) {
    b->waiting = false;
    respond(b, response, true);
    xpa_back_collect(b);
}

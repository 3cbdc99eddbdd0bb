/* front/requests.c - the request ring of one stream, frontend side; see front/front.h. */
#include "front/front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Answers to transfers are read at the next cycle: no wake-up of their own for playback. */
enum { QUIET_ANSWERS = 24 };

/* Slots of the ring that transfers leave for triggers and for Python's request. */
enum { RESERVED_SLOTS = 4 };

/* How often the way to the backend and back is timed. */
static const uint64_t TRANSPORT_NSEC = 250000000;

static uint32_t all_slots(const struct xpa_front *f) {
    uint32_t used = f->link.transfers_end - f->link.transfers_begin;
    uint32_t slots = xpa_front_ring_free(&f->link.ring);
    uint32_t free_transfers = XPA_TRANSFERS - used;
    return slots < free_transfers ? slots : free_transfers;
}

uint32_t xpa_front_slots(const struct xpa_front *f) {
    uint32_t slots = all_slots(f);
    return slots > RESERVED_SLOTS ? slots - RESERVED_SLOTS : 0;
}

/* What somebody waits for: the backend may have asked to be left alone until it looks by itself,
 * which is soon enough for transfers only (back/requests.c, next_wake). */
static void flush_urgent(struct xpa_front *f) {
    xpa_front_ring_publish(&f->link.ring);
    xpa_channel_notify(&f->request_channel);
}

/* Four times a second the newest transfer's way there and back is timed: its answer wakes us. Not
 * while nothing else does: the way is taken off the arrival of events. */
static bool begin_timing(struct xpa_front *f) {
    if (f->link.transfers_end == f->link.transfers_begin || f->link.polls)
        return false;
    struct xpa_transfer *newest = &f->link.transfers[(f->link.transfers_end - 1) % XPA_TRANSFERS];
    if (newest->sent_nsec - f->link.timed_nsec < TRANSPORT_NSEC)
        return false;
    /* nothing was sent just now: the newest one is old */
    if (newest->timed || newest->answered || newest->operation == XENSND_OP_TRIGGER)
        return false;
    f->link.timed_nsec = newest->sent_nsec;
    newest->timed = true;
    f->link.awaited++;
    return true;
}

void xpa_front_flush(struct xpa_front *f) {
    if (begin_timing(f)) {
        flush_urgent(f);
        xpa_front_ring_rearm(&f->link.ring, 1);
    } else if (xpa_front_ring_publish(&f->link.ring)) {
        xpa_channel_notify(&f->request_channel);
    }
}

bool xpa_front_hurry(struct xpa_front *f) {
    flush_urgent(f);
    return xpa_front_ring_rearm(&f->link.ring, 1);
}

static struct xpa_transfer *remember(struct xpa_front *f, uint8_t operation, uint32_t frames) {
    struct xpa_transfer *t = &f->link.transfers[f->link.transfers_end++ % XPA_TRANSFERS];
    *t = (struct xpa_transfer){.id = f->link.next_id++, .operation = operation, .frames = frames};
    t->sent_nsec = xpa_now_nsec();
    f->link.pending_frames += frames;
    return t;
}

bool xpa_front_transfer(struct xpa_front *f, uint8_t operation, uint32_t offset_bytes,
                        uint32_t length_bytes, uint32_t frames) {
    struct xensnd_req request;
    if (f->link.broken || xpa_front_slots(f) == 0)
        return false;
    memset(&request, 0, sizeof request);
    request.id = remember(f, operation, frames)->id;
    request.operation = operation;
    request.op.rw.offset = offset_bytes;
    request.op.rw.length = length_bytes;
    xpa_front_ring_push(&f->link.ring, &request);
    f->stats.transfers++;
    return true;
}

int xpa_front_send_trigger(struct xpa_front *f, uint8_t type) {
    struct xensnd_req request;
    if (all_slots(f) == 0) /* 32 requests unanswered: the backend stands still */
        return -ETIMEDOUT;
    memset(&request, 0, sizeof request);
    struct xpa_transfer *t = remember(f, XENSND_OP_TRIGGER, 0);
    t->trigger = type;
    f->link.awaited++;
    request.id = t->id;
    request.operation = XENSND_OP_TRIGGER;
    request.op.trigger.type = type;
    xpa_front_ring_push(&f->link.ring, &request);
    flush_urgent(f);
    return 0;
}

int xpa_front_send_request(struct xpa_front *f, struct xensnd_req *request) {
    request->id = f->link.slow_id = f->link.next_id++;
    f->link.slow_pending = true;
    if (xpa_front_ring_push(&f->link.ring, request) < 0)
        return -ETIMEDOUT;
    flush_urgent(f);
    return 0;
}

/* --- what the backend says --- */

/* 1: the answer to STOP was among those that are done with. */
static int finish(struct xpa_front *f) {
    int stopped = 0;
    while (f->link.transfers_begin != f->link.transfers_end &&
           f->link.transfers[f->link.transfers_begin % XPA_TRANSFERS].answered) {
        const struct xpa_transfer *t =
            &f->link.transfers[f->link.transfers_begin++ % XPA_TRANSFERS];
        f->link.pending_frames -= t->frames;
        if (t->operation == XENSND_OP_TRIGGER && t->trigger == XENSND_OP_TRIGGER_STOP)
            stopped = 1;
    }
    return stopped;
}

/* What the host changed before the backend carried this out, Python hears of before: it would else
 * take an older volume for the newer one. */
static int pass_answer(struct xpa_front *f, const struct xensnd_resp *response, uint64_t now_nsec) {
    f->link.slow_pending = false;
    int result = f->volume_ext ? xpa_front_read_events(f, now_nsec, false) : 0;
    xpa_plane_notify(f->plane, XPA_NOTICE_RESPONSE, f->id, 0, response);
    return result;
}

static int on_answer(struct xpa_front *f, const struct xensnd_resp *response, uint64_t now_nsec) {
    if (f->control.frames > 0 && response->id == f->control.id)
        f->control.frames = 0;
    if (f->link.slow_pending && response->id == f->link.slow_id)
        return pass_answer(f, response, now_nsec);
    for (uint32_t i = f->link.transfers_begin; i != f->link.transfers_end; i++) {
        struct xpa_transfer *t = &f->link.transfers[i % XPA_TRANSFERS];
        if (t->id != response->id || t->answered)
            continue;
        t->answered = true;
        f->link.awaited -= t->timed || t->operation == XENSND_OP_TRIGGER;
        if (t->timed)
            xpa_transport_add(&f->link.peer->transport, now_nsec - t->sent_nsec);
        if (response->status != 0) {
            f->stats.dropped_frames += t->frames;
            if (t->operation == XENSND_OP_TRIGGER)
                return response->status < 0 ? response->status : -EIO;
        }
        break;
    } /* an id that we do not know answers a request given up: nothing waits for it */
    return finish(f);
}

int xpa_front_answers(struct xpa_front *f, uint64_t now_nsec) {
    struct xensnd_resp response;
    int happened = 0;
    uint32_t after;
    do {
        int got;
        while ((got = xpa_front_ring_pop(&f->link.ring, &response)) > 0) {
            int result = on_answer(f, &response, now_nsec);
            if (result < 0)
                return result;
            happened |= result;
        }
        if (got < 0)
            return got;
        /* A backend with our extension answers when its host takes. One without answers at once:
         * what is unanswered even now, a cycle later, somebody waits for. */
        bool late = !f->position_ext && f->link.transfers_begin != f->link.transfers_end;
        bool wake =
            f->link.slow_pending || f->link.awaited > 0 || late || f->direction == XPA_CAPTURE;
        after = wake ? 1 : QUIET_ANSWERS;
    } while (xpa_front_ring_rearm(&f->link.ring, after));
    return happened;
}

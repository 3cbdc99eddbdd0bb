/* stream_back.c - the request ring of one stream, backend side; see stream_back.h.
 *
 * The data loop answers WRITE, READ and TRIGGER itself, at once and after the copy. Everything
 * else goes to Python as a notice; the ring then rests until Python has answered, so a guest sees
 * its requests carried out in the order in which it made them.
 */
#include "stream_back.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void detach_sources(struct xpa_back *b) {
    struct xpa_loop *loop = &b->plane->loop;
    if (!b->attached)
        return;
    xpa_loop_remove(loop, &b->request_source);
    xpa_loop_remove(loop, &b->event_source);
    xpa_loop_remove(loop, &b->timer_source);
    xpa_back_end_trouble(b);
    b->attached = false;
}

static void trigger_host(struct xpa_back *b, bool running) {
    b->trigger_ticket = xpa_plane_notify(b->plane, XPA_NOTICE_TRIGGER, b->id, running, NULL);
    b->trigger_unread = true;
}

/* The peer broke the protocol or went away: it loses this stream, nobody else notices. */
void xpa_back_break(struct xpa_back *b, int reason) {
    if (b->broken)
        return;
    b->broken = true;
    if (b->open && b->running)
        xpa_back_stop(b);
    detach_sources(b);
    xpa_plane_notify(b->plane, XPA_NOTICE_BROKEN, b->id, reason, NULL);
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

/* The rules are BACKEND_PCM's in pcm.py, whose test compares the two. */
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
        trigger_host(b, true);
        return 0;
    case XENSND_OP_TRIGGER_STOP:
        if (!b->running)
            return 0;
        xpa_back_stop(b);
        trigger_host(b, false);
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

static void on_request(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    int result = xpa_channel_ack(&b->request_channel);
    if (result < 0 && result != -EAGAIN) {
        xpa_back_break(b, result);
        return;
    }
    xpa_back_collect(b);
}

/* The guest may confirm events: nothing to do but to unmask the channel. Or its kernel says that
 * the frontend has died. */
static void on_event_channel(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    int result = xpa_channel_ack(&b->event_channel);
    if (result < 0 && result != -EAGAIN)
        xpa_back_break(b, result);
    else if (b->watches && !xpa_evt_ring_front_lives(&b->event_ring))
        xpa_back_break(b, -ENOTCONN);
}

static void on_timer(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    xpa_timer_ack(source->fd);
    bool held = b->holding;
    xpa_back_collect(b); /* what lies in the ring is delivered: no position may call it missing */
    xpa_back_position_timer(b, xpa_now_nsec());
    xpa_back_end_start(b, false, xpa_now_nsec());
    if (held)
        xpa_back_schedule(b, xpa_now_nsec());
}

/* --- commands, carried out on the data loop --- */

static void do_attach(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xpa_loop *loop = &b->plane->loop;
    xpa_back_ring_init(&b->ring, b->ring_page);
    xpa_evt_ring_init_back(&b->event_ring, b->event_page);
    int result = xpa_loop_add(loop, &b->request_source);
    if (result == 0)
        result = xpa_loop_add(loop, &b->event_source);
    if (result == 0)
        result = xpa_loop_add(loop, &b->timer_source);
    b->attached = true; /* also when one failed: remove() of what is not in does nothing */
    /* The node that made us watch may be a killed predecessor's. */
    b->watches = b->watches && xpa_evt_ring_front_lives(&b->event_ring);
    if (result < 0)
        xpa_back_break(b, result);
    else
        xpa_back_collect(b); /* requests may have come before we listened */
}

static void release_store(struct xpa_back *b) {
    b->open = b->running = b->paused = false;
    b->timeline.valid = false;
    b->armed_nsec = 0;
    xpa_timer_set(b->timer_fd, 0);
    if (b->holding || b->starting)
        xpa_back_schedule(b, xpa_now_nsec());
    /* Python has freed the last one, unless it opened again without waiting for RELEASED */
    free(atomic_exchange(&b->retired_store, b->store));
    b->store = NULL;
}

static void do_close(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    bool was_running = b->running;
    if (b->open)
        release_store(b);
    if (was_running)
        trigger_host(b, false);
    xpa_plane_notify(b->plane, XPA_NOTICE_RELEASED, b->id, 0, NULL);
}

static void do_detach(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    detach_sources(b);
    if (b->open)
        release_store(b);
    b->broken = true;
    xpa_plane_notify(b->plane, XPA_NOTICE_DETACHED, b->id, 0, NULL);
}

struct opening {
    struct xpa_config config;
    uint8_t *store;
    uint32_t store_frames;
};

static void do_open(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct opening *o = command->arg.pointer;
    if (b->open)
        release_store(b);
    b->config = o->config;
    b->store = o->store;
    b->store_frames = o->store_frames;
    free(o); /* the one allocation that changes hands; no audio runs on this stream yet */
    b->frame_bytes = b->config.channels * b->config.sample_bytes;
    b->written_frames = b->taken_frames = b->host_frames = b->reported_frames = 0;
    b->late_frames = b->stopped_frames = 0;
    b->next_offset_frames = 0;
    b->timeline.valid = false;
    b->running = b->paused = false;
    b->hold_nsec = b->hold_frames = 0;
    b->host_seen_nsec = 0;
    b->stats.delay_frames = 0;
    b->stats.written_frames = b->stats.position_frames = 0;
    b->stats.host_delay_max_frames = b->delay_window_max = 0;
    struct xpa_clock_config clock = {.rate = b->config.rate};
    xpa_clock_init(&b->clock, &clock);
    b->open = true;
}

static void do_respond(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xensnd_resp response;
    memcpy(&response, command->arg.packet, sizeof response);
    if (!b->attached || b->broken || !b->waiting || b->holding || b->starting)
        return;
    b->waiting = false;
    respond(b, &response, true);
    xpa_back_collect(b);
}

static void do_set_tap(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    atomic_store_explicit(&b->tap, (struct xpa_tap *)command->arg.pointer, memory_order_release);
}

/* --- Python's side --- */

static int command(struct xpa_back *b, void (*func)(const struct xpa_command *), void *pointer) {
    struct xpa_command c = {.func = func, .object = b, .arg.pointer = pointer};
    return xpa_plane_command(b->plane, &c);
}

struct xpa_back *xpa_back_new(struct xpa_plane *plane, uint32_t stream_id, int direction,
                              void *ring_page, void *event_page, struct xpa_channel requests,
                              struct xpa_channel events, int position_ext) {
    struct xpa_back *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->plane = plane;
    b->id = stream_id;
    b->direction = direction;
    b->position_ext = position_ext;
    b->ring_page = ring_page;
    b->event_page = event_page;
    b->request_channel = requests;
    b->event_channel = events;
    b->timer_fd = xpa_timer_create();
    b->trouble.timer_fd = xpa_timer_create();
    if (b->timer_fd < 0 || b->trouble.timer_fd < 0) {
        free(b);
        return NULL;
    }
    b->request_source = (struct xpa_source){requests.fd, on_request, b};
    b->event_source = (struct xpa_source){events.fd, on_event_channel, b};
    b->timer_source = (struct xpa_source){b->timer_fd, on_timer, b};
    return b;
}

void xpa_back_free(struct xpa_back *b) {
    if (!b)
        return;
    close(b->timer_fd);
    close(b->trouble.timer_fd);
    free(b->store);
    free(b->retired_store);
    free(b);
}

void xpa_back_watch(struct xpa_back *b) { b->watches = true; }
int xpa_back_attach(struct xpa_back *b) { return command(b, do_attach, NULL); }
int xpa_back_detach(struct xpa_back *b) { return command(b, do_detach, NULL); }
int xpa_back_close(struct xpa_back *b) { return command(b, do_close, NULL); }
int xpa_back_set_tap(struct xpa_back *b, struct xpa_tap *tap) {
    return command(b, do_set_tap, tap);
}

/* The store is private memory: playback needs the buffer and what a starved position can overtake;
 * capture also what arrives while the position waits behind the microphone. */
int xpa_back_open(struct xpa_back *b, const struct xpa_config *config) {
    struct opening *o = calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    free(atomic_exchange(&b->retired_store, NULL));
    o->config = *config;
    o->store_frames = config->buffer_frames + 2 * config->period_frames + 64;
    if (b->direction == XPA_CAPTURE)
        o->store_frames += config->rate / 4;
    o->store = calloc(o->store_frames, (size_t)config->channels * config->sample_bytes);
    if (!o->store) {
        free(o);
        return -ENOMEM;
    }
    int result = command(b, do_open, o);
    if (result < 0) {
        free(o->store);
        free(o);
    }
    return result;
}

int xpa_back_respond(struct xpa_back *b, const uint8_t *response) {
    struct xpa_command c = {.func = do_respond, .object = b};
    memcpy(c.arg.packet, response, sizeof c.arg.packet);
    return xpa_plane_command(b->plane, &c);
}

const struct xpa_stats *xpa_back_stats(struct xpa_back *b) { return &b->stats; }

struct xpa_tap *xpa_tap_new(uint64_t capacity_bytes) {
    struct xpa_tap *tap = calloc(1, sizeof *tap);
    if (!tap)
        return NULL;
    tap->capacity_bytes = capacity_bytes;
    tap->bytes = malloc(capacity_bytes);
    if (!tap->bytes) {
        free(tap);
        return NULL;
    }
    return tap;
}

uint64_t xpa_tap_read(struct xpa_tap *tap, uint8_t *data, uint64_t room_bytes) {
    return xpa_tap_pull(tap, data, room_bytes);
}

uint64_t xpa_tap_dropped_bytes(struct xpa_tap *tap) {
    return atomic_load_explicit(&tap->dropped_bytes, memory_order_relaxed);
}

void xpa_tap_free(struct xpa_tap *tap) {
    if (!tap)
        return;
    free(tap->bytes);
    free(tap);
}

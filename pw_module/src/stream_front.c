/* stream_front.c - the request and event rings of one stream, frontend side; see stream_front.h. */
#include "stream_front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t DEADLINE_NSEC = 3000000000; /* as the kernel's frontend waits */

/* Answers to transfers are read at the next cycle: no wake-up of their own for playback. */
enum { QUIET_ANSWERS = 24 };

/* Slots of the ring that transfers leave for triggers and for Python's request. */
enum { RESERVED_SLOTS = 4 };

/* How often the way to the backend and back is timed. */
static const uint64_t TRANSPORT_NSEC = 250000000;

static void detach_sources(struct xpa_front *f) {
    struct xpa_loop *loop = &f->plane->loop;
    if (!f->attached)
        return;
    xpa_loop_remove(loop, &f->request_source);
    xpa_loop_remove(loop, &f->event_source);
    f->attached = false;
    f->peer->streams--;
}

static void change(struct xpa_front *f, enum xpa_front_change what, uint64_t now_nsec) {
    if (f->on_change)
        f->on_change(f->change_data, what, now_nsec);
}

void xpa_front_break(struct xpa_front *f, int reason) {
    if (f->broken)
        return;
    f->broken = true;
    f->started = false;
    f->stats.running = 0;
    detach_sources(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_BROKEN, f->id, reason, NULL);
    change(f, XPA_FRONT_CLOSED, xpa_now_nsec());
}

static uint32_t all_slots(const struct xpa_front *f) {
    uint32_t used = f->transfers_end - f->transfers_begin, slots = xpa_front_ring_free(&f->ring);
    uint32_t free_transfers = XPA_TRANSFERS - used;
    return slots < free_transfers ? slots : free_transfers;
}

uint32_t xpa_front_slots(const struct xpa_front *f) {
    uint32_t slots = all_slots(f);
    return slots > RESERVED_SLOTS ? slots - RESERVED_SLOTS : 0;
}

/* What somebody waits for: the backend may have asked to be left alone until it looks by itself,
 * which is soon enough for transfers only (stream_back.c, next_wake). */
static void flush_urgent(struct xpa_front *f) {
    xpa_front_ring_publish(&f->ring);
    xpa_channel_notify(&f->request_channel);
}

/* Four times a second the newest transfer's way there and back is timed: its answer wakes us. */
static bool begin_timing(struct xpa_front *f) {
    uint64_t now = xpa_now_nsec();
    if (now - f->timed_nsec < TRANSPORT_NSEC || f->transfers_end == f->transfers_begin)
        return false;
    struct xpa_transfer *newest = &f->transfers[(f->transfers_end - 1) % XPA_TRANSFERS];
    /* nothing was sent just now: the newest one is old */
    if (newest->timed || newest->answered || newest->operation == XENSND_OP_TRIGGER)
        return false;
    f->timed_nsec = now;
    newest->timed = true;
    f->awaited++;
    return true;
}

void xpa_front_flush(struct xpa_front *f) {
    if (begin_timing(f)) {
        flush_urgent(f);
        xpa_front_ring_rearm(&f->ring, 1);
    } else if (xpa_front_ring_publish(&f->ring)) {
        xpa_channel_notify(&f->request_channel);
    }
}

void xpa_front_urge(struct xpa_front *f) {
    if (f->broken || !f->attached)
        return;
    flush_urgent(f);
    if (xpa_front_ring_rearm(&f->ring, 1))
        xpa_front_collect(f, xpa_now_nsec());
}

static struct xpa_transfer *remember(struct xpa_front *f, uint8_t operation, uint32_t frames) {
    struct xpa_transfer *t = &f->transfers[f->transfers_end++ % XPA_TRANSFERS];
    *t = (struct xpa_transfer){.id = f->next_id++, .operation = operation, .frames = frames};
    t->sent_nsec = xpa_now_nsec();
    f->pending_frames += frames;
    return t;
}

bool xpa_front_transfer(struct xpa_front *f, uint8_t operation, uint32_t offset_bytes,
                        uint32_t length_bytes, uint32_t frames) {
    struct xensnd_req request;
    if (f->broken || xpa_front_slots(f) == 0)
        return false;
    memset(&request, 0, sizeof request);
    request.id = remember(f, operation, frames)->id;
    request.operation = operation;
    request.op.rw.offset = offset_bytes;
    request.op.rw.length = length_bytes;
    xpa_front_ring_push(&f->ring, &request);
    f->stats.transfers++;
    return true;
}

void xpa_front_trigger(struct xpa_front *f, uint8_t type) {
    struct xensnd_req request;
    if (f->broken)
        return;
    if (all_slots(f) == 0) { /* 32 requests unanswered: the backend stands still */
        xpa_front_break(f, -ETIMEDOUT);
        return;
    }
    memset(&request, 0, sizeof request);
    struct xpa_transfer *t = remember(f, XENSND_OP_TRIGGER, 0);
    t->trigger = type;
    f->awaited++;
    request.id = t->id;
    request.operation = XENSND_OP_TRIGGER;
    request.op.trigger.type = type;
    xpa_front_ring_push(&f->ring, &request);
    flush_urgent(f);
    /* its answer matters: asks to be woken by it, which a transfer's answer does not */
    xpa_front_collect(f, xpa_now_nsec());
}

void xpa_front_expect_jump(struct xpa_front *f) { xpa_clock_shift(&f->clock); }

void xpa_front_prepare(struct xpa_front *f) {
    f->written_frames = f->read_frames = f->position_frames = f->base_frames;
}

void xpa_front_begin(struct xpa_front *f) {
    f->started = true;
    f->positioned = false;
    f->starved = false;
    f->odd_positions = 0;
    f->event_nsec = xpa_now_nsec();
    f->stats.running = 1;
    xpa_front_expect_jump(f);
    xpa_front_trigger(f, XENSND_OP_TRIGGER_START);
}

void xpa_front_end(struct xpa_front *f) {
    if (!f->started)
        return;
    f->started = false;
    f->stats.running = 0;
    /* Where a backend goes on is told by the position it sends at STOP; one that sends none goes
     * on from where it is, or from 0: the first position after START shows which. */
    f->base_frames = f->position_frames;
    f->stopping = true;
    xpa_front_trigger(f, XENSND_OP_TRIGGER_STOP);
}

/* --- what the backend says --- */

static void finish(struct xpa_front *f, const struct xpa_transfer *t) {
    f->pending_frames -= t->frames;
    if (t->operation == XENSND_OP_TRIGGER && t->trigger == XENSND_OP_TRIGGER_STOP) {
        xpa_front_read_positions(
            f, xpa_now_nsec()); /* the one sent at STOP is in: see xpa_front_end */
        f->stopping = false;
        change(f, XPA_FRONT_ANSWER, xpa_now_nsec()); /* whoever collects: a start may wait for it */
    }
}

static void on_answer(struct xpa_front *f, const struct xensnd_resp *response, uint64_t now_nsec) {
    if (f->slow_pending && response->id == f->slow_id) {
        f->slow_pending = false;
        xpa_plane_notify(f->plane, XPA_NOTICE_RESPONSE, f->id, 0, response);
        return;
    }
    for (uint32_t i = f->transfers_begin; i != f->transfers_end; i++) {
        struct xpa_transfer *t = &f->transfers[i % XPA_TRANSFERS];
        if (t->id != response->id || t->answered)
            continue;
        t->answered = true;
        f->awaited -= t->timed || t->operation == XENSND_OP_TRIGGER;
        if (t->timed)
            xpa_transport_add(&f->peer->transport, now_nsec - t->sent_nsec);
        if (response->status != 0) {
            f->stats.dropped_frames += t->frames;
            if (t->operation == XENSND_OP_TRIGGER) {
                xpa_front_break(f, response->status < 0 ? response->status : -EIO);
                return;
            }
        }
        break;
    } /* an id that we do not know answers a request given up: nothing waits for it */
    while (f->transfers_begin != f->transfers_end &&
           f->transfers[f->transfers_begin % XPA_TRANSFERS].answered)
        finish(f, &f->transfers[f->transfers_begin++ % XPA_TRANSFERS]);
}

void xpa_front_collect(struct xpa_front *f, uint64_t now_nsec) {
    struct xensnd_resp response;
    if (f->broken || !f->attached)
        return;
    uint32_t after;
    do {
        int got = 0;
        while (!f->broken && (got = xpa_front_ring_pop(&f->ring, &response)) > 0)
            on_answer(f, &response, now_nsec);
        if (f->broken)
            return;
        if (got < 0) {
            xpa_front_break(f, got);
            return;
        }
        /* A backend with our extension answers when its host takes. One without answers at once:
         * what is unanswered even now, a cycle later, somebody waits for. */
        bool late = !f->position_ext && f->transfers_begin != f->transfers_end;
        bool wake = f->slow_pending || f->awaited > 0 || late || f->direction == XPA_CAPTURE;
        after = wake ? 1 : QUIET_ANSWERS;
    } while (xpa_front_ring_rearm(&f->ring, after));
}

static void on_request_channel(struct xpa_source *source, uint32_t events) {
    struct xpa_front *f = source->data;
    (void)events;
    uint64_t now = xpa_now_nsec();
    int result = xpa_channel_ack(&f->request_channel);
    if (result < 0 && result != -EAGAIN) {
        xpa_front_break(f, result);
        return;
    }
    xpa_front_collect(f, now);
    if (!f->broken)
        change(f, XPA_FRONT_ANSWER, now);
}

/* Events that wake us together came together: what we did for the first one does not make the
 * second one late. Sink and source of a card would else differ by half a frame. */
static uint64_t woken_nsec(struct xpa_plane *plane) {
    if (plane->event_wake != plane->loop.wakes || plane->event_nsec == 0) {
        plane->event_wake = plane->loop.wakes;
        plane->event_nsec = xpa_now_nsec();
    }
    return plane->event_nsec;
}

static void on_event_channel(struct xpa_source *source, uint32_t events) {
    struct xpa_front *f = source->data;
    uint64_t now = woken_nsec(f->plane);
    (void)events;
    int result = xpa_channel_ack(&f->event_channel);
    if (result < 0 && result != -EAGAIN) {
        xpa_front_break(f, result);
        return;
    }
    xpa_front_read_positions(f, now);
    if (!f->broken && f->open)
        change(f, XPA_FRONT_POSITION, now);
}

/* --- commands, carried out on the data loop --- */

static void do_attach(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    struct xpa_loop *loop = &f->plane->loop;
    int result = xpa_loop_add(loop, &f->request_source);
    if (result == 0)
        result = xpa_loop_add(loop, &f->event_source);
    f->attached = true;
    if (f->peer->streams++ == 0) /* perhaps another machine than before */
        xpa_peer_begin(f->peer);
    if (result < 0)
        xpa_front_break(f, result);
}

static void release(struct xpa_front *f) {
    if (!f->open)
        return;
    xpa_front_end(f);
    f->open = false;
    change(f, XPA_FRONT_CLOSED, xpa_now_nsec());
}

static void do_detach(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    f->broken = true; /* nothing more is sent */
    release(f);
    change(f, XPA_FRONT_GONE, xpa_now_nsec());
    detach_sources(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_DETACHED, f->id, 0, NULL);
}

static void do_close(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    release(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_RELEASED, f->id, 0, NULL);
}

struct opening {
    struct xpa_config config;
    uint32_t lead_frames;
};

/* How late a cycle may be, beside the host's need: a period, and never less than what processors
 * need to wake up in turn (backend, graph, client, and we again). Captured frames wait for the
 * event at their period's end anyway: a quarter of a period beside that (as front_stream.py has
 * it). */
static uint32_t guard_frames(const struct xpa_config *config, int direction) {
    uint32_t least = config->rate / 400;
    uint32_t usual = direction == XPA_CAPTURE ? config->period_frames / 4 : config->period_frames;
    return usual > least ? usual : least;
}

static void do_open(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    struct opening o;
    memcpy(&o, command->arg.packet, sizeof o);
    f->config = o.config;
    f->frame_bytes = o.config.channels * o.config.sample_bytes;
    f->lead_frames = f->told_frames = f->asked_frames = o.lead_frames;
    f->guard_frames = guard_frames(&o.config, f->direction);
    if (f->late_sec * f->config.rate > f->guard_frames) {
        f->asked_frames += (uint32_t)(f->late_sec * f->config.rate) - f->guard_frames;
        f->guard_frames = (uint32_t)(f->late_sec * f->config.rate);
    }
    f->base_frames = f->written_frames = f->read_frames = 0;
    f->position_frames = 0;
    f->stopping = f->started = false;
    f->host_frames = f->host_frames_max = 0;
    f->offset_frames = f->resampler_frames = 0;
    f->stats.lead_frames = f->lead_frames;
    xpa_front_time_init(f, false); /* the first event shows what the backend says */
    f->open = true;
    change(f, XPA_FRONT_OPENED, xpa_now_nsec());
}

static void do_request(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    struct xensnd_req request;
    memcpy(&request, command->arg.packet, sizeof request);
    if (f->broken || !f->attached)
        return;
    xpa_front_collect(f, xpa_now_nsec());
    request.id = f->slow_id = f->next_id++;
    f->slow_pending = true;
    if (xpa_front_ring_push(&f->ring, &request) < 0) {
        xpa_front_break(f, -ETIMEDOUT);
        return;
    }
    flush_urgent(f);
    xpa_front_collect(f, xpa_now_nsec());
}

/* Once a second: has the backend left a transfer unanswered for too long? Asked for before it is
 * blamed: its host may have stopped to take. */
static void do_check(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    uint64_t now = xpa_now_nsec();
    if (f->broken || !f->attached)
        return;
    xpa_front_collect(f, now);
    if (f->broken)
        return;
    change(f, XPA_FRONT_ANSWER, now);
    if (f->broken || f->transfers_begin == f->transfers_end)
        return;
    if (now - f->transfers[f->transfers_begin % XPA_TRANSFERS].sent_nsec > DEADLINE_NSEC)
        xpa_front_break(f, -ETIMEDOUT);
    else
        xpa_front_urge(f);
}

/* --- Python's side --- */

static int command(struct xpa_front *f, void (*func)(const struct xpa_command *)) {
    struct xpa_command c = {.func = func, .object = f};
    return xpa_plane_command(f->plane, &c);
}

struct xpa_front *xpa_front_new(struct xpa_plane *plane, uint32_t stream_id, int direction,
                                void *ring_page, void *event_page, struct xpa_channel requests,
                                struct xpa_channel events, int position_ext, uint32_t backend_id) {
    struct xpa_front *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->plane = plane;
    f->id = stream_id;
    f->direction = direction;
    f->position_ext = position_ext;
    f->ring_page = ring_page;
    f->event_page = event_page;
    f->peer = &plane->peers[backend_id % XPA_PLANE_PEERS];
    f->request_channel = requests;
    f->event_channel = events;
    f->request_source = (struct xpa_source){requests.fd, on_request_channel, f};
    f->event_source = (struct xpa_source){events.fd, on_event_channel, f};
    /* The pages must be in order before the backend learns of them: here, not at attach. */
    xpa_front_ring_init(&f->ring, ring_page);
    xpa_evt_ring_init_front(&f->event_ring, event_page);
    return f;
}

void xpa_front_free(struct xpa_front *f) { free(f); }

int xpa_front_attach(struct xpa_front *f) { return command(f, do_attach); }
int xpa_front_detach(struct xpa_front *f) { return command(f, do_detach); }
int xpa_front_close(struct xpa_front *f) { return command(f, do_close); }
int xpa_front_check(struct xpa_front *f) { return command(f, do_check); }

int xpa_front_open(struct xpa_front *f, const struct xpa_config *config, uint32_t lead_frames) {
    struct xpa_command c = {.func = do_open, .object = f};
    struct opening o = {*config, lead_frames};
    _Static_assert(sizeof o <= sizeof c.arg.packet, "an opening fits a command");
    memcpy(c.arg.packet, &o, sizeof o);
    return xpa_plane_command(f->plane, &c);
}

int xpa_front_request(struct xpa_front *f, const uint8_t *request) {
    struct xpa_command c = {.func = do_request, .object = f};
    memcpy(c.arg.packet, request, sizeof c.arg.packet);
    return xpa_plane_command(f->plane, &c);
}

const struct xpa_stats *xpa_front_stats(struct xpa_front *f) { return &f->stats; }

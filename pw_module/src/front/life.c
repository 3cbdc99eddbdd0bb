/* front/life.c - a frontend stream's life on the data loop, and Python's commands to it; see
 * front.h.
 *
 * The other files return what happened; only here a stream is ended, and only from here whoever
 * drives it hears of a change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "front/front.h"

static const uint64_t DEADLINE_NSEC = 3000000000; /* as the kernel's frontend waits */
/* What is younger may lie in the ring until the host takes (position-extension.md). */
static const uint64_t PATIENCE_NSEC = 500000000;

static void detach_sources(struct xpa_front *f) {
    struct xpa_loop *loop = &f->plane->loop;
    if (!f->link.attached)
        return;
    xpa_loop_remove(loop, &f->request_source);
    xpa_loop_remove(loop, &f->event_source);
    xpa_loop_remove(loop, &f->rest_source);
    f->link.rests_until_nsec = 0;
    f->link.attached = false;
    xpa_peer_clock_leave(f->link.peer, f);
    f->link.peer->streams--;
}

/* Tells whoever drives the stream. */
static void changed(struct xpa_front *f, enum xpa_front_change what, uint64_t now_nsec) {
    if (f->graph.on_change)
        f->graph.on_change(f->graph.data, what, now_nsec);
}

/* The peer broke the protocol or went away. */
static void end(struct xpa_front *f, int reason) {
    if (f->link.broken)
        return;
    f->link.broken = true;
    f->stream.started = false;
    f->stats.running = 0;
    detach_sources(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_BROKEN, f->id, reason, NULL);
    changed(f, XPA_FRONT_CLOSED, xpa_now_nsec());
}

/* STOP is answered: the position that the backend sent at STOP is in, and where the next start
 * begins is known. Whoever collects may have a start waiting for it. */
static int after_stop(struct xpa_front *f) {
    uint64_t now = xpa_now_nsec();
    int result = xpa_front_read_events(f, now, false);
    if (result < 0)
        return result;
    f->stream.stopping = false;
    changed(f, XPA_FRONT_ANSWER, now);
    return 0;
}

void xpa_front_collect(struct xpa_front *f, uint64_t now_nsec) {
    if (f->link.broken || !f->link.attached)
        return;
    int happened = xpa_front_answers(f, now_nsec);
    if (happened > 0)
        happened = after_stop(f);
    if (happened < 0)
        end(f, happened);
}

/* `result` < 0: what went wrong before. */
static void read_events(struct xpa_front *f, int result, uint64_t now_nsec, bool woken) {
    if (f->link.broken || !f->link.attached)
        return;
    if (result >= 0)
        result = xpa_front_read_events(f, now_nsec, woken);
    if (result < 0)
        end(f, result);
}

void xpa_front_look(struct xpa_front *f, uint64_t now_nsec) { read_events(f, 0, now_nsec, false); }

void xpa_front_urge(struct xpa_front *f) {
    if (!f->link.broken && f->link.attached && xpa_front_hurry(f))
        xpa_front_collect(f, xpa_now_nsec());
}

/* --- starting and stopping, for whoever drives the stream --- */

static void trigger(struct xpa_front *f, uint8_t type) {
    if (f->link.broken)
        return;
    int result = xpa_front_send_trigger(f, type);
    if (result < 0)
        end(f, result);
    /* its answer matters: asks to be woken by it, which a transfer's answer does not */
    xpa_front_collect(f, xpa_now_nsec());
}

void xpa_front_prepare(struct xpa_front *f) {
    struct xpa_front_stream *s = &f->stream;
    s->written_frames = s->read_frames = s->position_frames = s->base_frames;
}

void xpa_front_begin(struct xpa_front *f) {
    struct xpa_front_stream *s = &f->stream;
    s->started = true;
    s->positioned = false;
    s->starved = s->starved_unseen = false;
    s->odd_positions = 0;
    s->event_nsec = xpa_now_nsec();
    f->stats.running = 1;
    xpa_front_expect_jump(f);
    trigger(f, XENSND_OP_TRIGGER_START);
}

void xpa_front_end(struct xpa_front *f) {
    struct xpa_front_stream *s = &f->stream;
    xpa_front_let_poll(f, false, xpa_now_nsec());
    if (!s->started)
        return;
    s->started = false;
    f->stats.running = 0;
    /* Where a backend goes on is told by the position it sends at STOP; one that sends none goes
     * on from where it is, or from 0: the first position after START shows which. */
    s->base_frames = s->position_frames;
    s->stopping = true;
    trigger(f, XENSND_OP_TRIGGER_STOP);
    xpa_front_send_control(f); /* no cycle follows */
}

/* --- what wakes it --- */

/* A simulated channel has a queue, which the backend may fill while it is emptied. */
static int ack(struct xpa_front *f, const struct xpa_channel *channel, uint64_t now_nsec) {
    int result = xpa_channel_ack(channel);
    if (result > 1)
        xpa_front_charge_events(f, (uint32_t)result - 1, now_nsec);
    return result == -EAGAIN || result > 0 ? 0 : result;
}

static void on_request_channel(struct xpa_source *source, uint32_t events) {
    struct xpa_front *f = source->data;
    (void)events;
    uint64_t now = xpa_now_nsec();
    if (!xpa_front_may_wake(f, now))
        return;
    int result = ack(f, &f->request_channel, now);
    if (result < 0)
        end(f, result);
    xpa_front_collect(f, now);
    if (!f->link.broken)
        changed(f, XPA_FRONT_ANSWER, now);
}

/* Events that wake us together came together: what we did for the first one does not make the
 * second one late. Sink and source of a card would else differ by half a frame. */
static uint64_t woken_nsec(struct xpa_plane *plane) {
    if (plane->fronts.event_batch != plane->loop.batch.number || plane->fronts.event_nsec == 0) {
        plane->fronts.event_batch = plane->loop.batch.number;
        plane->fronts.event_nsec = xpa_now_nsec();
    }
    return plane->fronts.event_nsec;
}

static void on_event_channel(struct xpa_source *source, uint32_t events) {
    struct xpa_front *f = source->data;
    uint64_t now = woken_nsec(f->plane);
    (void)events;
    if (!xpa_front_may_wake(f, now))
        return;
    read_events(f, ack(f, &f->event_channel, now), now, true);
    if (!f->link.broken && f->stream.open)
        changed(f, XPA_FRONT_POSITION, now);
}

/* A rest is over: the channels that were not looked at still say so if there was anything. */
static void on_rest_end(struct xpa_source *source, uint32_t events) {
    struct xpa_front *f = source->data;
    (void)events;
    int result = xpa_front_wake(f);
    if (result < 0)
        end(f, result);
}

/* --- commands, carried out on the data loop --- */

static void do_attach(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    struct xpa_loop *loop = &f->plane->loop;
    int result = xpa_loop_add(loop, &f->request_source);
    if (result == 0)
        result = xpa_loop_add(loop, &f->event_source);
    if (result == 0)
        result = xpa_loop_add(loop, &f->rest_source);
    f->link.attached = true;
    f->link.peer = xpa_peer_clock_join(f->plane->fronts.peers, XPA_PLANE_PEERS, f->backend_id);
    if (!f->link.peer)
        f->link.peer = xpa_peer_clock_join(&f->link.own_peer, 1, f->backend_id);
    if (result < 0)
        end(f, result);
}

static void release(struct xpa_front *f) {
    if (!f->stream.open)
        return;
    xpa_front_end(f);
    f->stream.open = false;
    f->control.frames = 0;
    xpa_front_send_control(f); /* gives it up */
    changed(f, XPA_FRONT_CLOSED, xpa_now_nsec());
}

static void do_detach(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    f->link.broken = true; /* nothing more is sent */
    release(f);
    changed(f, XPA_FRONT_GONE, xpa_now_nsec());
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

/* A period, and never less than what processors need to wake up in turn (backend, graph, client,
 * and we again). Captured frames wait for the event at their period's end anyway: a quarter of a
 * period beside that. */
uint32_t xpa_front_margin_frames(uint32_t rate, uint32_t period_frames, int direction) {
    uint32_t least = rate / 400;
    uint32_t usual = direction == XPA_CAPTURE ? period_frames / 4 : period_frames;
    return usual > least ? usual : least;
}

static void do_open(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    struct xpa_front_stream *s = &f->stream;
    struct opening o;
    memcpy(&o, command->arg.packet, sizeof o);
    s->config = o.config;
    s->frame_bytes = o.config.channels * o.config.sample_bytes;
    f->lead.frames = f->lead.published_frames = f->lead.asked_frames = o.lead_frames;
    xpa_margin_open(&f->lead.margin, o.config.rate,
                    xpa_front_margin_frames(o.config.rate, o.config.period_frames, f->direction));
    f->lead.asked_frames += f->lead.margin.frames - f->lead.margin.base_frames;
    s->base_frames = s->written_frames = s->read_frames = 0;
    s->position_frames = 0;
    s->stopping = s->started = false;
    s->host_frames = s->host_frames_max = 0;
    s->jitter = (struct xpa_jitter){0};
    f->stats.true_frames = 0;
    f->stats.jitter_nsec = 0;
    f->control.frames = 0;
    f->lead.offset_frames = f->lead.resampler_frames = 0;
    f->stats.lead_frames = f->stats.published_frames = f->lead.frames;
    xpa_front_time_init(f, false); /* the first event shows what the backend says */
    s->open = true;
    changed(f, XPA_FRONT_OPENED, xpa_now_nsec());
}

static void do_request(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    struct xensnd_req request;
    memcpy(&request, command->arg.packet, sizeof request);
    if (f->link.broken || !f->link.attached)
        return;
    xpa_front_collect(f, xpa_now_nsec());
    if (f->link.broken)
        return;
    int result = xpa_front_send_request(f, &request);
    if (result < 0)
        end(f, result);
    xpa_front_collect(f, xpa_now_nsec());
}

static void do_control(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    f->control.waiting = true;
    if (!f->stream.started)
        xpa_front_send_control(f);
    xpa_front_collect(f, xpa_now_nsec()); /* asks to be woken by its answer */
}

/* Once a second: has the backend left a transfer unanswered for too long? Asked for before it is
 * blamed: its host may have stopped to take. */
static void do_check(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    uint64_t now = xpa_now_nsec();
    if (f->link.broken || !f->link.attached)
        return;
    xpa_front_send_control(f); /* the graph stands still */
    xpa_front_pass_volume(f);
    xpa_front_collect(f, now);
    if (f->link.broken)
        return;
    changed(f, XPA_FRONT_ANSWER, now);
    if (f->link.broken || f->link.transfers_begin == f->link.transfers_end)
        return;
    uint64_t sent = f->link.transfers[f->link.transfers_begin % XPA_TRANSFERS].sent_nsec;
    if (now - sent > DEADLINE_NSEC)
        end(f, -ETIMEDOUT);
    else if (now - sent > PATIENCE_NSEC)
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
    struct xpa_front *f = xpa_calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->rest_fd = xpa_timer_create();
    if (f->rest_fd < 0) {
        free(f);
        return NULL;
    }
    f->plane = plane;
    f->id = stream_id;
    f->direction = direction;
    f->position_ext = position_ext;
    f->backend_id = backend_id;
    f->link.peer = &f->link.own_peer;
    f->request_channel = requests;
    f->event_channel = events;
    f->request_source = (struct xpa_source){requests.fd, on_request_channel, f};
    f->event_source = (struct xpa_source){events.fd, on_event_channel, f};
    f->rest_source = (struct xpa_source){f->rest_fd, on_rest_end, f};
    f->link.budget = &f->link.own_budget;
    /* The pages must be in order before the backend learns of them: here, not at attach. */
    xpa_front_ring_init(&f->link.ring, ring_page);
    xpa_evt_ring_init_front(&f->link.event_ring, event_page);
    return f;
}

void xpa_front_free(struct xpa_front *f) {
    if (!f)
        return;
    close(f->rest_fd);
    free(f);
}

void xpa_front_share_budget(struct xpa_front *f, struct xpa_budget *budget) {
    f->link.budget = budget;
}

void xpa_front_hear_volumes(struct xpa_front *f) { f->volume_ext = true; }

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

int xpa_front_control(struct xpa_front *f, uint8_t operation, const uint8_t *data,
                      uint32_t length_bytes) {
    if (length_bytes == 0 || length_bytes > sizeof f->shared.control ||
        atomic_load(&f->shared.control_taken))
        return -EBUSY;
    f->shared.control_operation = operation;
    f->shared.control_bytes = length_bytes;
    memcpy(f->shared.control, data, length_bytes);
    atomic_store(&f->shared.control_taken, true);
    return command(f, do_control);
}

void xpa_front_stats(struct xpa_front *f, struct xpa_stats *copy) {
    /* after a notice was read: what the data loop wrote before it found that unread; pairs with the
     * fence in xpa_plane_noticed */
    atomic_thread_fence(memory_order_seq_cst);
    xpa_stats_copy(&f->stats, copy);
}

/* front/life.c - a frontend stream's life on the data loop; see front.h.
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

void xpa_front_changed(struct xpa_front *f, enum xpa_front_change what, uint64_t now_nsec) {
    if (f->graph.on_change)
        f->graph.on_change(f->graph.data, what, now_nsec);
}

void xpa_front_break(struct xpa_front *f, int reason) {
    if (f->link.broken)
        return;
    f->link.broken = true;
    f->stream.started = false;
    f->stats.running = 0;
    detach_sources(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_BROKEN, f->id, reason, NULL);
    xpa_front_changed(f, XPA_FRONT_CLOSED, xpa_now_nsec());
}

static bool connected(const struct xpa_front *f) { return !f->link.broken && f->link.attached; }

/* `result` < 0: what went wrong. */
static void check(struct xpa_front *f, int result) {
    if (result < 0)
        xpa_front_break(f, result);
}

/* STOP is answered: the position that the backend sent at STOP is in, and where the next start
 * begins is known. Whoever collects may have a start waiting for it. */
static int after_stop(struct xpa_front *f) {
    uint64_t now = xpa_now_nsec();
    int result = xpa_front_read_events(f, now, false);
    if (result < 0)
        return result;
    f->stream.stopping = false;
    xpa_front_changed(f, XPA_FRONT_ANSWER, now);
    return 0;
}

void xpa_front_collect(struct xpa_front *f, uint64_t now_nsec) {
    if (!connected(f))
        return;
    int happened = xpa_front_answers(f, now_nsec);
    check(f, happened > 0 ? after_stop(f) : happened);
}

void xpa_front_poll(struct xpa_front *f, uint64_t now_nsec) {
    if (connected(f))
        check(f, xpa_front_look(f, now_nsec));
}

void xpa_front_let_poll(struct xpa_front *f, bool may, uint64_t now_nsec) {
    if (connected(f))
        check(f, xpa_front_choose(f, may, now_nsec));
}

void xpa_front_hear(struct xpa_front *f, uint64_t now_nsec) {
    if (connected(f))
        check(f, xpa_front_listen(f, now_nsec));
}

void xpa_front_urge(struct xpa_front *f) {
    if (connected(f) && xpa_front_hurry(f))
        xpa_front_collect(f, xpa_now_nsec());
}

/* --- starting and stopping, for whoever drives the stream --- */

static void trigger(struct xpa_front *f, uint8_t type) {
    if (f->link.broken)
        return;
    check(f, xpa_front_send_trigger(f, type));
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
    s->starved = s->ran_out = false;
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
    check(f, ack(f, &f->request_channel, now));
    xpa_front_collect(f, now);
    if (!f->link.broken)
        xpa_front_changed(f, XPA_FRONT_ANSWER, now);
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
    int result = ack(f, &f->event_channel, now);
    check(f, result < 0 ? result : xpa_front_read_events(f, now, true));
    if (!f->link.broken && f->stream.open)
        xpa_front_changed(f, XPA_FRONT_POSITION, now);
}

/* A rest is over: the channels that were not looked at still say so if there was anything. */
static void on_rest_end(struct xpa_source *source, uint32_t events) {
    struct xpa_front *f = source->data;
    (void)events;
    check(f, xpa_front_wake(f));
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
        xpa_front_break(f, result);
}

void xpa_front_release(struct xpa_front *f) {
    if (!f->stream.open)
        return;
    xpa_front_end(f);
    f->stream.open = false;
    f->control.frames = 0;
    xpa_front_send_control(f); /* gives it up */
    xpa_front_changed(f, XPA_FRONT_CLOSED, xpa_now_nsec());
}

static void do_detach(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    f->link.broken = true; /* nothing more is sent */
    xpa_front_release(f);
    xpa_front_changed(f, XPA_FRONT_GONE, xpa_now_nsec());
    detach_sources(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_DETACHED, f->id, 0, NULL);
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

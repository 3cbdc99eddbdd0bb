/* back/life.c - a backend stream's life on the data loop, and Python's commands to it; see back.h.
 *
 * The other files return what went wrong; only here, in step(), a stream is ended for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "back/back.h"

static void detach_sources(struct xpa_back *b) {
    struct xpa_loop *loop = &b->plane->loop;
    if (!b->link.attached)
        return;
    xpa_loop_remove(loop, &b->request_source);
    xpa_loop_remove(loop, &b->event_source);
    xpa_loop_remove(loop, &b->timer_source);
    xpa_back_end_faults(b);
    b->link.attached = false;
}

/* The peer broke the protocol or went away: it loses this stream, nobody else notices. */
static void end(struct xpa_back *b, int reason) {
    if (b->link.broken)
        return;
    b->link.broken = true;
    if (b->stream.open && b->stream.running)
        (void)xpa_back_stop(b); /* whatever it meets, the stream has ended */
    detach_sources(b);
    xpa_plane_notify(b->plane, XPA_NOTICE_BROKEN, b->id, reason, NULL);
}

/* One step: what the guest has asked for is carried out, and a START that waited is answered if the
 * host runs, which lets those behind it go on. `result` < 0: what went wrong before, `end`s it. */
static void step(struct xpa_back *b, int result, uint64_t now_nsec) {
    if (b->link.broken || !b->link.attached)
        return;
    do {
        if (result >= 0)
            result = xpa_back_serve(b, now_nsec);
        if (result >= 0 && b->link.starting)
            result = xpa_back_answer_start(b, now_nsec);
    } while (result > 0);
    if (result < 0)
        end(b, result);
}

void xpa_back_collect(struct xpa_back *b, uint64_t now_nsec) { step(b, 0, now_nsec); }

void xpa_back_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames) {
    uint64_t now_nsec = xpa_now_nsec();
    xpa_back_host_mark(b, nsec, host_frames, now_nsec);
    if (b->direction == XPA_CAPTURE)
        xpa_back_fill(b, xpa_back_polled(b), now_nsec);
    /* what came due only now, since the host handed its frame over only now, is sent at once */
    int result = xpa_back_tell_position(b, now_nsec);
    if (result == 0) /* a timer may not come soon */
        result = xpa_back_send_volume(b);
    if (result < 0 || b->link.starting)
        step(b, result, now_nsec);
}

/* A simulated channel has a queue, which the guest may fill while it is emptied. */
static int ack(struct xpa_back *b, const struct xpa_channel *channel, uint64_t now_nsec) {
    int result = xpa_channel_ack(channel);
    if (result > 1)
        xpa_budget_charge(b->link.budget, (uint64_t)(result - 1) * XPA_EVENT_WORK_NSEC, false,
                          now_nsec);
    return result == -EAGAIN || result > 0 ? 0 : result;
}

static void on_request(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    uint64_t now = xpa_now_nsec();
    if (xpa_back_may_wake(b, now))
        step(b, ack(b, &b->request_channel, now), now);
}

/* The guest may confirm events: nothing to do but to unmask the channel. Or its kernel says that
 * the frontend has died. */
static void on_event_channel(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    uint64_t now = xpa_now_nsec();
    if (!xpa_back_may_wake(b, now))
        return;
    int result = ack(b, &b->event_channel, now);
    if (result == 0 && b->link.watches && !xpa_evt_ring_front_lives(&b->link.event_ring))
        result = -ENOTCONN;
    if (result < 0)
        step(b, result, now);
}

static void on_timer(struct xpa_source *source, uint32_t events) {
    struct xpa_back *b = source->data;
    (void)events;
    uint64_t now = xpa_now_nsec();
    xpa_timer_ack(source->fd);
    bool held = b->link.holding;
    step(b, 0, now); /* what lies in the ring is delivered: no position may call it missing */
    if (b->link.broken)
        return;
    b->link.armed_nsec = 0;
    int result = xpa_back_tell_position(b, now);
    if (result == 0)
        result = xpa_back_send_volume(b);
    if (result < 0)
        step(b, result, now);
    else if (held || b->link.rests_until_nsec)
        xpa_back_schedule(b, now);
}

/* --- commands, carried out on the data loop --- */

static void do_attach(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xpa_loop *loop = &b->plane->loop;
    xpa_back_ring_init(&b->link.ring, b->ring_page);
    xpa_evt_ring_init_back(&b->link.event_ring, b->event_page);
    int result = xpa_loop_add(loop, &b->request_source);
    if (result == 0)
        result = xpa_loop_add(loop, &b->event_source);
    if (result == 0)
        result = xpa_loop_add(loop, &b->timer_source);
    b->link.attached = true; /* also when one failed: remove() of what is not in does nothing */
    /* The nodes may be a predecessor's, who never takes them away: Linux's frontend after ours. */
    if (b->link.watches && !xpa_evt_ring_front_lives(&b->link.event_ring))
        b->link.watches = b->position_ext = b->volume_ext = false;
    step(b, result, xpa_now_nsec()); /* requests may have come before we listened */
}

static void release_store(struct xpa_back *b) {
    b->stream.open = b->stream.running = b->stream.paused = false;
    b->stream.timeline.valid = false;
    b->link.armed_nsec = 0;
    xpa_timer_set(b->timer_fd, 0);
    if (b->link.holding || b->link.starting || b->link.rests_until_nsec)
        xpa_back_schedule(b, xpa_now_nsec());
    /* Python has freed the last one, unless it opened again without waiting for RELEASED */
    free(atomic_exchange(&b->shared.retired_store, b->stream.store));
    b->stream.store = NULL;
}

static void do_close(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    bool was_running = b->stream.running;
    if (b->stream.open)
        release_store(b);
    if (was_running)
        xpa_back_tell_host(b, false);
    xpa_plane_notify(b->plane, XPA_NOTICE_RELEASED, b->id, 0, NULL);
}

static void do_detach(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    detach_sources(b);
    if (b->stream.open)
        release_store(b);
    b->link.broken = true;
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
    if (b->stream.open)
        release_store(b);
    struct xpa_config c = o->config;
    b->stream = (struct xpa_back_stream){
        .open = true,
        .config = c,
        .frame_bytes = c.channels * c.sample_bytes,
        .store = o->store,
        .store_frames = o->store_frames,
        .first_event_id = b->link.event_id,
        .delay_window_nsec = b->stream.delay_window_nsec, /* the window goes on */
    };
    b->volume.due = false; /* of another stream */
    free(o); /* the one allocation that changes hands: before a guest hears anything of it */
    xpa_clock_init(&b->stream.clock, &(struct xpa_clock_config){.rate = c.rate});
    b->stats.delay_frames = 0;
    b->stats.jitter_nsec = 0;
    b->stats.written_frames = b->stats.position_frames = 0;
    b->stats.host_delay_max_frames = 0;
}

static void do_respond(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xensnd_resp response;
    memcpy(&response, command->arg.packet, sizeof response);
    if (!b->link.attached || b->link.broken || !b->link.waiting || b->link.holding ||
        b->link.starting)
        return;
    step(b, xpa_back_pass_answer(b, &response), xpa_now_nsec());
}

static void do_tell_volume(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    struct xensnd_evt event;
    memcpy(&event, command->arg.packet, sizeof event);
    step(b, xpa_back_set_volume(b, &event), xpa_now_nsec());
}

static void do_set_tap(const struct xpa_command *command) {
    struct xpa_back *b = command->object;
    b->tap = command->arg.pointer;
}

/* --- Python's side --- */

static int command(struct xpa_back *b, void (*func)(const struct xpa_command *), void *pointer) {
    struct xpa_command c = {.func = func, .object = b, .arg.pointer = pointer};
    return xpa_plane_command(b->plane, &c);
}

struct xpa_back *xpa_back_new(struct xpa_plane *plane, uint32_t stream_id, int direction,
                              void *ring_page, void *event_page, struct xpa_channel requests,
                              struct xpa_channel events, int position_ext) {
    struct xpa_back *b = xpa_calloc(1, sizeof *b);
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
    b->link.budget = &b->link.own_budget;
    b->timer_fd = xpa_timer_create();
    b->faults.timer_fd = xpa_timer_create();
    if (b->timer_fd < 0 || b->faults.timer_fd < 0) {
        xpa_back_free(b);
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
    if (b->timer_fd >= 0)
        close(b->timer_fd);
    if (b->faults.timer_fd >= 0)
        close(b->faults.timer_fd);
    free(b->stream.store);
    free(b->shared.retired_store);
    free(b);
}

void xpa_back_share_budget(struct xpa_back *b, struct xpa_budget *budget) {
    b->link.budget = budget;
}
void xpa_back_watch(struct xpa_back *b) { b->link.watches = true; }
void xpa_back_tell_volumes(struct xpa_back *b) { b->volume_ext = true; }
int xpa_back_attach(struct xpa_back *b) { return command(b, do_attach, NULL); }
int xpa_back_detach(struct xpa_back *b) { return command(b, do_detach, NULL); }
int xpa_back_close(struct xpa_back *b) { return command(b, do_close, NULL); }
int xpa_back_set_tap(struct xpa_back *b, struct xpa_tap *tap) {
    return command(b, do_set_tap, tap);
}

/* The store is private memory: playback needs the buffer and what a starved position can overtake;
 * capture also what arrives while the position waits behind the microphone. */
int xpa_back_open(struct xpa_back *b, const struct xpa_config *config) {
    if (config->channels == 0 || config->channels > XPA_MAX_CHANNELS)
        return -EINVAL;
    struct opening *o = xpa_calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    free(atomic_exchange(&b->shared.retired_store, NULL));
    o->config = *config;
    o->store_frames = config->buffer_frames + 2 * config->period_frames + 64;
    if (b->direction == XPA_CAPTURE)
        o->store_frames += config->rate / 4;
    o->store = xpa_calloc(o->store_frames, (size_t)config->channels * config->sample_bytes);
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

int xpa_back_tell_volume(struct xpa_back *b, const uint8_t *event) {
    struct xpa_command c = {.func = do_tell_volume, .object = b};
    memcpy(c.arg.packet, event, sizeof c.arg.packet);
    return xpa_plane_command(b->plane, &c);
}

void xpa_back_stats(struct xpa_back *b, struct xpa_stats *copy) { xpa_stats_copy(&b->stats, copy); }

/* front/commands.c - what Python asks of a frontend stream, carried out on the data loop; see
 * front.h.
 */
#include <string.h>

#include "front/front.h"

static const uint64_t DEADLINE_NSEC = 3000000000; /* as the kernel's frontend waits */
/* What is younger may lie in the ring until the host takes (position-extension.md). */
static const uint64_t PATIENCE_NSEC = 500000000;

struct opening {
    struct xpa_config config;
    uint32_t lead_frames, least_lead_frames;
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
    f->lead.least_frames = o.least_lead_frames;
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
    xpa_front_changed(f, XPA_FRONT_OPENED, xpa_now_nsec());
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
        xpa_front_break(f, result);
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
    xpa_front_changed(f, XPA_FRONT_ANSWER, now);
    if (f->link.broken || f->link.transfers_begin == f->link.transfers_end)
        return;
    uint64_t sent = f->link.transfers[f->link.transfers_begin % XPA_TRANSFERS].sent_nsec;
    if (now - sent > DEADLINE_NSEC)
        xpa_front_break(f, -ETIMEDOUT);
    else if (now - sent > PATIENCE_NSEC)
        xpa_front_urge(f);
}

static void do_close(const struct xpa_command *command) {
    struct xpa_front *f = command->object;
    xpa_front_release(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_RELEASED, f->id, 0, NULL);
}

/* --- Python's side --- */

static int command(struct xpa_front *f, void (*func)(const struct xpa_command *)) {
    struct xpa_command c = {.func = func, .object = f};
    return xpa_plane_command(f->plane, &c);
}

int xpa_front_close(struct xpa_front *f) { return command(f, do_close); }
int xpa_front_check(struct xpa_front *f) { return command(f, do_check); }

int xpa_front_open(struct xpa_front *f, const struct xpa_config *config, uint32_t lead_frames,
                   uint32_t least_lead_frames) {
    struct xpa_command c = {.func = do_open, .object = f};
    struct opening o = {*config, lead_frames, least_lead_frames};
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

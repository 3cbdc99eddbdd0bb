/* node/cycle.c - a guest node's stream and its audio callback, on the data loop; the model is in
 * node/node.h. */
#include <math.h>
#include <time.h>

#include "base/silence.h"
#include "node/drive.h"
#include "node/follow.h"
#include "node/graph.h"
#include "node/lead.h"

/* A backend that stops to send positions is not waited for, after what is left; and how long a
 * source is kept running. */
static const uint64_t LINGER_NSEC = 200000000;

static uint64_t thread_cpu_nsec(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- starting and stopping the stream --- */

static void start(struct xpa_pw_node *n) {
    struct xpa_front *f = n->state.front;
    xpa_lead_renew(n);
    xpa_front_prepare(f);
    /* The first position comes one frame past a period: the first cycle starts there. */
    if (n->direction == XPA_PLAYBACK)
        xpa_front_silence(f, (uint64_t)f->lead.frames + f->stream.config.period_frames + 1);
    xpa_front_begin(f);
    n->state.running = true;
    n->state.draining = false;
    xpa_overdue_forget(&n->cycle.overdue);
    n->state.rate = f->stream.config.rate;
    n->cycle.converter.step_frames = 0; /* nothing is left over, whatever was asked for last */
    xpa_follow_reset(n);
}

static void stop(struct xpa_pw_node *n) {
    if (xpa_node_usable(n))
        xpa_front_end(n->state.front);
    n->state.running = n->state.draining = false;
    xpa_overdue_forget(&n->cycle.overdue);
    xpa_node_arm(n, 0);
}

/* Playback is heard to its end before the stream stops: the last `lead` frames are still there.
 * Capture goes on for a moment: a graph that is only rebuilt, with another rate or quantum, comes
 * back sooner, and a start would cost it more than its own clients' time. */
static void begin_drain(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    if (!f->stream.positioned) {
        stop(n);
        return;
    }
    n->state.draining = true;
    n->state.drain_frames = n->direction == XPA_PLAYBACK ? f->stream.written_frames : UINT64_MAX;
    uint64_t left_nsec = 0;
    if (n->direction == XPA_PLAYBACK)
        left_nsec = (uint64_t)((f->stream.written_frames - f->stream.position_frames +
                                f->stream.config.period_frames) *
                               1e9 / f->stream.config.rate);
    n->state.drain_until_nsec = now_nsec + left_nsec + LINGER_NSEC;
    xpa_node_arm(n, n->state.drain_until_nsec);
}

/* Capture: what nobody took becomes no older than what a cycle takes. */
static void forget_old(const struct xpa_pw_node *n) {
    struct xpa_front *f = n->state.front;
    uint64_t kept = (uint64_t)ceil(xpa_lead_distance(f, n->cycle.converter.step_frames));
    if ((int64_t)(f->stream.position_frames - kept - f->stream.read_frames) > 0)
        f->stream.read_frames = f->stream.position_frames - kept;
}

static void check_drain(struct xpa_pw_node *n, uint64_t now_nsec) {
    if (n->state.front->stream.position_frames >= n->state.drain_frames ||
        now_nsec >= n->state.drain_until_nsec)
        stop(n);
}

static void resume_from_drain(struct xpa_pw_node *n) {
    n->state.draining = false;
    xpa_overdue_forget(&n->cycle.overdue);
    n->cycle.converter.step_frames = 0;
    xpa_follow_reset(n);
    xpa_node_arm(n, 0);
}

/* Captured frames that nobody asked for lie in a quarter of the buffer at the most (front/data.c):
 * what the host hands over at once and what a cycle takes have to fit there. And no volume may lie
 * where they are put. */
static bool captured_frames_fit(const struct xpa_pw_node *n) {
    const struct xpa_front *f = n->state.front;
    double most = f->stream.config.buffer_frames / 8.0;
    return n->io.position && xpa_graph_now(n).step_frames <= most &&
           f->stream.host_frames <= most && !f->control.waiting && f->control.frames == 0;
}

/* The end of a drain is an event. */
static bool needs_no_event(const struct xpa_pw_node *n) {
    return n->state.running && !n->state.draining &&
           (n->direction == XPA_PLAYBACK || captured_frames_fit(n));
}

/* The backend ran out of our frames: so much later than the margin was a cycle. */
static void note_gap(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    if (f->stream.ran_out && !n->state.draining) {
        xpa_stats_xrun(&f->stats, now_nsec);
        xpa_lead_grow(n, now_nsec);
    }
    f->stream.ran_out = false;
}

/* Everything that follows from the stream's and the graph's present state. */
static void update_stream(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    note_gap(n, now_nsec);
    f->stats.driving = n->state.driving;
    f->stats.delay_frames = (int64_t)(f->stream.written_frames - f->stream.position_frames);
    if (f->link.polls) /* the newest position is of a while ago */
        f->stats.delay_frames =
            llround((double)f->stream.written_frames - xpa_front_position_at(f, now_nsec));
    if (n->direction == XPA_CAPTURE && n->state.running) {
        if (n->state.draining)
            forget_old(n);
        xpa_front_ask(f);
        xpa_follow_held(n);
        xpa_lead_tell(f);
    }
    if (n->direction == XPA_PLAYBACK && n->state.running && f->stream.host_frames_max > 0 &&
        xpa_lead_wanted(f) > f->lead.frames + f->stream.config.period_frames / 4)
        xpa_lead_renew(n);
    if (n->state.wanted && n->state.draining)
        resume_from_drain(n);
    if (n->state.wanted && !n->state.running && !f->stream.stopping)
        start(n);
    else if (!n->state.wanted && n->state.running && !n->state.draining)
        begin_drain(n, now_nsec);
    if (n->state.draining)
        check_drain(n, now_nsec);
    xpa_front_let_poll(f, needs_no_event(n), now_nsec);
    if (xpa_node_usable(n) && n->state.running && !n->state.draining && n->state.driving)
        xpa_drive(n, now_nsec);
}

/* The stream ends here and not only when Python closes it: the graph may come back to its format,
 * and then it starts as any other. */
void xpa_node_set_format(struct xpa_pw_node *n, const struct xpa_node_format *format) {
    if (n->state.running && !xpa_node_fits(format, &n->state.front->stream.config))
        stop(n);
    n->state.format = *format;
    xpa_node_update(n, xpa_now_nsec());
}

void xpa_node_update(struct xpa_pw_node *n, uint64_t now_nsec) {
    if (n->state.in_update)
        return;
    n->state.in_update = true;
    if (xpa_node_usable(n)) {
        n->state.idle_nsec = 0;
        update_stream(n, now_nsec);
    }
    if (!xpa_node_usable(n)) { /* also if the stream broke just now */
        n->state.running = n->state.draining = false;
        xpa_drive_idle(n, now_nsec);
    }
    n->state.in_update = false;
}

/* --- the audio callback --- */

static void process_playback(struct xpa_pw_node *n, struct pw_buffer *buffer, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    struct spa_data *data = &buffer->buffer->datas[0];
    if (!xpa_node_usable(n) || !n->state.running || !data->data)
        return;
    uint32_t offset = SPA_MIN(data->chunk->offset, data->maxsize);
    uint32_t size = SPA_MIN(data->chunk->size, data->maxsize - offset);
    uint32_t frames = size / f->stream.frame_bytes;
    if (!n->state.driving) {
        xpa_front_collect(f, now_nsec);
        if (f->link.polls)
            xpa_front_poll(f, now_nsec);
        if (!xpa_node_usable(n) || !n->io.position || !xpa_follow_playback(n)) {
            f->stats.dropped_frames += frames;
            return;
        }
    }
    uint32_t room = xpa_front_room(f);
    if (frames > room) {
        f->stats.dropped_frames += frames - room;
        frames = room;
    }
    xpa_lead_measure(n, frames);
    xpa_front_put(f, SPA_PTROFF(data->data, offset, void), frames);
    if (n->io.position && (n->state.driving || n->follow.synced)) {
        double late_nsec = (double)(int64_t)(now_nsec - n->io.position->clock.nsec);
        xpa_lead_used(n, late_nsec * 1e-9 * f->stream.config.rate, now_nsec);
    }
}

/* In the graph's format: no stream may be open for it. Before the first format, zero bytes. */
static void give_silence(const struct xpa_node_format *format, void *target, uint32_t frames,
                         uint32_t frame_bytes) {
    uint32_t channels = format->frame_bytes ? format->channels : 1;
    xpa_fill_samples(format->silence, frame_bytes / channels, target, (uint64_t)frames * channels);
}

/* What the converter needs to bring this cycle. buffer->requested is what it needed for the one
 * before, if that was of another length: for a follower with any PipeWire, and for a driver, who
 * has said meanwhile what it will take, since 1.0.5. */
static uint64_t needed_frames(const struct xpa_pw_node *n, const struct pw_buffer *buffer) {
    if (!n->io.position)
        return buffer->requested ? buffer->requested : 1024;
    struct xpa_quantum q = xpa_graph_now(n);
    uint64_t frames = 0;
    if (n->io.rate_match)
        frames = n->state.driving ? n->io.rate_match->size : xpa_graph_need(n, &q);
    if (frames == 0)
        frames = buffer->requested;
    return frames ? frames : (uint64_t)ceil(q.step_frames);
}

static void process_capture(struct xpa_pw_node *n, struct pw_buffer *buffer, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    struct spa_data *data = &buffer->buffer->datas[0];
    if (!data->data)
        return;
    uint32_t frame_bytes = n->state.format.frame_bytes ? n->state.format.frame_bytes : 4;
    uint32_t frames =
        (uint32_t)SPA_MIN(needed_frames(n, buffer), (uint64_t)data->maxsize / frame_bytes);
    if (f && f->link.polls && !n->state.driving) {
        xpa_front_poll(f, now_nsec);
        xpa_follow_held(n);
    }
    bool there = xpa_node_usable(n) && n->state.running && n->io.position &&
                 (n->state.driving || xpa_follow_capture(n, frames)) &&
                 xpa_front_ready(f) >= frames;
    if (there) {
        uint32_t left = xpa_front_ready(f) - frames;
        xpa_lead_used(n, (double)f->lead.margin.frames - left, now_nsec);
        xpa_lead_measure(n, frames);
        xpa_front_get(f, data->data, frames);
    } else {
        give_silence(&n->state.format, data->data, frames, frame_bytes);
        if (xpa_node_usable(n) && n->state.running && (n->state.driving || n->follow.synced)) {
            xpa_stats_xrun(&f->stats, now_nsec);
            f->stats.silence_frames += frames;
            xpa_lead_grow(n, now_nsec);
        }
    }
    data->chunk->offset = 0;
    data->chunk->stride = (int32_t)frame_bytes;
    data->chunk->size = frames * frame_bytes;
    buffer->size = frames;
}

void xpa_node_process(struct xpa_pw_node *n) {
    /* one in 16: asking for a thread's time is a system call. Asked twice: the first one comes back
     * through a cold kernel, which costs up to a microsecond that no other cycle has. */
    bool timed = ++n->cycle.processed % 16 == 0;
    if (timed)
        (void)thread_cpu_nsec();
    uint64_t began = timed ? thread_cpu_nsec() : 0, now = xpa_now_nsec();
    struct pw_buffer *buffer = pw_stream_dequeue_buffer(n->stream);
    if (buffer) {
        if (n->direction == XPA_PLAYBACK)
            process_playback(n, buffer, now);
        else
            process_capture(n, buffer, now);
        pw_stream_queue_buffer(n->stream, buffer);
    }
    if (!n->state.driving && n->io.position && n->direction == XPA_CAPTURE) {
        struct xpa_quantum q = xpa_graph_now(n);
        xpa_graph_converted(n, &q);
    }
    if (!n->state.driving && n->state.front && n->io.position) {
        n->state.front->stats.cycles++;
        n->state.front->stats.quantum_frames = n->io.position->clock.duration;
        n->state.front->stats.quantum_rate = n->io.position->clock.rate.denom;
        n->cycle.quantum_frames = n->io.position->clock.duration;
    }
    if (xpa_node_usable(n) && n->state.running && n->io.position)
        xpa_lead_note_resampler(n);
    if (timed && n->state.front)
        n->state.front->stats.callback_nsec = thread_cpu_nsec() - began;
    xpa_overdue_end(&n->cycle.overdue, now);
    xpa_node_update(n, now);
}

/* --- what else wakes the node --- */

void xpa_node_bind(struct xpa_pw_node *n, struct xpa_front *f) {
    if (n->state.front == f)
        return;
    if (n->state.front)
        n->state.front->graph.on_change = NULL;
    n->state.front = f;
    n->state.running = n->state.draining = false;
    xpa_overdue_forget(&n->cycle.overdue);
    f->graph.on_change = xpa_node_on_change;
    f->graph.data = n;
    xpa_node_update(n, xpa_now_nsec());
}

void xpa_node_on_change(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct xpa_pw_node *n = data;
    if (change == XPA_FRONT_GONE)
        n->state.front = NULL;
    xpa_node_update(n, now_nsec);
}

void xpa_node_on_timer(struct xpa_source *source, uint32_t events) {
    struct xpa_pw_node *n = source->data;
    (void)events;
    n->state.armed_nsec = 0;
    xpa_node_update(n, xpa_now_nsec());
    if (n->state.armed_nsec == 0) /* set anew it has forgotten that it fired */
        xpa_timer_ack(source->fd);
}

void xpa_node_set_io(struct xpa_pw_node *n, uint32_t io, void *area) {
    switch (io) {
    case SPA_IO_Position:
        n->io.position = area;
        break;
    case SPA_IO_Clock:
        n->io.clock = area;
        if (n->io.clock)
            memcpy(n->io.clock->name, n->clock_name, sizeof n->clock_name);
        break;
    case SPA_IO_RateMatch:
        n->io.rate_match = area;
        break;
    default:
        return;
    }
    bool was = n->state.driving;
    n->state.driving = n->io.position && n->io.clock && n->io.position->clock.id == n->io.clock->id;
    if (n->io.rate_match && n->state.driving) {
        n->io.rate_match->rate = 1.0;
        SPA_FLAG_CLEAR(n->io.rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE);
    }
    if (was != n->state.driving) {
        n->follow.drifted = false;
        xpa_overdue_forget(&n->cycle.overdue);
        xpa_follow_reset(n);
        n->follow.doubt_sec = 0;
        /* a follower's lead grows by what it finds ahead: a driver waits until that is heard */
        if (n->state.driving && xpa_node_usable(n) && n->state.running)
            xpa_lead_renew(n);
        xpa_node_arm(n, 0);
    }
    xpa_node_update(n, xpa_now_nsec());
}

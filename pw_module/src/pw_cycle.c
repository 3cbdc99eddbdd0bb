/* pw_cycle.c - a guest node's cycles, on the data loop; the model is in pw_node.h. */
#include <math.h>
#include <time.h>

#include "pw_node.h"

/* Without a backend the graph waits this long, so that nothing is lost over a restart; after that
 * it runs on our own clock into nothing, so that no application hangs. */
static const uint64_t PATIENCE_NSEC = 3000000000;
/* A client that did not finish a cycle for this long is left behind. */
static const uint64_t STUCK_NSEC = 200000000;
/* How much later than predicted an event may be before a cycle runs on the prediction. */
static const uint64_t EVENT_GRACE_NSEC = 3000000;

static uint64_t thread_cpu_nsec(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct xpa_clock_tail *tail(struct spa_io_clock *clock) {
    return (struct xpa_clock_tail *)((char *)&clock->next_nsec + sizeof clock->next_nsec);
}

static void arm(struct xpa_pw_node *n, uint64_t nsec) {
    if (nsec == n->armed_nsec)
        return;
    n->armed_nsec = nsec;
    xpa_timer_set(n->timer_source.fd, nsec);
}

static bool usable(const struct xpa_pw_node *n) {
    return n->front && n->front->open && !n->front->broken;
}

/* What the next cycle will be, in the graph's terms. */
static void next_quantum(const struct xpa_pw_node *n, uint64_t *duration,
                         struct spa_fraction *rate) {
    struct spa_io_clock *clock = &n->position->clock;
    *duration = clock->duration;
    *rate = clock->rate;
    if (n->version >= 3068 && tail(clock)->target_duration && tail(clock)->target_rate.denom) {
        *duration = tail(clock)->target_duration;
        *rate = tail(clock)->target_rate;
    }
    if (*duration == 0 || rate->denom == 0) {
        *duration = 1024;
        *rate = SPA_FRACTION(1, n->front && n->front->config.rate ? n->front->config.rate : 48000);
    }
}

/* --- starting and stopping the stream --- */

static void silence(struct xpa_front *f, uint64_t frames) {
    uint64_t room = xpa_front_room(f);
    xpa_front_put(f, NULL, (uint32_t)(frames < room ? frames : room));
}

/* The host's need as last seen, and our own guard: how late a cycle may be. */
static uint32_t wanted_lead(const struct xpa_front *f) {
    if (f->direction == XPA_CAPTURE || f->host_frames_max <= 0)
        return f->lead_frames;
    return (uint32_t)ceil(f->host_frames_max) + f->guard_frames;
}

/* What applications are told: a played frame is heard `lead` after its cycle began; a captured one
 * waited `lead` here, and before that as long as the host says. */
static void tell_latency(struct xpa_front *f) {
    uint32_t frames = f->lead_frames;
    if (f->direction == XPA_CAPTURE)
        frames += (uint32_t)lround(f->host_frames);
    if (frames == f->told_frames)
        return;
    f->told_frames = frames;
    xpa_plane_notify(f->plane, XPA_NOTICE_LATENCY, f->id, (int32_t)frames, NULL);
}

/* Never less than a period: a starved position runs ahead to the end of its period, and frames put
 * behind it would bring no event. */
static void set_lead(struct xpa_front *f, uint32_t lead_frames) {
    uint32_t limit = f->config.buffer_frames / 2;
    lead_frames = lead_frames < limit ? lead_frames : limit;
    f->lead_frames = lead_frames > f->config.period_frames ? lead_frames : f->config.period_frames;
    f->stats.lead_frames = f->lead_frames;
    tell_latency(f);
}

static void start(struct xpa_pw_node *n) {
    struct xpa_front *f = n->front;
    set_lead(f, wanted_lead(f));
    xpa_front_prepare(f);
    /* The first position comes one frame past a period: the first cycle starts there. */
    if (n->direction == XPA_PLAYBACK)
        silence(f, (uint64_t)f->lead_frames + f->config.period_frames + 1);
    xpa_front_begin(f);
    n->running = true;
    n->draining = n->pending = n->synced = false;
}

static void stop(struct xpa_pw_node *n) {
    if (usable(n))
        xpa_front_end(n->front);
    n->running = n->draining = n->pending = false;
    arm(n, 0);
}

/* Playback is heard to its end before the stream stops: the last `lead` frames are still there. */
static void begin_drain(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->front;
    if (n->direction == XPA_CAPTURE || !f->positioned) {
        stop(n);
        return;
    }
    n->draining = true;
    n->drain_frames = f->written_frames;
    uint64_t left = f->written_frames - f->position_frames + f->config.period_frames;
    n->drain_until_nsec = now_nsec + (uint64_t)(left * 1e9 / f->config.rate) + 200000000;
    arm(n, n->drain_until_nsec);
}

static void check_drain(struct xpa_pw_node *n, uint64_t now_nsec) {
    if (n->front->position_frames >= n->drain_frames || now_nsec >= n->drain_until_nsec)
        stop(n);
}

static void resume_from_drain(struct xpa_pw_node *n) {
    n->draining = n->pending = n->synced = false;
    arm(n, 0);
}

/* --- driving --- */

/* The backend frame at which the next cycle starts. */
static double next_cycle_frame(const struct xpa_pw_node *n, double step_frames) {
    const struct xpa_front *f = n->front;
    if (n->direction == XPA_PLAYBACK)
        return (double)f->written_frames - (double)f->lead_frames;
    return (double)f->read_frames + step_frames + (double)f->lead_frames;
}

static void fill_clock(struct xpa_pw_node *n, uint64_t duration, struct spa_fraction rate,
                       double frame, double step_frames) {
    struct spa_io_clock *clock = &n->position->clock;
    const struct xpa_front *f = n->front;
    double to_graph = (double)rate.denom / f->config.rate;
    clock->nsec = xpa_clock_time_at(&f->clock, frame);
    clock->next_nsec = xpa_clock_time_at(&f->clock, frame + step_frames);
    clock->rate = rate;
    clock->position += clock->duration;
    clock->duration = duration;
    clock->delay = (int64_t)llround(f->lead_frames * to_graph);
    clock->rate_diff = 1e9 / (xpa_clock_nsec_per_frame(&f->clock) * f->config.rate);
    n->quantum_frames = duration;
}

static void trigger(struct xpa_pw_node *n, uint64_t now_nsec) {
    n->pending = true;
    n->triggered_nsec = now_nsec;
    pw_stream_trigger_process(n->stream);
}

/* Events look again at a cycle that does not come back (the graph was rebuilt just then, say). The
 * position of a starved backend stands still, though, and nothing else would wake us. */
static void guard_cycle(struct xpa_pw_node *n) {
    if (n->front->starved)
        arm(n, n->triggered_nsec + STUCK_NSEC);
}

/* Runs the cycle that is due, if one is. True: look again. */
static bool drive(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->front;
    uint64_t duration;
    struct spa_fraction rate;
    if (!n->position || !f->positioned)
        return false;
    next_quantum(n, &duration, &rate);
    double step = (double)duration * f->config.rate / rate.denom;
    double frame = next_cycle_frame(n, step);
    bool reached = frame <= (double)f->position_frames;
    /* A cycle at a time: a client that was late loses nothing by it. process() looks again. */
    if (n->pending && now_nsec - n->triggered_nsec < STUCK_NSEC) {
        f->stats.deferred += reached;
        guard_cycle(n);
        return false;
    }
    if (!reached) {
        /* between two events the clock's prediction counts, but never for more than a period:
         * a backend that stands still stops the graph, too */
        uint64_t at = xpa_clock_time_at(&f->clock, frame);
        double next_event = (double)f->position_frames + f->config.period_frames;
        bool near = frame < (double)f->position_frames + 1.5 * f->config.period_frames;
        if (frame > next_event - 1.5)
            at += EVENT_GRACE_NSEC; /* the event itself will start it */
        if (!near || f->starved) {
            arm(n, 0);
            return false;
        }
        if (now_nsec < at) {
            arm(n, at);
            return false;
        }
    }
    xpa_front_collect(f, now_nsec);
    if (!usable(n))
        return false;
    /* the resampler may ask for, or bring, a little more than the step */
    uint32_t frames = (uint32_t)ceil(step) + 8;
    if (n->direction == XPA_PLAYBACK ? xpa_front_room(f) < frames
                                     : xpa_front_ready(f) < (uint32_t)step)
        return false; /* an answer of the backend is missing; it wakes us */
    fill_clock(n, duration, rate, frame, step);
    f->stats.cycles++;
    f->stats.quantum_frames = duration;
    f->stats.quantum_rate = rate.denom;
    trigger(n, now_nsec);
    guard_cycle(n);
    return true;
}

/* No backend: after a while the graph runs on our own clock, into nothing. */
static void idle_drive(struct xpa_pw_node *n, uint64_t now_nsec) {
    uint64_t duration;
    struct spa_fraction rate;
    if (!n->wanted || !n->driving || !n->position) {
        n->idle_nsec = 0;
        arm(n, 0);
        return;
    }
    if (n->idle_nsec == 0)
        n->idle_nsec = now_nsec + PATIENCE_NSEC;
    if (now_nsec >= n->idle_nsec) {
        struct spa_io_clock *clock = &n->position->clock;
        next_quantum(n, &duration, &rate);
        uint64_t step_nsec = duration * 1000000000u / rate.denom;
        if (now_nsec - n->idle_nsec > step_nsec)
            n->idle_nsec = now_nsec;
        clock->nsec = n->idle_nsec;
        clock->rate = rate;
        clock->position += clock->duration;
        clock->duration = duration;
        clock->delay = 0;
        clock->rate_diff = 1.0;
        n->idle_nsec += step_nsec;
        clock->next_nsec = n->idle_nsec;
        trigger(n, now_nsec);
    }
    arm(n, n->idle_nsec);
}

/* Everything that follows from the stream's and the graph's present state. */
static void update_stream(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->front;
    if (f->starved && !n->was_starved && !n->draining)
        f->stats.xruns++;
    n->was_starved = f->starved;
    f->stats.driving = n->driving;
    f->stats.delay_frames = (int64_t)(f->written_frames - f->position_frames);
    if (n->direction == XPA_CAPTURE && n->running) {
        xpa_front_ask(f);
        tell_latency(f);
    }
    if (n->direction == XPA_PLAYBACK && n->running && f->host_frames_max > 0 &&
        wanted_lead(f) > f->lead_frames + f->config.period_frames / 4)
        set_lead(f, wanted_lead(f));
    if (n->wanted && n->draining)
        resume_from_drain(n);
    if (n->wanted && !n->running && !f->stopping)
        start(n);
    else if (!n->wanted && n->running && !n->draining)
        begin_drain(n, now_nsec);
    if (n->draining)
        check_drain(n, now_nsec);
    /* a catch-up after a stall is bounded by what the lead can hold */
    for (int i = 0; i < 64 && n->running && !n->draining && n->driving; i++)
        if (!drive(n, now_nsec))
            break;
}

void xpa_node_update(struct xpa_pw_node *n, uint64_t now_nsec) {
    if (n->in_update)
        return;
    n->in_update = true;
    if (usable(n)) {
        n->idle_nsec = 0;
        update_stream(n, now_nsec);
    }
    if (!usable(n)) { /* also if the stream broke just now */
        n->running = n->draining = false;
        idle_drive(n, now_nsec);
    }
    n->in_update = false;
}

/* --- following another driver: resample so that the distance stays --- */

/* The driver is another stream of our card: it has our backend's clock, frames need no resampling.
 * Should the distance grow all the same (the host has two devices there), that ends. */
static bool has_our_clock(const struct xpa_pw_node *n) {
    return !n->drifted &&
           strncmp(n->position->clock.name, n->clock_name, sizeof n->position->clock.name) == 0;
}

static void match_rate(struct xpa_pw_node *n, double error_frames) {
    const struct xpa_front *f = n->front;
    uint32_t quantum = (uint32_t)n->position->clock.duration;
    n->follow_sec += (double)quantum / n->position->clock.rate.denom;
    if (has_our_clock(n)) {
        if (n->rate_match)
            SPA_FLAG_CLEAR(n->rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE);
        return;
    }
    if (n->dll.bw == 0.0 || n->dll_quantum != quantum) {
        spa_dll_init(&n->dll);
        n->dll_quantum = quantum;
        n->follow_sec = 0;
    }
    /* wide at first, narrow later: locked in seconds, quiet afterwards */
    double bandwidth = n->follow_sec < 3   ? SPA_DLL_BW_MAX
                       : n->follow_sec < 8 ? SPA_DLL_BW_MAX / 2
                                           : SPA_DLL_BW_MIN;
    if (bandwidth != n->dll.bw)
        spa_dll_set_bw(&n->dll, bandwidth, quantum, f->config.rate);
    double correction = spa_dll_update(&n->dll, SPA_CLAMP(error_frames, -128.0, 128.0));
    if (!n->rate_match)
        return;
    n->rate_match->rate = n->direction == XPA_CAPTURE ? 1.0 / correction : correction;
    SPA_FLAG_SET(n->rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE);
}

/* True: the distance is set anew, at once. */
static bool must_resync(struct xpa_pw_node *n, double error_frames) {
    const struct xpa_front *f = n->front;
    if (!n->synced || fabs(error_frames) > 2.0 * f->config.period_frames + 256)
        return true;
    if (!has_our_clock(n) || fabs(error_frames) <= f->config.period_frames / 4.0)
        return false;
    if (n->follow_sec < 1) /* the clocks are as young as the streams */
        return true;
    n->drifted = true;
    return false;
}

/* Playback: keeps written - position at the lead, plus what one cycle of the driver brings. Until
 * the backend's clock is known, frames are taken as they come. Then the lead becomes what lies
 * ahead already, if that is more: nothing is dropped, nor played faster to catch up. */
static bool follow_playback(struct xpa_pw_node *n) {
    struct xpa_front *f = n->front;
    if (!f->positioned || !xpa_clock_locked(&f->clock))
        return true;
    double heard = xpa_clock_position_at(&f->clock, n->position->clock.nsec);
    double fill = (double)f->written_frames - heard, error = fill - f->lead_frames;
    if (fill < 0 || must_resync(n, error)) {
        if (error < 0)
            silence(f, (uint64_t)-error);
        else if (error > f->config.buffer_frames / 2)
            return false; /* nothing else brings us nearer: these frames are dropped */
        else
            set_lead(f, f->lead_frames + (uint32_t)error);
        n->synced = true;
        f->stats.resyncs++;
        spa_zero(n->dll);
        error = fill - f->lead_frames < 0 ? 0 : fill - f->lead_frames;
    }
    match_rate(n, error);
    return true;
}

static bool follow_capture(struct xpa_pw_node *n, uint32_t frames) {
    struct xpa_front *f = n->front;
    if (!f->positioned || !xpa_clock_locked(&f->clock))
        return false;
    double there = xpa_clock_position_at(&f->clock, n->position->clock.nsec);
    double target = f->lead_frames;
    double error = target - (there - (double)f->read_frames - frames);
    if (must_resync(n, error)) {
        double begin = round(there - target - frames);
        n->synced = begin >= (double)f->base_frames;
        if (!n->synced)
            return false; /* the distance is not there yet: better silence now than slewing later */
        f->read_frames = (uint64_t)begin;
        f->stats.resyncs++;
        spa_zero(n->dll);
        error = 0;
    }
    match_rate(n, error);
    return true;
}

/* --- the audio callback --- */

static void process_playback(struct xpa_pw_node *n, struct pw_buffer *buffer) {
    struct xpa_front *f = n->front;
    struct spa_data *data = &buffer->buffer->datas[0];
    if (!usable(n) || !n->running || !data->data)
        return;
    uint32_t offset = SPA_MIN(data->chunk->offset, data->maxsize);
    uint32_t size = SPA_MIN(data->chunk->size, data->maxsize - offset);
    uint32_t frames = size / f->frame_bytes;
    if (!n->driving) {
        xpa_front_collect(f, xpa_now_nsec());
        if (!usable(n) || !n->position || !follow_playback(n)) {
            f->stats.dropped_frames += frames;
            return;
        }
    }
    uint32_t room = xpa_front_room(f);
    if (frames > room) {
        f->stats.dropped_frames += frames - room;
        frames = room;
    }
    xpa_front_put(f, SPA_PTROFF(data->data, offset, void), frames);
}

static void process_capture(struct xpa_pw_node *n, struct pw_buffer *buffer) {
    struct xpa_front *f = n->front;
    struct spa_data *data = &buffer->buffer->datas[0];
    if (!data->data)
        return;
    uint32_t frame_bytes = f && f->frame_bytes ? f->frame_bytes : 4;
    uint64_t quantum = n->position ? n->position->clock.duration : 1024;
    uint32_t frames = (uint32_t)SPA_MIN(buffer->requested ? buffer->requested : quantum,
                                        (uint64_t)data->maxsize / frame_bytes);
    bool there = usable(n) && n->running && n->position &&
                 (n->driving || follow_capture(n, frames)) && xpa_front_ready(f) >= frames;
    if (there) {
        xpa_front_get(f, data->data, frames);
    } else {
        memset(data->data, 0, (size_t)frames * frame_bytes);
        if (usable(n) && n->running && (n->driving || n->synced)) {
            f->stats.xruns++;
            f->stats.silence_frames += frames;
        }
    }
    data->chunk->offset = 0;
    data->chunk->stride = (int32_t)frame_bytes;
    data->chunk->size = frames * frame_bytes;
    buffer->size = frames;
}

void xpa_node_process(struct xpa_pw_node *n) {
    /* one in 16: asking for a thread's time is a system call */
    bool timed = ++n->processed % 16 == 0;
    uint64_t began = timed ? thread_cpu_nsec() : 0;
    struct pw_buffer *buffer = pw_stream_dequeue_buffer(n->stream);
    if (buffer) {
        if (n->direction == XPA_PLAYBACK)
            process_playback(n, buffer);
        else
            process_capture(n, buffer);
        pw_stream_queue_buffer(n->stream, buffer);
    }
    if (!n->driving && n->front && n->position) {
        n->front->stats.cycles++;
        n->front->stats.quantum_frames = n->position->clock.duration;
        n->front->stats.quantum_rate = n->position->clock.rate.denom;
        n->quantum_frames = n->position->clock.duration;
    }
    n->pending = false;
    if (timed && n->front)
        n->front->stats.callback_nsec = thread_cpu_nsec() - began;
    xpa_node_update(n, xpa_now_nsec());
}

/* --- what else wakes the node --- */

void xpa_node_on_change(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct xpa_pw_node *n = data;
    if (change == XPA_FRONT_GONE)
        n->front = NULL;
    xpa_node_update(n, now_nsec);
}

void xpa_node_on_timer(struct xpa_source *source, uint32_t events) {
    struct xpa_pw_node *n = source->data;
    (void)events;
    xpa_timer_ack(source->fd);
    n->armed_nsec = 0;
    xpa_node_update(n, xpa_now_nsec());
}

void xpa_node_set_io(struct xpa_pw_node *n, uint32_t io, void *area) {
    switch (io) {
    case SPA_IO_Position:
        n->position = area;
        break;
    case SPA_IO_Clock:
        n->clock = area;
        if (n->clock)
            memcpy(n->clock->name, n->clock_name, sizeof n->clock_name);
        break;
    case SPA_IO_RateMatch:
        n->rate_match = area;
        break;
    default:
        return;
    }
    bool was = n->driving;
    n->driving = n->position && n->clock && n->position->clock.id == n->clock->id;
    if (n->rate_match && n->driving) {
        n->rate_match->rate = 1.0;
        SPA_FLAG_CLEAR(n->rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE);
    }
    if (was != n->driving) {
        n->synced = n->pending = n->drifted = false;
        n->follow_sec = 0;
        spa_zero(n->dll);
        arm(n, 0);
    }
    xpa_node_update(n, xpa_now_nsec());
}

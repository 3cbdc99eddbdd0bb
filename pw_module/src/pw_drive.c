/* pw_drive.c - this node starts the graph's cycles, on the data loop; see pw_cycle.h. */
#include <math.h>

#include "pw_cycle.h"

/* Without a backend the graph waits this long, so that nothing is lost over a restart; after that
 * it runs on our own clock into nothing, so that no application hangs. */
static const uint64_t PATIENCE_NSEC = 3000000000;
/* An event may be so late: until then cycles run on the clock's prediction, and no longer, since a
 * backend that stands still stops the graph, too. */
static const uint64_t EVENT_LATE_NSEC = 3000000;

/* A cycle that an event should start any moment waits for it, which spares a wake-up. Never for
 * much of a period: the lead is little more than one. */
static uint64_t event_grace_nsec(const struct xpa_front *f) {
    uint64_t quarter_nsec = f->config.period_frames * 250000000ull / f->config.rate;
    return quarter_nsec < EVENT_LATE_NSEC ? quarter_nsec : EVENT_LATE_NSEC;
}

/* Past the newest position. */
static double predictable_frames(const struct xpa_front *f) {
    double late = (double)EVENT_LATE_NSEC * 1e-9 * f->config.rate;
    return f->config.period_frames + fmax(late, 0.5 * f->config.period_frames);
}

static struct xpa_clock_tail *tail(struct spa_io_clock *clock) {
    return (struct xpa_clock_tail *)((char *)&clock->next_nsec + sizeof clock->next_nsec);
}

/* A sink's process() says that the cycle has ended; a source's comes at its beginning, and nothing
 * says when clients have taken the frames, which the next cycle overwrites. So when a source
 * catches up, each cycle is given half of the time that it usually has. */
static uint64_t soonest_nsec(const struct xpa_pw_node *n, uint64_t duration, uint32_t rate) {
    return n->direction == XPA_CAPTURE ? n->triggered_nsec + duration * 500000000u / rate : 0;
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

/* The backend frame at which the next cycle starts. */
static double next_cycle_frame(const struct xpa_pw_node *n, double step_frames) {
    const struct xpa_front *f = n->front;
    double distance = xpa_lead_distance(f, step_frames);
    if (n->direction == XPA_PLAYBACK)
        return (double)f->written_frames - distance;
    return (double)f->read_frames + distance;
}

static void fill_clock(struct xpa_pw_node *n, uint64_t duration, struct spa_fraction rate,
                       double frame, double step_frames) {
    struct spa_io_clock *clock = &n->position->clock;
    const struct xpa_front *f = n->front;
    double to_graph = (double)rate.denom / f->config.rate;
    clock->nsec = xpa_front_time_at(f, frame);
    clock->next_nsec = xpa_front_time_at(f, frame + step_frames);
    clock->rate = rate;
    clock->position += clock->duration;
    clock->duration = duration;
    clock->delay = (int64_t)llround(f->lead_frames * to_graph);
    clock->rate_diff = 1e9 / (xpa_front_nsec_per_frame(f) * f->config.rate);
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
        xpa_node_arm(n, n->triggered_nsec + STUCK_NSEC);
}

bool xpa_drive(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->front;
    uint64_t duration;
    struct spa_fraction rate;
    /* a first position that ran through silence brings no time */
    if (!n->position || !f->positioned || !xpa_front_time_ready(f))
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
        /* between two events the clock's prediction counts */
        uint64_t at = xpa_front_time_at(f, frame);
        double next_event = (double)f->position_frames + f->config.period_frames;
        bool near = frame < (double)f->position_frames + predictable_frames(f);
        if (frame > next_event - 1.5)
            at += event_grace_nsec(f); /* the event itself will start it */
        if (!near || f->starved) {
            xpa_node_arm(n, 0);
            return false;
        }
        if (now_nsec < at) {
            xpa_node_arm(n, at);
            return false;
        }
    }
    if (now_nsec < soonest_nsec(n, duration, rate.denom)) {
        f->stats.deferred += reached;
        xpa_node_arm(n, soonest_nsec(n, duration, rate.denom));
        return false;
    }
    xpa_front_collect(f, now_nsec);
    if (!xpa_node_usable(n))
        return false;
    /* the resampler may ask for, or bring, a little more than the step */
    uint32_t frames = (uint32_t)ceil(step) + 8;
    /* without them an answer of the backend is missing; it wakes us */
    if (n->direction == XPA_CAPTURE && xpa_front_ready(f) < (uint32_t)step)
        return false;
    if (n->direction == XPA_PLAYBACK && xpa_front_room(f) < frames) {
        xpa_front_urge(f);
        return false;
    }
    fill_clock(n, duration, rate, frame, step);
    f->stats.cycles++;
    f->stats.quantum_frames = duration;
    f->stats.quantum_rate = rate.denom;
    trigger(n, now_nsec);
    guard_cycle(n);
    return true;
}

void xpa_drive_idle(struct xpa_pw_node *n, uint64_t now_nsec) {
    uint64_t duration;
    struct spa_fraction rate;
    if (!n->wanted || !n->driving || !n->position) {
        n->idle_nsec = 0;
        xpa_node_arm(n, 0);
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
    xpa_node_arm(n, n->idle_nsec);
}

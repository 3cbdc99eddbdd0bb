/* node/drive.c - this node starts the graph's cycles: when; see node/drive.h. */
#include <math.h>

#include "node/drive.h"
#include "node/graph.h"
#include "node/lead.h"

/* Without a backend the graph waits this long, so that nothing is lost over a restart; after that
 * it runs on our own clock into nothing, so that no application hangs. */
static const uint64_t PATIENCE_NSEC = 3000000000;
/* An event may be so late: until then cycles run on the clock's prediction, and no longer, since a
 * backend that stands still stops the graph, too. */
static const uint64_t EVENT_LATE_NSEC = 3000000;
/* More than a quantum of 8192 frames at 44100 Hz; what a backend says beyond is not believed. */
static const double LONGEST_TAKE_SEC = 0.2;
/* So much too soon by what a new position says, a cycle starts all the same. */
static const uint64_t EARLY_NSEC = 20000;

/* A cycle that an event should start any moment waits for it, which spares a wake-up. Never for
 * much of a period: the lead is little more than one. */
static uint64_t event_grace_nsec(const struct xpa_front *f) {
    uint64_t quarter_nsec = f->stream.config.period_frames * 250000000ull / f->stream.config.rate;
    return quarter_nsec < EVENT_LATE_NSEC ? quarter_nsec : EVENT_LATE_NSEC;
}

/* Past the newest position. One that does not wake us is told when the host takes frames, which it
 * does not more often than what it holds at the most. */
static double predictable_frames(const struct xpa_front *f) {
    double late = (double)EVENT_LATE_NSEC * 1e-9 * f->stream.config.rate;
    double most = LONGEST_TAKE_SEC * f->stream.config.rate;
    double taken = f->link.polls ? fmin(f->stream.host_frames_max, most) : 0;
    return taken + f->stream.config.period_frames +
           fmax(late, 0.5 * f->stream.config.period_frames);
}

/* The backend frame at which the next cycle starts. */
static double next_cycle_frame(const struct xpa_pw_node *n, double step_frames) {
    const struct xpa_front *f = n->state.front;
    double distance = xpa_lead_distance(f, step_frames);
    if (n->direction == XPA_PLAYBACK)
        return (double)f->stream.written_frames - distance;
    return (double)f->stream.read_frames + distance;
}

/* When the cycle at `frame` is to start; 0: an event must come before that is known. */
static uint64_t due_nsec(const struct xpa_front *f, double frame) {
    if (frame <= (double)f->stream.position_frames)
        return 1; /* it is reached: long ago, maybe */
    if (f->stream.starved || frame >= (double)f->stream.position_frames + predictable_frames(f))
        return 0;
    /* between two events the clock's prediction counts */
    uint64_t at = xpa_front_time_at(f, frame);
    double next_event = (double)f->stream.position_frames + f->stream.config.period_frames;
    return frame > next_event - 1.5 ? at + event_grace_nsec(f) : at; /* the event will start it */
}

/* The same while positions do not wake us: what is known of them is renewed when the cycle is due
 * by what was known. 1: now. */
static uint64_t polled_due_nsec(struct xpa_pw_node *n, double step_frames, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    uint64_t at = xpa_front_time_at(f, next_cycle_frame(n, step_frames));
    if (at > now_nsec)
        return at;
    xpa_front_poll(f, now_nsec);
    double frame = next_cycle_frame(n, step_frames);
    if (frame < (double)f->stream.position_frames + predictable_frames(f)) {
        at = xpa_front_time_at(f, frame);
        return at > now_nsec + EARLY_NSEC ? at : 1;
    }
    xpa_front_hear(f, now_nsec);
    return due_nsec(f, next_cycle_frame(n, step_frames));
}

/* Playback: a cycle at a time, so that a client that was late loses nothing by it: until the one
 * before has come back, or is given up. When to look again; 0: no cycle runs. */
static uint64_t unfinished_nsec(struct xpa_pw_node *n, const struct xpa_quantum *q, double frame,
                                uint64_t now_nsec) {
    const struct xpa_front *f = n->state.front;
    if (!n->cycle.overdue.running)
        return 0;
    double lasts = frame + f->lead.margin.frames; /* the host may look for more then */
    uint64_t links_nsec = atomic_load_explicit(&n->pw->shared.links_nsec, memory_order_relaxed);
    return xpa_overdue_look(&n->cycle.overdue, now_nsec, xpa_front_time_at(f, lasts),
                            xpa_graph_nsec(q), links_nsec);
}

/* Capture: process() comes at a cycle's beginning, and nothing says when clients have taken the
 * frames, which the next cycle overwrites. So when a source catches up, each cycle is given half of
 * the time that it usually has; all of it when no frames were asked for, since that is no reason to
 * hurry. */
static uint64_t soonest_nsec(const struct xpa_pw_node *n, const struct xpa_quantum *q) {
    if (n->direction == XPA_PLAYBACK)
        return 0;
    return n->cycle.triggered_nsec + (n->cycle.served ? xpa_graph_nsec(q) / 2 : xpa_graph_nsec(q));
}

/* False: what the cycle needs is not there; an answer of the backend wakes us. */
static bool frames_there(struct xpa_pw_node *n, const struct xpa_quantum *q, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    if (n->direction == XPA_CAPTURE) {
        bool there = xpa_front_ready(f) >= xpa_graph_need(n, q);
        if (!there && f->link.polls)
            xpa_front_hear(f, now_nsec);
        return there;
    }
    /* the resampler may bring a little more than the step */
    if (xpa_front_room(f) >= (uint32_t)ceil(q->step_frames) + 8)
        return true;
    xpa_front_urge(f);
    return false;
}

static void run(struct xpa_pw_node *n, const struct xpa_quantum *q, double frame,
                uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    xpa_lead_shrink(n, q->step_frames);
    xpa_graph_clock(n, q, xpa_front_time_at(f, frame), xpa_front_time_at(f, frame + q->step_frames),
                    f->lead.frames, 1e9 / (xpa_front_nsec_per_frame(f) * f->stream.config.rate));
    f->stats.cycles++;
    f->stats.quantum_frames = q->duration;
    f->stats.quantum_rate = q->rate.denom;
    xpa_graph_trigger(n, q, now_nsec);
}

/* The cycle that runs needs no timer of its own: should it not come back, something else is there
 * to look at it before it may be given up. Not while the position stands still, nor when links have
 * changed: then it may be lost, and is given up sooner. */
static bool looked_at_anyway(const struct xpa_pw_node *n) {
    const struct xpa_overdue *o = &n->cycle.overdue;
    uint64_t links_nsec = atomic_load_explicit(&n->pw->shared.links_nsec, memory_order_relaxed);
    return o->running && o->again_nsec == 0 && !n->state.front->stream.starved &&
           !xpa_overdue_lately(links_nsec, o->started_nsec);
}

/* ... the next event. */
static bool event_looks(const struct xpa_pw_node *n) {
    const struct xpa_front *f = n->state.front;
    return !f->link.polls && looked_at_anyway(n) &&
           f->stream.config.period_frames <= 2 * xpa_graph_now(n).step_frames;
}

/* ... or the timer when the next cycle should start, to which it is set anyway once this one is
 * back. */
static void arm_next(struct xpa_pw_node *n, double next_frame, uint64_t look_nsec,
                     uint64_t now_nsec) {
    uint64_t next_nsec = xpa_front_time_at(n->state.front, next_frame);
    bool late = next_nsec <= now_nsec;
    n->state.front->stats.deferred += late;
    bool next = !late && (looked_at_anyway(n) || next_nsec < look_nsec);
    xpa_node_arm(n, next ? next_nsec : look_nsec);
}

/* The cycle is due. False: it cannot start. */
static bool start_cycle(struct xpa_pw_node *n, const struct xpa_quantum *q, uint64_t now_nsec) {
    xpa_front_collect(n->state.front, now_nsec);
    if (!xpa_node_usable(n) || !frames_there(n, q, now_nsec))
        return false;
    double frame = next_cycle_frame(n, q->step_frames);
    /* what was lost comes back just before this cycle's frames */
    if (n->cycle.overdue.lost && xpa_graph_recovers(n))
        frame += xpa_graph_now(n).step_frames;
    run(n, q, frame, now_nsec);
    return true;
}

/* True: a cycle was started; look again. */
static bool look(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    struct xpa_quantum q = xpa_graph_next(n);
    double frame = next_cycle_frame(n, q.step_frames);
    uint64_t at = unfinished_nsec(n, &q, frame, now_nsec);
    if (at > 0 && f->link.polls) {
        arm_next(n, frame + xpa_graph_now(n).step_frames, at, now_nsec);
        return false;
    }
    uint64_t due = f->link.polls ? polled_due_nsec(n, q.step_frames, now_nsec) : due_nsec(f, frame);
    if (at == 0)
        at = due > now_nsec ? due : soonest_nsec(n, &q);
    if (due > 0 && at <= now_nsec)
        return start_cycle(n, &q, now_nsec);
    f->stats.deferred += due == 1;
    if (!event_looks(n))
        xpa_node_arm(n, at > now_nsec ? at : 0);
    return false;
}

void xpa_drive(struct xpa_pw_node *n, uint64_t now_nsec) {
    /* a first position that ran through silence brings no time */
    const struct xpa_front *f = n->state.front;
    if (!n->io.position || !f->stream.positioned || !xpa_front_time_ready(f))
        return;
    if (look(n, now_nsec) && xpa_node_usable(n) && !event_looks(n))
        look(n, now_nsec);
}

void xpa_drive_idle(struct xpa_pw_node *n, uint64_t now_nsec) {
    if (!n->state.wanted || !n->state.driving || !n->io.position) {
        n->state.idle_nsec = 0;
        xpa_node_arm(n, 0);
        return;
    }
    if (n->state.idle_nsec == 0)
        n->state.idle_nsec = now_nsec + PATIENCE_NSEC;
    if (now_nsec >= n->state.idle_nsec) {
        struct xpa_quantum q = xpa_graph_next(n);
        if (now_nsec - n->state.idle_nsec > xpa_graph_nsec(&q))
            n->state.idle_nsec = now_nsec;
        uint64_t begin = n->state.idle_nsec;
        n->state.idle_nsec += xpa_graph_nsec(&q);
        xpa_graph_clock(n, &q, begin, n->state.idle_nsec, 0, 1.0);
        xpa_graph_trigger(n, &q, now_nsec);
    }
    xpa_node_arm(n, n->state.idle_nsec);
}

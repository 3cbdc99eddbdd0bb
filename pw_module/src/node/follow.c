/* node/follow.c - another node starts the cycles: resample so that the distance stays, or, with our
 * own clock, say what it is; data loop; see node/follow.h. */
#include <math.h>

#include "node/follow.h"
#include "node/lead.h"

/* Over how long, at the most, a distance is averaged that cannot change; and how far off the
 * average it must be to have changed all the same. */
static const double OFFSET_SEC = 20.0;
static const double OFFSET_MOVED_FRAMES = 8.0;
/* A resampler that starts swallows some 40 frames: the distance is set again when it has. Slewing
 * there would take seconds. */
enum { RESAMPLER_FILLS_CYCLES = 3 };
/* How long a distance may be far off before that is doubted, with the driver's clock being ours. */
static const double DOUBT_SEC = 2.0;

/* The driver is another stream of our card: it has our backend's clock, frames need no resampling.
 * Should the distance grow all the same (the host has two devices there), that ends. */
static bool has_our_clock(const struct xpa_pw_node *n) {
    const struct spa_io_clock *clock = &n->io.position->clock;
    return !n->follow.drifted && strncmp(clock->name, n->clock_name, sizeof clock->name) == 0;
}

/* With our clock the distance stays as it is, but is known only when the clock is: what it differs
 * from the wanted one is told instead. */
static void note_offset(struct xpa_pw_node *n, double error_frames, double cycle_sec) {
    struct xpa_front *f = n->state.front;
    double more = n->direction == XPA_PLAYBACK ? error_frames : -error_frames;
    if (fabs(more - f->lead.offset_frames) > OFFSET_MOVED_FRAMES)
        n->follow.offset_cycles = 0;
    /* later cycles count more: the clocks know better then */
    double gain = fmin(3.0 / ++n->follow.offset_cycles, 1.0);
    f->lead.offset_frames += fmax(gain, cycle_sec / OFFSET_SEC) * (more - f->lead.offset_frames);
    xpa_lead_tell(f);
}

static void match_rate(struct xpa_pw_node *n, double error_frames) {
    struct xpa_front *f = n->state.front;
    uint32_t quantum = (uint32_t)n->io.position->clock.duration;
    double cycle_sec = (double)quantum / n->io.position->clock.rate.denom;
    n->follow.sec += cycle_sec;
    if (has_our_clock(n)) {
        if (n->io.rate_match)
            SPA_FLAG_CLEAR(n->io.rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE);
        note_offset(n, error_frames, cycle_sec);
        return;
    }
    f->lead.offset_frames = 0;
    if (n->follow.dll.bw == 0.0 || n->follow.dll_quantum != quantum) {
        spa_dll_init(&n->follow.dll);
        n->follow.dll_quantum = quantum;
        n->follow.sec = 0;
    }
    /* wide at first, narrow later: locked in seconds, quiet afterwards */
    double bandwidth = n->follow.sec < 3   ? SPA_DLL_BW_MAX
                       : n->follow.sec < 8 ? SPA_DLL_BW_MAX / 2
                                           : SPA_DLL_BW_MIN;
    if (bandwidth != n->follow.dll.bw)
        spa_dll_set_bw(&n->follow.dll, bandwidth, quantum, f->stream.config.rate);
    double correction = spa_dll_update(&n->follow.dll, SPA_CLAMP(error_frames, -128.0, 128.0));
    if (!n->io.rate_match)
        return;
    n->io.rate_match->rate = n->direction == XPA_CAPTURE ? 1.0 / correction : correction;
    if (!SPA_FLAG_IS_SET(n->io.rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE))
        n->follow.fill_cycles = RESAMPLER_FILLS_CYCLES;
    SPA_FLAG_SET(n->io.rate_match->flags, SPA_IO_RATE_MATCH_FLAG_ACTIVE);
}

/* True: the distance is set anew, at once. */
static bool must_resync(struct xpa_pw_node *n, double error_frames) {
    const struct xpa_front *f = n->state.front;
    if (!n->follow.synced || fabs(error_frames) > 2.0 * f->stream.config.period_frames + 256)
        return true;
    double step_frames = error_frames - n->follow.error_frames;
    double limit = f->stream.config.period_frames / 4.0;
    n->follow.error_frames = error_frames;
    if (!has_our_clock(n) || fabs(error_frames) <= limit)
        return false;
    /* at once: somebody stalled; or the clocks are as young as the streams */
    if (fabs(step_frames) > limit / 2 || n->follow.sec < 1)
        return true;
    /* by and by: one of the clocks was wrong, once; or they are two */
    if (n->follow.sec < n->follow.doubt_sec + DOUBT_SEC)
        return false;
    n->follow.drifted = n->follow.doubt_sec > 0;
    n->follow.doubt_sec = n->follow.sec;
    return !n->follow.drifted;
}

/* The distance differs for a known reason and for good: then that is the lead, and nothing is put
 * in or left out. */
static bool absorb(struct xpa_pw_node *n, double more_frames) {
    struct xpa_front *f = n->state.front;
    double lead = round(f->lead.frames + more_frames);
    if (lead < f->stream.config.period_frames || lead > f->stream.config.buffer_frames / 2.0)
        return false;
    xpa_lead_set(f, (uint32_t)lead);
    spa_zero(n->follow.dll);
    n->follow.offset_cycles = 0;
    return true;
}

void xpa_follow_held(struct xpa_pw_node *n) {
    struct xpa_front *f = n->state.front;
    double more_frames = f->stream.host_frames - n->follow.held_frames;
    double lead = f->lead.frames - more_frames;
    n->follow.held_frames = f->stream.host_frames;
    if (n->follow.synced && more_frames != 0 && lead >= f->stream.config.period_frames &&
        lead <= f->stream.config.buffer_frames / 2.0)
        xpa_lead_set(f, (uint32_t)lead);
}

/* True: the distance is another one from this cycle on: the resampler took what it holds, or
 * (capture) cycles of another length ask for frames of another age. */
static bool distance_moved(struct xpa_pw_node *n) {
    bool filled = n->follow.fill_cycles > 0 && --n->follow.fill_cycles == 0;
    uint64_t quantum = n->io.position->clock.duration;
    bool longer = n->direction == XPA_CAPTURE && n->follow.quantum != quantum;
    n->follow.quantum = quantum;
    return n->follow.synced && (filled || longer);
}

/* The distance was set just now: it is what is wanted but for `error_frames`. */
static void synced(struct xpa_pw_node *n) {
    double since = n->follow.sec;
    xpa_follow_reset(n);
    n->follow.sec = since;
    n->follow.synced = true;
    n->state.front->stats.resyncs++;
}

void xpa_follow_reset(struct xpa_pw_node *n) {
    n->follow.synced = false;
    n->follow.sec = 0;
    n->follow.offset_cycles = 0;
    n->follow.error_frames = 0;
    spa_zero(n->follow.dll);
    if (n->state.front)
        n->state.front->lead.offset_frames = 0;
}

/* Playback: keeps written - position at the lead, plus what one cycle of the driver brings. Until
 * the backend's clock is known, frames are taken as they come. Then the lead becomes what lies
 * ahead already, if that is more: nothing is dropped, nor played faster to catch up. */
bool xpa_follow_playback(struct xpa_pw_node *n) {
    struct xpa_front *f = n->state.front;
    if (!f->stream.positioned || !xpa_front_time_locked(f))
        return true;
    double heard = xpa_front_position_at(f, n->io.position->clock.nsec);
    double fill = (double)f->stream.written_frames - heard;
    double error = fill - xpa_lead_distance(f, 0);
    if (distance_moved(n) && absorb(n, error))
        error = fill - xpa_lead_distance(f, 0);
    if (fill < 0 || must_resync(n, error)) {
        if (error < 0)
            xpa_front_silence(f, (uint64_t)-error);
        else if (error > f->stream.config.buffer_frames / 2)
            return false; /* nothing else brings us nearer: these frames are dropped */
        else
            xpa_lead_set(f, f->lead.frames + (uint32_t)error);
        synced(n);
        error -= trunc(error);
    }
    match_rate(n, error);
    return true;
}

bool xpa_follow_capture(struct xpa_pw_node *n, uint32_t frames) {
    struct xpa_front *f = n->state.front;
    if (!f->stream.positioned || !xpa_front_time_locked(f))
        return false;
    double there = xpa_front_position_at(f, n->io.position->clock.nsec);
    double target = xpa_lead_distance(f, frames);
    double error = target - (there - (double)f->stream.read_frames);
    if (distance_moved(n)) {
        n->follow.synced = absorb(n, -error);
        target = xpa_lead_distance(f, frames);
        error = target - (there - (double)f->stream.read_frames);
    }
    if (must_resync(n, error)) {
        double begin = round(there - target);
        n->follow.synced = begin >= (double)f->stream.base_frames;
        if (!n->follow.synced)
            return false; /* the distance is not there yet: better silence now than slewing later */
        f->stream.read_frames = (uint64_t)begin;
        synced(n);
        error = begin - (there - target);
    }
    match_rate(n, error);
    return true;
}

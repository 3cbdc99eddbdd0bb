/*
 * See time/clock.h. The model: a delay-locked loop whose gains are not fixed but those of the best
 * straight line through the marks so far, old marks fading away. State: the time (phase) at a
 * reference position and the slope, with their 2x2 covariance. At the start the gains are those of
 * a least-squares line (lock in a second or two); as the covariance settles they become those of a
 * critically damped second-order loop of bandwidth_hz. Because the covariance is carried over the
 * actual step, irregular, bunched and lost marks need no special case, and a shift is "phase
 * unknown, slope known". (wide_hz only lets the loop forget sooner what happened at the start.)
 *
 * Marks that are late and never early (events from another domain): the mean of the residuals says
 * how busy the machines are, the minimum says what time it is. So marks are gathered into blocks
 * (8 marks or more, up to 2 s) and each block counts once, by the mean of its earliest marks. The
 * very earliest alone is worth less: now and then a wake-up finds its processor awake already, and
 * takes a short cut of some 10 us. So where marks are late by that order, an eighth of them counts;
 * where by much more, only so many as are late by that order. The i-th earliest of n marks is still
 * late by about mean lateness * i / n, which is subtracted. A stall only makes marks later: unless
 * it covers nearly a whole block it does not move the line at all.
 *
 * Robustness: a residual beyond 3x the mean deviation (at least 20 us, and at least what the
 * covariance says the line itself may be off) is clamped; beyond half the spacing of the marks and
 * 1 ms, and where marks are not late beyond twice the clamp, it is not used; 16 such in a row, for
 * 0.1 s, on one side and in agreement with each other, set a new phase. (Clamped marks that pulled
 * the line to a clock that has leapt by 3 ms would bend its slope by 1000 ppm, for half a minute.)
 * Where marks are late, and the clamp has held the line back on one side for long, both are learned
 * anew.
 *
 * Units: slope in parts per billion = nsec per second; covariance in nsec^2, nsec * ppb, ppb^2.
 * Absolute times and positions are integers, doubles hold only differences from the reference.
 */
#include "time/clock.h"

#include <math.h>

#define TWO_PI 6.283185307179586
#define BANDWIDTH_HZ 0.02
#define WIDE_HZ 0.1 /* a memory of 1.6 s: what happened while everything started is forgotten */
#define WIDE_SEC 3.0

#define LOCK_MARKS 8
#define RELOCK_MARKS 16
#define RELOCK_NSEC 100e6 /* 16 marks of 64 frames may be late, each of them, by chance */
#define GROSS_NSEC 1e6
#define LATE_START_NSEC 200e6
#define CLAMP_MIN_NSEC 20e3
#define CLAMP_DEVIATIONS 3.0
/* beyond twice the clamp on one side so often and so long: the line is wrong, not the marks */
#define REOPEN_RUN 4
#define REOPEN_SEC 1.0

#define PHASE_UNKNOWN_NSEC 50e6
/* before the first mark all we know is what crystals and sloppy timers may do */
#define SLOPE_UNKNOWN_PPB 500e3
#define SLOPE_DOUBTED_PPB 50e3
#define SLOPE_KEPT_PPB 1e3 /* what a clock may have changed over a pause */
#define SLOPE_MAX_PPB 2e6
#define SLOPE_KNOWN_SEC 2.0

#define DEVIATION_START_NSEC 200e3
#define EXCESS_START_NSEC 200e3
#define EXCESS_CLIP 5.0
#define EXCESS_CLIP_MIN_NSEC 50e3
#define NOISE_MIN_NSEC 500.0

#define BLOCK_MARKS 8
#define EARLY_SHARE 0.125
#define SHORT_CUT_NSEC 5e3
#define BLOCK_MIN_SEC 0.1
#define BLOCK_MAX_SEC 2.0
#define BLOCK_AGE_SHARE 0.35 /* so the line always rests on several, while it is young */

static double frames_between(uint64_t from, uint64_t to) { return (double)(int64_t)(to - from); }

/* Seconds that a number of frames lasts nominally: precise enough for gains. */
static double seconds(const struct xpa_clock *c, double frames) { return frames / c->config.rate; }

static double square(double x) { return x * x; }

double xpa_clock_nsec_per_frame(const struct xpa_clock *c) {
    return 1e9 / c->config.rate * (1.0 + c->slope_ppb * 1e-9);
}

/* Time of a position by the line, nsec after ref_nsec. */
static double line_at(const struct xpa_clock *c, uint64_t position) {
    return c->ref_phase + frames_between(c->ref_position, position) * xpa_clock_nsec_per_frame(c);
}

static void start_block(struct xpa_clock *c, uint64_t position) {
    c->block_start_position = position;
    c->block_marks = c->early_marks = 0;
    c->block_sum = 0;
}

static void add_to_block(struct xpa_clock *c, uint64_t position, double error, double clip) {
    uint32_t at = c->early_marks;

    c->block_marks++;
    c->block_sum += fmin(error, clip);
    if (at == XPA_CLOCK_EARLIEST && error >= c->early[--at].error_nsec)
        return;
    for (; at > 0 && error < c->early[at - 1].error_nsec; at--)
        c->early[at] = c->early[at - 1];
    c->early[at] = (struct xpa_clock_early){error, position};
    if (c->early_marks < XPA_CLOCK_EARLIEST)
        c->early_marks++;
}

static void set_phase(struct xpa_clock *c, uint64_t time_nsec, uint64_t position) {
    c->p_phase = square(PHASE_UNKNOWN_NSEC);
    c->p_cross = 0;
    c->p_slope = fmax(c->p_slope, square(SLOPE_KEPT_PPB));
    c->ref_nsec = c->last_nsec = time_nsec;
    c->ref_position = c->last_position = position;
    c->ref_phase = 0;
    c->has_line = true;
    c->shifted = false;
    c->settled = false;
    c->phase_age_sec = 0;
    c->good_marks = 0;
    c->run_marks = 0;
    c->far_run = 0;
    c->far_sec = 0;
    start_block(c, position);
    add_to_block(c, position, 0, 0);
}

static void forget_slope(struct xpa_clock *c) {
    c->slope_ppb = 0;
    c->slope_age_sec = 0;
    c->p_slope = square(c->config.drift_ppb);
}

/* Move the reference along the line to a position that is not before it. */
static void move_reference(struct xpa_clock *c, uint64_t position) {
    double phase = line_at(c, position);
    double whole = floor(phase);
    double dt = seconds(c, frames_between(c->ref_position, position));
    double bandwidth =
        c->slope_age_sec < c->config.wide_sec ? c->config.wide_hz : c->config.bandwidth_hz;
    double fade = 1.0 + TWO_PI * bandwidth * dt;

    c->ref_nsec += (uint64_t)(int64_t)whole;
    c->ref_phase = phase - whole;
    c->ref_position = position;
    c->p_phase += dt * (2 * c->p_cross + dt * c->p_slope);
    c->p_cross += dt * c->p_slope;
    /* older marks count less: what we know gets vaguer by the same factor everywhere */
    c->p_phase *= fade;
    c->p_cross *= fade;
    c->p_slope *= fade;
    c->phase_age_sec += dt;
    c->slope_age_sec += dt;
}

/* The line is off and the clamp keeps it so: learn the phase anew, and the slope nearly so. */
static void reopen(struct xpa_clock *c) {
    c->p_phase = square(PHASE_UNKNOWN_NSEC);
    c->p_cross = 0;
    c->p_slope = fmax(c->p_slope, square(SLOPE_DOUBTED_PPB));
    c->far_run = 0;
    c->far_sec = 0;
}

/* How far off a mark may be to be taken at face value. */
static double clamp_nsec(const struct xpa_clock *c) {
    return fmax(fmax(CLAMP_DEVIATIONS * c->deviation_nsec, CLAMP_MIN_NSEC),
                CLAMP_DEVIATIONS * sqrt(c->p_phase));
}

/* Pull the line towards a point that is error nsec later than it, at a position after the
 * reference, with the point's own standard deviation. true: it had to be clamped. */
static bool pull(struct xpa_clock *c, uint64_t position, double error, double noise_nsec,
                 double deviation_gain) {
    double dt = seconds(c, frames_between(c->ref_position, position));
    double limit, variance, gain_phase, gain_slope;
    bool clamped;

    move_reference(c, position);
    limit = clamp_nsec(c);
    clamped = fabs(error) > limit;
    if (fabs(error) < 2 * limit) {
        c->far_run = 0;
        c->far_sec = 0;
    } else {
        if ((error > 0) != (c->far_sec > 0)) {
            c->far_run = 0;
            c->far_sec = 0;
        }
        c->far_run++;
        c->far_sec += copysign(dt, error);
    }
    error = fmin(fmax(error, -limit), limit);
    c->deviation_nsec += deviation_gain * (fabs(error) - c->deviation_nsec);

    variance = c->p_phase + square(noise_nsec);
    gain_phase = c->p_phase / variance;
    gain_slope = c->p_cross / variance;
    c->ref_phase += gain_phase * error;
    c->slope_ppb += gain_slope * error;
    c->slope_ppb = fmin(fmax(c->slope_ppb, -SLOPE_MAX_PPB), SLOPE_MAX_PPB);
    c->p_slope -= gain_slope * c->p_cross;
    c->p_cross *= 1.0 - gain_phase;
    c->p_phase *= 1.0 - gain_phase;

    if (c->far_run >= REOPEN_RUN && fabs(c->far_sec) >= REOPEN_SEC)
        reopen(c);
    return clamped;
}

/* Marks that are as often early as late: one so far off says that the clock has leapt, or nothing.
 */
static bool leaps(const struct xpa_clock *c, double error) {
    return !c->config.late_only && fabs(error) >= 2 * clamp_nsec(c);
}

/* ... and else each one counts. */
static int take_mark(struct xpa_clock *c, uint64_t position, double error) {
    return pull(c, position, error, fmax(1.25 * c->deviation_nsec, NOISE_MIN_NSEC), 0.02)
               ? XPA_MARK_CLAMPED
               : XPA_MARK_USED;
}

/* Pull by the earliest marks of the block, and go on to the next block. */
static void finish_block(struct xpa_clock *c, uint64_t position) {
    double n = c->block_marks, error = 0, frames = 0;
    uint32_t used = (uint32_t)fmax(n * fmin(EARLY_SHARE, SHORT_CUT_NSEC / c->excess_nsec), 1);

    used = used < c->early_marks ? used : c->early_marks;
    for (uint32_t i = 0; i < used; i++) {
        error += c->early[i].error_nsec / used;
        frames += frames_between(c->block_start_position, c->early[i].position) / used;
    }
    /* mean of the others above the earliest: the mean lateness, were it exponential */
    double excess = fmax((c->block_sum - c->early[0].error_nsec * n) / (n - 1), 0);
    /* the first blocks are skewed by a slope that is not known yet */
    double gain = c->slope_age_sec == 0 ? 1.0 : c->slope_age_sec < c->config.wide_sec ? 0.5 : 0.1;
    c->excess_nsec += gain * (excess - c->excess_nsec);
    /* the mean of an exponential's `used` earliest of n, and how far that is off */
    double bias = c->excess_nsec * (used + 1) / (2 * n);
    double noise = c->excess_nsec * sqrt(used) / n;
    pull(c, c->block_start_position + (uint64_t)frames, error - bias, fmax(noise, NOISE_MIN_NSEC),
         0.15);
    c->settled = true;
    start_block(c, position);
}

/* Marks that are late, never early: gather a block. */
static int gather_mark(struct xpa_clock *c, uint64_t position, double error) {
    double clip = fmax(EXCESS_CLIP * c->excess_nsec, EXCESS_CLIP_MIN_NSEC);
    double block_sec = fmin(fmax(BLOCK_AGE_SHARE * c->phase_age_sec, BLOCK_MIN_SEC), BLOCK_MAX_SEC);
    int result = error > clip ? XPA_MARK_CLAMPED : XPA_MARK_USED;

    if (!c->settled && error < 0) {
        /* The phase was set by a mark that was late, perhaps by a whole stall; this one is less so,
         * and none is early, so take its word at once. */
        c->ref_phase += error;
        if (-error > clip)
            start_block(c, position);
        c->block_sum -= error * c->block_marks;
        for (uint32_t i = 0; i < c->early_marks; i++)
            c->early[i].error_nsec -= error;
        error = 0;
    }
    add_to_block(c, position, error, clip);
    if (c->block_marks >= BLOCK_MARKS &&
        seconds(c, frames_between(c->block_start_position, position)) >= block_sec)
        finish_block(c, position);
    return result;
}

/* Count a mark that cannot belong to the line. true: there were enough in a row, on one side of it,
 * and they agree with each other. A burst after a stall does not: its marks arrive at one instant.
 */
static bool run_complete(struct xpa_clock *c, uint64_t time_nsec, uint64_t position, double error) {
    double frames_nsec, elapsed_nsec;

    if (c->run_marks > 0 && position == c->run_last_position)
        return false;
    if (c->run_marks == 0 || frames_between(c->run_last_position, position) < 0 ||
        (error > 0) != c->run_late) {
        c->run_late = error > 0;
        c->run_marks = 0;
        c->run_nsec = time_nsec;
        c->run_position = position;
    }
    c->run_last_position = position;
    frames_nsec = frames_between(c->run_position, position) * xpa_clock_nsec_per_frame(c);
    if (++c->run_marks < RELOCK_MARKS || frames_nsec < RELOCK_NSEC)
        return false;
    elapsed_nsec = (double)(int64_t)(time_nsec - c->run_nsec);
    if (fabs(elapsed_nsec - frames_nsec) <= frames_nsec / 4 + 2 * GROSS_NSEC)
        return true;
    c->run_marks = 0;
    return false;
}

void xpa_clock_init(struct xpa_clock *c, const struct xpa_clock_config *cfg) {
    *c = (struct xpa_clock){
        .config = *cfg,
        .deviation_nsec = cfg->noise_nsec > 0 ? cfg->noise_nsec : DEVIATION_START_NSEC,
        .excess_nsec = EXCESS_START_NSEC,
    };
    if (!(c->config.bandwidth_hz > 0))
        c->config.bandwidth_hz = BANDWIDTH_HZ;
    if (!(c->config.wide_hz > 0))
        c->config.wide_hz = WIDE_HZ;
    if (!(c->config.wide_sec > 0))
        c->config.wide_sec = WIDE_SEC;
    if (!(c->config.drift_ppb > 0))
        c->config.drift_ppb = SLOPE_UNKNOWN_PPB;
    forget_slope(c);
}

/* A mark that is not used: the clock has leapt if enough of them agree, and else the mark is wrong.
 */
static int far_mark(struct xpa_clock *c, uint64_t time_nsec, uint64_t position, double error) {
    if (!run_complete(c, time_nsec, position, error))
        return XPA_MARK_OUTLIER;
    if (c->slope_age_sec < SLOPE_KNOWN_SEC)
        forget_slope(c);
    set_phase(c, time_nsec, position);
    return XPA_MARK_RELOCK;
}

int xpa_clock_mark(struct xpa_clock *c, uint64_t time_nsec, uint64_t position_frames) {
    double error, step_nsec, gross_nsec;
    bool late_start, gross;

    if (!c->has_line || c->shifted) {
        set_phase(c, time_nsec, position_frames);
        return XPA_MARK_FIRST;
    }
    if (position_frames == c->last_position)
        return XPA_MARK_IGNORED;
    step_nsec = frames_between(c->last_position, position_frames) * xpa_clock_nsec_per_frame(c);
    error = (double)(int64_t)(time_nsec - c->ref_nsec) - line_at(c, position_frames);
    gross_nsec = fmax(GROSS_NSEC, (c->spacing_nsec > 0 ? c->spacing_nsec : step_nsec) / 2);
    /* a line that no block has confirmed yet may be late by a whole stall: see gather_mark */
    late_start = c->config.late_only && !c->settled && error < 0 && error > -LATE_START_NSEC;
    gross = fabs(error) > gross_nsec && !late_start;
    if (step_nsec < 0) {
        int result = far_mark(c, time_nsec, position_frames, error);
        return result == XPA_MARK_RELOCK ? result : XPA_MARK_IGNORED;
    }
    if (gross || leaps(c, error))
        return far_mark(c, time_nsec, position_frames, error);
    c->run_marks = 0;
    /* lost marks and bursts hardly move the typical spacing */
    if (c->spacing_nsec == 0)
        c->spacing_nsec = step_nsec;
    c->spacing_nsec += 0.05 * (fmin(step_nsec, 2 * c->spacing_nsec) - c->spacing_nsec);
    c->last_nsec = time_nsec;
    c->last_position = position_frames;
    c->good_marks++;
    return c->config.late_only ? gather_mark(c, position_frames, error)
                               : take_mark(c, position_frames, error);
}

void xpa_clock_shift(struct xpa_clock *c) {
    c->shifted = true;
    c->good_marks = 0;
}

bool xpa_clock_ready(const struct xpa_clock *c) { return c->has_line; }

bool xpa_clock_locked(const struct xpa_clock *c) { return c->good_marks >= LOCK_MARKS; }

uint64_t xpa_clock_time_at(const struct xpa_clock *c, double position_frames) {
    double after =
        c->ref_phase + (position_frames - (double)c->ref_position) * xpa_clock_nsec_per_frame(c);
    int64_t whole;

    /* saturate: a conversion out of range is undefined (and a position that is no number is 0) */
    if (!(after > -9e18))
        return 0;
    whole = (int64_t)floor(fmin(after, 9e18) + 0.5);
    return whole < 0 && c->ref_nsec < (uint64_t)-whole ? 0 : c->ref_nsec + (uint64_t)whole;
}

double xpa_clock_position_at(const struct xpa_clock *c, uint64_t time_nsec) {
    double after = (double)(int64_t)(time_nsec - c->ref_nsec) - c->ref_phase;

    return (double)c->ref_position + after / xpa_clock_nsec_per_frame(c);
}

double xpa_clock_ppm(const struct xpa_clock *c) {
    return (1.0 / (1.0 + c->slope_ppb * 1e-9) - 1.0) * 1e6;
}

/*
 * The clock: from marks (at time_nsec the device was at position_frames) to a straight line that
 * answers "when is frame P" and "which frame is it now", and to the rate. No thread, no system
 * call, no allocation; about 50 flops a mark. How it works: time/clock.c.
 */
#ifndef XPA_TIME_CLOCK_H
#define XPA_TIME_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct xpa_clock_config {
    double rate;         /* nominal rate, Hz */
    double bandwidth_hz; /* of the settled loop; 0: default */
    double wide_hz;      /* of the loop right after start; 0: default */
    double wide_sec;     /* how long it stays so before it narrows; 0: default */
    double noise_nsec;   /* how far marks are off, as known before the first; 0: default */
    double drift_ppb;    /* what the rate may be off, as known before the first mark; 0: default */
    bool late_only;      /* marks come late, never early: follow the earliest, not the mean */
};

/* What became of a mark. */
enum xpa_mark {
    XPA_MARK_FIRST,   /* set the phase: the first mark ever, or after shift */
    XPA_MARK_USED,    /* taken as it is */
    XPA_MARK_CLAMPED, /* too far off to be taken at face value: limited */
    XPA_MARK_OUTLIER, /* grossly off: not used */
    XPA_MARK_RELOCK,  /* the last of 16 (0.1 s) consistent outliers: set the phase */
    XPA_MARK_IGNORED  /* position not newer than the last mark's */
};

/* Of a block's marks so many of the earliest are remembered. */
enum { XPA_CLOCK_EARLIEST = 64 };

struct xpa_clock_early {
    double error_nsec; /* against the line */
    uint64_t position;
};

/* All but `config` is time/clock.c's own. What an answer needs comes first: an audio callback asks,
 * and finds it all in one line of the cache. */
struct xpa_clock {
    /* the line: frame ref_position is at ref_nsec + ref_phase, and so on by slope_ppb */
    uint64_t ref_nsec, ref_position;
    double ref_phase, slope_ppb;
    uint32_t good_marks;
    bool has_line, shifted;
    bool settled;                   /* a block has confirmed the phase (late_only) */
    struct xpa_clock_config config; /* defaults filled in */
    double p_phase, p_cross, p_slope;
    double phase_age_sec, slope_age_sec; /* since each was last unknown */
    /* what the marks are like */
    uint64_t last_nsec, last_position;
    double spacing_nsec;   /* typical step */
    double deviation_nsec; /* mean |error| of what pulls the line */
    double excess_nsec;    /* mean lateness above the earliest (late_only) */
    uint32_t far_run;      /* pulls in a row far on one side, and for how long: late +, early - */
    double far_sec;
    /* the block being gathered (late_only): errors against the line */
    uint32_t block_marks, early_marks;
    double block_sum;
    uint64_t block_start_position;
    struct xpa_clock_early early[XPA_CLOCK_EARLIEST]; /* the earliest first */
    /* the run of outliers */
    uint32_t run_marks;
    bool run_late; /* or all of them early */
    uint64_t run_nsec, run_position, run_last_position;
};

/* Forget everything. */
void xpa_clock_init(struct xpa_clock *c, const struct xpa_clock_config *cfg);
/* Feed one mark; returns enum xpa_mark. Spacing may be irregular, marks may be lost or bunched. */
int xpa_clock_mark(struct xpa_clock *c, uint64_t time_nsec, uint64_t position_frames);
/* The next mark sets a new phase, its position may be anything; the rate is kept (pause, underrun,
 * restart at 0). Until then the old line goes on. */
void xpa_clock_shift(struct xpa_clock *c);
/* At least one mark since init: the functions below mean something. */
bool xpa_clock_ready(const struct xpa_clock *c);
/* At least 8 good marks since the phase was last set. */
bool xpa_clock_locked(const struct xpa_clock *c);
double xpa_clock_nsec_per_frame(const struct xpa_clock *c);
/* CLOCK_MONOTONIC time of a position (fractions of a frame allowed; before or after the marks). */
uint64_t xpa_clock_time_at(const struct xpa_clock *c, double position_frames);
/* The inverse. */
double xpa_clock_position_at(const struct xpa_clock *c, uint64_t time_nsec);
/* Parts per million by which the device is faster than its nominal rate. */
double xpa_clock_ppm(const struct xpa_clock *c);

#endif

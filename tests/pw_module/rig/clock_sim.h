/*
 * A simulated device and the marks that arrive from it. What the clock says is compared with the
 * truth at every mark, for the position one step ahead (which is what a driver asks for). No wall
 * clock anywhere: a run is a function of its set-up and seed.
 */
#ifndef CLOCK_SIM_H
#define CLOCK_SIM_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "time/clock.h"
#include "random.h"

#define SIM_STALLS 4

struct sim {
    /* Set-up. Times are seconds since the start of the simulation. */
    double rate, ppm;                    /* nominal, and how much faster the device really is */
    double jitter_msec, jitter_cap_msec; /* exponential lateness: mean, cap (0: 2 ms) */
    double short_cut_usec;               /* one mark in 100 takes so much less than the others */
    bool early_too;                      /* half of the marks early by it instead of late */
    bool mean_wanted;                    /* late_only off */
    uint32_t spacing;                    /* frames between marks */
    bool irregular;                      /* from spacing / 4 to 2 * spacing instead */
    double loss, garbage;                /* probabilities: mark lost, mark with a random position */
    double stall_at[SIM_STALLS], stall_msec; /* nothing arrives, then all at once */
    double settle_sec;                       /* the figures count from here on */
    uint64_t seed, start_nsec, position;     /* position: of the device, as marks tell it */
    /* The run. */
    struct xpa_clock clock;
    uint64_t random;
    double device_sec;  /* true time of position */
    double arrival_sec; /* of the latest mark: marks come through one ring, in order */
    double asked_sec;   /* the latest answer of time_at */
    double *errors;     /* phase errors in frames */
    size_t error_count, error_room;
    int results[XPA_MARK_IGNORED + 1]; /* counts */
    /* The figures. */
    double lock_sec;      /* from here on the rate was within 20 ppm */
    double ppm_worst;     /* |rate error| */
    double backward_nsec; /* how far time_at went back from one mark to the next, at worst */
    double frames_mean, frames_median, frames_p99, frames_worst; /* phase error; the last 3: |.| */
};

/* From the clock's time to ours, to the nanosecond. */
static inline double sim_sec(const struct sim *s, uint64_t nsec) {
    return (double)(int64_t)(nsec - s->start_nsec) * 1e-9;
}

static inline void sim_start(struct sim *s) {
    struct xpa_clock_config config = {.rate = s->rate, .late_only = !s->mean_wanted};

    xpa_clock_init(&s->clock, &config);
    if (s->start_nsec == 0)
        s->start_nsec = 7654321012345ull; /* a machine that is up for two hours */
    s->random = s->seed;
    s->arrival_sec = s->asked_sec = s->device_sec = 0.1;
}

static inline double sim_lateness_sec(struct sim *s) {
    double cap = s->jitter_cap_msec > 0 ? s->jitter_cap_msec : 2.0;
    double late = s->jitter_msec > 0 ? random_exponential(&s->random, s->jitter_msec) : 0;

    late = fmin(late, cap);
    if (s->short_cut_usec > 0 && random_below(&s->random, 100) == 0)
        return -s->short_cut_usec * 1e-6;
    if (s->early_too && random_below(&s->random, 2))
        late = -late;
    return late * 1e-3;
}

static inline void sim_note(struct sim *s, double error_frames) {
    if (s->error_count == s->error_room) {
        s->error_room = 2 * s->error_room + 1000;
        s->errors = realloc(s->errors, s->error_room * sizeof *s->errors);
    }
    s->errors[s->error_count++] = error_frames;
}

/* One step of the device and its mark. Returns what became of the mark, -1 if it was lost. */
static inline int sim_step(struct sim *s) {
    uint32_t step =
        s->irregular ? s->spacing / 4 + random_below(&s->random, s->spacing * 7 / 4) : s->spacing;
    double true_rate = s->rate * (1 + s->ppm * 1e-6);
    double arrival, asked, error_ppm;
    uint64_t arrival_nsec;
    int result;

    s->position += step;
    s->device_sec += step / true_rate;
    arrival = s->device_sec + sim_lateness_sec(s);
    for (int i = 0; i < SIM_STALLS; i++) {
        double end = s->stall_at[i] + s->stall_msec * 1e-3;

        if (s->stall_at[i] > 0 && arrival >= s->stall_at[i] && arrival < end)
            arrival = end;
    }
    arrival = fmax(arrival, s->arrival_sec);
    if (random_unit(&s->random) < s->loss)
        return -1;
    s->arrival_sec = arrival;
    arrival_nsec = s->start_nsec + (uint64_t)(arrival * 1e9);
    if (random_unit(&s->random) < s->garbage)
        s->results[xpa_clock_mark(&s->clock, arrival_nsec,
                                  random_u64(&s->random) >> random_below(&s->random, 64))]++;
    result = xpa_clock_mark(&s->clock, arrival_nsec, s->position);
    s->results[result]++;

    asked = sim_sec(s, xpa_clock_time_at(&s->clock, (double)(s->position + s->spacing)));
    s->backward_nsec = fmax(s->backward_nsec, (s->asked_sec - asked) * 1e9);
    s->asked_sec = asked;
    error_ppm = fabs(xpa_clock_ppm(&s->clock) - s->ppm);
    if (error_ppm > 20)
        s->lock_sec = s->device_sec - 0.1;
    if (s->device_sec >= s->settle_sec) {
        s->ppm_worst = fmax(s->ppm_worst, error_ppm);
        sim_note(s, (asked - s->device_sec - s->spacing / true_rate) * s->rate);
    }
    return result;
}

static inline void sim_run_until(struct sim *s, double sec) {
    while (s->device_sec < sec)
        sim_step(s);
}

static inline int sim_compare(const void *a, const void *b) {
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);

    return (x > y) - (x < y);
}

/* Work the figures out and free the run. */
static inline void sim_finish(struct sim *s) {
    size_t n = s->error_count;
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += s->errors[i];
    if (n > 0) {
        qsort(s->errors, n, sizeof *s->errors, sim_compare);
        s->frames_mean = sum / (double)n;
        s->frames_median = fabs(s->errors[n / 2]);
        s->frames_p99 = fabs(s->errors[n * 99 / 100]);
        s->frames_worst = fabs(s->errors[n - 1]);
    }
    free(s->errors);
    s->errors = NULL;
}

static inline void sim_run(struct sim *s, double duration_sec) {
    sim_start(s);
    sim_run_until(s, duration_sec);
    sim_finish(s);
}

#endif

/* Sums over simulated clocks, for the tests of the clock. */
#ifndef XPA_CLOCK_BENCH_H
#define XPA_CLOCK_BENCH_H

#include "check.h"
#include "clock_sim.h"

#define SEEDS 8

static const uint32_t spacings[] = {64, 256, 512, 1024, 2048};
static const double rates[] = {48000, 44100};
#define SPACINGS (sizeof spacings / sizeof spacings[0])

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return values[n / 2];
}

/* Figures of several runs: the worst, and the median where single runs scatter. */
struct summary {
    int runs;
    double lock[64], ppm[64], medians[64], p99s[64];
    double lock_worst, ppm_worst, frames_median, frames_p99, frames_worst, backward_nsec, mean;
};

static void add(struct summary *sum, const struct sim *s) {
    sum->lock[sum->runs] = s->lock_sec;
    sum->ppm[sum->runs] = s->ppm_worst;
    sum->medians[sum->runs] = s->frames_median;
    sum->p99s[sum->runs++] = s->frames_p99;
    sum->lock_worst = fmax(sum->lock_worst, s->lock_sec);
    sum->ppm_worst = fmax(sum->ppm_worst, s->ppm_worst);
    sum->frames_median = fmax(sum->frames_median, s->frames_median);
    sum->frames_p99 = fmax(sum->frames_p99, s->frames_p99);
    sum->frames_worst = fmax(sum->frames_worst, s->frames_worst);
    sum->backward_nsec = fmax(sum->backward_nsec, s->backward_nsec);
    sum->mean += s->frames_mean;
}

static void print(const char *what, double rate, uint32_t spacing, struct summary *sum) {
    printf("%-22s %5.0f/%4u: lock %.2f s (worst %.2f), ppm %.3f (worst %.3f), frames: mean %+.3f, "
           "median %.3f, p99 %.3f, worst %.3f\n",
           what, rate, spacing, median(sum->lock, sum->runs), sum->lock_worst,
           median(sum->ppm, sum->runs), sum->ppm_worst, sum->mean / sum->runs, sum->frames_median,
           sum->frames_p99, sum->frames_worst);
}

#endif

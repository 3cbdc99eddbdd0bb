/*
 * The clock alone, as a table: simulated devices (clock_sim.h) under drift, lateness, stalls,
 * losses and pauses. One line a case, fields parted by tabs, each figure from SEEDS runs: the
 * median of what every run was at its worst, and the worst run. tests/bench/sections/clock.py
 * reads it.
 *
 *   bench_clock [frames between marks]
 */
#include <stdio.h>

#include "clock_sim.h"

#define SEEDS 21

struct figures {
    double lock_sec[SEEDS], early_frames[SEEDS], ppm[SEEDS], frames[SEEDS], worst_frames[SEEDS];
};

struct trouble {
    const char *name;
    double ppm, jitter_msec, jitter_cap_msec, loss, stall_msec, pause_sec;
    bool restart;
};

static const struct trouble TROUBLES[] = {
    {.name = "no drift", .jitter_msec = 0.5},
    {.name = "drift", .ppm = 200, .jitter_msec = 0.5},
    {.name = "drift", .ppm = -200, .jitter_msec = 0.5},
    {.name = "drift", .ppm = 500, .jitter_msec = 0.5},
    {.name = "drift", .ppm = -500, .jitter_msec = 0.5},
    {.name = "late marks", .ppm = 200, .jitter_msec = 2, .jitter_cap_msec = 8},
    {.name = "late marks", .ppm = -200, .jitter_msec = 2, .jitter_cap_msec = 8},
    {.name = "stalls of 50 ms", .ppm = 200, .jitter_msec = 0.5, .stall_msec = 50},
    {.name = "30 % lost", .ppm = 200, .jitter_msec = 0.5, .loss = 0.3},
    {.name = "paused for 10 s", .ppm = 200, .jitter_msec = 0.5, .pause_sec = 10},
    {.name = "restart at 0", .ppm = -200, .jitter_msec = 0.5, .pause_sec = 10, .restart = true},
};

static struct sim device(const struct trouble *t, uint32_t spacing, int seed) {
    struct sim s = {.rate = 48000,
                    .ppm = t->ppm,
                    .jitter_msec = t->jitter_msec,
                    .jitter_cap_msec = t->jitter_cap_msec,
                    .spacing = spacing,
                    .loss = t->loss,
                    .stall_msec = t->stall_msec,
                    .position = 123456,
                    .seed = (uint64_t)seed + 1000};
    if (t->stall_msec > 0)
        for (int i = 0; i < SIM_STALLS; i++)
            s.stall_at[i] = 12.5 + 11 * i + seed * 7e-4;
    return s;
}

/* Runs to `until_sec` and counts the figures from `settle_sec` on, both after the pause if any. */
static struct sim observe(const struct trouble *t, uint32_t spacing, int seed, double settle_sec,
                          double until_sec) {
    struct sim s = device(t, spacing, seed);
    double began = 0;
    sim_start(&s);
    s.settle_sec = settle_sec;
    if (t->pause_sec > 0) {
        s.settle_sec = 1e9;
        sim_run_until(&s, 30);
        xpa_clock_shift(&s.clock);
        s.device_sec += t->pause_sec;
        began = s.lock_sec = s.device_sec;
        if (t->restart)
            s.position = 0;
        s.settle_sec = began + settle_sec;
    }
    sim_run_until(&s, began + until_sec);
    s.lock_sec -= began;
    sim_finish(&s);
    return s;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_figure(double *values) {
    qsort(values, SEEDS, sizeof *values, by_value);
    printf("\t%.4f\t%.4f", values[SEEDS / 2], values[SEEDS - 1]);
}

int main(int argc, char **argv) {
    uint32_t spacing = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 512;
    if (spacing == 0)
        return 2;
    for (size_t i = 0; i < sizeof TROUBLES / sizeof TROUBLES[0]; i++) {
        const struct trouble *t = &TROUBLES[i];
        struct figures f;
        for (int seed = 0; seed < SEEDS; seed++) {
            struct sim early = observe(t, spacing, seed, 2, 12);
            struct sim late = observe(t, spacing, seed, 30, 60);
            f.lock_sec[seed] = late.lock_sec;
            f.early_frames[seed] = early.frames_p99;
            f.ppm[seed] = late.ppm_worst;
            f.frames[seed] = late.frames_median;
            f.worst_frames[seed] = late.frames_worst;
        }
        printf("%s\t%.0f\t%.1f", t->name, t->ppm, t->jitter_msec);
        print_figure(f.lock_sec);
        print_figure(f.early_frames);
        print_figure(f.ppm);
        print_figure(f.frames);
        print_figure(f.worst_frames);
        printf("\n");
    }
    return 0;
}

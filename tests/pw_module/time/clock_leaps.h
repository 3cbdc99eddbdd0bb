/* Clocks that leap by less than anybody can hear, and marks that only look like it. Part of
 * test_clock.c. */
#ifndef XPA_CLOCK_LEAPS_H
#define XPA_CLOCK_LEAPS_H

#include <math.h>
#include <stdint.h>

#include "check.h"
#include "time/clock.h"

static const uint64_t LEAPS_FROM_NSEC = 1000000000000u;

struct leaping {
    struct xpa_clock clock;
    double rate, ppm;
    uint32_t spacing;
    uint64_t position;
    double late_nsec; /* the device's time is later than at the start by so much */
    uint32_t seed;
    int relocks;
    double worst_nsec;
};

static struct leaping leaping(double rate, uint32_t spacing, bool late_only) {
    struct leaping l = {.rate = rate, .ppm = 150, .spacing = spacing, .seed = 1};
    struct xpa_clock_config config = {
        .rate = rate, .noise_nsec = late_only ? 0 : 2000, .late_only = late_only};
    xpa_clock_init(&l.clock, &config);
    return l;
}

/* -1 to 1. */
static double next_random(struct leaping *l) {
    l->seed = l->seed * 1664525u + 1013904223u;
    return (double)(l->seed >> 8) / (1 << 23) - 1;
}

/* For so long; marks are off by up to `noise_nsec` either way. */
static void go_on(struct leaping *l, double seconds, double noise_nsec) {
    l->worst_nsec = 0;
    for (double done = 0; done < seconds; done += l->spacing / l->rate) {
        double true_nsec = (double)l->position / l->rate * 1e9 / (1 + l->ppm * 1e-6) + l->late_nsec;
        double mark_nsec = true_nsec + next_random(l) * noise_nsec;
        int result =
            xpa_clock_mark(&l->clock, LEAPS_FROM_NSEC + (uint64_t)llround(mark_nsec), l->position);
        l->relocks += result == XPA_MARK_RELOCK;
        uint64_t told = xpa_clock_time_at(&l->clock, (double)l->position);
        double error = (double)(int64_t)(told - LEAPS_FROM_NSEC) - true_nsec;
        l->worst_nsec = fmax(l->worst_nsec, fabs(error));
        l->position += l->spacing;
    }
}

/* A host that stood still for a moment, or has changed its device: from 0.1 ms on that is no noise
 * of marks that are otherwise good to microseconds, however young the clock is. */
static void a_leap_is_followed_at_once(double rate, uint32_t spacing) {
    static const double LEAPS_NSEC[] = {0.1e6, -0.1e6, 0.3e6, 0.8e6, -0.8e6, 1.5e6, 3e6, -3e6, 5e6};
    static const double AFTER_SEC[] = {0.5, 1, 2, 4, 15};
    for (unsigned i = 0; i < sizeof LEAPS_NSEC / sizeof *LEAPS_NSEC; i++)
        for (unsigned k = 0; k < sizeof AFTER_SEC / sizeof *AFTER_SEC; k++) {
            struct leaping l = leaping(rate, spacing, false);
            go_on(&l, AFTER_SEC[k], 5e3);
            l.late_nsec = LEAPS_NSEC[i];
            go_on(&l, fmax(0.2, 20 * spacing / rate), 5e3);
            go_on(&l, 10, 5e3);
            CHECK(l.worst_nsec < 0.5e9 / rate, "%u frames, %g ms after %g s: off by %g us", spacing,
                  LEAPS_NSEC[i] * 1e-6, AFTER_SEC[k], l.worst_nsec * 1e-3);
        }
}

/* Marks that are off either way are noise, and all of them are averaged. */
static void noise_is_no_leap(double rate, uint32_t spacing) {
    struct leaping l = leaping(rate, spacing, false);
    go_on(&l, 10, 2e3);
    go_on(&l, 10, 300e3);
    go_on(&l, 20, 300e3);
    CHECK_EQ(l.relocks, 0);
    CHECK(l.worst_nsec < 25e3, "%u frames: off by %g us", spacing, l.worst_nsec * 1e-3);
}

/* Where marks come late, a stall may cover all of those that count as one. */
static void a_stall_of_seconds_does_not_move_the_line(double rate, uint32_t spacing) {
    struct leaping l = leaping(rate, spacing, true);
    go_on(&l, 30, 0);
    for (double done = 0; done < 2.5; done += spacing / rate, l.position += spacing) {
        double position_nsec = (double)l.position / rate * 1e9 / (1 + l.ppm * 1e-6);
        xpa_clock_mark(&l.clock, LEAPS_FROM_NSEC + (uint64_t)llround(position_nsec + 0.6e6),
                       l.position);
    }
    go_on(&l, 10, 0);
    CHECK(l.worst_nsec < 1e9 / rate, "%u frames: off by %g us", spacing, l.worst_nsec * 1e-3);
}

#endif

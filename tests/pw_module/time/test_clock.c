/*
 * The clock against simulated devices: lock time, residual rate error, phase error, under drift,
 * lateness, stalls, losses, pauses, restarts and nonsense. Prints the figures. Each sign in
 * time/clock.c is locked by tests/pw_module/test_c_core.py, which inverts it and expects this
 * program to fail.
 */
#include "clock_bench.h"
#include "clock_holds.h"
#include "clock_leaps.h"

/* Pause of 10 s, announced: the device stands still, and goes on or restarts at 0. */
static void shift_keeps_the_rate(double rate, uint32_t spacing, bool restart) {
    double ppm_worst = 0, frames_worst = 0;

    for (int i = 0; i < SEEDS; i++) {
        struct sim s = {.rate = rate,
                        .ppm = -150,
                        .jitter_msec = 0.1,
                        .spacing = spacing,
                        .settle_sec = 25,
                        .seed = (uint64_t)i + 800,
                        .position = 123456};
        double before;

        sim_start(&s);
        sim_run_until(&s, 30);
        before = xpa_clock_ppm(&s.clock);
        xpa_clock_shift(&s.clock);
        CHECK(xpa_clock_ready(&s.clock) && !xpa_clock_locked(&s.clock), "shifted");
        CHECK(xpa_clock_ppm(&s.clock) == before, "shift changed the rate");
        s.device_sec += 10;
        if (restart)
            s.position = 0;
        CHECK_EQ(sim_step(&s), XPA_MARK_FIRST);
        CHECK(xpa_clock_ppm(&s.clock) == before, "the first mark after shift changed the rate");
        for (int n = 0; n < 8; n++)
            sim_step(&s);
        CHECK(xpa_clock_locked(&s.clock), "8 marks lock");
        sim_run_until(&s, 42); /* within two seconds all is as before */
        s.error_count = 0;
        sim_run_until(&s, 60);
        CHECK_EQ(s.results[XPA_MARK_FIRST], 2);
        CHECK_EQ(s.results[XPA_MARK_RELOCK], 0);
        sim_finish(&s);
        ppm_worst = fmax(ppm_worst, s.ppm_worst);
        frames_worst = fmax(frames_worst, s.frames_worst);
    }
    printf("%-22s %5.0f/%4u: ppm worst %.3f all along, frames worst %.3f from 2 s on\n",
           restart ? "shift, restart at 0" : "shift, 10 s pause", rate, spacing, ppm_worst,
           frames_worst);
    CHECK(ppm_worst < 2, "the rate went off by %f ppm", ppm_worst);
    CHECK(frames_worst < 1, "%f frames", frames_worst);
}

static void shift_restarts_lateness_from_scratch(void) {
    /* the first mark after a shift comes 40 ms late in a burst: the next ones correct it at once */
    struct sim s = {.rate = 48000,
                    .ppm = 100,
                    .jitter_msec = 0.1,
                    .spacing = 256,
                    .stall_at = {30.0},
                    .stall_msec = 40,
                    .settle_sec = 30.2,
                    .seed = 9};

    sim_start(&s);
    sim_run_until(&s, 30);
    xpa_clock_shift(&s.clock);
    sim_run_until(&s, 60);
    sim_finish(&s);
    CHECK_EQ(s.results[XPA_MARK_RELOCK], 0);
    CHECK(s.frames_worst < 4, "%f frames from 0.16 s after the burst", s.frames_worst);
    CHECK(s.ppm_worst < 2, "%f ppm", s.ppm_worst);
}

/* Later than a millisecond each, one after the other, is no new phase: 64 frames are 1.3 ms, and of
 * marks that are late by anything up to 2 ms every fifth run of 16 is so within a second. */
static void late_marks_are_no_new_phase(double rate, uint32_t spacing) {
    struct sim s = {.rate = rate,
                    .ppm = 200,
                    .jitter_msec = 2,
                    .spacing = spacing,
                    .settle_sec = 30,
                    .seed = 77};

    sim_run(&s, 60);
    CHECK_EQ(s.results[XPA_MARK_RELOCK], 0);
    if (spacing <= 512) { /* few marks tell little */
        CHECK(s.ppm_worst < 3, "the rate went off by %f ppm", s.ppm_worst);
        CHECK(s.frames_worst < 2, "%f frames", s.frames_worst);
    }
}

/* The same, not announced: 16 marks that agree, for a tenth of a second, make it certain. */
static void outliers_relock_and_keep_the_rate(double rate, uint32_t spacing, bool restart,
                                              bool mean_wanted) {
    struct sim s = {.rate = rate,
                    .ppm = 150,
                    .jitter_msec = 0.05,
                    .spacing = spacing,
                    .mean_wanted = mean_wanted,
                    .settle_sec = 25,
                    .seed = 11,
                    .position = 1u << 30};
    int needed = 1 + (int)ceil(fmax(15, 0.1 * rate * (1 + 1e-6 * s.ppm) / spacing));
    double before;

    sim_start(&s);
    sim_run_until(&s, 30);
    before = xpa_clock_ppm(&s.clock);
    s.device_sec += 10;
    if (restart)
        s.position = 0;
    for (int n = 1; n <= needed; n++) {
        int wanted = n == needed ? XPA_MARK_RELOCK : restart ? XPA_MARK_IGNORED : XPA_MARK_OUTLIER;

        CHECK_EQ(sim_step(&s), wanted);
    }
    CHECK(xpa_clock_ppm(&s.clock) == before, "relock changed the rate");
    sim_run_until(&s, 45);
    s.error_count = 0;
    sim_run_until(&s, 60);
    CHECK_EQ(s.results[XPA_MARK_RELOCK], 1);
    sim_finish(&s);
    CHECK(s.ppm_worst < 4, "the rate went off by %f ppm", s.ppm_worst);
    CHECK(s.frames_worst < 4, "%f frames", s.frames_worst);
}

/* Another device takes over, 300 ppm away: relearned, not clung to. */
static void a_new_rate_after_a_shift_is_learned(double rate, uint32_t spacing) {
    struct sim s = {.rate = rate,
                    .ppm = 150,
                    .jitter_msec = 0.1,
                    .spacing = spacing,
                    .settle_sec = 60,
                    .seed = 12};

    sim_start(&s);
    sim_run_until(&s, 30);
    xpa_clock_shift(&s.clock);
    s.ppm = -150;
    sim_run_until(&s, 75);
    sim_finish(&s);
    printf("rate step of 300 ppm   %5.0f/%4u: within 20 ppm after %.1f s, %.3f ppm from 30 s on\n",
           rate, spacing, s.lock_sec - 30, s.ppm_worst);
    CHECK(s.lock_sec - 30 < 15, "%f s", s.lock_sec - 30);
    CHECK(s.ppm_worst < 2, "%f ppm", s.ppm_worst);
}

/* Crystals warm up: 5 ppm away within 50 s. */
static void slow_drift_is_followed(double rate, uint32_t spacing, bool mean_wanted) {
    struct sim s = {.rate = rate,
                    .ppm = 100,
                    .jitter_msec = 0.05,
                    .spacing = spacing,
                    .mean_wanted = mean_wanted,
                    .settle_sec = 120,
                    .seed = 13};

    sim_start(&s);
    sim_run_until(&s, 30);
    while (s.ppm < 105) {
        s.ppm += 0.1;
        sim_run_until(&s, s.device_sec + 1);
    }
    sim_run_until(&s, 150);
    sim_finish(&s);
    CHECK(s.ppm_worst < 1.5, "%f ppm", s.ppm_worst);
}

/* snd_be sends garbage positions before its first timing update; a hostile peer all the time. */
static void nonsense_positions_change_nothing(double rate, uint32_t spacing, uint64_t seed) {
    struct sim s = {.rate = rate,
                    .ppm = 150,
                    .jitter_msec = 0.1,
                    .spacing = spacing,
                    .garbage = 0.2,
                    .settle_sec = 30,
                    .seed = seed,
                    .position = 1000000};

    sim_run(&s, 60);
    CHECK(s.results[XPA_MARK_IGNORED] + s.results[XPA_MARK_OUTLIER] > 100, "no nonsense seen");
    CHECK(s.ppm_worst < 2, "%f ppm", s.ppm_worst);
    CHECK(s.frames_worst < 2, "%f frames", s.frames_worst);
}

/* Nothing a peer can send leads to undefined behaviour (UBSan watches) or to a dead clock. */
static void a_clock_survives_pure_nonsense(uint64_t seed, bool late_only) {
    struct xpa_clock_config config = {.rate = 48000, .late_only = late_only};
    struct xpa_clock c;
    uint64_t now = 1000000000, position = 0;

    xpa_clock_init(&c, &config);
    for (int n = 0; n < 20000; n++) {
        now += random_u64(&seed) >> (34 + random_below(&seed, 30));
        xpa_clock_mark(&c, now, random_u64(&seed) >> random_below(&seed, 64));
        if (random_below(&seed, 50) == 0)
            xpa_clock_shift(&c);
        xpa_clock_time_at(&c, (double)random_u64(&seed));
        CHECK(xpa_clock_nsec_per_frame(&c) > 0, "%f", xpa_clock_nsec_per_frame(&c));
        CHECK(isfinite(xpa_clock_position_at(&c, now)), "position is no number");
        CHECK(fabs(xpa_clock_ppm(&c)) < 2100, "%f ppm", xpa_clock_ppm(&c));
    }
    xpa_clock_shift(&c);
    for (int n = 0; n < 48000 * 60 / 256; n++) {
        position += 256;
        now += (uint64_t)(256e9 / 48000 / (1 + 100e-6));
        xpa_clock_mark(&c, now, position);
    }
    CHECK(fabs(xpa_clock_ppm(&c) - 100) < 2, "%f ppm", xpa_clock_ppm(&c));
    CHECK(fabs((double)(int64_t)(xpa_clock_time_at(&c, (double)position) - now)) < 20e3, "phase");
}

static void precision_holds_after_years(void) {
    struct sim s = {.rate = 192000,
                    .ppm = 150,
                    .jitter_msec = 0.01,
                    .spacing = 256,
                    .settle_sec = 30,
                    .seed = 14};

    s.start_nsec = 10ull * 365 * 86400 * 1000000000; /* up for ten years */
    s.position = 1ull << 46;                         /* eleven of them at 192 kHz */
    sim_run(&s, 60);
    CHECK(s.ppm_worst < 1, "%f ppm", s.ppm_worst);
    CHECK(s.frames_worst < 1, "%f frames", s.frames_worst);
}

static void queries_are_inverse_and_monotonic(void) {
    struct sim s = {.rate = 44100, .ppm = 400, .jitter_msec = 0.1, .spacing = 441, .seed = 15};
    uint64_t last = 0;

    sim_start(&s);
    sim_run_until(&s, 20);
    for (int i = -50000; i < 50000; i++) {
        double position = (double)s.position + i * 0.25;
        uint64_t time = xpa_clock_time_at(&s.clock, position);

        CHECK(time > last, "not increasing at %d", i);
        last = time;
        CHECK(fabs(xpa_clock_position_at(&s.clock, time) - position) < 1e-4, "%d: %f", i,
              xpa_clock_position_at(&s.clock, time) - position);
    }
    CHECK(fabs(xpa_clock_nsec_per_frame(&s.clock) - 1e9 / (44100 * (1 + 400e-6))) < 0.1,
          "%f ns a frame", xpa_clock_nsec_per_frame(&s.clock));
    CHECK_EQ(xpa_clock_time_at(&s.clock, -1e30), 0);
    CHECK_EQ(xpa_clock_time_at(&s.clock, (double)NAN), 0);
    CHECK(xpa_clock_time_at(&s.clock, 1e30) > 1ull << 62, "saturates");
    sim_finish(&s);
}

static void results_say_what_became_of_a_mark(void) {
    struct xpa_clock_config config = {.rate = 48000, .late_only = true};
    struct xpa_clock c;
    uint64_t now = 5000000000, position = 0;

    xpa_clock_init(&c, &config);
    CHECK(!xpa_clock_ready(&c) && !xpa_clock_locked(&c), "new");
    CHECK(fabs(xpa_clock_ppm(&c)) < 1e-9, "%f ppm", xpa_clock_ppm(&c));
    CHECK_EQ(xpa_clock_mark(&c, now, position), XPA_MARK_FIRST);
    CHECK(xpa_clock_ready(&c) && !xpa_clock_locked(&c), "one mark");
    CHECK_EQ(xpa_clock_mark(&c, now, position), XPA_MARK_IGNORED);
    for (int n = 1; n <= 1000; n++) {
        CHECK_EQ(xpa_clock_mark(&c, now += 10000000, position += 480), XPA_MARK_USED);
        CHECK(xpa_clock_locked(&c) == (n >= 8), "after %d good marks", n);
    }
    CHECK_EQ(xpa_clock_mark(&c, now + 5000000, position - 480), XPA_MARK_IGNORED);
    CHECK_EQ(xpa_clock_mark(&c, now += 14000000, position += 480), XPA_MARK_CLAMPED);
    CHECK_EQ(xpa_clock_mark(&c, now += 26000000, position += 480), XPA_MARK_OUTLIER);
    CHECK(xpa_clock_locked(&c), "an outlier does not unlock");
}

int main(void) {
    for (unsigned r = 0; r < 2; r++)
        for (unsigned i = 0; i < SPACINGS; i++) {
            locks_and_holds(rates[r], spacings[i]);
            delay_is_true_to_the_frame(rates[r], spacings[i]);
            phase_locks_within_two_seconds(rates[r], spacings[i]);
            perfect_marks_give_a_perfect_clock(rates[r], spacings[i], false);
            perfect_marks_give_a_perfect_clock(rates[r], spacings[i], true);
            symmetric_marks_average_out(rates[r], spacings[i]);
            late_only_follows_the_earliest_mark(rates[r], spacings[i]);
            stalls_do_not_bend_the_rate(rates[r], spacings[i], false);
            stalls_do_not_bend_the_rate(rates[r], spacings[i], true);
            a_long_burst_is_no_new_phase(rates[r], spacings[i], false);
            a_long_burst_is_no_new_phase(rates[r], spacings[i], true);
            a_stall_at_the_start_is_forgotten(rates[r], spacings[i]);
            lost_and_irregular_marks_do_no_harm(rates[r], spacings[i]);
            shift_keeps_the_rate(rates[r], spacings[i], false);
            shift_keeps_the_rate(rates[r], spacings[i], true);
            late_marks_are_no_new_phase(rates[r], spacings[i]);
            for (int how = 0; how < 4; how++)
                outliers_relock_and_keep_the_rate(rates[r], spacings[i], how & 1, how & 2);
            a_new_rate_after_a_shift_is_learned(rates[r], spacings[i]);
            a_leap_is_followed_at_once(rates[r], spacings[i]);
            noise_is_no_leap(rates[r], spacings[i]);
            a_stall_of_seconds_does_not_move_the_line(rates[r], spacings[i]);
            slow_drift_is_followed(rates[r], spacings[i], false);
            slow_drift_is_followed(rates[r], spacings[i], true);
            nonsense_positions_change_nothing(rates[r], spacings[i], 16 + i);
        }
    for (unsigned r = 0; r < 2; r++)
        a_rare_short_cut_does_not_move_the_clock(rates[r]);
    shift_restarts_lateness_from_scratch();
    for (uint64_t seed = 20; seed < 30; seed++)
        a_clock_survives_pure_nonsense(seed, seed % 2);
    precision_holds_after_years();
    queries_are_inverse_and_monotonic();
    results_say_what_became_of_a_mark();
    return check_close();
}

/*
 * A program's PCM on a simulated clock, both halves in one process: what it is told of its delay is
 * compared with the device's own word, and every frame with what was played.
 */
#include "pcm_bench.h"

static const double DRIFTS[] = {-150, 0, 150};

static void test_delay_is_true_for_every_period(void) {
    static const struct {
        uint32_t period, buffer, device, event, stream; /* event, stream: period and buffer there */
    } shapes[] = {{1024, 4096, 1024, 512, 16384},
                  {256, 768, 256, 256, 16384},
                  {64, 256, 64, 64, 16384},
                  {64, 192, 1024, 512, 16384}, /* woken between two events */
                  {480, 8192, 256, 240, 2400}};
    for (int s = 0; s < 5; s++)
        for (int d = 0; d < 3; d++)
            for (int ext = 0; ext < 2; ext++) {
                struct pair *p = pair_new(shapes[s].device, DRIFTS[d], 0, 0, 1.0);
                play_open(p, shapes[s].stream, shapes[s].event, 0, 2 * shapes[s].device + 480, ext);
                struct program g = program_new(p, &p->play, shapes[s].period, shapes[s].buffer);
                sim_add_poll(program_wake, &g);
                program_bind(&g);
                program_start(&g);
                run_and_drain_taps(p, 3 * SIM_SEC); /* the clocks learn the drift */
                g.check_delay = true;
                run_and_drain_taps(p, 3 * SIM_SEC);
                CHECK(g.worst_frames < 1, "period %u, %f ppm, extension %d: off by %f frames",
                      shapes[s].period, DRIFTS[d], ext, g.worst_frames);
                CHECK_EQ(g.xruns, 0);
                int32_t played = program_check_played(&g);
                CHECK(played > 5 * RATE, "%d frames were played", played);
                CHECK(g.wakes > (uint64_t)played / shapes[s].period / 2,
                      "%llu wake-ups for %d frames", (unsigned long long)g.wakes, played);
                CHECK(g.wakes < 3 * (uint64_t)p->play.next / shapes[s].period,
                      "%llu wake-ups for %d frames", (unsigned long long)g.wakes, p->play.next);
                program_free(&g);
                pair_free(p);
            }
}

static void test_what_is_captured_is_whole_and_its_age_true(void) {
    static const struct { uint32_t period, device; } shapes[] = {{1024, 256}, {256, 256}, {64, 64}};
    for (int s = 0; s < 3; s++)
        for (int d = 0; d < 3; d++) {
            struct pair *p = pair_new(shapes[s].device, DRIFTS[d], 1, 480, 1.0);
            uint32_t period = shapes[s].period < 512 ? shapes[s].period : 512;
            play_open(p, 16384, period, 0, 2 * shapes[s].device + 480, 1);
            p->capture.lead_frames = period + 120;
            end_init(p, &p->capture, XPA_CAPTURE, 16384, period, 1);
            struct program out = program_new(p, &p->play, shapes[s].period, 4096);
            struct program in = program_new(p, &p->capture, shapes[s].period, 8192);
            sim_add_poll(program_wake, &out);
            sim_add_poll(program_wake, &in);
            program_bind(&out);
            program_bind(&in);
            program_start(&in);
            program_start(&out);
            run_and_drain_taps(p, 3 * SIM_SEC);
            in.check_delay = true;
            run_and_drain_taps(p, 2 * SIM_SEC);
            CHECK_EQ(in.lost_frames, 0);
            CHECK(in.heard_frames > 4 * RATE, "%llu frames came back",
                  (unsigned long long)in.heard_frames);
            CHECK_EQ(in.xruns, 0);
            CHECK(in.worst_frames < 1, "period %u, %f ppm: off by %f frames", shapes[s].period,
                  DRIFTS[d], in.worst_frames);
            program_free(&in);
            program_free(&out);
            pair_free(p);
        }
}

static struct pair *short_world(struct program *g) {
    struct pair *p = pair_new(256, 0, 0, 0, 1.0);
    play_open(p, 16384, 240, 0, 1000, 1);
    *g = program_new(p, &p->play, 240, 1920);
    sim_add_poll(program_wake, g);
    program_bind(g);
    return p;
}

/* The last frame is heard before the program hears that it has. */
static void test_drained_means_that_all_was_heard(void) {
    struct program g;
    struct pair *p = short_world(&g);
    for (int round = 0; round < 3; round++) {
        g.silent = false;
        program_start(&g);
        run_and_drain_taps(p, 300 * SIM_MSEC);
        g.silent = true;
        program_ask(&g, XPA_PCM_ASK_DRAIN);
        uint64_t limit = sim_now + 2 * SIM_SEC;
        while (program_state(&g) != XPA_PCM_DRAINED && sim_now < limit)
            run_and_drain_taps(p, SIM_MSEC);
        CHECK_EQ(program_state(&g), XPA_PCM_DRAINED);
        double heard = truth(p);
        CHECK((double)p->play.next - heard < 1, "%d written, %f heard", p->play.next, heard);
        CHECK(!p->play.front->stream.started, "the stream still runs");
    }
    CHECK_EQ(g.xruns, 0);
    CHECK_EQ(program_check_played(&g), p->play.next);
    program_free(&g);
    pair_free(p);
}

/* What is written, but never started, is heard by a drain. */
static void test_a_drain_starts_what_waits(void) {
    struct program g;
    struct pair *p = short_world(&g);
    program_prepare(&g);
    program_write(&g, 1200);
    g.silent = true;
    program_ask(&g, XPA_PCM_ASK_DRAIN);
    run_and_drain_taps(p, SIM_SEC);
    CHECK_EQ(program_state(&g), XPA_PCM_DRAINED);
    CHECK_EQ(program_check_played(&g), 1200);
    program_prepare(&g);
    program_ask(&g, XPA_PCM_ASK_DRAIN); /* nothing waits */
    run_and_drain_taps(p, SIM_MSEC);
    CHECK_EQ(program_state(&g), XPA_PCM_DRAINED);
    program_free(&g);
    pair_free(p);
}

/* A program that stops to write hears of an xrun once all is heard, starts anew, and loses nothing;
 * one that goes on in an xrun is not stopped. */
static void test_xruns_lose_nothing(void) {
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        struct program g;
        struct pair *p = short_world(&g);
        g.share->program.goes_on_in_xrun = (uint32_t)goes_on;
        program_start(&g);
        for (int round = 0; round < 5; round++) {
            run_and_drain_taps(p, 500 * SIM_MSEC);
            g.silent = true;
            run_and_drain_taps(p, 20 * SIM_MSEC);
            CHECK(program_state(&g) == XPA_PCM_RUNNING, "stopped before all was heard");
            run_and_drain_taps(p, goes_on ? 200 * SIM_MSEC : 0);
            if (!goes_on)
                while (g.xruns == (uint64_t)round) {
                    run_and_drain_taps(p, SIM_MSEC);
                    g.silent = g.xruns == (uint64_t)round;
                }
            g.silent = false;
            program_kick(&g);
            if (goes_on)
                program_play(&g);
        }
        run_and_drain_taps(p, SIM_SEC);
        CHECK_EQ(g.xruns, goes_on ? 0 : 5);
        program_check_played(&g);
        program_free(&g);
        pair_free(p);
    }
}

/* Whatever it says of itself, nobody else's memory is touched, and it is over for this program. */
static void test_a_program_that_says_what_cannot_be_loses_its_pcm(void) {
    static const uint64_t claims[] = {4097, 1ull << 40, (1ull << 48) - 1};
    for (int i = 0; i < 3; i++) {
        struct program g;
        struct pair *p = short_world(&g);
        program_start(&g);
        run_and_drain_taps(p, 100 * SIM_MSEC);
        CHECK_EQ(g.share->frontend.lost, 0);
        g.share->program.appl_frames = xpa_pcm_word(g.epoch, g.appl + claims[i]);
        program_kick(&g);
        sim_settle(p->plane);
        CHECK_EQ(g.share->frontend.lost, 1);
        CHECK(!p->play.front->stream.started, "its stream still runs");
        run_and_drain_taps(p, 100 * SIM_MSEC);
        program_check_played(&g);
        program_free(&g);
        pair_free(p);
    }
}

/* Prepared again and again, at any moment of a start or stop: the newest start counts. */
static void test_new_epochs_at_any_moment(void) {
    uint64_t seed = 5;
    struct program g;
    struct pair *p = short_world(&g);
    for (int i = 0; i < 200; i++) {
        program_prepare(&g);
        program_play(&g);
        program_ask(&g, XPA_PCM_ASK_START);
        run_and_drain_taps(p, random_below(&seed, 30) * SIM_MSEC);
    }
    run_and_drain_taps(p, SIM_SEC);
    CHECK_EQ(program_state(&g), XPA_PCM_RUNNING);
    g.check_delay = false;
    CHECK_EQ(g.share->frontend.lost, 0);
    CHECK(g.appl > RATE / 2, "%llu frames since the last start", (unsigned long long)g.appl);
    program_free(&g);
    pair_free(p);
}

/* The backend goes: the program hears of it at once. */
static void test_a_stream_that_closes_takes_its_pcm_along(void) {
    struct program g;
    struct pair *p = short_world(&g);
    program_start(&g);
    run_and_drain_taps(p, 100 * SIM_MSEC);
    uint64_t wakes = g.wakes;
    g.silent = true;
    xpa_front_close(p->play.front);
    sim_settle(p->plane);
    CHECK_EQ(g.share->frontend.lost, 1);
    CHECK(g.wakes > wakes, "nobody woke the program");
    program_kick(&g); /* and nothing comes of that any more */
    sim_settle(p->plane);
    program_free(&g);
    pair_free(p);
}

/* What the host does not do of the volume is done on the way, and what the program wrote or was
 * given before stays as it is. */
static void test_a_volume_that_is_left_to_us(void) {
    static const float half[] = {0.5f};
    struct pair *p = pair_new(256, 0, 1, 480, 1.0);
    play_open(p, 16384, 240, 0, 1000, 1);
    p->capture.lead_frames = 360;
    end_init(p, &p->capture, XPA_CAPTURE, 16384, 240, 1);
    struct program out = program_new(p, &p->play, 240, 1920);
    struct program in = program_new(p, &p->capture, 240, 8192);
    sim_add_poll(program_wake, &out);
    xpa_pcm_set_gain(out.pcm, half, 1);
    program_bind(&out);
    program_bind(&in);
    program_start(&out);
    int32_t first = *program_sample(&out, 0);
    CHECK_EQ(first, 2);
    run_and_drain_taps(p, 500 * SIM_MSEC);
    drain_tap(&p->play);
    int32_t next = 1; /* a sample is twice its number: so half of it is heard */
    for (uint64_t i = 0; i < p->play.logged; i++)
        if (p->play.log[i])
            CHECK_EQ(p->play.log[i], next++);
    CHECK(next > RATE / 4, "%d frames were played", next);
    program_prepare(&in);
    xpa_pcm_set_gain(in.pcm, half, 1);
    program_ask(&in, XPA_PCM_ASK_START);
    run_and_drain_taps(p, 100 * SIM_MSEC);
    uint64_t hw = program_hw(&in), heard = 0;
    CHECK(hw > 1000, "%llu frames were captured", (unsigned long long)hw);
    for (uint64_t i = 1; i < hw; i++) {
        /* two frames of the host in a row are one apart: half of that is none or one */
        int32_t step = *program_sample(&in, i) - *program_sample(&in, i - 1);
        heard += *program_sample(&in, i) != 0;
        if (*program_sample(&in, i - 1) != 0)
            CHECK(step == 0 || step == 1 || step == 2, "a step of %d", step);
    }
    CHECK(heard > 500, "%llu frames were heard", (unsigned long long)heard);
    CHECK(*program_sample(&in, hw - 1) < 3 * p->play.next / 4, "it is at full volume");
    program_free(&in);
    program_free(&out);
    pair_free(p);
}

static void test_gains_of_samples(void) {
    struct xpa_pcm_gain gain = {0};
    struct xpa_config c = {.channels = 2, .sample_bytes = 2, .sample_kind = XPA_SAMPLE_S16};
    int16_t s16[] = {20000, 20000, -20000, 1000};
    const float loud[] = {2.0f, 0.5f}, mute[] = {0.0f}, one[] = {1.0f, 1.0f};
    xpa_pcm_gain_set(&gain, one, 2);
    CHECK(!xpa_pcm_gain_needed(&gain), "there is nothing to do");
    xpa_pcm_gain_set(&gain, loud, 2);
    xpa_pcm_gain_apply(&gain, &c, s16, 2);
    CHECK_EQ(s16[0], INT16_MAX);
    CHECK_EQ(s16[1], 10000);
    CHECK_EQ(s16[2], INT16_MIN);
    CHECK_EQ(s16[3], 500);
    c.sample_bytes = 4;
    c.sample_kind = XPA_SAMPLE_S32;
    int32_t s32[] = {INT32_MAX, -7};
    xpa_pcm_gain_apply(&gain, &c, s32, 1);
    CHECK_EQ(s32[0], INT32_MAX);
    CHECK_EQ(s32[1], -4); /* to the nearest, and to the even one of two */
    c.sample_kind = XPA_SAMPLE_F32;
    float f32[] = {0.25f, 0.25f};
    xpa_pcm_gain_apply(&gain, &c, f32, 1);
    CHECK(f32[0] == 0.5f && f32[1] == 0.125f, "%f, %f", (double)f32[0], (double)f32[1]);
    c = (struct xpa_config){.channels = 2, .sample_bytes = 1, .silence = {0x80}};
    uint8_t u8[] = {1, 255};
    xpa_pcm_gain_apply(&gain, &c, u8, 1);
    CHECK(u8[0] == 1 && u8[1] == 255, "what cannot be scaled stays");
    xpa_pcm_gain_set(&gain, mute, 1);
    xpa_pcm_gain_apply(&gain, &c, u8, 1);
    CHECK(u8[0] == 0x80 && u8[1] == 0x80, "but it can be muted");
}

int main(void) {
    test_delay_is_true_for_every_period();
    test_what_is_captured_is_whole_and_its_age_true();
    test_drained_means_that_all_was_heard();
    test_a_drain_starts_what_waits();
    test_xruns_lose_nothing();
    test_a_program_that_says_what_cannot_be_loses_its_pcm();
    test_new_epochs_at_any_moment();
    test_a_stream_that_closes_takes_its_pcm_along();
    test_a_volume_that_is_left_to_us();
    test_gains_of_samples();
    return check_close();
}

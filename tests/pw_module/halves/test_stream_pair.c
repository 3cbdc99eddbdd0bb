/*
 * Frontend and backend in one process, over channels and pages as between two domains, before the
 * virtual device. The writer is the graph in small: it keeps `lead` frames ahead of the position.
 * The truth comes from the tap (what each host frame held) and from the device's own marks (when
 * it was heard); positions and delays are compared with it frame by frame.
 */
#include "pair_bench.h"

static void test_delay_is_true_at_any_drift(void) {
    static const double drifts[] = {-500, -20, 0, 20, 500};
    static const struct {
        uint32_t buffer, period, quantum, lead, device;
    } shapes[] = {
        {2400, 240, 240, 480, 64}, {4096, 1024, 256, 1100, 256}, {6000, 250, 1024, 1500, 480}};
    for (int s = 0; s < 3; s++)
        for (int d = 0; d < 5; d++)
            for (int ext = 0; ext < 2; ext++) {
                struct pair *p = pair_new(shapes[s].device, drifts[d], 0, 0, 1.0);
                play_open(p, shapes[s].buffer, shapes[s].period, shapes[s].quantum, shapes[s].lead,
                          ext);
                run_and_drain_taps(p, 20 * SIM_MSEC);
                play_start(p, shapes[s].period);
                run_and_drain_taps(p, 2 * SIM_SEC); /* the clocks learn the drift */
                p->play.check_position = true;
                run_and_drain_taps(p, 8 * SIM_SEC);
                p->play.check_prediction = true;
                run_and_drain_taps(p, 10 * SIM_SEC);
                check_played(p);
                CHECK_EQ(p->play.back->stats.xruns, 0);
                CHECK_EQ(p->play.starved, 0);
                CHECK(p->play.positions * shapes[s].period > 19 * RATE, "%llu positions",
                      (unsigned long long)p->play.positions);
                CHECK(fabs(p->play.back->stats.ppm - drifts[d]) < 2, "backend sees %f ppm of %f",
                      p->play.back->stats.ppm, drifts[d]);
                CHECK(fabs(p->play.front->stats.ppm - drifts[d]) < 5, "frontend sees %f ppm of %f",
                      p->play.front->stats.ppm, drifts[d]);
                CHECK(p->play.worst_prediction_frames < 3, "prediction off by %f frames",
                      p->play.worst_prediction_frames);
                pair_free(p);
            }
}

/* A machine that stood still for less than the guest has in its buffer: the guest's clock went on.
 */
static void test_a_device_that_stood_still_makes_up_for_seconds(void) {
    struct pair *p = pair_new(96, 0, 0, 0, 1.0);
    play_open(p, 4 * RATE, 2400, 2400, 4 * RATE - 9600, 0);
    run_and_drain_taps(p, 20 * SIM_MSEC);
    play_start(p, 2400);
    run_and_drain_taps(p, SIM_SEC);
    uint64_t before = p->play.back->stream.host_frames;
    p->device_timer->at_nsec = sim_now + 5 * SIM_SEC / 2;
    run_and_drain_taps(p, 26 * SIM_SEC / 10);
    CHECK(p->play.back->stream.host_frames >= before + 5 * RATE / 2, "%llu frames since",
          (unsigned long long)(p->play.back->stream.host_frames - before));
    pair_free(p);
}

/* For longer than a device makes up for: the machine was suspended, and its clock went on. What the
 * device had taken is heard; positions go on from there, and the delay is true with the first. */
static void test_a_device_that_stood_still_for_long_goes_on_where_it_was(void) {
    enum { QUANTUM = 1024, LEAD = RATE / 2 };
    struct pair *p = pair_new(QUANTUM, 50, 0, 0, 1.0);
    struct xpa_back *b;
    play_open(p, RATE, 480, 480, LEAD, 1);
    b = p->play.back;
    run_and_drain_taps(p, 20 * SIM_MSEC);
    play_start(p, 480);
    run_and_drain_taps(p, 2 * SIM_SEC); /* the clocks learn the drift */
    p->play.check_position = true;
    run_and_drain_taps(p, SIM_SEC);
    for (int i = 0; i < 3; i++) {
        uint64_t before = b->stream.host_frames, positions = p->play.positions;
        sim_now += 30 * SIM_SEC + (uint64_t)i * 7 * SIM_MSEC;
        for (int ms = 1; ms <= 400; ms++) {
            run_and_drain_taps(p, SIM_MSEC);
            if (b->stream.host_frames == before)
                continue; /* it has not ticked yet */
            double heard = truth(p), position = xpa_back_position(b, sim_now);
            CHECK(fabs(position - heard) < 1.1, "%d ms later: position %f, heard %f", ms, position,
                  heard);
        }
        CHECK(b->stream.host_frames - before < RATE, "%llu frames were made up for",
              (unsigned long long)(b->stream.host_frames - before));
        CHECK(p->play.positions - positions >= 400 * RATE / 1000 / 480 - 3, "%llu positions",
              (unsigned long long)(p->play.positions - positions));
        run_and_drain_taps(p, SIM_SEC);
    }
    p->play.check_prediction = true;
    run_and_drain_taps(p, SIM_SEC);
    CHECK(p->play.worst_prediction_frames < 3, "prediction off by %f frames",
          p->play.worst_prediction_frames);
    CHECK_EQ(p->play.starved, 0);
    check_played(p);
    pair_free(p);
}

/* Writer and host stand still at random, for longer than the lead: silence is heard, nothing is
 * lost or doubled, and the delay is true again with the next position. */
static void test_stalls_lose_nothing_and_keep_the_delay_true(void) {
    uint64_t seed = 17;
    for (int round = 0; round < 12; round++) {
        double ppm = round % 3 == 0 ? 500 : round % 3 == 1 ? -500 : 0;
        struct pair *p = pair_new(96, ppm, 0, 0, 1.0);
        play_open(p, 4800, 240, 240, 480, round % 2);
        run_and_drain_taps(p, 10 * SIM_MSEC);
        play_start(p, 240);
        run_and_drain_taps(p, 2 * SIM_SEC); /* the clocks learn the drift */
        p->play.check_position = true;
        uint32_t stalls = 0;
        for (int i = 0; i < 60; i++) {
            run_and_drain_taps(p, random_below(&seed, 300) * SIM_MSEC);
            uint64_t stall = random_below(&seed, 80) * SIM_MSEC;
            if (random_below(&seed, 2)) {
                p->play.stalled_until_nsec = sim_now + stall;
                run_and_drain_taps(p, stall);
                write_cycles(p);
            } else {
                p->device_timer->at_nsec = sim_now + stall;
                /* while the device stands still what it will catch up with is not known */
                p->play.check_position = false;
                run_and_drain_taps(p, stall + 30 * SIM_MSEC);
                p->play.check_position = true;
            }
            stalls++;
        }
        run_and_drain_taps(p, SIM_SEC);
        check_played(p);
        CHECK(p->play.back->stats.xruns > 5, "no underrun in %u stalls", stalls);
        CHECK(p->play.positions > 200, "%llu positions", (unsigned long long)p->play.positions);
        double heard = truth(p), position = xpa_back_position(p->play.back, sim_now);
        CHECK(fabs(position - heard) < 1, "position %f, heard %f", position, heard);
        pair_free(p);
    }
}

static void test_restarts_keep_every_frame(void) {
    uint64_t seed = 4;
    for (int round = 0; round < 8; round++) {
        struct pair *p = pair_new(64, 100, 0, 0, 1.0);
        play_open(p, round % 2 ? 2000 : 2048, round % 3 ? 240 : 256, 240, 480, round & 1);
        for (int i = 0; i < 12; i++) {
            run_and_drain_taps(p, (1 + random_below(&seed, 50)) * SIM_MSEC);
            int32_t first = p->play.next + 1;
            struct xpa_back *b = p->play.back;
            play_start(p, 240);
            uint64_t begin = b->stream.taken_frames;
            run_and_drain_taps(p, (20 + random_below(&seed, 200)) * SIM_MSEC);
            CHECK_EQ(p->play.starved, 0);
            CHECK(p->play.front->stream.written_frames > begin, "nothing was written");
            /* the first frame after START is the first that was written for it */
            uint64_t at = p->play.logged - 1;
            while (at > 0 && p->play.log[at - 1] >= 2 * first)
                at--;
            CHECK_EQ(p->play.log[at], 2 * first);
            p->play.check_position = false; /* the log spans several runs now */
            xpa_front_end(p->play.front);
            sim_settle(p->plane);
            CHECK(!p->play.front->stream.stopping, "STOP was not answered");
            CHECK_EQ(p->play.front->stream.base_frames, b->stream.reported_frames);
        }
        pair_free(p);
    }
}

/* Both streams of a loopback, opened before its first tick. */
static void loopback_start(struct pair *p) {
    struct end *capture = &p->capture;
    play_open(p, 4800, 480, 480, 960, 0);
    end_init(p, capture, XPA_CAPTURE, 4800, 480, 0);
    xpa_back_set_tap(capture->back, NULL);
    xpa_front_prepare(capture->front);
    xpa_front_begin(capture->front);
    play_start(p, 480);
}

/* What a loopback plays as its playback frame n comes back as capture frame n + delay + quantum
 * (both streams opened before the first tick), times the gain. */
static void test_loopback_returns_after_delay_plus_quantum(void) {
    static const struct {
        uint32_t quantum, delay;
        double gain;
    } cases[] = {{64, 0, 1.0}, {64, 480, 0.5}, {480, 1000, 0.5}, {256, 12345, 1.0}, {100, 7, 0.0}};
    for (int i = 0; i < 5; i++) {
        struct pair *p = pair_new(cases[i].quantum, 50, 1, cases[i].delay, cases[i].gain);
        struct end *play = &p->play, *capture = &p->capture;
        loopback_start(p);
        CHECK_EQ(play->back->stream.host_frames, 0);
        run_and_drain_taps(p, 2 * SIM_SEC);
        check_played(p);
        CHECK_EQ(play->first, 0);
        uint32_t back = cases[i].delay + cases[i].quantum, compared = 0;
        for (uint64_t c = 0; c < capture->logged; c++) {
            int32_t want = c < back ? 0 : (int32_t)(play->log[c - back] * cases[i].gain);
            CHECK(capture->log[c] == want, "capture frame %llu is %d, not %d",
                  (unsigned long long)c, capture->log[c], want);
            compared += want != 0;
        }
        CHECK(compared > RATE || cases[i].gain == 0, "%u frames came back", compared);
        CHECK_EQ(capture->front->stats.dropped_frames, 0);
        pair_free(p);
    }
}

/* Samples of as many bytes may be encoded otherwise: as they are they would be noise. */
static void test_loopback_returns_nothing_of_another_format(void) {
    struct pair *p = pair_new(64, 0, 1, 0, 1.0);
    struct end *capture = &p->capture;
    p->play.format = XENSND_PCM_FORMAT_S32_LE;
    capture->format = XENSND_PCM_FORMAT_U32_LE;
    loopback_start(p);
    run_and_drain_taps(p, SIM_SEC);
    check_played(p);
    CHECK(capture->logged > RATE / 2, "%d frames captured", (int)capture->logged);
    for (uint64_t c = 0; c < capture->logged; c++)
        CHECK_EQ(capture->log[c], 0); /* what this configuration says is silence */
    pair_free(p);
}

int main(void) {
    test_delay_is_true_at_any_drift();
    test_a_device_that_stood_still_makes_up_for_seconds();
    test_a_device_that_stood_still_for_long_goes_on_where_it_was();
    test_stalls_lose_nothing_and_keep_the_delay_true();
    test_restarts_keep_every_frame();
    test_loopback_returns_after_delay_plus_quantum();
    test_loopback_returns_nothing_of_another_format();
    return check_close();
}

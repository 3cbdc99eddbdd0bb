/* What a frontend stream sends, what wakes it, when its frames are. Part of test_stream_front.c. */
#ifndef XPA_FRONT_TRANSFERS_H
#define XPA_FRONT_TRANSFERS_H

#include "front_bench.h"

static void test_writes_go_around_the_buffer(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    int32_t data[700];
    for (int i = 0; i < 700; i++)
        data[i] = i + 1;
    start(t, 551);
    uint32_t before = t->request_count;
    sim_settle(t->plane);
    xpa_front_put(t->front, data, 700);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count - before, 2);
    CHECK_EQ(t->requests[before].op.rw.offset, 551 * FRAME_BYTES);
    CHECK_EQ(t->requests[before].op.rw.length, 449 * FRAME_BYTES);
    CHECK_EQ(t->requests[before + 1].op.rw.offset, 0);
    CHECK_EQ(t->requests[before + 1].op.rw.length, 251 * FRAME_BYTES);
    CHECK_EQ(t->buffer[999], 449);
    CHECK_EQ(t->buffer[0], 450);
    bench_free(t);
}

/* What is unanswered must not be overwritten; the answer wakes whoever found too little room. */
static void test_room_is_what_was_answered(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    xpa_front_collect(t->front, sim_now);
    CHECK_EQ(xpa_front_room(t->front), BUFFER);
    t->silent = true;
    xpa_front_put(t->front, NULL, 600);
    sim_settle(t->plane);
    xpa_front_collect(t->front, sim_now);
    CHECK_EQ(xpa_front_room(t->front), 400);
    uint32_t woken = t->changes[XPA_FRONT_ANSWER];
    for (uint32_t i = 2; i < t->request_count; i++)
        answer(t, &t->requests[i], 0);
    sim_settle(t->plane);
    CHECK_EQ(xpa_front_room(t->front), BUFFER);
    CHECK(t->changes[XPA_FRONT_ANSWER] > woken, "nobody was told of the answer");
    bench_free(t);
}

static void test_answers_in_time_wake_nobody(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    xpa_front_collect(t->front, sim_now);
    uint32_t woken = t->changes[XPA_FRONT_ANSWER];
    for (int i = 0; i < 20; i++) {
        xpa_front_put(t->front, NULL, 100);
        sim_settle(t->plane);
        xpa_front_collect(t->front, sim_now);
        CHECK_EQ(xpa_front_room(t->front), BUFFER);
    }
    CHECK_EQ(t->changes[XPA_FRONT_ANSWER], woken);
    bench_free(t);
}

/* The fastest round trips, halved, are what an event's arrival is late by. */
static void test_the_way_of_an_event_is_taken_off_its_time(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    t->silent = true;
    for (int trip = 0; trip < 3; trip++) {
        sim_run(t->plane, 300000000);
        xpa_front_collect(t->front, sim_now);
        xpa_front_put(t->front, NULL, 10);
        sim_run(t->plane, trip == 1 ? 200000 : 900000);
        answer(t, &t->requests[(t->request_count - 1) % 64], 0);
        sim_settle(t->plane);
    }
    CHECK_EQ(xpa_transport_nsec(&t->front->link.peer->transport), 100000);
    CHECK_EQ(t->front->link.peer->domain, BACKEND);
    CHECK(t->front->link.peer != &t->front->link.own_peer,
          "other streams of the backend learn nothing");
    position(t, PERIOD + 1);
    int64_t off = (int64_t)(sim_now - xpa_clock_time_at(&t->front->stream.clock, PERIOD + 1));
    CHECK(off >= 99990 && off <= 100010, "the position was true %ld ns ago", (long)off);
    bench_free(t);
}

/* After silence the clock goes on from the event, not from the line before it. */
static void test_a_gap_that_the_backend_tells_is_no_slower_clock(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    t->front->position_ext = 1;
    start(t, BUFFER);
    uint64_t frames = 1;
    for (int period = 0; period < 40; period++) {
        xpa_front_collect(t->front, sim_now);
        if (xpa_front_room(t->front) >= PERIOD)
            xpa_front_put(t->front, NULL, PERIOD);
        sim_run(t->plane, PERIOD * 1000000000ull / RATE);
        position(t, frames += PERIOD);
    }
    const struct xpa_clock *clock = &t->front->stream.clock;
    double ppm = xpa_clock_ppm(clock);
    uint64_t line = xpa_clock_time_at(clock, (double)frames + PERIOD);
    sim_run(t->plane, 3000000 + PERIOD * 1000000000ull / RATE);
    position_aged(t, frames += PERIOD, UINT32_MAX); /* ran ahead: says nothing */
    CHECK_EQ(xpa_clock_time_at(clock, (double)frames), line);
    sim_run(t->plane, PERIOD * 1000000000ull / RATE);
    position_aged(t, frames += PERIOD, 1u << 31 | 2000);
    int64_t off = (int64_t)(sim_now - 2000 - xpa_clock_time_at(clock, (double)frames));
    CHECK(off >= -100 && off <= 100, "the new line is off by %ld ns", (long)off);
    CHECK(fabs(xpa_clock_ppm(clock) - ppm) < 0.001, "the rate became %f", xpa_clock_ppm(clock));
    bench_free(t);
}

/* By another clock; how late its events are does not matter then (test_front_time.c has the rest).
 */
static void test_a_backend_may_say_when_it_sent_an_event(void) {
    const uint64_t period_nsec = PERIOD * 1000000000ull / RATE, ahead_nsec = 777 * SIM_SEC;
    struct bench *t = bench_new(XPA_PLAYBACK);
    t->front->position_ext = 1;
    start(t, BUFFER);
    uint64_t frames = 1;
    for (uint32_t period = 0; period < 40; period++) {
        xpa_front_collect(t->front, sim_now);
        if (xpa_front_room(t->front) >= PERIOD)
            xpa_front_put(t->front, NULL, PERIOD);
        uint64_t late_nsec = period % 3 * 700000;
        sim_run(t->plane, period_nsec + late_nsec);
        uint64_t heard_nsec = sim_now - late_nsec;
        position_sent(t, frames += PERIOD, 5000, heard_nsec + 5000 + ahead_nsec);
        int64_t off = (int64_t)(xpa_front_time_at(t->front, (double)frames) - heard_nsec);
        CHECK(off >= -50000 && off <= 50000, "off by %ld ns", (long)off);
        sim_now -= late_nsec;
    }
    CHECK(t->front->stream.timed, "the bytes were not read");
    bench_free(t);
}

/* A machine so slow that the first frames are over when the first position comes: the stream must
 * get going all the same, and the next position tells the time. */
static void test_a_stream_that_starves_from_the_start_has_a_clock(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    t->front->position_ext = 1;
    start(t, PERIOD);
    sim_run(t->plane, 50000000);
    position_aged(t, 2 * PERIOD + 1, UINT32_MAX);
    CHECK(t->front->stream.starved && xpa_clock_ready(&t->front->stream.clock), "no clock");
    xpa_front_collect(t->front, sim_now);
    xpa_front_put(t->front, NULL, 2 * PERIOD);
    sim_run(t->plane, 20000000);
    position_aged(t, 2 * PERIOD + 2, 0);
    CHECK_EQ(xpa_clock_time_at(&t->front->stream.clock, 2 * PERIOD + 2), sim_now);
    bench_free(t);
}

/* At 64 frames a period lasts 1.3 ms: less than a wake-up may take. */
static void test_margin_is_a_period_or_2_5_ms_or_what_it_grew_to(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    const uint32_t periods[] = {64, 512, 64, 512, 64};
    const uint32_t guards[] = {120, 512, 120, 512, 480}, asked[] = {300, 300, 300, 300, 660};
    for (int i = 0; i < 5; i++) {
        struct xpa_config config = t->front->stream.config;
        config.rate = 48000;
        config.period_frames = periods[i];
        xpa_front_close(t->front);
        xpa_front_open(t->front, &config, 300, 0);
        sim_settle(t->plane);
        CHECK_EQ(t->front->lead.margin.frames, guards[i]);
        CHECK_EQ(t->front->lead.asked_frames, asked[i]);
        /* it grows at xruns: that stays, where it is more */
        while (i == 2 && xpa_margin_grow(&t->front->lead.margin, sim_now) > 0)
            continue;
    }
    bench_free(t);
}

/* A captured frame waits a period for its event anyway: what a late one may take is beside that. */
static void test_margin_of_a_capture_is_a_quarter_period(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    struct xpa_config config = t->front->stream.config;
    config.rate = 48000;
    config.period_frames = 1024;
    t->front->lead.margin = (struct xpa_margin){.grown_nsec = 10000000};
    xpa_front_close(t->front);
    xpa_front_open(t->front, &config, 1280, 0);
    sim_settle(t->plane);
    CHECK_EQ(t->front->lead.margin.frames, 480);
    CHECK_EQ(t->front->lead.asked_frames, 1280 + 480 - 256);
    bench_free(t);
}

static void test_stop_is_known_when_it_is_answered(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    xpa_front_collect(t->front, sim_now);
    t->silent = true;
    xpa_front_end(t->front);
    sim_settle(t->plane);
    CHECK(t->front->stream.stopping, "stopped without an answer");
    uint32_t woken = t->changes[XPA_FRONT_ANSWER];
    answer(t, &t->requests[t->request_count - 1], 0);
    sim_settle(t->plane);
    CHECK(!t->front->stream.stopping, "the answer to STOP was not seen");
    CHECK(t->changes[XPA_FRONT_ANSWER] > woken, "nobody was told that a start is possible");
    bench_free(t);
}

/* A backend with the extension looks at transfers when its host takes; all else it is told of. */
static void test_only_transfers_wait_for_the_host(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct xensnd_req request = {.operation = XENSND_OP_GET_VOLUME};
    t->front->position_ext = 1;
    start(t, 300);
    t->leaves_alone = true;
    xpa_front_request(t->front, (const uint8_t *)&request);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_RESPONSE], 1);
    uint32_t served = t->request_count;
    xpa_front_put(t->front, NULL, 100);
    xpa_front_put(t->front, NULL, 100);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served);
    /* the next one is timed: its answer is waited for */
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 100);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 3);
    xpa_front_put(t->front, NULL, 100);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 3);
    xpa_front_check(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 3);
    sim_run(t->plane, 600 * SIM_MSEC);
    xpa_front_check(t->front); /* a host that does not take is asked before it is blamed */
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 4);
    xpa_front_end(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 5);
    CHECK(!t->front->stream.stopping, "the answer to STOP was not seen");
    bench_free(t);
}

/* Whoever sends nothing has nothing to time: an answer is awaited once, or it would be for ever. */
static void test_no_answer_is_awaited_twice(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    t->silent = true;
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 100);
    CHECK_EQ(t->front->link.awaited, 1);
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 0);
    CHECK_EQ(t->front->link.awaited, 1);
    xpa_front_end(t->front);
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 0);
    CHECK_EQ(t->front->link.awaited, 2);
    for (uint32_t i = 2; i < t->request_count; i++)
        answer(t, &t->requests[i], 0);
    sim_settle(t->plane);
    CHECK_EQ(t->front->link.awaited, 0);
    bench_free(t);
}

#endif

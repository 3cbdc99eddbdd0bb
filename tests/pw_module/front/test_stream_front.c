/* One frontend stream before a backend that does what it likes. The graph's part is played here. */
#include "random.h"
#include <math.h>

#include "front/front.h"
#include "stream_sim.h"

enum { RATE = 48000, BUFFER = 1000, PERIOD = 250, FRAME_BYTES = 4, BYTES = BUFFER * FRAME_BYTES };
enum { BACKEND = 8 };

struct bench {
    struct xpa_plane *plane;
    struct link *link;
    struct xpa_front *front;
    int32_t *buffer;
    uint32_t changes[5], notices[8];
    int32_t broken_code;
    struct xensnd_resp answer;
    /* the backend */
    struct xpa_back_ring ring;
    struct xpa_evt_ring events;
    uint16_t event_id;
    bool silent;       /* answers nothing */
    bool leaves_alone; /* wants to hear of half a ring only */
    int status;
    struct xensnd_req requests[64];
    uint32_t request_count;
};

static void on_change(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct bench *t = data;
    (void)now_nsec;
    t->changes[change]++;
}

static void python(void *data) {
    struct bench *t = data;
    struct xpa_notice notice;
    while (xpa_plane_next_notice(t->plane, &notice)) {
        t->notices[notice.kind]++;
        if (notice.kind == XPA_NOTICE_BROKEN)
            t->broken_code = notice.code;
        if (notice.kind == XPA_NOTICE_RESPONSE)
            memcpy(&t->answer, notice.packet, sizeof t->answer);
    }
}

static void answer(struct bench *t, const struct xensnd_req *request, int status) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.id = request->id;
    response.operation = request->operation;
    response.status = status;
    xpa_back_ring_push(&t->ring, &response);
    if (xpa_back_ring_publish(&t->ring))
        xpa_channel_notify(&t->link->requests[HOST]);
}

static void backend(void *data) {
    struct bench *t = data;
    struct xensnd_req request;
    bool told = xpa_channel_ack(&t->link->requests[HOST]) > 0;
    xpa_channel_ack(&t->link->events[HOST]);
    if (t->leaves_alone && !told)
        return;
    do {
        while (xpa_back_ring_pop(&t->ring, &request) == 1) {
            t->requests[t->request_count++ % 64] = request;
            if (!t->silent)
                answer(t, &request, t->status);
        }
    } while (xpa_back_ring_rearm(&t->ring, t->leaves_alone ? XPA_RING_SLOTS / 2 : 1));
}

static void position_sent(struct bench *t, uint64_t frames, uint32_t age_nsec, uint64_t sent_nsec) {
    struct xensnd_evt event;
    uint32_t sent[] = {(uint32_t)sent_nsec, (uint32_t)(sent_nsec >> 32)};
    memset(&event, 0, sizeof event);
    event.id = t->event_id++;
    event.type = XENSND_EVT_CUR_POS;
    event.op.cur_pos.position = frames * FRAME_BYTES;
    memcpy(event.op.reserved + 16, &age_nsec, sizeof age_nsec);
    memcpy(event.op.reserved + 20, sent, sizeof sent);
    xpa_evt_ring_put(&t->events, &event);
    xpa_channel_notify(&t->link->events[HOST]);
    sim_settle(t->plane);
}

static void position_aged(struct bench *t, uint64_t frames, uint32_t age_nsec) {
    position_sent(t, frames, age_nsec, 0);
}

static void position(struct bench *t, uint64_t frames) { position_aged(t, frames, 0); }

static struct bench *bench_new(int direction) {
    struct bench *t = calloc(1, sizeof *t);
    sim_reset();
    t->plane = xpa_plane_new();
    t->link = link_new();
    t->buffer = calloc(BUFFER, FRAME_BYTES);
    t->front = xpa_front_new(t->plane, 3, direction, &t->link->ring_page, &t->link->event_page,
                             t->link->requests[GUEST], t->link->events[GUEST], 0, BACKEND);
    t->front->on_change = on_change;
    t->front->change_data = t;
    xpa_back_ring_init(&t->ring, &t->link->ring_page);
    xpa_evt_ring_init_back(&t->events, &t->link->event_page);
    sim_add_poll(python, t);
    sim_add_poll(backend, t);
    struct xpa_config config = {.rate = RATE,
                                .channels = 1,
                                .sample_bytes = FRAME_BYTES,
                                .sample_kind = XPA_SAMPLE_S32,
                                .buffer_frames = BUFFER,
                                .period_frames = PERIOD,
                                .buffer = t->buffer};
    xpa_front_attach(t->front);
    xpa_front_open(t->front, &config, 300);
    sim_settle(t->plane);
    CHECK_EQ(t->changes[XPA_FRONT_OPENED], 1);
    return t;
}

static void bench_free(struct bench *t) {
    xpa_front_detach(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_DETACHED], 1);
    xpa_front_free(t->front);
    xpa_plane_free(t->plane);
    link_free(t->link);
    free(t->buffer);
    free(t);
}

static void start(struct bench *t, uint32_t frames) {
    xpa_front_prepare(t->front);
    if (t->front->direction == XPA_PLAYBACK)
        xpa_front_put(t->front, NULL, frames);
    xpa_front_begin(t->front);
    sim_settle(t->plane);
}

static void pass(struct bench *t, double frames) {
    sim_run(t->plane, (uint64_t)(frames * 1e9 / RATE));
}

static int64_t delay(const struct bench *t) {
    return (int64_t)(t->front->written_frames - t->front->position_frames);
}

/* --- requests --- */

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
    CHECK_EQ(xpa_transport_nsec(&t->front->peer->transport), 100000);
    CHECK_EQ(t->front->peer->domain, BACKEND);
    CHECK(t->front->peer != &t->front->own_peer, "other streams of the backend learn nothing");
    position(t, PERIOD + 1);
    int64_t off = (int64_t)(sim_now - xpa_clock_time_at(&t->front->clock, PERIOD + 1));
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
    const struct xpa_clock *clock = &t->front->clock;
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
    CHECK(t->front->timed, "the bytes were not read");
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
    CHECK(t->front->starved && xpa_clock_ready(&t->front->clock), "no clock");
    xpa_front_collect(t->front, sim_now);
    xpa_front_put(t->front, NULL, 2 * PERIOD);
    sim_run(t->plane, 20000000);
    position_aged(t, 2 * PERIOD + 2, 0);
    CHECK_EQ(xpa_clock_time_at(&t->front->clock, 2 * PERIOD + 2), sim_now);
    bench_free(t);
}

/* At 64 frames a period lasts 1.3 ms: less than a wake-up may take. */
static void test_margin_is_a_period_or_2_5_ms_or_what_it_grew_to(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    const uint32_t periods[] = {64, 512, 64, 512, 64};
    const uint32_t guards[] = {120, 512, 120, 512, 480}, asked[] = {300, 300, 300, 300, 660};
    for (int i = 0; i < 5; i++) {
        struct xpa_config config = t->front->config;
        config.rate = 48000;
        config.period_frames = periods[i];
        xpa_front_close(t->front);
        xpa_front_open(t->front, &config, 300);
        sim_settle(t->plane);
        CHECK_EQ(t->front->margin.frames, guards[i]);
        CHECK_EQ(t->front->asked_frames, asked[i]);
        /* it grows at xruns: that stays, where it is more */
        while (i == 2 && xpa_margin_grow(&t->front->margin, sim_now) > 0)
            continue;
    }
    bench_free(t);
}

/* A captured frame waits a period for its event anyway: what a late one may take is beside that. */
static void test_margin_of_a_capture_is_a_quarter_period(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    struct xpa_config config = t->front->config;
    config.rate = 48000;
    config.period_frames = 1024;
    t->front->margin = (struct xpa_margin){.grown_nsec = 10000000};
    xpa_front_close(t->front);
    xpa_front_open(t->front, &config, 1280);
    sim_settle(t->plane);
    CHECK_EQ(t->front->margin.frames, 480);
    CHECK_EQ(t->front->asked_frames, 1280 + 480 - 256);
    bench_free(t);
}

static void test_stop_is_known_when_it_is_answered(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    xpa_front_collect(t->front, sim_now);
    t->silent = true;
    xpa_front_end(t->front);
    sim_settle(t->plane);
    CHECK(t->front->stopping, "stopped without an answer");
    uint32_t woken = t->changes[XPA_FRONT_ANSWER];
    answer(t, &t->requests[t->request_count - 1], 0);
    sim_settle(t->plane);
    CHECK(!t->front->stopping, "the answer to STOP was not seen");
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
    xpa_front_check(t->front); /* a host that does not take is asked before it is blamed */
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 4);
    xpa_front_end(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->request_count, served + 5);
    CHECK(!t->front->stopping, "the answer to STOP was not seen");
    bench_free(t);
}

/* Whoever sends nothing has nothing to time: an answer is awaited once, or it would be for ever. */
static void test_no_answer_is_awaited_twice(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    t->silent = true;
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 100);
    CHECK_EQ(t->front->awaited, 1);
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 0);
    CHECK_EQ(t->front->awaited, 1);
    xpa_front_end(t->front);
    sim_run(t->plane, 300 * SIM_MSEC);
    xpa_front_put(t->front, NULL, 0);
    CHECK_EQ(t->front->awaited, 2);
    for (uint32_t i = 2; i < t->request_count; i++)
        answer(t, &t->requests[i], 0);
    sim_settle(t->plane);
    CHECK_EQ(t->front->awaited, 0);
    bench_free(t);
}

static void test_unanswered_transfer_ends_the_stream_after_3_seconds(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    t->silent = true;
    xpa_front_put(t->front, NULL, 100);
    sim_run(t->plane, 2900 * SIM_MSEC);
    xpa_front_check(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 0);
    sim_run(t->plane, 200 * SIM_MSEC);
    xpa_front_check(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 1);
    CHECK_EQ(t->broken_code, -ETIMEDOUT);
    CHECK_EQ(xpa_front_room(t->front), 0);
    xpa_front_put(t->front, NULL, 10); /* nothing more is sent */
    xpa_front_end(t->front);
    CHECK_EQ(t->changes[XPA_FRONT_CLOSED], 1);
    bench_free(t);
}

static void test_slow_backend_leaves_room_for_pythons_request(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct xensnd_req request = {.operation = XENSND_OP_GET_VOLUME};
    start(t, 300);
    xpa_front_collect(t->front, sim_now);
    t->silent = true;
    uint32_t sent = 0;
    for (; xpa_front_room(t->front) > 0 && sent < 100; sent++)
        xpa_front_put(t->front, NULL, 1);
    CHECK(sent > 20 && sent < 32, "%u transfers under way", sent);
    xpa_front_request(t->front, (const uint8_t *)&request);
    sim_settle(t->plane);
    xpa_front_end(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 0);
    t->silent = false;
    for (uint32_t i = 2; i < t->request_count; i++)
        answer(t, &t->requests[i], i == t->request_count - 2 ? -77 : 0);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_RESPONSE], 1);
    CHECK_EQ(t->answer.status, -77);
    CHECK(!t->front->stopping, "still stopping");
    bench_free(t);
}

static void test_foreign_status_codes_are_errors(void) {
    static const int statuses[] = {5, -22, 0x7fffffff, -1000000};
    for (int i = 0; i < 4; i++) {
        struct bench *t = bench_new(XPA_PLAYBACK);
        start(t, 300);
        t->status = statuses[i];
        xpa_front_put(t->front, NULL, 100); /* a lost transfer is counted, no more */
        sim_settle(t->plane);
        xpa_front_collect(t->front, sim_now);
        CHECK_EQ(t->front->stats.dropped_frames, 100);
        CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 0);
        xpa_front_end(t->front); /* a trigger that fails is not */
        sim_settle(t->plane);
        CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 1);
        CHECK(t->broken_code < 0, "code %d", t->broken_code);
        bench_free(t);
    }
}

static void test_impossible_indices_break_only_the_stream(void) {
    for (int kind = 0; kind < 3; kind++) {
        struct bench *t = bench_new(kind == 2 ? XPA_CAPTURE : XPA_PLAYBACK);
        struct xen_sndif_sring *ring = (void *)&t->link->ring_page;
        struct xensnd_event_page *page = (void *)&t->link->event_page;
        start(t, 300);
        sim_settle(t->plane);
        if (kind == 1)
            page->in_prod += 64;
        else
            ring->rsp_prod += 5;
        xpa_channel_notify(&t->link->requests[HOST]);
        xpa_channel_notify(&t->link->events[HOST]);
        sim_settle(t->plane);
        CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 1);
        CHECK_EQ(t->broken_code, -EPROTO);
        CHECK_EQ(t->changes[XPA_FRONT_CLOSED], 1);
        bench_free(t);
    }
}

static void test_random_answers_and_events_never_hurt(void) {
    uint64_t seed = 11;
    for (int round = 0; round < 300; round++) {
        struct bench *t = bench_new(round % 2);
        struct xensnd_event_page *page = (void *)&t->link->event_page;
        struct xen_sndif_sring *ring = (void *)&t->link->ring_page;
        uint8_t data[BYTES];
        t->silent = round % 3 == 0;
        start(t, 300);
        for (int i = 0; i < 80; i++) {
            for (uint32_t at = 64; at < TEST_PAGE_BYTES; at += 1 + random_below(&seed, 40))
                t->link->event_page.bytes[at] = (uint8_t)random_below(&seed, 4);
            for (uint32_t at = 0; at < 32; at++) {
                union xen_sndif_sring_entry *slot = ring->ring + at;
                if (random_below(&seed, 3) == 0)
                    slot->rsp.id = (uint16_t)random_below(&seed, 60);
            }
            page->in_prod += random_below(&seed, 5);
            xpa_channel_notify(&t->link->events[HOST]);
            if (random_below(&seed, 4) == 0) {
                ring->rsp_prod += random_below(&seed, 2);
                xpa_channel_notify(&t->link->requests[HOST]);
            }
            sim_run(t->plane, SIM_MSEC * random_below(&seed, 9));
            struct xpa_front *f = t->front;
            xpa_front_collect(f, sim_now);
            if (f->direction == XPA_PLAYBACK) {
                uint32_t room = xpa_front_room(f);
                CHECK(room <= BUFFER, "room %u", room);
                xpa_front_put(f, data, random_below(&seed, room + 1));
            } else {
                xpa_front_ask(f);
                uint32_t ready = xpa_front_ready(f);
                CHECK(ready <= BUFFER, "ready %u", ready);
                xpa_front_get(f, data, ready);
            }
            if (random_below(&seed, 20) == 0)
                xpa_front_end(f);
            else if (!f->started && !f->stopping && !f->broken)
                start(t, 10);
        }
        bench_free(t);
    }
}

/* --- positions --- */

static void test_late_and_repeated_positions_are_ignored(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 900);
    pass(t, PERIOD);
    position(t, 251);
    pass(t, PERIOD);
    position(t, 501);
    position(t, 251);
    position(t, 501);
    CHECK_EQ(t->front->position_frames, 501);
    CHECK_EQ(delay(t), 399);
    pass(t, PERIOD);
    position(t, 751); /* 63 lost ones would change nothing */
    CHECK_EQ(delay(t), 149);
    bench_free(t);
}

static void test_garbage_is_not_believed(void) {
    static const uint64_t garbage[] = {1ull << 40, 1ull << 60, 5000000, ~0ull / 4, 300000};
    for (int first = 0; first < 2; first++)
        for (int i = 0; i < 5; i++) {
            struct bench *t = bench_new(XPA_PLAYBACK);
            start(t, 900);
            pass(t, PERIOD);
            if (!first)
                position(t, 251);
            position(t, garbage[i]);
            pass(t, PERIOD);
            position(t, 501);
            CHECK_EQ(t->front->position_frames, 501);
            CHECK_EQ(t->front->written_frames, 900);
            CHECK(!t->front->starved, "starved by garbage");
            bench_free(t);
        }
}

/* A backend that means it (it counts anew in the middle) is followed, at the distance as before. */
static void test_insisting_backend_is_followed(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    uint64_t at = 1;
    start(t, 900);
    for (int i = 0; i < 20; i++) {
        pass(t, PERIOD);
        position(t, at += PERIOD);
        xpa_front_collect(t->front, sim_now);
        xpa_front_put(t->front, NULL, PERIOD);
        sim_settle(t->plane);
    }
    int64_t before = delay(t);
    for (uint64_t anew = 1; anew < 12; anew++) {
        pass(t, PERIOD);
        position(t, anew * PERIOD + 1);
    }
    CHECK_EQ(t->front->position_frames, 11 * PERIOD + 1);
    CHECK_EQ(delay(t), before - 3 * PERIOD); /* three more periods were heard, nothing written */
    bench_free(t);
}

static void restart(uint64_t stop_at, uint64_t stop_event, uint64_t first, int64_t wanted_delay) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 900);
    for (uint64_t at = PERIOD + 1; at <= stop_at; at += PERIOD) {
        pass(t, PERIOD);
        position(t, at);
        xpa_front_put(t->front, NULL, PERIOD);
        sim_settle(t->plane);
        xpa_front_collect(t->front, sim_now);
    }
    xpa_front_end(t->front);
    sim_settle(t->plane);
    if (stop_event)
        position(t, stop_event);
    CHECK(!t->front->stopping, "still stopping");
    start(t, 900);
    pass(t, PERIOD);
    position(t, first);
    CHECK_EQ(delay(t), wanted_delay);
    CHECK_EQ(t->front->position_frames, first);
    bench_free(t);
}

static void test_backend_may_go_on_or_start_again_at_0(void) {
    restart(5001, 6000, 6251, 649); /* ours: the position of STOP */
    restart(5001, 0, 5251, 650);    /* goes on where it was, without a word */
    restart(5001, 0, 251, 649);     /* begins anew */
    restart(251, 0, 501, 650);      /* the same, stopped early */
    restart(251, 0, 251, 649);
    restart(251, 1000, 1251, 649);
}

static void test_position_past_what_was_written_is_starvation(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    pass(t, PERIOD);
    position(t, 251);
    CHECK(!t->front->starved, "starved too early");
    pass(t, PERIOD);
    position(t, 501);
    CHECK(t->front->starved, "not starved");
    CHECK_EQ(delay(t), 0);
    xpa_front_put(t->front, NULL, 600);
    sim_settle(t->plane);
    pass(t, PERIOD);
    position(t, 751);
    CHECK(!t->front->starved, "starved for ever");
    CHECK_EQ(delay(t), 149);
    bench_free(t);
}

/* --- capture --- */

static void test_capture_asks_for_each_frame_once(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    int32_t data[BUFFER];
    uint64_t read = 0;
    start(t, 0);
    for (uint64_t at = PERIOD + 1; at < 40 * PERIOD; at += PERIOD) {
        pass(t, PERIOD);
        position(t, at);
        for (uint64_t i = read; i < at; i++) /* as READ would */
            t->buffer[i % BUFFER] = (int32_t)i + 1;
        xpa_front_ask(t->front);
        sim_settle(t->plane);
        uint32_t ready = xpa_front_ready(t->front);
        CHECK_EQ(ready, at - read);
        xpa_front_get(t->front, data, ready);
        for (uint32_t i = 0; i < ready; i++)
            CHECK_EQ(data[i], read + i + 1);
        read = at;
    }
    CHECK_EQ(t->front->stats.dropped_frames, 0);
    bench_free(t);
}

/* A backend that begins again at 0 moves the counters back, past 0 and modulo 2^64, while answers
 * to what was asked for before are still under way. */
static void test_frames_ready_are_never_more_than_there_are(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    start(t, 0);
    for (uint64_t read = 0u - 3000ull; read != 3000; read += 250)
        for (uint64_t pending = 0; pending <= BUFFER; pending += 250)
            for (uint64_t ahead = 0; ahead <= BUFFER; ahead += 250) {
                t->front->read_frames = read;
                t->front->written_frames = read + ahead;
                t->front->pending_frames = pending;
                CHECK_EQ(xpa_front_ready(t->front), ahead > pending ? ahead - pending : 0);
            }
    t->front->pending_frames = 0;
    bench_free(t);
}

static void test_unread_capture_is_skipped_and_counted(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    start(t, 0);
    pass(t, PERIOD);
    position(t, 251);
    xpa_front_ask(t->front);
    sim_settle(t->plane);
    pass(t, 2250);
    position(t, 2501);
    xpa_front_ask(t->front);
    sim_settle(t->plane);
    CHECK_EQ(xpa_front_ready(t->front), BUFFER);
    CHECK_EQ(t->front->stats.dropped_frames, 2501 - BUFFER);
    CHECK_EQ(t->front->read_frames, 1501);
    bench_free(t);
}

int main(void) {
    test_writes_go_around_the_buffer();
    test_room_is_what_was_answered();
    test_answers_in_time_wake_nobody();
    test_the_way_of_an_event_is_taken_off_its_time();
    test_a_gap_that_the_backend_tells_is_no_slower_clock();
    test_a_backend_may_say_when_it_sent_an_event();
    test_a_stream_that_starves_from_the_start_has_a_clock();
    test_margin_is_a_period_or_2_5_ms_or_what_it_grew_to();
    test_margin_of_a_capture_is_a_quarter_period();
    test_stop_is_known_when_it_is_answered();
    test_only_transfers_wait_for_the_host();
    test_no_answer_is_awaited_twice();
    test_unanswered_transfer_ends_the_stream_after_3_seconds();
    test_slow_backend_leaves_room_for_pythons_request();
    test_foreign_status_codes_are_errors();
    test_impossible_indices_break_only_the_stream();
    test_random_answers_and_events_never_hurt();
    test_late_and_repeated_positions_are_ignored();
    test_garbage_is_not_believed();
    test_insisting_backend_is_followed();
    test_backend_may_go_on_or_start_again_at_0();
    test_position_past_what_was_written_is_starvation();
    test_capture_asks_for_each_frame_once();
    test_frames_ready_are_never_more_than_there_are();
    test_unread_capture_is_skipped_and_counted();
    return check_close();
}

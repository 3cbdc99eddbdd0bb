/* Backends that are slow, foreign or broken, before a frontend stream. Part of test_stream_front.c.
 */
#ifndef XPA_FRONT_PEERS_H
#define XPA_FRONT_PEERS_H

#include "front_bench.h"

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
    CHECK(!t->front->stream.stopping, "still stopping");
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
            else if (!f->stream.started && !f->stream.stopping && !f->link.broken)
                start(t, 10);
        }
        bench_free(t);
    }
}

/* Transfers of an earlier OPEN, whose buffer was longer, may never be answered. */
static void test_what_is_unanswered_of_a_longer_buffer_leaves_no_room(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 300);
    t->silent = true;
    xpa_front_put(t->front, NULL, 400);
    struct xpa_config shorter = t->front->stream.config;
    shorter.buffer_frames = 100;
    shorter.period_frames = 50;
    xpa_front_close(t->front);
    xpa_front_open(t->front, &shorter, 50, 0);
    sim_settle(t->plane);
    CHECK_EQ(t->changes[XPA_FRONT_OPENED], 2);
    CHECK_EQ(t->front->link.pending_frames, 400);
    CHECK_EQ(xpa_front_room(t->front), 0);
    bench_free(t);
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
    CHECK_EQ(t->front->stream.position_frames, 501);
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
            CHECK_EQ(t->front->stream.position_frames, 501);
            CHECK_EQ(t->front->stream.written_frames, 900);
            CHECK(!t->front->stream.starved, "starved by garbage");
            bench_free(t);
        }
}

/* What a graph does that follows the position at a distance of 600 frames; how many frames. */
static uint32_t cycles(struct bench *t) {
    const struct xpa_front_stream *s = &t->front->stream;
    int32_t frames[PERIOD];
    uint32_t done = 0;
    for (int i = 0; i < 8; i++) {
        xpa_front_collect(t->front, sim_now);
        if (t->front->direction == XPA_PLAYBACK) {
            if ((int64_t)(s->written_frames - s->position_frames) > 600 ||
                xpa_front_room(t->front) < PERIOD)
                break;
            xpa_front_put(t->front, NULL, PERIOD);
        } else {
            xpa_front_ask(t->front);
            sim_settle(t->plane);
            xpa_front_collect(t->front, sim_now);
            if ((int64_t)(s->position_frames - s->read_frames) < 600 ||
                xpa_front_ready(t->front) < PERIOD)
                break;
            xpa_front_get(t->front, frames, PERIOD);
        }
        sim_settle(t->plane);
        done += PERIOD;
    }
    return done;
}

/* A backend that says at once that all was heard, or captured, would make the graph run as fast as
 * its processor can: no faster than our own clock, and what one position may be ahead of it. */
static void test_a_backend_that_hurries_is_not_followed(int direction) {
    struct bench *t = bench_new(direction);
    uint64_t at = 1, frames = 0;
    start(t, 900);
    for (int msec = 0; msec < 4000; msec++) {
        sim_run(t->plane, SIM_MSEC);
        at = direction == XPA_PLAYBACK ? t->front->stream.written_frames : at + BUFFER;
        position(t, at);
        frames += cycles(t);
    }
    CHECK(frames < 4 * 1.25 * RATE + BUFFER + 2 * PERIOD + RATE / 10 + BUFFER, "%llu frames in 4 s",
          (unsigned long long)frames);
    CHECK(direction == XPA_CAPTURE || frames > RATE / 10, "only %llu frames",
          (unsigned long long)frames);
    bench_free(t);
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
    CHECK_EQ(t->front->stream.position_frames, 11 * PERIOD + 1);
    CHECK_EQ(delay(t), before - 3 * PERIOD); /* three more periods were heard, nothing written */
    bench_free(t);
}

#endif

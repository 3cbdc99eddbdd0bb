/* A frontend that reads the backend's events by itself, before a backend that the test plays: when
 * it may, what it finds, and what it makes of lies. */
#include "front_bench.h"

#include "xen/position_ext.h"

/* The backend's clock is so far ahead of ours. */
static const uint64_t THEIRS_NSEC = 777 * SIM_SEC;

struct told {
    uint32_t age_nsec, flags;
    bool untimed, silent; /* the backend does not say when it was sent; wakes nobody */
};

static uint64_t put(struct bench *t, uint64_t frames, struct told told) {
    uint64_t sent_nsec = told.untimed ? 0 : sim_now + THEIRS_NSEC;
    struct xpa_position_ext ext = {
        .age_nsec = told.age_nsec,
        .time_low_nsec = (uint32_t)sent_nsec,
        .time_high_nsec = (uint32_t)(sent_nsec >> 32),
        .flags = told.flags,
    };
    struct xensnd_evt event;
    memset(&event, 0, sizeof event);
    event.id = t->event_id++;
    event.type = XENSND_EVT_CUR_POS;
    event.op.cur_pos.position = frames * FRAME_BYTES;
    xpa_position_ext_put(&event, &ext);
    CHECK_EQ(xpa_evt_ring_put(&t->events, &event), 0);
    if (!told.silent)
        xpa_channel_notify(&t->link->events[HOST]);
    sim_settle(t->plane);
    return frames;
}

static const struct told MAY_POLL = {.flags = XPA_MAY_POLL},
                         UNTOLD = {.flags = XPA_MAY_POLL, .silent = true};

/* A stream that runs, and `periods` of its positions. */
static struct bench *bench_running(int direction, uint32_t periods, struct told told) {
    struct bench *t = bench_new(direction);
    t->front->position_ext = true;
    start(t, BUFFER / 2);
    for (uint64_t n = 1; n <= periods; n++) {
        pass(t, PERIOD);
        put(t, n * PERIOD, told);
        if (direction == XPA_PLAYBACK)
            xpa_front_put(t->front, NULL, PERIOD);
        else
            xpa_front_ask(t->front);
        sim_settle(t->plane);
        t->front->stream.read_frames = t->front->stream.written_frames - PERIOD;
    }
    return t;
}

enum { KNOWN = 6 * RATE / PERIOD }; /* periods until the backend's clock is known */

static uint32_t polled_word(const struct bench *t) { return t->link->event_page.words[3]; }

static uint32_t *filled_word(struct bench *t) { return &t->link->event_page.words[4]; }

static bool let(struct bench *t, bool may) {
    xpa_front_let_poll(t->front, may, sim_now);
    CHECK_EQ(polled_word(t), t->front->link.polls);
    return t->front->link.polls;
}

static struct bench *bench_polling(int direction) {
    struct bench *t = bench_running(direction, KNOWN, MAY_POLL);
    CHECK(let(t, true), "it does not poll");
    return t;
}

/* Where the backend says that it heeds it, and its clock is known; until one of both is over. */
static void test_who_may_poll(void) {
    struct bench *t = bench_running(XPA_CAPTURE, 3, MAY_POLL);
    CHECK(!let(t, true), "nothing is known yet");
    bench_free(t);
    t = bench_running(XPA_CAPTURE, KNOWN, (struct told){0});
    CHECK(!let(t, true), "the backend said nothing");
    bench_free(t);
    t = bench_running(XPA_CAPTURE, KNOWN, (struct told){.flags = ~XPA_MAY_POLL});
    CHECK(!let(t, true), "the backend said something else");
    bench_free(t);
    t = bench_running(XPA_CAPTURE, KNOWN, (struct told){.flags = XPA_MAY_POLL, .untimed = true});
    CHECK(xpa_front_time_locked(t->front), "a clock of ours follows its events");
    CHECK(!let(t, true), "it does not say when it sent them");
    bench_free(t);
    t = bench_polling(XPA_CAPTURE); /* and another stream says it */
    for (int n = 1; n < 40; n++) {
        pass(t, PERIOD);
        put(t, (uint64_t)(KNOWN + n) * PERIOD,
            (struct told){.flags = XPA_MAY_POLL, .untimed = true});
    }
    CHECK(xpa_front_time_locked(t->front), "a clock of ours follows its events");
    CHECK(!let(t, true), "it does not say any more when it sent them");
    bench_free(t);
    t = bench_polling(XPA_CAPTURE);
    pass(t, PERIOD);
    put(t, (KNOWN + 1) * PERIOD, (struct told){.silent = true});
    xpa_front_poll(t->front, sim_now);
    CHECK(!let(t, true), "the backend heeds it no more");
    pass(t, PERIOD);
    put(t, (KNOWN + 2) * PERIOD, MAY_POLL);
    CHECK(let(t, true), "it heeds it again");
    pass(t, PERIOD);
    put(t, (KNOWN + 3) * PERIOD, (struct told){XPA_NO_AGE, XPA_MAY_POLL, true, true});
    xpa_front_poll(t->front, sim_now);
    CHECK(!let(t, true), "its clock is lost");
    bench_free(t);
}

/* A backend without the extension has other things in these octets. */
static void test_octets_of_a_backend_without_the_extension(void) {
    struct bench *t = bench_running(XPA_CAPTURE, KNOWN, MAY_POLL);
    t->front->position_ext = false;
    t->front->stream.may_poll = false;
    pass(t, PERIOD);
    put(t, (KNOWN + 1) * PERIOD, MAY_POLL);
    CHECK(!let(t, true), "whatever they are");
    bench_free(t);
}

/* The backend's clock is known from another stream, this one's device is not. */
static void test_a_new_stream_learns_its_own_clock(void) {
    struct bench *t = bench_polling(XPA_CAPTURE);
    xpa_front_end(t->front);
    CHECK_EQ(polled_word(t), 0);
    sim_settle(t->plane);
    struct xpa_config config = t->front->stream.config;
    xpa_front_open(t->front, &config, 300, 0);
    sim_settle(t->plane);
    start(t, 0);
    int periods = 0;
    for (uint64_t n = 1; n < 40 && !let(t, true); n++, periods++) {
        pass(t, PERIOD);
        put(t, n * PERIOD, MAY_POLL);
    }
    CHECK(periods >= 8 && periods < 20, "it polls after %d periods", periods);
    bench_free(t);
}

/* What came before the backend knew that it is to notify again, nobody tells. */
static void test_what_lies_there_is_read_when_it_listens_again(void) {
    for (int way = 0; way < 2; way++) {
        struct bench *t = bench_polling(XPA_PLAYBACK);
        pass(t, PERIOD);
        uint64_t frames = put(t, (KNOWN + 1) * PERIOD, UNTOLD);
        CHECK(t->front->stream.position_frames < frames, "it was told");
        if (way == 0)
            let(t, false);
        else
            xpa_front_hear(t->front, sim_now);
        CHECK_EQ(polled_word(t), 0);
        CHECK_EQ(t->front->stream.position_frames, frames);
        /* in doubt it learns the clock anew before it polls again */
        CHECK_EQ(let(t, true), way == 0);
        bench_free(t);
    }
}

/* Another stream of the backend brings the marks that this one does not. */
static void test_who_needs_no_marks_leaves_them_to_others(void) {
    struct bench *t = bench_polling(XPA_PLAYBACK);
    struct xpa_peer_clock *peer = t->front->link.peer;
    xpa_front_hear(t->front, sim_now);
    let(t, true);
    CHECK(peer->ear == t->front, "nobody listens");
    let(t, false);
    CHECK(!peer->ear, "it listens, and may not");
    let(t, true);
    CHECK(peer->ear == t->front, "nobody listens");
    t->link->event_page.words[1] += 1000; /* in_prod: it cannot go on */
    xpa_front_poll(t->front, sim_now);
    CHECK(!peer->ear, "one that is gone listens");
    sim_settle(t->plane);
    bench_free(t);
}

/* --- captured frames that nobody asked for --- */

/* As many as the backend says, a quarter of the buffer at the most: more it cannot have put. */
static void test_what_is_found_in_the_buffer(void) {
    struct bench *t = bench_running(XPA_CAPTURE, KNOWN, MAY_POLL);
    uint64_t begin = t->front->stream.written_frames;
    *filled_word(t) = (uint32_t)begin + 100; /* of a stream before this one */
    t->front->stream.read_frames = begin;
    CHECK(let(t, true), "it does not poll");
    xpa_front_poll(t->front, sim_now);
    CHECK_EQ(xpa_front_ready(t->front), 0);
    static const uint32_t LIES[] = {BUFFER / 4 + 1, BUFFER, 1u << 31, (uint32_t)-1, (uint32_t)-300};
    for (int i = 0; i < 5; i++) {
        *filled_word(t) = (uint32_t)begin + LIES[i];
        xpa_front_poll(t->front, sim_now);
        CHECK_EQ(xpa_front_ready(t->front), 0);
    }
    *filled_word(t) = (uint32_t)begin + BUFFER / 4;
    xpa_front_poll(t->front, sim_now);
    CHECK_EQ(xpa_front_ready(t->front), BUFFER / 4);
    CHECK_EQ(t->front->stats.xruns, 0);
    let(t, false);
    *filled_word(t) = (uint32_t)begin + BUFFER / 2;
    xpa_front_poll(t->front, sim_now);
    CHECK_EQ(xpa_front_ready(t->front), BUFFER / 4);
    bench_free(t);
}

/* Frames that a READ is under way for are not there before its answer. */
static void test_what_was_asked_for_is_waited_for(void) {
    struct bench *t = bench_running(XPA_CAPTURE, KNOWN, MAY_POLL);
    t->front->stream.read_frames = t->front->stream.written_frames;
    t->silent = true;
    pass(t, PERIOD);
    put(t, (KNOWN + 1) * PERIOD, MAY_POLL);
    xpa_front_ask(t->front);
    CHECK_EQ(t->front->link.pending_frames, PERIOD);
    CHECK(let(t, true), "it does not poll");
    *filled_word(t) = (uint32_t)t->front->stream.written_frames + 100;
    xpa_front_poll(t->front, sim_now);
    CHECK_EQ(xpa_front_ready(t->front), 0);
    bench_free(t);
}

/* The graph stands still: the oldest frames are lost before they are written over, and counted. */
static void test_frames_that_nobody_takes(void) {
    struct bench *t = bench_polling(XPA_CAPTURE);
    uint64_t begin = t->front->stream.written_frames;
    t->front->stream.read_frames = begin;
    for (uint32_t frames = 100; frames <= 3000; frames += 100) {
        *filled_word(t) = (uint32_t)begin + frames;
        xpa_front_poll(t->front, sim_now);
        CHECK_EQ(xpa_front_ready(t->front), frames < BUFFER * 3 / 4 ? frames : BUFFER * 3 / 4);
    }
    CHECK_EQ(t->front->stats.dropped_frames, 3000 - BUFFER * 3 / 4);
    CHECK(t->front->stats.xruns > 0, "nobody hears of it");
    bench_free(t);
}

/* --- what a look at the page brings --- */

/* A gap shows in any of the events that were read at once, and is counted once. One that was seen
 * when it began is not counted again. */
static void test_a_gap_between_two_looks(void) {
    struct bench *t = bench_polling(XPA_PLAYBACK);
    pass(t, PERIOD);
    put(t, (KNOWN + 1) * PERIOD, (struct told){XPA_AFTER_GAP, XPA_MAY_POLL, false, true});
    xpa_front_put(t->front, NULL, PERIOD);
    pass(t, PERIOD / 2);
    put(t, (KNOWN + 1) * PERIOD + PERIOD / 2, UNTOLD);
    CHECK(!t->front->stream.ran_out, "before it looked");
    xpa_front_poll(t->front, sim_now);
    CHECK(t->front->stream.ran_out, "it was overlooked");
    t->front->stream.ran_out = false;
    pass(t, PERIOD);
    put(t, (KNOWN + 2) * PERIOD + PERIOD / 2, (struct told){XPA_AFTER_GAP, XPA_MAY_POLL, 0, 0});
    CHECK(!t->front->stream.ran_out, "an event told of it");
    pass(t, PERIOD);
    put(t, t->front->stream.written_frames + 1, (struct told){XPA_NO_AGE, XPA_MAY_POLL, 0, true});
    xpa_front_poll(t->front, sim_now);
    CHECK(t->front->stream.starved, "it did not see that nothing is left");
    CHECK(t->front->stream.ran_out, "it is not counted");
    t->front->stream.ran_out = false;
    xpa_front_put(t->front, NULL, 2 * PERIOD);
    pass(t, PERIOD);
    put(t, t->front->stream.position_frames + PERIOD,
        (struct told){XPA_AFTER_GAP, XPA_MAY_POLL, false, true});
    xpa_front_poll(t->front, sim_now);
    CHECK(!t->front->stream.starved && !t->front->stream.ran_out, "it is counted twice");
    bench_free(t);
}

/* An event that lay there for a while is not late, and its way is not timed. */
static void test_an_event_that_lay_there_is_not_late(void) {
    struct bench *t = bench_polling(XPA_PLAYBACK);
    uint64_t timed_nsec = t->front->link.timed_nsec;
    for (uint64_t n = KNOWN + 1; n < KNOWN + 400; n++) {
        pass(t, PERIOD);
        put(t, n * PERIOD, UNTOLD);
        sim_run(t->plane, SIM_MSEC);
        xpa_front_poll(t->front, sim_now);
        xpa_front_put(t->front, NULL, PERIOD);
        sim_run(t->plane, (uint64_t)(PERIOD * 1e9 / RATE) - SIM_MSEC);
        put(t, ++n * PERIOD, UNTOLD);
        xpa_front_put(t->front, NULL, PERIOD);
        xpa_front_poll(t->front, sim_now);
    }
    CHECK(t->front->stats.jitter_nsec < 100000, "%d ns late", (int)t->front->stats.jitter_nsec);
    CHECK_EQ(t->front->link.timed_nsec, timed_nsec);
    bench_free(t);
}

/* --- what a backend may do to who polls --- */

/* An index that cannot be true ends the stream, whoever finds it, and once. */
static void test_an_impossible_index_is_found(void) {
    for (int way = 0; way < 3; way++) {
        struct bench *t = bench_polling(XPA_CAPTURE);
        t->link->event_page.words[1] += 1000; /* in_prod */
        if (way == 0)
            xpa_front_poll(t->front, sim_now);
        else if (way == 1)
            let(t, false);
        else
            xpa_front_hear(t->front, sim_now);
        sim_settle(t->plane);
        CHECK(t->front->link.broken, "it goes on");
        CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 1);
        xpa_front_poll(t->front, sim_now);
        xpa_front_hear(t->front, sim_now);
        sim_settle(t->plane);
        CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 1);
        bench_free(t);
    }
}

/* It sets and clears its flag with each event: nothing but that happens. */
static void test_a_flag_that_comes_and_goes(void) {
    struct bench *t = bench_polling(XPA_PLAYBACK);
    uint32_t changes = 0;
    for (uint64_t n = KNOWN + 1; n < KNOWN + 1000; n++) {
        pass(t, PERIOD);
        put(t, n * PERIOD, (struct told){.flags = n % 2 ? XPA_MAY_POLL : 0, .silent = true});
        xpa_front_poll(t->front, sim_now);
        bool polled = t->front->link.polls;
        changes += let(t, true) != polled;
        xpa_front_put(t->front, NULL, PERIOD);
        sim_settle(t->plane);
    }
    CHECK(changes > 100, "it changed %d times", (int)changes);
    CHECK(!t->front->link.broken && t->front->stats.xruns == 0, "the stream suffers");
    bench_free(t);
}

int main(void) {
    test_who_may_poll();
    test_octets_of_a_backend_without_the_extension();
    test_a_new_stream_learns_its_own_clock();
    test_what_lies_there_is_read_when_it_listens_again();
    test_who_needs_no_marks_leaves_them_to_others();
    test_what_is_found_in_the_buffer();
    test_what_was_asked_for_is_waited_for();
    test_frames_that_nobody_takes();
    test_a_gap_between_two_looks();
    test_an_event_that_lay_there_is_not_late();
    test_an_impossible_index_is_found();
    test_a_flag_that_comes_and_goes();
    return check_close();
}

/* What the guest asks of a backend stream, in any order and form. Part of test_stream_back.c. */
#ifndef XPA_BACK_REQUESTS_H
#define XPA_BACK_REQUESTS_H

#include "back_bench.h"

static void test_ranges(int direction, uint8_t right, uint8_t wrong) {
    struct rig *r = rig_new(direction, BUFFER, PERIOD, 0);
    CHECK_EQ(rig_transfer(r, right, 0, 4), -EIO); /* before OPEN */
    CHECK_EQ(rig_transfer(r, wrong, 0, 4), -EIO);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    const struct {
        uint32_t offset, length;
        int status;
    } cases[] = {
        {0, BYTES, 0},
        {BYTES - 4, 4, 0},
        {8, 0, 0},
        {BYTES, 0, -EINVAL},
        {BYTES, 4, -EINVAL},
        {BYTES - 4, 8, -EINVAL},
        {4, BYTES, -EINVAL},
        {0xfffffffcu, 8, -EINVAL},
        {4, 0xfffffffcu, -EINVAL},
        {0, 0xffffffffu, -EINVAL},
        {1, 4, -EINVAL},
        {0, 6, -EINVAL},
        {0x80000000u, 0x80000000u, -EINVAL},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(rig_transfer(r, right, cases[i].offset, cases[i].length), cases[i].status);
        CHECK_EQ(rig_transfer(r, wrong, cases[i].offset, cases[i].length), -EINVAL);
    }
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 0);
    CHECK_EQ(rig_op(r, XENSND_OP_CLOSE), 0);
    CHECK_EQ(rig_transfer(r, right, 0, 4), -EIO);
    rig_free(r);
}

static void test_transfers_are_checked(void) {
    test_ranges(XPA_PLAYBACK, XENSND_OP_WRITE, XENSND_OP_READ);
    test_ranges(XPA_CAPTURE, XENSND_OP_READ, XENSND_OP_WRITE);
}

static void test_full_fifo_is_no_space(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    int status = 0, writes = 0;
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    for (; status == 0 && writes < 100; writes++)
        status = rig_write(r, (uint32_t)writes * 100 % BUFFER, writes * 100 + 1, 100);
    CHECK_EQ(status, -ENOSPC);
    CHECK(writes - 1 >= BUFFER / 100, "only %d frames fit", (writes - 1) * 100);
    uint64_t written = r->back->stream.written_frames;
    CHECK_EQ(rig_write(r, (uint32_t)(writes - 1) * 100 % BUFFER, 1, 500), -ENOSPC);
    CHECK_EQ(r->back->stream.written_frames, written); /* a refused WRITE leaves no trace */
    rig_host_start(r, 100, 0, 0);
    sim_run(r->plane, 100 * SIM_MSEC);
    rig_check_log(r, 0, 1, (writes - 1) * 100);
    rig_free(r);
}

static void test_slow_requests_are_served_in_turn(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    struct xensnd_req slow = {.operation = XENSND_OP_HW_PARAM_QUERY};
    struct xensnd_req write = {.operation = XENSND_OP_WRITE};
    struct xensnd_req unknown = {.operation = 200};
    write.op.rw.length = 40;
    r->asleep = true;
    rig_push(r, &slow);
    rig_push(r, &write);
    rig_push(r, &unknown);
    rig_push(r, &write);
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    CHECK_EQ(r->back->stream.written_frames, 0); /* the WRITE waits as well */
    r->asleep = false;
    sim_settle(r->plane);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_pop(r), -EOPNOTSUPP);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    uint8_t twice[64] = {0};
    xpa_back_respond(r->back, twice); /* an answer to nothing: dropped */
    sim_settle(r->plane);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 0);
    rig_free(r);
}

/* Linux's driver, closed, looks at no answer and asks for no notification of the next. */
static void test_unread_answer_does_not_silence_the_next_query(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    struct xensnd_req query = {.operation = XENSND_OP_HW_PARAM_QUERY};
    for (int i = 0; i < 3; i++) {
        rig_push(r, &query);
        sim_settle(r->plane);
        CHECK(xpa_channel_ack(&r->link->requests[GUEST]) > 0, "query %d: nobody is told", i);
    }
    for (int i = 0; i < 3; i++)
        CHECK_EQ(rig_pop(r), 0);
    rig_free(r);
}

/* Each state x what the data loop answers itself, both ways: "cell DIRECTION STATE WHAT STATUS
 * NEXT", WHAT a trigger's type, or "right" or "wrong" for a transfer; pytest compares with
 * BACKEND_PCM. */
static const char *pcm_state(const struct rig *r) {
    const struct xpa_back *b = r->back;
    return !b->stream.open      ? "closed"
           : !b->stream.running ? "open"
           : b->stream.paused   ? "paused"
                                : "running";
}

static struct rig *rig_in_state(int direction, int state) {
    struct rig *r = rig_new(direction, BUFFER, PERIOD, 0);
    if (state > 0)
        CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    if (state > 1)
        CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    if (state > 2)
        CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_PAUSE), 0);
    return r;
}

static void print_cells(int direction, int state) {
    static const char *const WHAT[] = {"0", "1", "2", "3", "4", "255", "right", "wrong"};
    const char *name = direction == XPA_PLAYBACK ? "playback" : "capture";
    for (int what = 0; what < 8; what++) {
        struct rig *r = rig_in_state(direction, state);
        const char *before = pcm_state(r);
        /* from the second frame on: a paused stream that is written from its first is prepared anew
         */
        int status = what < 6
                         ? rig_trigger(r, (uint8_t)atoi(WHAT[what]))
                         : rig_transfer(r,
                                        (what == 6) == (direction == XPA_PLAYBACK) ? XENSND_OP_WRITE
                                                                                   : XENSND_OP_READ,
                                        RIG_FRAME_BYTES, RIG_FRAME_BYTES);
        printf("cell %s %s %s %d %s\n", name, before, WHAT[what], status, pcm_state(r));
        rig_free(r);
    }
}

static void print_pcm_table(void) {
    for (int state = 0; state < 4; state++) {
        print_cells(XPA_PLAYBACK, state);
        print_cells(XPA_CAPTURE, state);
    }
}

static void test_triggers_tell_the_host_once(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    CHECK_EQ(r->notices[XPA_NOTICE_TRIGGER], 1);
    CHECK_EQ(r->trigger_code, 1);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    CHECK_EQ(r->notices[XPA_NOTICE_TRIGGER], 2);
    CHECK_EQ(r->trigger_code, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    CHECK_EQ(rig_op(r, XENSND_OP_CLOSE), 0); /* while running */
    CHECK_EQ(r->notices[XPA_NOTICE_TRIGGER], 4);
    CHECK_EQ(r->trigger_code, 0);
    rig_free(r);
}

/* START, STOP, START... while Python is busy: the queue of notices is everybody's. */
static void test_flood_of_triggers_cannot_fill_the_notices(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    struct xensnd_req request = {.operation = XENSND_OP_TRIGGER};
    int answered = 0;
    r->asleep = true;
    for (int i = 0; i < 5000; i++) {
        request.op.trigger.type = i % 2 ? XENSND_OP_TRIGGER_STOP : XENSND_OP_TRIGGER_START;
        if (xpa_front_ring_free(&r->ring))
            rig_push(r, &request);
        sim_settle(r->plane);
        answered += rig_pop(r) == 0;
        sim_now += 100000;
    }
    sim_run(r->plane, SIM_SEC);
    CHECK(xpa_queue_fill(&r->plane->shared.notices) <= 2, "%u notices of one stream",
          xpa_queue_fill(&r->plane->shared.notices));
    uint64_t fired = sim_fired;
    sim_run(r->plane, SIM_SEC);
    CHECK(sim_fired - fired < 2000, "%llu timers in a second",
          (unsigned long long)(sim_fired - fired));
    r->asleep = false;
    sim_run(r->plane, 200 * SIM_MSEC);
    for (int i = 0; i < 40; i++)
        answered += rig_pop(r) == 0;
    CHECK_EQ(answered, r->next_id - 1); /* each was carried out in the end; the first was OPEN */
    rig_free(r);
}

/* --- a hostile peer --- */

static void test_impossible_request_index_breaks_only_the_stream(void) {
    struct rig *r = rig_playing(64, 0, 500);
    struct xen_sndif_sring *ring = (void *)&r->link->ring_page;
    sim_run(r->plane, 3 * SIM_MSEC);
    ring->req_prod += 33;
    xpa_channel_notify(&r->link->requests[GUEST]);
    sim_run(r->plane, 100 * SIM_MSEC); /* the host goes on: silence */
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 1);
    CHECK_EQ(r->broken_code, -EPROTO);
    ring->req_prod = 0;
    xpa_channel_notify(&r->link->requests[GUEST]);
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 1);
    rig_free(r);
}

static void test_impossible_event_index_breaks_only_the_stream(void) {
    struct rig *r = rig_playing(64, 0, 1000);
    struct xensnd_event_page *page = (void *)&r->link->event_page;
    page->in_cons = 0x7fffffff;
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 1);
    CHECK_EQ(r->broken_code, -EPROTO);
    rig_free(r);
}

static void test_random_pages_never_hurt(void) {
    uint64_t seed = 5;
    for (int round = 0; round < 200; round++) {
        struct rig *r = rig_open(round % 2 ? XPA_CAPTURE : XPA_PLAYBACK);
        struct xen_sndif_sring *ring = (void *)&r->link->ring_page;
        rig_host_start(r, 64, 0, 0);
        for (int i = 0; i < 60; i++) {
            union xen_sndif_sring_entry *slots = ring->ring;
            for (int slot = 0; slot < 32; slot++) {
                uint8_t *bytes = (uint8_t *)&slots[slot];
                for (int at = 0; at < 24; at++)
                    bytes[at] = (uint8_t)random_u64(&seed);
                bytes[2] = (uint8_t)random_below(&seed, 11);
                for (int at = 8; at < 16; at++)
                    bytes[at] &= at % 4 == 1 ? 0x0f : at % 4 ? 0 : 0xfc;
                if (bytes[2] == XENSND_OP_TRIGGER)
                    bytes[8] = (uint8_t)random_below(&seed, 4);
            }
            ring->req_prod += random_below(&seed, 12);
            xpa_channel_notify(&r->link->requests[GUEST]);
            sim_run(r->plane, SIM_MSEC * random_below(&seed, 8));
            CHECK(r->back->stream.written_frames >= r->back->stream.taken_frames,
                  "taken past written");
            CHECK(r->direction == XPA_CAPTURE ||
                      r->back->stream.written_frames - r->back->stream.taken_frames <=
                          r->back->stream.store_frames,
                  "more in the store than fits");
        }
        rig_free(r);
    }
}

static void test_vanished_peer_is_noticed_or_ignored_but_never_fatal(void) {
    struct rig *r = rig_playing(64, 0, 1000);
    close(r->link->requests[GUEST].fd);
    close(r->link->events[GUEST].fd);
    sim_run(r->plane, 200 * SIM_MSEC);
    CHECK(sim_fired < 1000000, "busy");
    r->link->requests[GUEST].fd = dup(0);
    r->link->events[GUEST].fd = dup(0);
    rig_free(r);
}

/* --- positions --- */

#endif

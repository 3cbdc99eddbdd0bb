/* One backend stream, asked everything that a guest may ask, honest or not. */
#include "stream_rig.h"

#include "random.h"

enum { BUFFER = 1000, PERIOD = 250, BYTES = BUFFER * RIG_FRAME_BYTES };

static struct rig *rig_open(int direction) {
    struct rig *r = rig_new(direction, BUFFER, PERIOD, 0);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    return r;
}

static struct rig *rig_playing(uint32_t quantum_frames, uint64_t latency_nsec, uint32_t frames) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    rig_host_start(r, quantum_frames, latency_nsec, 0);
    CHECK_EQ(rig_write(r, 0, 1, frames), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    return r;
}

static double position(const struct rig *r) { return xpa_back_position(r->back, sim_now); }

/* --- requests --- */

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
    uint64_t written = r->back->written_frames;
    CHECK_EQ(rig_write(r, (uint32_t)(writes - 1) * 100 % BUFFER, 1, 500), -ENOSPC);
    CHECK_EQ(r->back->written_frames, written); /* a refused WRITE leaves no trace */
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
    CHECK_EQ(r->back->written_frames, 0); /* the WRITE waits as well */
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

/* Each state x TRIGGER: "trigger STATE TYPE STATUS NEXT"; pytest compares with BACKEND_PCM. */
static const char *pcm_state(const struct rig *r) {
    const struct xpa_back *b = r->back;
    return !b->open ? "closed" : !b->running ? "open" : b->paused ? "paused" : "running";
}

static void print_trigger_table(void) {
    for (int state = 0; state < 4; state++)
        for (int type = 0; type < 6; type++) {
            struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
            if (state > 0)
                CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
            if (state > 1)
                CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
            if (state > 2)
                CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_PAUSE), 0);
            const char *before = pcm_state(r);
            int status = rig_trigger(r, type == 5 ? 255 : (uint8_t)type);
            printf("trigger %s %d %d %s\n", before, type == 5 ? 255 : type, status, pcm_state(r));
            rig_free(r);
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
    CHECK(xpa_queue_fill(&r->plane->notices) <= 2, "%u notices of one stream",
          xpa_queue_fill(&r->plane->notices));
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
            CHECK(r->back->written_frames >= r->back->taken_frames, "taken past written");
            CHECK(r->direction == XPA_CAPTURE ||
                      r->back->written_frames - r->back->taken_frames <= r->back->store_frames,
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

static void test_events_come_one_frame_past_each_period(void) {
    struct rig *r = rig_playing(64, 3 * SIM_MSEC, 1000);
    struct xensnd_evt event;
    sim_run(r->plane, 100 * SIM_MSEC);
    for (uint16_t i = 0; i < 4; i++) {
        CHECK_EQ(rig_event(r, &event), 1);
        CHECK_EQ(event.id, i);
        CHECK_EQ(event.type, XENSND_EVT_CUR_POS);
        CHECK_EQ(event.op.cur_pos.position, (PERIOD * (i + 1) + 1) * RIG_FRAME_BYTES);
        for (unsigned at = 8; at < sizeof event.op.reserved; at++)
            CHECK_EQ(event.op.reserved[at], 0); /* the extension was not asked for */
    }
    CHECK_EQ(rig_event(r, &event), 0); /* starved: one frame past the last period and no further */
    rig_free(r);
}

/* After a second OPEN Linux's two ways to count differ: a position takes a slot for each, but only
 * one for a frontend with the extension, which looks at no ids. */
static void test_a_position_takes_a_slot_for_each_count(void) {
    for (int extended = 0; extended <= 1; extended++) {
        struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, extended);
        struct xensnd_evt event, twin;
        uint16_t slot = 0;
        rig_host_start(r, 64, SIM_MSEC, 0);
        for (uint16_t opening = 0; opening < 3; opening++) {
            uint16_t opened = slot;
            CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
            rig_write(r, 0, 1, 2 * PERIOD);
            CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
            sim_run(r->plane, 100 * SIM_MSEC);
            for (uint32_t i = 1; i <= 2; i++) {
                CHECK_EQ(rig_event(r, &event), 1);
                CHECK_EQ(event.id, slot++);
                CHECK_EQ(event.op.cur_pos.position, (PERIOD * i + 1) * RIG_FRAME_BYTES);
                if (extended || opening == 0)
                    continue;
                CHECK_EQ(rig_event(r, &twin), 1);
                CHECK_EQ(twin.id, slot++ - opened);
                CHECK(memcmp(&twin.op, &event.op, sizeof event.op) == 0, "another position");
            }
            CHECK_EQ(rig_event(r, &event), 0);
        }
        rig_free(r);
    }
}

static void test_no_period_no_events(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, 0, 0);
    struct xensnd_evt event;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, 64, 0, 0);
    rig_write(r, 0, 1, 1000);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    CHECK_EQ(rig_event(r, &event), 0);
    rig_check_log(r, 0, 1, 1000);
    rig_free(r);
}

static void test_stop_rounds_up_to_the_buffer_and_says_so_once(void) {
    struct rig *r = rig_playing(64, SIM_MSEC, 700);
    struct xensnd_evt event, last = {0};
    sim_run(r->plane, 7 * SIM_MSEC);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    uint64_t events = r->back->stats.events;
    while (rig_event(r, &event))
        last = event;
    CHECK_EQ(last.op.cur_pos.position, BYTES);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    CHECK_EQ(r->back->stats.events, events);
    CHECK_EQ(r->back->written_frames, BUFFER);
    rig_free(r);
}

static void test_extension_tells_the_hosts_part(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 1);
    struct xensnd_evt event;
    uint32_t ext[5];
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, 64, 4 * SIM_MSEC, 0);
    rig_write(r, 0, 1, 1000);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 15 * SIM_MSEC);
    CHECK_EQ(rig_event(r, &event), 1);
    memcpy(ext, event.op.reserved + 8, sizeof ext);
    /* 4 ms are 192 frames, and what is left of a quantum of 64 */
    CHECK(ext[0] >= 192 && ext[0] <= 256, "%u frames taken but not heard", ext[0]);
    CHECK(ext[1] >= ext[0] && ext[1] <= 256, "at the most %u", ext[1]);
    CHECK(ext[2] < 30000, "%u ns old", ext[2]);
    /* frame 251 was heard a little less than 9 ms ago, 6 ms after the start */
    uint64_t heard = ((uint64_t)ext[4] << 32 | ext[3]) - ext[2];
    uint64_t true_nsec = rig_frame_nsec(r, (double)(251 + 64)) + r->latency_nsec - SIM_MSEC;
    CHECK(heard + 5 * SIM_MSEC > true_nsec && heard < sim_now, "heard at %llu, %llu",
          (unsigned long long)heard, (unsigned long long)true_nsec);
    rig_free(r);
}

/* Bit 31 of the age: silence was played since the last event. All bits: the position ran ahead. */
static void test_extension_tells_which_position_comes_after_silence(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 1);
    const struct {
        uint64_t position;
        bool gap, ahead;
    } expected[] = {{251, false, false}, {501, false, false},  {751, true, true},
                    {1001, true, false}, {1251, false, false}, {1501, true, true}};
    struct xensnd_evt event;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, 64, SIM_MSEC, 0);
    CHECK_EQ(rig_write(r, 0, 1, 600), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 50 * SIM_MSEC);
    CHECK_EQ(rig_write(r, 600, 601, 800), 0);
    sim_run(r->plane, 50 * SIM_MSEC);
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        uint32_t ext[3];
        CHECK_EQ(rig_event(r, &event), 1);
        memcpy(ext, event.op.reserved + 8, sizeof ext);
        CHECK_EQ(event.op.cur_pos.position / RIG_FRAME_BYTES, expected[i].position);
        CHECK_EQ(ext[2] >> 31, expected[i].gap);
        CHECK_EQ(ext[2] == UINT32_MAX, expected[i].ahead);
    }
    CHECK_EQ(rig_event(r, &event), 0);
    rig_free(r);
}

/* One period of the buffer, again and again, and how many of them the backend wants to hear of
 * until the host has taken everything. */
static uint32_t notified_writes(int position_ext) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, position_ext);
    uint32_t notified = 0;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, PERIOD, SIM_MSEC, 0);
    rig_write(r, 0, 1, BUFFER);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    for (uint32_t i = 0; i < 40; i++) {
        struct xensnd_req request = {.operation = XENSND_OP_WRITE};
        request.op.rw.offset = i % (BUFFER / PERIOD) * PERIOD * RIG_FRAME_BYTES;
        request.op.rw.length = PERIOD * RIG_FRAME_BYTES;
        sim_run(r->plane, (uint64_t)(PERIOD * r->nsec_per_frame));
        CHECK_EQ(rig_pop(r), i > 0 ? 0 : NO_ANSWER);
        bool wanted = rig_queue(r, &request);
        notified += wanted;
        if (wanted)
            xpa_channel_notify(&r->link->requests[GUEST]);
    }
    sim_run(r->plane, (uint64_t)(PERIOD * r->nsec_per_frame));
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(r->back->stats.transfers, 41);
    CHECK_EQ(r->back->stats.silence_frames, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    /* stopped, nobody looks at the ring by himself */
    struct xensnd_req query = {.operation = XENSND_OP_HW_PARAM_QUERY};
    CHECK(rig_queue(r, &query), "a stopped stream wants to hear of nothing");
    rig_free(r);
    return notified;
}

static void test_host_takes_what_nobody_was_told_of(void) {
    CHECK_EQ(notified_writes(1), 0);
    CHECK_EQ(notified_writes(0), 40);
}

/* A host that stands still leaves the ring alone: before it is full the backend wants to know. */
static void test_half_a_ring_of_writes_is_told(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 1);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    for (uint32_t i = 1; i <= XPA_RING_SLOTS / 2; i++) {
        struct xensnd_req request = {.operation = XENSND_OP_WRITE};
        request.op.rw.length = RIG_FRAME_BYTES;
        CHECK_EQ(rig_queue(r, &request), i == XPA_RING_SLOTS / 2);
    }
    rig_free(r);
}

static void test_starved_position_stands_still_then_goes_on(void) {
    struct rig *r = rig_playing(64, SIM_MSEC, 600);
    sim_run(r->plane, 50 * SIM_MSEC);
    CHECK_EQ(position(r), 751); /* 600, free to go on to one past the period */
    sim_run(r->plane, 500 * SIM_MSEC);
    CHECK_EQ(position(r), 751);
    CHECK_EQ(r->back->stats.xruns, 1);
    CHECK_EQ(rig_write(r, 600, 601, 900), 0);
    sim_run(r->plane, 2 * SIM_MSEC);
    CHECK_EQ(position(r), 751); /* not back */
    sim_run(r->plane, 14 * SIM_MSEC);
    double error = fabs(position(r) - rig_truth(r, sim_now));
    CHECK(error < 0.5, "off by %f frames after an underrun", error);
    rig_check_log(r, 0, 1, (int32_t)r->back->taken_frames);
    rig_free(r);
}

/* W = taken for a moment, long after an underrun that is over, is no reason to run free. */
static void test_old_silence_does_not_make_the_position_jump(void) {
    struct rig *r = rig_playing(100, 0, 300);
    sim_run(r->plane, 100 * SIM_MSEC);
    uint64_t written = 300;
    CHECK_EQ(r->back->stats.xruns, 1);
    sim_run_until(r->plane, r->tick.at_nsec - 1000);
    for (int i = 0; i < 10; i++) { /* just in time: every quantum is taken whole */
        CHECK_EQ(rig_write(r, (uint32_t)(written % BUFFER), (int32_t)written + 1, 100), 0);
        written += 100;
        sim_run(r->plane, 500000);
        CHECK_EQ(r->back->written_frames, r->back->taken_frames);
        double at = position(r), truth = rig_truth(r, sim_now);
        CHECK(at <= fmax(truth, 501) + 1, "position %f, heard %f", at, truth);
        sim_run_until(r->plane, r->tick.at_nsec - 1000);
    }
    CHECK_EQ(r->back->stats.xruns, 1);
    rig_free(r);
}

static void test_stalled_host_does_not_keep_the_loop_busy(void) {
    struct rig *r = rig_playing(64, 0, 1000);
    sim_run(r->plane, 10 * SIM_MSEC);
    r->tick.at_nsec = 0;
    uint64_t fired = sim_fired;
    sim_run(r->plane, SIM_SEC);
    CHECK(sim_fired - fired < 50, "%llu timers in a second of stall",
          (unsigned long long)(sim_fired - fired));
    CHECK(position(r) <= (double)r->back->taken_frames, "heard more than was taken");
    rig_free(r);
}

static void test_cycles_that_nobody_hears_move_nothing(void) {
    struct rig *r = rig_playing(50, 2 * SIM_MSEC, 1000);
    int32_t silence[50];
    sim_run(r->plane, 5 * SIM_MSEC);
    for (int i = 0; i < 4; i++) { /* the host held us back: two cycles of either kind */
        uint64_t before = r->back->taken_frames;
        memset(silence, 1, sizeof silence);
        if (i % 2)
            xpa_back_pull_nothing(r->back, silence, 50);
        else
            xpa_back_missed(r->back, 50);
        CHECK_EQ(r->back->taken_frames, before);
        if (i % 2)
            CHECK_EQ(silence[49], 0);
        r->log_frames += 50;
        r->ticks++;
    }
    r->tick.at_nsec = rig_frame_nsec(r, (double)(r->ticks * 50));
    CHECK_EQ(r->back->stats.held_cycles, 2);
    for (int i = 0; i < 20; i++) {
        sim_run(r->plane, SIM_MSEC);
        double truth = rig_truth(r, sim_now);
        if (truth > 0 && truth < 999)
            CHECK(fabs(position(r) - truth) < 0.5, "position %f, heard %f", position(r), truth);
    }
    rig_check_log(r, 0, 1, 1000);
    CHECK_EQ(rig_holes(r, 0), 200);
    rig_free(r);
}

static void test_pause_holds_the_position_and_loses_nothing(void) {
    struct rig *r = rig_playing(64, SIM_MSEC, 1000);
    sim_run(r->plane, 8 * SIM_MSEC);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_PAUSE), 0);
    sim_run(r->plane, 20 * SIM_MSEC);
    double at = position(r);
    uint64_t events = r->back->stats.events;
    CHECK_EQ(at, r->back->taken_frames);
    sim_run(r->plane, 300 * SIM_MSEC);
    CHECK_EQ(position(r), at);
    CHECK_EQ(r->back->stats.events, events);
    CHECK_EQ(r->back->stats.xruns, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_RESUME), 0);
    sim_run(r->plane, 8 * SIM_MSEC);
    CHECK(fabs(position(r) - rig_truth(r, sim_now)) < 0.5, "position %f, heard %f", position(r),
          rig_truth(r, sim_now));
    sim_run(r->plane, 30 * SIM_MSEC);
    rig_check_log(r, 0, 1, 1000);
    rig_free(r);
}

/* --- rewind --- */

static void test_rewind_replaces_what_was_not_taken(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    rig_write(r, 0, 1, 800);
    CHECK_EQ(rig_write(r, 500, 501, 100), 0); /* 300 back, then 100 */
    CHECK_EQ(r->back->written_frames, 600);
    rig_host_start(r, 50, 0, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 30 * SIM_MSEC);
    rig_check_log(r, 0, 1, 600);
    rig_free(r);
}

/* The host has taken 400 of 800; the guest steps back to 300: 100 frames come too late, and the
 * count of both stays the same. */
static void test_rewind_past_what_was_taken_keeps_the_count(void) {
    struct rig *r = rig_playing(400, 20 * SIM_MSEC, 800);
    sim_run(r->plane, 2 * SIM_MSEC);
    CHECK_EQ(r->back->taken_frames, 400);
    for (uint32_t i = 0; i < 5; i++) /* in pieces */
        CHECK_EQ(rig_write(r, 300 + i * 60, 1301 + (int32_t)i * 60, 60), 0);
    CHECK_EQ(r->back->stats.written_frames, 600);
    CHECK_EQ(r->back->written_frames - r->back->late_frames, 600);
    sim_run(r->plane, 60 * SIM_MSEC);
    uint64_t first = 0;
    while (r->log[first] == 0)
        first++;
    for (uint64_t i = 0; i < 600; i++)
        CHECK_EQ(r->log[first + i], i < 400 ? i + 1 : i + 1001);
    CHECK_EQ(r->log[first + 600], 0);
    rig_free(r);
}

/* --- capture --- */

static struct rig *rig_capturing(uint32_t quantum_frames, uint64_t latency_nsec) {
    struct rig *r = rig_open(XPA_CAPTURE);
    rig_host_start(r, quantum_frames, latency_nsec, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    return r;
}

static int rig_read(struct rig *r, uint32_t offset, uint32_t frames) {
    return rig_transfer(r, XENSND_OP_READ, offset * RIG_FRAME_BYTES, frames * RIG_FRAME_BYTES);
}

static void test_capture_position_is_never_ahead_of_data(void) {
    static const uint32_t quanta[] = {48, 256, 1024};
    for (int q = 0; q < 3; q++) {
        struct rig *r = rig_capturing(quanta[q], 3 * SIM_MSEC);
        struct xensnd_evt event;
        uint64_t seen = 0;
        for (int i = 0; i < 3000; i++) {
            sim_run(r->plane, 100000);
            while (rig_event(r, &event)) {
                uint64_t at = event.op.cur_pos.position / RIG_FRAME_BYTES;
                CHECK(at <= r->back->written_frames, "position %llu of %llu captured",
                      (unsigned long long)at, (unsigned long long)r->back->written_frames);
                CHECK(at > seen, "position goes back");
                CHECK_EQ(at % PERIOD, 1);
                uint32_t n = (uint32_t)(at - seen), offset = (uint32_t)(seen % BUFFER);
                uint32_t head = n < BUFFER - offset ? n : BUFFER - offset;
                CHECK_EQ(rig_read(r, offset, head), 0);
                if (n > head)
                    CHECK_EQ(rig_read(r, 0, n - head), 0);
                for (uint32_t j = 0; j < n; j++)
                    CHECK_EQ(r->buffer[(seen + j) % BUFFER], seen + j + 1);
                seen = at;
            }
        }
        CHECK(seen > 48 * 300 - 2 * 1024 - 500, "only %llu captured", (unsigned long long)seen);
        CHECK_EQ(r->back->stats.silence_frames, 0);
        /* behind the microphone by a chunk, the way to us and 1 ms, and no more */
        double age = r->back->stats.host_delay_frames;
        CHECK(fabs(age - (quanta[q] + 4 * 48)) < 1, "age %f frames", age);
        rig_free(r);
    }
}

static void test_read_of_what_is_not_there_is_silence(void) {
    struct rig *r = rig_open(XPA_CAPTURE);
    memset(r->buffer, 0x11, BYTES);
    CHECK_EQ(rig_read(r, 0, BUFFER), 0); /* before START */
    CHECK_EQ(r->buffer[0], 0);
    CHECK_EQ(r->buffer[BUFFER - 1], 0);
    rig_host_start(r, 48, 0, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 10 * SIM_MSEC);
    memset(r->buffer, 0x11, BYTES);
    CHECK_EQ(rig_read(r, 600, 200), 0); /* not captured yet */
    CHECK_EQ(r->buffer[600], 0);
    CHECK_EQ(r->buffer[799], 0);
    CHECK_EQ(r->buffer[599], 0x11111111); /* nothing else is touched */
    CHECK_EQ(r->buffer[800], 0x11111111);
    rig_free(r);
}

static void test_late_reader_gets_the_newest_at_its_offset(void) {
    struct rig *r = rig_capturing(48, 0);
    sim_run(r->plane, 100 * SIM_MSEC); /* nearly five laps unread */
    uint64_t end = (uint64_t)position(r);
    CHECK_EQ(rig_read(r, 0, 100), 0);
    uint64_t lap = (end - 100) / BUFFER * BUFFER;
    CHECK_EQ(r->buffer[0], lap + 1);
    CHECK_EQ(r->buffer[99], lap + 100);
    rig_free(r);
}

/* snd_pcm_drain() of a capture stream: STOP, then what was announced is read. */
static void test_captured_frames_stay_readable_after_stop(void) {
    struct rig *r = rig_capturing(48, 0);
    sim_run(r->plane, 30 * SIM_MSEC);
    uint64_t end = (uint64_t)position(r), from = end - 300;
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    sim_run(r->plane, 100 * SIM_MSEC);
    uint32_t head = BUFFER - (uint32_t)(from % BUFFER);
    CHECK_EQ(rig_read(r, (uint32_t)(from % BUFFER), head < 300 ? head : 300), 0);
    CHECK_EQ(r->buffer[from % BUFFER], from + 1);
    uint64_t base = r->back->reported_frames;
    CHECK_EQ(base % BUFFER, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    int32_t captured = r->next_captured;
    sim_run(r->plane, 20 * SIM_MSEC);
    CHECK_EQ(rig_read(r, 0, 100), 0); /* a new run begins at offset 0 */
    CHECK_EQ(r->buffer[0], captured + 1);
    CHECK_EQ(rig_read(r, 900, 100), 0);
    CHECK_EQ(r->buffer[900], 0); /* and the old one is gone */
    rig_free(r);
}

static void test_paused_capture_stands_still(void) {
    struct rig *r = rig_capturing(48, 0);
    sim_run(r->plane, 10 * SIM_MSEC);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_PAUSE), 0);
    sim_run(r->plane, 10 * SIM_MSEC);
    double at = position(r);
    CHECK_EQ(at, r->back->written_frames);
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(position(r), at);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_RESUME), 0);
    sim_run(r->plane, 10 * SIM_MSEC);
    CHECK(position(r) > at + 300 && position(r) <= (double)r->back->written_frames,
          "position %f from %f", position(r), at);
    rig_free(r);
}

/* --- life and death --- */

static void test_open_and_close_in_any_order_leak_nothing(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    rig_host_start(r, 64, 0, 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(xpa_back_open(r->back, &r->config), 0);
        if (i % 3)
            CHECK_EQ(xpa_back_open(r->back, &r->config), 0);
        if (i % 2)
            sim_run(r->plane, 10 * SIM_MSEC);
        CHECK_EQ(xpa_back_close(r->back), 0);
        CHECK_EQ(xpa_back_close(r->back), 0);
    }
    sim_settle(r->plane);
    CHECK_EQ(r->notices[XPA_NOTICE_RELEASED], 20);
    rig_free(r);
}

/* --- a host that must wake up first --- */

static void push_start(struct rig *r) {
    struct xensnd_req request = {.operation = XENSND_OP_TRIGGER};
    request.op.trigger.type = XENSND_OP_TRIGGER_START;
    rig_push(r, &request);
    sim_settle(r->plane);
}

/* Linux's clock for a blocked write starts when START is answered: the host's card is open then. */
static void test_start_is_answered_when_the_host_runs(int direction) {
    struct rig *r = rig_open(direction);
    bool plays = direction == XPA_PLAYBACK;
    atomic_store(&r->back->host_wakes, true);
    if (plays)
        CHECK_EQ(rig_write(r, 0, 1, BUFFER), 0);
    push_start(r);
    CHECK_EQ(r->notices[XPA_NOTICE_TRIGGER], 1); /* Python wakes the host meanwhile */
    sim_run(r->plane, 700 * SIM_MSEC);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    rig_host_start(r, 100, SIM_MSEC, 0);
    sim_run(r->plane, 2 * SIM_MSEC);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    sim_run(r->plane, 100 * SIM_MSEC);
    if (plays) {
        rig_check_log(r, 0, 1, BUFFER);
        CHECK_EQ(rig_holes(r, 0), 0);
    }
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0); /* it runs: at once */
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0); /* and of a stream that runs, anyway */
    r->tick.at_nsec = 0;                                  /* it rests: woken again */
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    sim_run(r->plane, SIM_SEC);
    push_start(r);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 0);
    rig_free(r);
}

/* The host's clock is known before START when the host was woken at OPEN, so the first position is
 * as exact as any. */
static void test_host_awake_since_open_starts_at_once_and_exactly(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    atomic_store(&r->back->host_wakes, true);
    rig_host_start(r, 128, 7 * SIM_MSEC, 200);
    sim_run(r->plane, 300 * SIM_MSEC);
    CHECK_EQ(rig_write(r, 0, 1, BUFFER), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    for (int i = 0; i < 20; i++) {
        sim_run(r->plane, SIM_MSEC);
        double error = position(r) - rig_truth(r, sim_now);
        CHECK(fabs(error) < 1, "off by %f frames", error);
    }
    sim_run(r->plane, 100 * SIM_MSEC);
    rig_check_log(r, 0, 1, BUFFER);
    rig_free(r);
}

static void test_start_is_answered_though_the_host_never_wakes(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    struct xensnd_req write = {.operation = XENSND_OP_WRITE};
    write.op.rw.length = 40;
    atomic_store(&r->back->host_wakes, true);
    push_start(r);
    rig_push(r, &write); /* what comes behind waits for its turn */
    sim_run(r->plane, SIM_SEC);
    uint8_t nobody_asked[64] = {0};
    xpa_back_respond(r->back, nobody_asked);
    sim_settle(r->plane);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    CHECK_EQ(r->back->written_frames, 0);
    sim_run(r->plane, SIM_SEC); /* in all less than the 3 s that guests wait */
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(r->back->written_frames, 10);
    rig_free(r);
}

static void test_close_while_start_waits_answers_and_goes_on(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    atomic_store(&r->back->host_wakes, true);
    push_start(r);
    xpa_back_close(r->back); /* Python's own doing: the guest cannot get past its START */
    sim_run(r->plane, 2 * SIM_SEC);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_free(r);
    r = rig_open(XPA_PLAYBACK);
    atomic_store(&r->back->host_wakes, true);
    push_start(r);
    rig_free(r); /* detached while it waits */
}

/* Liveness extension: the guest's kernel clears the byte and sends an event. Whoever never set it
 * (Linux' frontend, after ours was killed and left its node behind) is not watched. */
static void test_cleared_byte(bool asked, bool set, bool noticed) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    struct xensnd_event_page *page = (void *)&r->link->event_page;
    xpa_back_detach(r->back);
    sim_settle(r->plane);
    page->reserved[0] = set;
    struct xpa_back *b =
        xpa_back_new(r->plane, 8, XPA_PLAYBACK, &r->link->ring_page, &r->link->event_page,
                     r->link->requests[HOST], r->link->events[HOST], 0);
    if (asked)
        xpa_back_watch(b);
    xpa_back_attach(b);
    xpa_channel_notify(&r->link->events[GUEST]);
    sim_settle(r->plane);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 0);
    page->reserved[0] = 0;
    xpa_channel_notify(&r->link->events[GUEST]);
    sim_settle(r->plane);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], noticed);
    CHECK_EQ(r->broken_code, noticed ? -ENOTCONN : 0);
    xpa_back_detach(b);
    sim_settle(r->plane);
    xpa_back_free(b);
    r->notices[XPA_NOTICE_DETACHED] = 0;
    rig_free(r);
}

static void test_cleared_octet_ends_a_stream_that_is_watched(void) {
    test_cleared_byte(true, true, true);
    test_cleared_byte(true, false, false);
    test_cleared_byte(false, true, false);
}

int main(void) {
    test_transfers_are_checked();
    test_full_fifo_is_no_space();
    test_slow_requests_are_served_in_turn();
    test_unread_answer_does_not_silence_the_next_query();
    print_trigger_table();
    test_triggers_tell_the_host_once();
    test_flood_of_triggers_cannot_fill_the_notices();
    test_impossible_request_index_breaks_only_the_stream();
    test_impossible_event_index_breaks_only_the_stream();
    test_random_pages_never_hurt();
    test_vanished_peer_is_noticed_or_ignored_but_never_fatal();
    test_cleared_octet_ends_a_stream_that_is_watched();
    test_events_come_one_frame_past_each_period();
    test_a_position_takes_a_slot_for_each_count();
    test_no_period_no_events();
    test_stop_rounds_up_to_the_buffer_and_says_so_once();
    test_extension_tells_the_hosts_part();
    test_extension_tells_which_position_comes_after_silence();
    test_host_takes_what_nobody_was_told_of();
    test_half_a_ring_of_writes_is_told();
    test_starved_position_stands_still_then_goes_on();
    test_old_silence_does_not_make_the_position_jump();
    test_stalled_host_does_not_keep_the_loop_busy();
    test_cycles_that_nobody_hears_move_nothing();
    test_pause_holds_the_position_and_loses_nothing();
    test_rewind_replaces_what_was_not_taken();
    test_rewind_past_what_was_taken_keeps_the_count();
    test_capture_position_is_never_ahead_of_data();
    test_read_of_what_is_not_there_is_silence();
    test_late_reader_gets_the_newest_at_its_offset();
    test_captured_frames_stay_readable_after_stop();
    test_paused_capture_stands_still();
    test_open_and_close_in_any_order_leak_nothing();
    test_start_is_answered_when_the_host_runs(XPA_PLAYBACK);
    test_start_is_answered_when_the_host_runs(XPA_CAPTURE);
    test_host_awake_since_open_starts_at_once_and_exactly();
    test_start_is_answered_though_the_host_never_wakes();
    test_close_while_start_waits_answers_and_goes_on();
    return check_close();
}

/* What a backend stream tells of its position, and when. Part of test_stream_back.c. */
#ifndef XPA_BACK_POSITIONS_H
#define XPA_BACK_POSITIONS_H

#include "back_bench.h"

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
static void check_slots(struct rig *r, bool extended) {
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

static void test_a_position_takes_a_slot_for_each_count(void) {
    check_slots(rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0), false);
    check_slots(rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 1), true);
}

/* By both extensions' nodes; `lives`: it has set its byte. */
static void connect_anew(struct rig *r, bool lives) {
    xpa_back_detach(r->back);
    sim_settle(r->plane);
    xpa_back_free(r->back);
    r->notices[XPA_NOTICE_DETACHED] = 0;
    ((struct xensnd_event_page *)(void *)&r->link->event_page)->reserved[0] = lives;
    r->back = xpa_back_new(r->plane, 7, r->direction, &r->link->ring_page, &r->link->event_page,
                           r->link->requests[HOST], r->link->events[HOST], 1);
    xpa_back_watch(r->back);
    xpa_back_attach(r->back);
    sim_settle(r->plane);
}

/* Our frontend has ended and left its nodes; Linux's, which came after it, counts ids. */
static void test_the_extension_of_a_predecessor_is_not_believed(void) {
    for (int lives = 0; lives <= 1; lives++) {
        struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 1);
        connect_anew(r, lives);
        check_slots(r, lives);
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
    CHECK_EQ(r->back->stream.written_frames, BUFFER);
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
    rig_check_log(r, 0, 1, (int32_t)r->back->stream.taken_frames);
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
        CHECK_EQ(r->back->stream.written_frames, r->back->stream.taken_frames);
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
    CHECK(position(r) <= (double)r->back->stream.taken_frames, "heard more than was taken");
    rig_free(r);
}

static void test_cycles_that_nobody_hears_move_nothing(void) {
    struct rig *r = rig_playing(50, 2 * SIM_MSEC, 1000);
    sim_run(r->plane, 5 * SIM_MSEC);
    for (int i = 0; i < 4; i++) { /* the host held us back: two cycles of either kind */
        uint64_t before = r->back->stream.taken_frames;
        if (i % 2)
            xpa_back_hold(r->back, 50);
        else
            xpa_back_missed(r->back, 50);
        CHECK_EQ(r->back->stream.taken_frames, before);
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
    CHECK_EQ(at, r->back->stream.taken_frames);
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
    CHECK_EQ(r->back->stream.written_frames, 600);
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
    CHECK_EQ(r->back->stream.taken_frames, 400);
    for (uint32_t i = 0; i < 5; i++) /* in pieces */
        CHECK_EQ(rig_write(r, 300 + i * 60, 1301 + (int32_t)i * 60, 60), 0);
    CHECK_EQ(r->back->stats.written_frames, 600);
    CHECK_EQ(r->back->stream.written_frames - r->back->stream.late_frames, 600);
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

#endif

/* One backend stream, asked everything that a guest may ask, honest or not. */
#include "back_bench.h"
#include "back_requests.h"
#include "back_positions.h"
#include "back_volumes.h"

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
                CHECK(at <= r->back->stream.written_frames, "position %llu of %llu captured",
                      (unsigned long long)at, (unsigned long long)r->back->stream.written_frames);
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

/* A graph adds up what its streams give: one that is no number would be everybody's silence. */
static void test_a_sample_that_is_no_number_never_reaches_the_host(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    r->config.sample_kind = XPA_SAMPLE_F32;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, 48, 0, 0);
    CHECK_EQ(rig_write(r, 0, 0x7fc00000, BUFFER), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 10 * SIM_MSEC);
    CHECK(r->back->stream.taken_frames > 400, "nothing was taken");
    for (uint64_t i = 0; i < r->log_frames; i++)
        CHECK_EQ(r->log[i], 0);
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
    uint64_t base = r->back->stream.reported_frames;
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
    CHECK_EQ(at, r->back->stream.written_frames);
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(position(r), at);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_RESUME), 0);
    sim_run(r->plane, 10 * SIM_MSEC);
    CHECK(position(r) > at + 300 && position(r) <= (double)r->back->stream.written_frames,
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
    atomic_store(&r->back->shared.host_wakes, true);
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
    atomic_store(&r->back->shared.host_wakes, true);
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
    atomic_store(&r->back->shared.host_wakes, true);
    push_start(r);
    rig_push(r, &write); /* what comes behind waits for its turn */
    sim_run(r->plane, SIM_SEC);
    uint8_t nobody_asked[64] = {0};
    xpa_back_respond(r->back, nobody_asked);
    sim_settle(r->plane);
    CHECK_EQ(rig_pop(r), NO_ANSWER);
    CHECK_EQ(r->back->stream.written_frames, 0);
    sim_run(r->plane, SIM_SEC); /* in all less than the 3 s that guests wait */
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(r->back->stream.written_frames, 10);
    rig_free(r);
}

static void test_close_while_start_waits_answers_and_goes_on(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    atomic_store(&r->back->shared.host_wakes, true);
    push_start(r);
    xpa_back_close(r->back); /* Python's own doing: the guest cannot get past its START */
    sim_run(r->plane, 2 * SIM_SEC);
    CHECK_EQ(rig_pop(r), 0);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_free(r);
    r = rig_open(XPA_PLAYBACK);
    atomic_store(&r->back->shared.host_wakes, true);
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

static void test_cleared_byte_ends_a_stream_that_is_watched(void) {
    test_cleared_byte(true, true, true);
    test_cleared_byte(true, false, false);
    test_cleared_byte(false, true, false);
}

/* Half of what every second one is later by. */
static void test_jitter_is_how_unevenly_the_host_runs(void) {
    static const int directions[] = {XPA_PLAYBACK, XPA_CAPTURE};
    for (int i = 0; i < 2; i++) {
        struct rig *r = rig_open(directions[i]);
        rig_host_start(r, 256, 3 * SIM_MSEC, 100);
        CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
        sim_run(r->plane, 5000 * SIM_MSEC);
        CHECK(r->back->stats.jitter_nsec < 1000, "%llu ns",
              (unsigned long long)r->back->stats.jitter_nsec);
        r->uneven_nsec = 200000;
        sim_run(r->plane, 15000 * SIM_MSEC);
        double usec = (double)r->back->stats.jitter_nsec / 1e3;
        CHECK(fabs(usec - 100) < 10, "%f us", usec);
        rig_free(r);
    }
}

static void test_the_last_xrun_has_its_time(void) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    rig_host_start(r, 48, 0, 0);
    CHECK_EQ(rig_write(r, 0, 1, 480), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    CHECK_EQ(r->back->stats.last_xrun_nsec, 0);
    uint64_t before = sim_now;
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(r->back->stats.xruns, 1);
    uint64_t at = r->back->stats.last_xrun_nsec - before;
    CHECK(at >= 10 * SIM_MSEC && at <= 13 * SIM_MSEC, "after %llu ns", (unsigned long long)at);
    rig_free(r);
}

int main(void) {
    test_a_guest_is_told_of_volumes_if_it_asked_for_that();
    test_a_volume_that_finds_the_ring_full_is_told_later();
    test_a_predecessors_volume_extension_does_not_count();
    test_transfers_are_checked();
    test_full_fifo_is_no_space();
    test_slow_requests_are_served_in_turn();
    test_unread_answer_does_not_silence_the_next_query();
    print_pcm_table();
    test_triggers_tell_the_host_once();
    test_flood_of_triggers_cannot_fill_the_notices();
    test_impossible_request_index_breaks_only_the_stream();
    test_impossible_event_index_breaks_only_the_stream();
    test_random_pages_never_hurt();
    test_vanished_peer_is_noticed_or_ignored_but_never_fatal();
    test_cleared_byte_ends_a_stream_that_is_watched();
    test_events_come_one_frame_past_each_period();
    test_a_position_takes_a_slot_for_each_count();
    test_the_extension_of_a_predecessor_is_not_believed();
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
    test_a_sample_that_is_no_number_never_reaches_the_host();
    test_captured_frames_stay_readable_after_stop();
    test_paused_capture_stands_still();
    test_open_and_close_in_any_order_leak_nothing();
    test_start_is_answered_when_the_host_runs(XPA_PLAYBACK);
    test_start_is_answered_when_the_host_runs(XPA_CAPTURE);
    test_host_awake_since_open_starts_at_once_and_exactly();
    test_start_is_answered_though_the_host_never_wakes();
    test_close_while_start_waits_answers_and_goes_on();
    test_jitter_is_how_unevenly_the_host_runs();
    test_the_last_xrun_has_its_time();
    return check_close();
}

/* One frontend stream before a backend that does what it likes. The graph's part is played here. */
#include "front_bench.h"
#include "front_transfers.h"
#include "front_peers.h"
#include "front_controls.h"

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
    CHECK(!t->front->stream.stopping, "still stopping");
    start(t, 900);
    pass(t, PERIOD);
    position(t, first);
    CHECK_EQ(delay(t), wanted_delay);
    CHECK_EQ(t->front->stream.position_frames, first);
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
    CHECK(!t->front->stream.starved, "starved too early");
    pass(t, PERIOD);
    position(t, 501);
    CHECK(t->front->stream.starved, "not starved");
    CHECK_EQ(delay(t), 0);
    xpa_front_put(t->front, NULL, 600);
    sim_settle(t->plane);
    pass(t, PERIOD);
    position(t, 751);
    CHECK(!t->front->stream.starved, "starved for ever");
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
                t->front->stream.read_frames = read;
                t->front->stream.written_frames = read + ahead;
                t->front->link.pending_frames = pending;
                CHECK_EQ(xpa_front_ready(t->front), ahead > pending ? ahead - pending : 0);
            }
    t->front->link.pending_frames = 0;
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
    CHECK_EQ(t->front->stream.read_frames, 1501);
    bench_free(t);
}

static void test_a_captured_sample_that_is_no_number_never_reaches_the_graph(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    int32_t got[PERIOD];
    t->front->stream.config.sample_kind = XPA_SAMPLE_F32;
    for (int i = 0; i < BUFFER; i++)
        t->buffer[i] = 0x7f800000 + i;
    start(t, 0);
    pass(t, PERIOD);
    position(t, 251);
    xpa_front_ask(t->front);
    sim_settle(t->plane);
    xpa_front_get(t->front, got, PERIOD);
    for (int i = 0; i < PERIOD; i++)
        CHECK_EQ(got[i], 0);
    bench_free(t);
}

int main(void) {
    for (int position_ext = 0; position_ext < 2; position_ext++) {
        test_a_volume_lies_where_no_samples_are(position_ext);
        test_no_sample_is_put_where_a_volume_is_not_answered(position_ext);
    }
    test_a_volume_goes_at_once_where_no_cycle_follows();
    test_a_volume_lies_where_nothing_captured_is();
    test_volumes_wait_for_python_as_the_newest();
    test_an_older_volume_is_heard_of_before_the_answer_to_a_newer_one();
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
    test_what_is_unanswered_of_a_longer_buffer_leaves_no_room();
    test_late_and_repeated_positions_are_ignored();
    test_garbage_is_not_believed();
    test_a_backend_that_hurries_is_not_followed(XPA_PLAYBACK);
    test_a_backend_that_hurries_is_not_followed(XPA_CAPTURE);
    test_insisting_backend_is_followed();
    test_backend_may_go_on_or_start_again_at_0();
    test_position_past_what_was_written_is_starvation();
    test_capture_asks_for_each_frame_once();
    test_frames_ready_are_never_more_than_there_are();
    test_unread_capture_is_skipped_and_counted();
    test_a_captured_sample_that_is_no_number_never_reaches_the_graph();
    return check_close();
}

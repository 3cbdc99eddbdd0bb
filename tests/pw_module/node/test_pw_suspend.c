/*
 * A guest's sink and source when the graph stops to run them, and runs them again: at once, with
 * another rate or quantum, or after a while. See graph_world.h.
 */
#include "graph_world.h"

/* The graph stops to run the node for so long, and forgets what its converter held. */
static void suspend(struct world *w, uint64_t nsec) {
    w->node.state.wanted = false;
    xpa_node_update(&w->node, sim_now);
    sim_run(w->plane, nsec);
    w->clients.at_nsec = w->daemon.at_nsec = 0;
    w->held = w->rate_match.size = 0;
    w->oldest = 0;
    w->node.state.wanted = true;
    xpa_node_update(&w->node, sim_now);
}

/* No other frames are missing than those of the time in which nobody asked; the first are as old as
 * all others, since that is what applications are told. */
static void test_a_source_that_is_suspended_for_a_moment_goes_on_at_once(void) {
    static const uint64_t AWAY_MSEC[] = {1, 12, 50, 150};
    struct world *w = world_new(XPA_CAPTURE, 1024);
    double usual = w->oldest;
    for (int i = 0; i < 4; i++) {
        uint64_t away = AWAY_MSEC[i] * SIM_MSEC, read = w->front->stream.read_frames,
                 handed = w->handed;
        uint64_t cycles = w->cycles;
        w->silent = w->longest_nsec = 0;
        suspend(w, away);
        sim_run(w->plane, 2 * SIM_MSEC);
        CHECK(w->cycles > cycles || away < 20 * SIM_MSEC, "the first cycle did not come at once");
        sim_run(w->plane, 300 * SIM_MSEC);
        uint64_t missing = w->front->stream.read_frames - read - (w->handed - handed);
        CHECK(missing <= away * RATE / SIM_SEC, "%d frames missing", (int)missing);
        CHECK(w->oldest < usual + PERIOD, "%f frames old instead of %f", w->oldest, usual);
        CHECK_EQ(w->silent, 0);
    }
    CHECK_EQ(w->front->stats.xruns, 0);
    CHECK_EQ(w->front->stats.dropped_frames, 0);
    world_free(w);
}

/* ... and one that nobody comes back to stops, and begins with what is captured from then on. */
static void test_a_source_that_is_left_stops_and_begins_anew(void) {
    struct world *w = world_new(XPA_CAPTURE, 1024);
    w->silent = 0;
    suspend(w, SIM_SEC);
    CHECK(w->front->stream.started && !w->front->stream.positioned, "it was not started anew");
    uint64_t read = w->front->stream.read_frames;
    CHECK_EQ(read, w->front->stream.base_frames);
    sim_run(w->plane, 300 * SIM_MSEC);
    CHECK(w->front->stream.read_frames > read, "nothing was captured");
    CHECK_EQ(w->silent, 0);
    CHECK_EQ(w->front->stats.xruns, 0);
    CHECK_EQ(w->front->stats.dropped_frames, 0);
    world_free(w);
}

/* All that was handed over is heard, once, before what comes after. */
static void test_a_sink_that_is_suspended_loses_no_frame(void) {
    static const uint64_t AWAY_MSEC[] = {1, 20, 100, 1000};
    static const uint64_t SILENT[] = {0, 960, 4800, 48000};
    struct world *w = world_new(XPA_PLAYBACK, 256);
    for (int i = 0; i < 4; i++) {
        sim_run(w->plane, 97 * SIM_MSEC);
        while (w->clients.at_nsec) /* a cycle under way is PipeWire's to lose */
            sim_run(w->plane, SIM_MSEC / 10);
        uint64_t from = w->logged;
        suspend(w, AWAY_MSEC[i] * SIM_MSEC);
        sim_run(w->plane, 300 * SIM_MSEC);
        uint64_t most = SILENT[i] + (SILENT[i] ? PERIOD + 64 : 0);
        CHECK(silence(w, from) <= most, "%d ms: %d frames of silence", (int)AWAY_MSEC[i],
              (int)silence(w, from));
        int32_t last = 0, missing = 0;
        for (uint64_t j = from; j < w->logged; j++) {
            missing += last && w->log[j] && w->log[j] != last + 2;
            last = w->log[j] ? w->log[j] : last;
        }
        CHECK_EQ(missing, 0);
    }
    CHECK_EQ(w->front->stats.xruns, 0);
    world_free(w);
}

/* A host that needs little does not shorten the lead that somebody chose; one that needs more than
 * that still lengthens it. */
static void test_a_chosen_lead_is_kept_when_the_sink_starts_again(void) {
    static const uint32_t CHOSEN[] = {8 * PERIOD, PERIOD};
    static const uint32_t WANTED[] = {8 * PERIOD, 2 * PERIOD + PERIOD};
    world_host_frames = 2 * PERIOD;
    struct world *w = world_new(XPA_PLAYBACK, 256);
    struct xpa_config config = world_config(w, S32);
    for (int i = 0; i < 2; i++) {
        xpa_front_close(w->front);
        xpa_back_close(w->back);
        xpa_back_open(w->back, &config);
        xpa_front_open(w->front, &config, CHOSEN[i], CHOSEN[i]);
        sim_run(w->plane, SIM_SEC);
        suspend(w, SIM_SEC);
        sim_run(w->plane, SIM_SEC);
        CHECK_EQ(w->front->lead.frames, WANTED[i]);
    }
    world_free(w);
    world_host_frames = 64;
}

int main(void) {
    test_a_source_that_is_suspended_for_a_moment_goes_on_at_once();
    test_a_source_that_is_left_stops_and_begins_anew();
    test_a_sink_that_is_suspended_loses_no_frame();
    test_a_chosen_lead_is_kept_when_the_sink_starts_again();
    return check_close();
}

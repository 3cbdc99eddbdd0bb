/*
 * A guest's sink and source while the graph runs: clients that are late, cycles that are lost,
 * other quanta, a lead that grew. See cycle_bench.h.
 */
#include "cycle_bench.h"

static void test_a_lost_cycle_is_not_heard(void) {
    static const uint32_t QUANTA[] = {64, 256, 1024};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(XPA_PLAYBACK, QUANTA[i]);
        uint64_t from = w->logged;
        w->astray = w->unfinished = 0;
        for (int lost = 0; lost < 20; lost++) {
            uint64_t cycles = w->cycles;
            w->takes_nsec = NEVER;
            w->pw.links_nsec = sim_now;
            while (w->cycles == cycles)
                sim_run(w->plane, SIM_MSEC / 10);
            w->takes_nsec = SIM_MSEC / 2;
            sim_run(w->plane, 97 * SIM_MSEC);
        }
        CHECK_EQ(silence(w, from), 0);
        CHECK_EQ(w->front->stats.xruns, 0);
        CHECK_EQ(w->unfinished, 0);
        CHECK_EQ(w->astray, 0);
        world_free(w);
    }
}

static void test_late_clients_lose_no_frame(void) {
    uint64_t seed = 11;
    struct world *w = world_new(XPA_PLAYBACK, 256);
    uint64_t from = w->logged;
    for (int i = 0; i < 2000; i++) {
        w->takes_nsec = random_below(&seed, 20) ? SIM_MSEC / 2 : 3 * SIM_MSEC;
        sim_run(w->plane, SIM_MSEC * 3);
    }
    CHECK_EQ(silence(w, from), 0);
    CHECK_EQ(w->unfinished, 0);
    world_free(w);
}

/* At any change of the quantum a source hands over what the cycle takes; the graph never waits. */
static void test_a_source_follows_the_quantum(void) {
    static const uint32_t QUANTA[] = {64, 1024, 256, 2048};
    uint64_t seed = 13;
    struct world *w = world_new(XPA_CAPTURE, 1024);
    w->silent = w->longest_nsec = 0;
    for (int i = 0; i < 300; i++) {
        w->position.clock.duration = QUANTA[random_below(&seed, 4)];
        sim_run(w->plane, random_below(&seed, 200) * SIM_MSEC);
        CHECK(w->held < 12, "%u frames stay in the converter", w->held);
    }
    CHECK_EQ(w->silent, 0);
    CHECK_EQ(w->front->stats.xruns, 0);
    CHECK_EQ(w->front->stats.silence_frames, 0);
    CHECK(w->longest_nsec < 65 * SIM_MSEC, "%d us without a cycle", (int)(w->longest_nsec / 1000));
    world_free(w);
}

/* What the converter has left over, for whatever reason, needs no process(); cycles go on. */
static void test_a_source_goes_on_while_the_converter_needs_nothing(void) {
    struct world *w = world_new(XPA_CAPTURE, 256);
    w->silent = w->longest_nsec = 0;
    for (int i = 0; i < 50; i++) {
        w->held += 768;
        w->rate_match.size = 0;
        w->hurried = 0;
        sim_run(w->plane, 2 * 256 * SIM_SEC / RATE);
        CHECK_EQ(w->hurried, 0);
        sim_run(w->plane, 100 * SIM_MSEC);
    }
    CHECK_EQ(w->front->stats.xruns, 0);
    CHECK(w->longest_nsec < 7 * SIM_MSEC, "%d us without a cycle", (int)(w->longest_nsec / 1000));
    world_free(w);
}

static void break_sound(struct world *w) {
    uint64_t xruns = w->front->stats.xruns;
    w->takes_nsec = NEVER;
    sim_run(w->plane, 60 * SIM_MSEC);
    w->takes_nsec = SIM_MSEC / 2;
    sim_run(w->plane, 300 * SIM_MSEC);
    CHECK(w->front->stats.xruns > xruns, "it did not break");
}

/* No frame is left out or silent, no cycle much too early or late, and what is told is the lead. */
static void test_a_lead_that_grew_comes_back_unheard(void) {
    struct world *w = world_new(XPA_PLAYBACK, 256);
    uint32_t lead = w->front->lead_frames, steps = 0;
    break_sound(w);
    CHECK(w->front->lead_frames > lead + 100, "it did not grow: %u", w->front->lead_frames);
    uint64_t from = w->logged, begin = sim_now, nsec = w->position.clock.nsec;
    uint64_t position = w->position.clock.position;
    int32_t first = w->next;
    while (w->front->lead_frames > lead && sim_now < begin + 60 * SIM_SEC) {
        uint32_t before = w->front->lead_frames;
        sim_run(w->plane, 5 * SIM_MSEC);
        CHECK(before - w->front->lead_frames <= 4, "%u at once", before - w->front->lead_frames);
        CHECK_EQ(w->front->published_frames, w->front->lead_frames);
        steps += before != w->front->lead_frames;
        double late = (double)(w->position.clock.nsec - nsec) * RATE / 1e9 -
                      (double)(w->position.clock.position - position);
        CHECK(fabs(late) < 5, "a cycle was %f frames late", late);
        nsec = w->position.clock.nsec;
        position = w->position.clock.position;
    }
    CHECK_EQ(w->front->lead_frames, lead);
    CHECK(steps > 20, "%u steps", steps);
    CHECK_EQ(silence(w, from), 0);
    sim_run(w->plane, 100 * SIM_MSEC);
    int32_t heard = 0, last = 0;
    for (uint64_t i = from; i < w->logged; i++) {
        heard += w->log[i] != 0;
        last = w->log[i] ? w->log[i] / 2 : last;
    }
    CHECK(heard + 1000 > last - first, "%d of %d frames", heard, last - first);
    world_free(w);
}

/* Another stream of the card goes by our cycles: what the one lead lost would be the other's. */
static void test_a_lead_stays_while_the_cards_other_stream_follows(void) {
    struct world *w = world_new(XPA_PLAYBACK, 256);
    struct xpa_pw_node other = {.running = true, .position = &w->position};
    spa_list_append(&w->pw.nodes, &other.link);
    break_sound(w);
    uint32_t grown = w->front->lead_frames;
    sim_run(w->plane, 60 * SIM_SEC);
    CHECK_EQ(w->front->lead_frames, grown);
    spa_list_remove(&other.link);
    sim_run(w->plane, 40 * SIM_SEC);
    CHECK(w->front->lead_frames < grown - 100, "%u of %u", w->front->lead_frames, grown);
    world_free(w);
}

int main(void) {
    test_a_lost_cycle_is_not_heard();
    test_late_clients_lose_no_frame();
    test_a_source_follows_the_quantum();
    test_a_source_goes_on_while_the_converter_needs_nothing();
    test_a_lead_that_grew_comes_back_unheard();
    test_a_lead_stays_while_the_cards_other_stream_follows();
    return check_close();
}

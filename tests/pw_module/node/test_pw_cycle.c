/*
 * A guest's sink and source while the graph runs: clients that are late, cycles that are lost,
 * other quanta, a lead that grew. See graph_world.h.
 */
#include "graph_world.h"

static void test_a_lost_cycle_is_not_heard(void) {
    static const uint32_t QUANTA[] = {64, 256, 1024};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(XPA_PLAYBACK, QUANTA[i]);
        uint64_t from = w->logged;
        w->astray = w->unfinished = 0;
        for (int lost = 0; lost < 20; lost++) {
            uint64_t cycles = w->cycles;
            w->takes_nsec = NEVER;
            w->pw.shared.links_nsec = sim_now;
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

static double timer_sets_a_cycle(struct world *w) {
    const struct sim_timer *timer = sim_timer(w->node.timer_source.fd);
    uint64_t sets = timer->sets, cycles = w->cycles;
    for (int i = 0; i < 1000; i++)
        sim_run(w->plane, SIM_MSEC);
    return (double)(timer->sets - sets) / (double)(w->cycles - cycles);
}

/* Each is a system call. A cycle in flight is left to the next event, unless it may be lost. */
static void test_a_cycle_in_flight_needs_no_timer(void) {
    static const uint32_t QUANTA[] = {256, 1024};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(XPA_PLAYBACK, QUANTA[i]);
        w->takes_nsec = SIM_MSEC / 2;
        double sets = timer_sets_a_cycle(w);
        CHECK(sets < 2.1, "%.2f times a cycle", sets); /* when it starts, and not any more */
        w->pw.shared.links_nsec = NEVER / 2;
        double careful = timer_sets_a_cycle(w);
        CHECK(careful > sets + 0.9, "%.2f, and %.2f if it may be lost", sets, careful);
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

/* At any change of the quantum a source hands over what the cycle takes, whatever pw_stream says
 * that was requested; the graph never waits. */
static void test_a_source_follows_the_quantum(int version) {
    static const uint32_t QUANTA[] = {64, 1024, 256, 2048};
    uint64_t seed = 13;
    struct world *w = world_new(XPA_CAPTURE, 1024);
    w->node.version = version;
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
    uint32_t lead = w->front->lead.frames, steps = 0;
    break_sound(w);
    CHECK(w->front->lead.frames > lead + 100, "it did not grow: %u", w->front->lead.frames);
    uint64_t from = w->logged, begin = sim_now, nsec = w->position.clock.nsec;
    uint64_t position = w->position.clock.position;
    int32_t first = w->next;
    while (w->front->lead.frames > lead && sim_now < begin + 60 * SIM_SEC) {
        uint32_t before = w->front->lead.frames;
        sim_run(w->plane, 5 * SIM_MSEC);
        CHECK(before - w->front->lead.frames <= 4, "%u at once", before - w->front->lead.frames);
        CHECK_EQ(w->front->lead.published_frames, w->front->lead.frames);
        double untrue = w->front->stats.true_frames - w->front->lead.published_frames;
        CHECK(fabs(untrue) < 8, "what is told is %f frames off", untrue); /* two steps */
        steps += before != w->front->lead.frames;
        double late = (double)(w->position.clock.nsec - nsec) * RATE / 1e9 -
                      (double)(w->position.clock.position - position);
        CHECK(fabs(late) < 5, "a cycle was %f frames late", late);
        nsec = w->position.clock.nsec;
        position = w->position.clock.position;
    }
    CHECK_EQ(w->front->lead.frames, lead);
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
    struct xpa_pw_node other = {.state.running = true, .io.position = &w->position};
    spa_list_append(&w->pw.loop.nodes, &other.state.link);
    break_sound(w);
    uint32_t grown = w->front->lead.frames;
    sim_run(w->plane, 60 * SIM_SEC);
    CHECK_EQ(w->front->lead.frames, grown);
    spa_list_remove(&other.state.link);
    sim_run(w->plane, 40 * SIM_SEC);
    CHECK(w->front->lead.frames < grown - 100, "%u of %u", w->front->lead.frames, grown);
    world_free(w);
}

/* The host holds captured frames longer, then less long again: a source that follows its card's
 * other stream reads on frame by frame, and what applications are told stays. */
static void test_a_follower_does_not_hear_how_long_the_host_holds(void) {
    static const int STEPS[] = {95, -95, 34, -34, 20};
    enum { QUANTUM = 1024 };
    struct world *w = world_new(XPA_CAPTURE, QUANTUM);
    struct spa_io_clock own = {.id = 1};
    w->position.clock.id = 2;
    xpa_node_set_io(&w->node, SPA_IO_Clock, &own);
    CHECK(!w->node.state.driving, "it drives");
    uint64_t read = 0, resyncs = 0, begin = sim_now;
    uint32_t told = 0;
    for (int i = 1; i < 1000; i++) {
        w->position.clock.nsec = begin + (uint64_t)(i * QUANTUM * 1e9 / RATE);
        while (sim_now < w->position.clock.nsec) {
            sim_run(w->plane, SIM_MSEC);
            CHECK(told == 0 || w->front->lead.published_frames == told, "told %u instead of %u",
                  w->front->lead.published_frames, told);
        }
        w->outer.requested = QUANTUM;
        xpa_node_process(&w->node);
        if (i == 100) {
            told = w->front->lead.published_frames;
            resyncs = w->front->stats.resyncs;
        } else if (i > 100) {
            CHECK_EQ(w->front->stream.read_frames, read + QUANTUM);
            CHECK(fabs(w->front->stats.true_frames - told) < 2, "%f frames, told %u",
                  w->front->stats.true_frames, told);
            CHECK_EQ(w->front->stats.resyncs, resyncs);
        }
        read = w->front->stream.read_frames;
        if (i > 100 && i % 150 == 0) {
            w->back->stream.hold_frames += (uint32_t)STEPS[(i / 150 - 1) % 5];
            w->back->stream.hold_nsec = (uint64_t)(w->back->stream.hold_frames * 1e9 / RATE);
        }
    }
    world_free(w);
}

/* Python binds at each of its wakes: a running stream must not notice. */
static void test_binding_the_same_stream_again_changes_nothing(void) {
    for (int direction = XPA_PLAYBACK; direction <= XPA_CAPTURE; direction++) {
        struct world *w = world_new(direction, 256);
        uint64_t from = w->logged, written = w->front->stream.written_frames;
        uint32_t lead = w->front->lead.frames;
        w->astray = w->silent = w->longest_nsec = 0;
        for (int i = 0; i < 20; i++) {
            uint16_t requests = w->front->link.next_id;
            xpa_node_bind(&w->node, w->front);
            CHECK(w->front->link.next_id == requests, "binding sent a request");
            CHECK(w->front->stream.written_frames >= written, "the count went back");
            written = w->front->stream.written_frames;
            sim_run(w->plane, 97 * SIM_MSEC);
        }
        if (direction == XPA_PLAYBACK)
            CHECK_EQ(silence(w, from), 0);
        CHECK_EQ(w->front->stats.xruns, 0);
        CHECK_EQ(w->front->lead.frames, lead);
        CHECK_EQ(w->astray, 0);
        CHECK_EQ(w->silent, 0);
        CHECK(w->longest_nsec < 7 * SIM_MSEC, "%d us without a cycle",
              (int)(w->longest_nsec / 1000));
        world_free(w);
    }
}

/* A lead that goes back and forth while Python sleeps is one notice, and the last figure counts. */
static void test_latencies_cannot_fill_the_notices(void) {
    struct world *w = world_new(XPA_PLAYBACK, 256);
    uint32_t lead = w->front->lead.frames;
    w->asleep = true;
    for (uint32_t i = 0; i <= 2 * XPA_PLANE_MESSAGES; i++)
        xpa_lead_set(w->front, lead + 8 + i % 2 * 8);
    CHECK(xpa_queue_fill(&w->plane->shared.notices) < 4, "%u",
          xpa_queue_fill(&w->plane->shared.notices));
    w->asleep = false;
    sim_settle(w->plane);
    CHECK_EQ(w->told_frames, lead + 8);
    xpa_lead_set(w->front, lead);
    sim_settle(w->plane);
    CHECK_EQ(w->told_frames, lead);
    world_free(w);
}

static void graph_renegotiates(struct world *w, uint32_t format) {
    xpa_node_set_format(&w->node, &(struct xpa_node_format){format, RATE, 1, FRAME_BYTES, {0}});
}

/* Until Python has closed and opened the stream, what clients play is of a format that the backend
 * does not know of. */
static void test_frames_of_a_new_format_wait_until_the_stream_is_opened_for_it(void) {
    struct world *w = world_new(XPA_PLAYBACK, 256);
    int32_t last_old = 2 * w->next;
    graph_renegotiates(w, FLOAT);
    sim_run(w->plane, 5 * SIM_SEC); /* the graph waits 3 s for a backend */
    int32_t first_new = 2 * w->next;
    CHECK(first_new > last_old, "nothing was played meanwhile");
    CHECK(!w->back->stream.running, "the backend goes on");
    struct xpa_config config = world_config(w, FLOAT);
    xpa_front_close(w->front);
    xpa_back_close(w->back);
    xpa_back_open(w->back, &config);
    xpa_front_open(w->front, &config, PERIOD + 120, 0);
    sim_run(w->plane, SIM_SEC);
    int32_t heard = 0;
    for (uint64_t i = (drain_tap(w), 0); i < w->logged; i++) {
        CHECK(w->log[i] <= last_old || w->log[i] > first_new, "frame %d was heard", w->log[i] / 2);
        heard += w->log[i] > first_new;
    }
    CHECK(heard > RATE / 2, "%d frames of the new format", heard);
    world_free(w);
}

/* Python is not told to do anything then: the stream is open for the format already. */
static void test_a_format_that_comes_back_is_played_again(void) {
    struct world *w = world_new(XPA_PLAYBACK, 256);
    int32_t last_old = 2 * w->next;
    graph_renegotiates(w, FLOAT);
    sim_run(w->plane, 50 * SIM_MSEC);
    int32_t last_new = 2 * w->next;
    graph_renegotiates(w, S32);
    uint64_t from = (drain_tap(w), w->logged);
    sim_run(w->plane, SIM_SEC);
    int32_t heard = 0;
    drain_tap(w);
    for (uint64_t i = 0; i < w->logged; i++) {
        CHECK(w->log[i] <= last_old || w->log[i] > last_new, "frame %d was heard", w->log[i] / 2);
        heard += i >= from && w->log[i] > last_new;
    }
    CHECK(heard > RATE / 2, "%d frames after it", heard);
    CHECK_EQ(w->front->stats.xruns, 0);
    world_free(w);
}

/* A source's clients get silence, as many bytes as their frames have now. */
static void test_a_source_gives_nothing_of_another_format(void) {
    struct world *w = world_new(XPA_CAPTURE, 256);
    xpa_node_set_format(&w->node, &(struct xpa_node_format){FLOAT, RATE, 2, 2 * FRAME_BYTES, {0}});
    w->outer.requested = 256;
    memset(w->samples, 0x5a, sizeof w->samples);
    xpa_node_process(&w->node);
    CHECK_EQ(w->chunk.size, 256 * 2 * FRAME_BYTES);
    CHECK_EQ(w->chunk.stride, 2 * FRAME_BYTES);
    for (int i = 0; i < 512; i++)
        CHECK_EQ(w->samples[i], 0);
    sim_run(w->plane, 50 * SIM_MSEC);
    CHECK(!w->back->stream.running, "the backend goes on");
    world_free(w);
}

/* Zero is the lowest value of an unsigned sample, and a loud one of a companded one. */
static void test_a_sources_silence_is_that_of_its_format(void) {
    static const struct {
        struct xpa_node_format format;
        uint32_t four_bytes;
    } CASES[] = {
        {{XENSND_PCM_FORMAT_U8, RATE, 2, 2, {0x80}}, 0x80808080},
        {{XENSND_PCM_FORMAT_U16_LE, RATE, 2, 4, {0x00, 0x80}}, 0x80008000},
        {{XENSND_PCM_FORMAT_A_LAW, RATE, 4, 4, {0x55}}, 0x55555555},
        {{S32, RATE, 2, 8, {0}}, 0},
    };
    for (size_t i = 0; i < SPA_N_ELEMENTS(CASES); i++) {
        struct world *w = world_new(XPA_CAPTURE, 256);
        uint32_t bytes = 256 * CASES[i].format.frame_bytes;
        xpa_node_set_format(&w->node, &CASES[i].format);
        w->outer.requested = 256;
        memset(w->samples, 0x5a, sizeof w->samples);
        xpa_node_process(&w->node);
        CHECK_EQ(w->chunk.size, bytes);
        for (uint32_t at = 0; at < bytes / sizeof *w->samples; at++)
            CHECK_EQ((uint32_t)w->samples[at], CASES[i].four_bytes);
        CHECK_EQ(w->samples[bytes / sizeof *w->samples], 0x5a5a5a5a);
        world_free(w);
    }
}

int main(void) {
    test_latencies_cannot_fill_the_notices();
    test_frames_of_a_new_format_wait_until_the_stream_is_opened_for_it();
    test_a_format_that_comes_back_is_played_again();
    test_a_source_gives_nothing_of_another_format();
    test_a_sources_silence_is_that_of_its_format();
    test_binding_the_same_stream_again_changes_nothing();
    test_a_lost_cycle_is_not_heard();
    test_a_cycle_in_flight_needs_no_timer();
    test_late_clients_lose_no_frame();
    test_a_source_follows_the_quantum(3065);
    test_a_source_follows_the_quantum(1004002);
    test_a_source_goes_on_while_the_converter_needs_nothing();
    test_a_lead_that_grew_comes_back_unheard();
    test_a_lead_stays_while_the_cards_other_stream_follows();
    test_a_follower_does_not_hear_how_long_the_host_holds();
    return check_close();
}

/*
 * A guest's sink once the backend's clock is known: positions wake nobody, cycles start by the
 * clock, and nothing that used to be an event is missed. See graph_world.h.
 */
#include "graph_world.h"

static uint64_t fired(int fd) { return sim_timer(fd)->fired; }

/* A sink or a source whose positions wake nobody any more. */
static struct world *world_polled(int direction, uint32_t quantum) {
    struct world *w = world_new(direction, quantum);
    CHECK(!w->front->link.polls, "before the clock is known");
    sim_run(w->plane, 5 * SIM_SEC);
    CHECK(w->front->link.polls, "positions still wake us");
    return w;
}

static struct world *world_polling(uint32_t quantum) { return world_polled(XPA_PLAYBACK, quantum); }

static int notified(struct world *w) {
    int count = 0, got;
    while ((got = xpa_channel_ack(&w->link->events[GUEST])) > 0)
        count += got;
    return count;
}

/* One timer of the frontend's a cycle, set once, none of the backend's, no notification; and each
 * cycle when it should be. */
static void test_a_cycle_is_one_timer(void) {
    static const uint32_t QUANTA[] = {64, 256, 1024, 2048};
    for (int i = 0; i < 4; i++) {
        struct world *w = world_polling(QUANTA[i]);
        const struct sim_timer *timer = sim_timer(w->node.timer_source.fd);
        w->takes_nsec = SIM_MSEC / 3;
        sim_run(w->plane, 100 * SIM_MSEC);
        uint64_t from = w->logged, cycles = w->cycles, sets = timer->sets, woken = timer->fired;
        uint64_t back = fired(w->back->timer_fd), transfers = w->back->stats.transfers;
        w->astray = 0;
        notified(w);
        for (int msec = 0; msec < 3000; msec++)
            sim_run(w->plane, SIM_MSEC);
        cycles = w->cycles - cycles;
        CHECK(cycles + 2 > 3ull * RATE / QUANTA[i], "%d cycles of %u", (int)cycles, QUANTA[i]);
        CHECK(timer->fired - woken <= cycles + 3, "%d timers in %d cycles",
              (int)(timer->fired - woken), (int)cycles);
        CHECK(timer->sets - sets <= cycles + cycles / 8 + 3, "set %d times in %d cycles",
              (int)(timer->sets - sets), (int)cycles);
        CHECK_EQ(fired(w->back->timer_fd), back);
        CHECK_EQ(notified(w), 0);
        CHECK(w->back->stats.transfers > transfers, "nothing was written");
        CHECK_EQ(w->astray, 0);
        CHECK_EQ(silence(w, from), 0);
        CHECK_EQ(w->front->stats.xruns, 0);
        double untrue = w->front->stats.true_frames - w->front->lead.published_frames;
        CHECK(fabs(untrue) < 0.6, "what is told is %f frames off", untrue);
        world_free(w);
    }
}

/* Neither positions nor answers wake a source: its frames are there when it is time. */
static void test_a_captured_cycle_is_one_timer(void) {
    static const uint32_t QUANTA[] = {64, 256, 1024, 2048};
    for (int i = 0; i < 4; i++) {
        struct world *w = world_polled(XPA_CAPTURE, QUANTA[i]);
        const struct sim_timer *timer = sim_timer(w->node.timer_source.fd);
        uint64_t cycles = w->cycles, woken = timer->fired, handed = w->handed;
        uint64_t back = fired(w->back->timer_fd), transfers = w->back->stats.transfers;
        w->silent = w->astray = 0;
        w->oldest = 0;
        notified(w);
        for (int msec = 0; msec < 3000; msec++)
            sim_run(w->plane, SIM_MSEC);
        cycles = w->cycles - cycles;
        CHECK(cycles + 2 > 3ull * RATE / QUANTA[i], "%d cycles of %u", (int)cycles, QUANTA[i]);
        CHECK(timer->fired - woken <= cycles + 3, "%d timers in %d cycles",
              (int)(timer->fired - woken), (int)cycles);
        CHECK_EQ(fired(w->back->timer_fd), back);
        CHECK_EQ(notified(w), 0);
        CHECK_EQ(w->back->stats.transfers, transfers);
        CHECK(w->handed - handed + 2 * QUANTA[i] > 3 * RATE, "%d frames",
              (int)(w->handed - handed));
        CHECK_EQ(w->silent, 0);
        CHECK_EQ(w->astray, 0);
        CHECK_EQ(w->front->stats.xruns, 0);
        CHECK_EQ(w->front->stats.silence_frames, 0);
        CHECK_EQ(w->front->stats.dropped_frames, 0);
        double untrue = w->front->stats.true_frames - w->front->lead.published_frames;
        CHECK(fabs(untrue) < 0.6, "what is told is %f frames off", untrue);
        world_free(w);
    }
}

/* A volume has its place in the buffer to itself until it is answered. */
static void test_a_volume_is_not_filled_over(void) {
    struct world *w = world_polled(XPA_CAPTURE, 256);
    uint8_t volume[4] = {1, 2, 3, 4};
    CHECK_EQ(xpa_front_control(w->front, XENSND_OP_SET_VOLUME, volume, sizeof volume), 0);
    sim_run(w->plane, 20 * SIM_MSEC); /* nobody answers it */
    CHECK(w->front->control.frames > 0, "it is not under way");
    CHECK(!w->front->link.polls, "it is filled over");
    world_free(w);
}

/* The host hands over late: what is missing is heard of, and the stream goes on. */
static void test_a_source_goes_on_after_a_late_host(void) {
    struct world *w = world_polled(XPA_CAPTURE, 256);
    xpa_vdev_disconnect(w->vdev, w->back);
    sim_run(w->plane, 100 * SIM_MSEC);
    CHECK(!w->front->link.polls, "nobody will wake it");
    xpa_vdev_connect(w->vdev, w->back);
    sim_run(w->plane, SIM_SEC);
    uint64_t xruns = w->front->stats.xruns, handed = w->handed;
    w->silent = 0;
    sim_run(w->plane, 8 * SIM_SEC);
    CHECK(w->front->link.polls, "positions wake it for ever");
    CHECK(w->handed - handed + 512 > 8 * RATE, "%d frames", (int)(w->handed - handed));
    CHECK_EQ(w->silent, 0);
    CHECK_EQ(w->front->stats.xruns, xruns);
    world_free(w);
}

/* Now and then they wake us again for a while, so that the clocks stay known. */
static void test_it_listens_now_and_then(void) {
    struct world *w = world_polling(256);
    uint64_t from = w->logged;
    int listened = 0, changes = 0;
    bool polled = true;
    for (int i = 0; i < 600; i++) {
        sim_run(w->plane, 100 * SIM_MSEC);
        listened += !w->front->link.polls;
        changes += w->front->link.polls != polled;
        polled = w->front->link.polls;
    }
    CHECK(changes >= 2 && changes <= 8, "%d changes in a minute", changes);
    CHECK(listened >= 20 && listened <= 100, "%d of 600 times", listened);
    CHECK_EQ(silence(w, from), 0);
    CHECK_EQ(w->front->stats.xruns, 0);
    world_free(w);
}

/* A host that stops to take stops the graph, since positions stand still, and wakes it again. */
static void test_a_host_that_stands_still_stops_the_graph(void) {
    struct world *w = world_polling(256);
    xpa_vdev_disconnect(w->vdev, w->back);
    sim_run(w->plane, 100 * SIM_MSEC);
    CHECK(!w->front->link.polls, "nobody will wake it");
    uint64_t cycles = w->cycles, fires = fired(w->node.timer_source.fd);
    sim_run(w->plane, SIM_SEC);
    CHECK(w->cycles - cycles <= 1, "%d cycles into nothing", (int)(w->cycles - cycles));
    CHECK(fired(w->node.timer_source.fd) - fires < 50, "it looks in vain");
    xpa_vdev_connect(w->vdev, w->back);
    sim_run(w->plane, 300 * SIM_MSEC);
    CHECK(w->cycles - cycles > 30, "%d cycles since", (int)(w->cycles - cycles));
    uint64_t from = w->logged;
    sim_run(w->plane, 8 * SIM_SEC);
    CHECK(w->front->link.polls, "positions wake it for ever");
    CHECK_EQ(silence(w, from), 0);
    world_free(w);
}

/* Clients that are late, and cycles that PipeWire loses, are seen as ever. */
static void test_late_and_lost_cycles(void) {
    uint64_t seed = 11;
    struct world *w = world_polling(256);
    uint64_t from = w->logged;
    for (int i = 0; i < 1000; i++) {
        w->takes_nsec = random_below(&seed, 20) ? SIM_MSEC / 2 : 3 * SIM_MSEC;
        sim_run(w->plane, SIM_MSEC * 3);
    }
    CHECK_EQ(silence(w, from), 0);
    w->takes_nsec = SIM_MSEC / 2;
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
    CHECK_EQ(w->unfinished, 0);
    CHECK_EQ(w->front->stats.xruns, 0);
    /* one that lasts: it is heard, and counted */
    w->pw.shared.links_nsec = 0;
    w->takes_nsec = NEVER;
    sim_run(w->plane, 60 * SIM_MSEC);
    w->takes_nsec = SIM_MSEC / 2;
    sim_run(w->plane, 300 * SIM_MSEC);
    CHECK(w->front->stats.xruns > 0, "nobody noticed");
    world_free(w);
}

/* All that was handed over is heard when the graph stops, and the stream ends then. */
static void test_a_drain_ends(void) {
    struct world *w = world_polling(256);
    w->node.state.wanted = false;
    xpa_node_update(&w->node, sim_now);
    CHECK(!w->front->link.polls, "its end will wake nobody");
    sim_run(w->plane, 100 * SIM_MSEC);
    CHECK(!w->node.state.running, "it still drains");
    CHECK_EQ(w->front->stats.xruns, 0);
    w->node.state.wanted = true;
    xpa_node_update(&w->node, sim_now);
    sim_run(w->plane, SIM_SEC);
    CHECK(w->front->link.polls, "the clock was forgotten");
    world_free(w);
}

/* Another node drives: each of its cycles reads the page. */
static void test_a_follower_reads_the_page(void) {
    struct world *w = world_polling(256);
    struct spa_io_clock other = w->position.clock;
    other.id = 77;
    w->position.clock.id = 78;
    snprintf(w->position.clock.name, sizeof w->position.clock.name, "other");
    xpa_node_set_io(&w->node, SPA_IO_Clock, &other);
    w->clients.at_nsec = w->daemon.at_nsec = 0;
    CHECK(!w->node.state.driving, "it drives");
    for (int i = 0; i < 2000; i++) {
        sim_run(w->plane, 256 * SIM_SEC / RATE);
        w->position.clock.nsec = sim_now;
        process(w);
        if (i == 500)
            notified(w);
    }
    CHECK(w->front->link.polls, "positions wake it");
    CHECK_EQ(notified(w), 0);
    double newest = (double)w->front->stream.position_frames;
    double now = xpa_front_position_at(w->front, sim_now);
    CHECK(now - newest < 2 * PERIOD, "the newest position is %f frames old", now - newest);
    CHECK_EQ(w->front->stats.xruns, 0);
    world_free(w);
}

/* Whatever a backend writes where it says what the host takes, and that it may be polled. */
static void test_a_hostile_backend_is_bounded(int direction) {
    uint64_t seed = 5;
    struct world *w = world_polled(direction, 256);
    struct xensnd_event_page *page = (void *)&w->link->event_page;
    uint64_t cycles = w->cycles, fires = fired(w->node.timer_source.fd);
    for (int i = 0; i < 5000; i++) {
        for (uint32_t slot = 0; slot < XPA_EVT_RING_SLOTS; slot++) {
            uint32_t *words = (uint32_t *)(void *)&XENSND_IN_RING_REF(page, slot);
            words[4] = words[5] = (uint32_t)random_u64(&seed); /* host_frames, host_frames_max */
            words[9] = (uint32_t)random_u64(&seed);
            page->reserved[8 + slot % 4] = (uint8_t)random_u64(&seed); /* filled */
        }
        sim_run(w->plane, SIM_MSEC);
    }
    CHECK(w->cycles - cycles < 5ull * RATE / 256 + 50, "%d cycles", (int)(w->cycles - cycles));
    CHECK(fired(w->node.timer_source.fd) - fires < 8ull * RATE / 256, "it spins");
    world_free(w);
}

int main(void) {
    test_a_cycle_is_one_timer();
    test_a_captured_cycle_is_one_timer();
    test_a_volume_is_not_filled_over();
    test_a_source_goes_on_after_a_late_host();
    test_it_listens_now_and_then();
    test_a_host_that_stands_still_stops_the_graph();
    test_late_and_lost_cycles();
    test_a_drain_ends();
    test_a_follower_reads_the_page();
    test_a_hostile_backend_is_bounded(XPA_PLAYBACK);
    test_a_hostile_backend_is_bounded(XPA_CAPTURE);
    return check_close();
}

/*
 * A guest's sink once the backend's clock is known: positions wake nobody, cycles start by the
 * clock, and nothing that used to be an event is missed. See graph_world.h.
 */
#include "poll_world.h"

static struct world *world_polling(uint32_t quantum) { return world_polled(XPA_PLAYBACK, quantum); }

/* What is told of the delay is that of a cycle ago at the most, and not of the newest event. */
static void check_delay(const struct world *w, uint32_t quantum) {
    double now = xpa_front_position_at(w->front, sim_now);
    double delay = (double)w->front->stream.written_frames - now;
    CHECK(fabs((double)w->front->stats.delay_frames - delay) < quantum + 16, "told %d of %f frames",
          (int)w->front->stats.delay_frames, delay);
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
        w->astray = acked = 0;
        notified(w);
        for (int msec = 0; msec < 3000; msec++) {
            sim_run(w->plane, SIM_MSEC);
            check_delay(w, QUANTA[i]);
        }
        cycles = w->cycles - cycles;
        CHECK(acked <= cycles / 8 + 3, "read %d times in %d cycles", (int)acked, (int)cycles);
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

/* So many cycles are lost, one after the other, and links have changed. */
static void lose_cycles(struct world *w, int count) {
    for (int lost = 0; lost < count; lost++) {
        uint64_t cycles = w->cycles;
        w->takes_nsec = NEVER;
        w->pw.shared.links_nsec = sim_now;
        for (int i = 0; i < 1000 && w->cycles == cycles; i++)
            sim_run(w->plane, SIM_MSEC / 10);
        CHECK(w->cycles > cycles, "the graph stands");
        w->takes_nsec = SIM_MSEC / 2;
        sim_run(w->plane, 97 * SIM_MSEC);
    }
    w->pw.shared.links_nsec = 0;
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
    lose_cycles(w, 20);
    CHECK_EQ(silence(w, from), 0);
    CHECK_EQ(w->unfinished, 0);
    CHECK_EQ(w->front->stats.xruns, 0);
    uint64_t deferred = w->front->stats.deferred;
    w->takes_nsec = 6 * SIM_MSEC; /* more than a cycle */
    sim_run(w->plane, 12 * SIM_MSEC);
    w->takes_nsec = SIM_MSEC / 2;
    sim_run(w->plane, 12 * SIM_MSEC);
    CHECK(w->front->link.polls, "positions wake it");
    CHECK(w->front->stats.deferred > deferred, "nobody noticed that a cycle had to wait");
    world_free(w);
    /* where the next cycle would come too late to notice */
    w = world_polling(2048);
    from = w->logged;
    lose_cycles(w, 10);
    CHECK_EQ(silence(w, from), 0);
    world_free(w);
}

/* One that lasts is heard, and counted once, and the lead grows by it. */
static void test_a_gap_is_counted(void) {
    struct world *w = world_polling(256);
    for (uint32_t i = 1; i < 6; i++) {
        w->takes_nsec = 60 * SIM_MSEC;
        sim_run(w->plane, 10 * SIM_MSEC);
        w->takes_nsec = SIM_MSEC / 2;
        sim_run(w->plane, 4 * SIM_SEC);
        CHECK_EQ(w->front->stats.xruns, i);
    }
    CHECK(w->front->lead.margin.frames > w->front->lead.margin.base_frames, "the lead is as ever");
    world_free(w);
}

/* A host that takes more at once than a period tells as seldom where it is: that is no reason to
 * be woken. */
static void test_a_host_of_long_cycles_wakes_nobody(void) {
    world_host_frames = 4 * PERIOD;
    struct world *w = world_polling(256);
    world_host_frames = 64;
    sim_run(w->plane, SIM_SEC);
    uint64_t from = w->logged, cycles = w->cycles;
    notified(w);
    for (int i = 0; i < 300; i++) {
        sim_run(w->plane, 10 * SIM_MSEC);
        CHECK(w->front->link.polls, "positions wake it");
    }
    CHECK_EQ(notified(w), 0);
    CHECK(w->cycles - cycles + 2 > 3ull * RATE / 256, "%d cycles", (int)(w->cycles - cycles));
    CHECK_EQ(silence(w, from), 0);
    world_free(w);
}

/* A source of cycles, or with a host of cycles, that are long for its buffer: nothing is put there
 * that was not asked for, and nothing is lost. */
static void test_cycles_too_long_for_the_buffer(void) {
    for (int i = 0; i < 2; i++) {
        world_host_frames = i ? BUFFER / 4 + 64 : 64;
        struct world *w = world_new(XPA_CAPTURE, i ? 256 : BUFFER / 4 + 64);
        world_host_frames = 64;
        sim_run(w->plane, 3 * SIM_SEC);
        uint64_t xruns = w->front->stats.xruns, handed = w->handed;
        for (int j = 0; j < 100; j++) {
            sim_run(w->plane, 100 * SIM_MSEC);
            CHECK(!w->front->link.polls, "it polls");
        }
        CHECK(w->handed - handed + BUFFER > 10 * RATE, "%d frames", (int)(w->handed - handed));
        CHECK_EQ(w->front->stats.xruns, xruns);
        world_free(w);
    }
}

/* What the backend says of the time moves by nanoseconds from event to event, to later: no cycle
 * waits for that with a timer of its own. */
static uint32_t aged_prod, older_nsec, younger_nsec; /* by so much than the one before */

static void age_events(void *data) {
    struct world *w = data;
    struct xensnd_event_page *page = (void *)&w->link->event_page;
    for (; aged_prod != page->in_prod; aged_prod++) {
        struct xensnd_evt *event = &XENSND_IN_RING_REF(page, aged_prod);
        struct xpa_position_ext ext = xpa_position_ext_of(event);
        ext.age_nsec += older_nsec;
        older_nsec -= younger_nsec;
        xpa_position_ext_put(event, &ext);
    }
}

static void test_a_rounding_error_is_no_reason_to_wait(void) {
    struct world *w = world_polling(256);
    const struct sim_timer *timer = sim_timer(w->node.timer_source.fd);
    aged_prod = ((struct xensnd_event_page *)(void *)&w->link->event_page)->in_prod;
    sim_add_poll(age_events, w);
    older_nsec = 50000;
    sim_run(w->plane, 5 * SIM_SEC);
    younger_nsec = 50;
    uint64_t cycles = w->cycles, sets = timer->sets;
    sim_run(w->plane, 3 * SIM_SEC);
    cycles = w->cycles - cycles;
    CHECK(timer->sets - sets <= cycles + cycles / 8 + 3, "set %d times in %d cycles",
          (int)(timer->sets - sets), (int)cycles);
    CHECK_EQ(w->front->stats.xruns, 0);
    CHECK(older_nsec > 10000 && older_nsec < 30000, "no event came: %u ns", older_nsec);
    world_free(w);
}

/* All that was handed over is heard when the graph stops, and the stream ends then. */
static void test_a_drain_ends(void) {
    struct world *w = world_polling(256);
    w->node.state.wanted = false;
    xpa_node_update(&w->node, sim_now);
    CHECK(!w->front->link.polls, "its end will wake nobody");
    acked = 0;
    for (int i = 0; i < 100; i++) {
        sim_run(w->plane, SIM_MSEC);
        CHECK(!w->front->link.polls, "its end will wake nobody");
    }
    CHECK(!w->node.state.running, "it still drains");
    xpa_node_arm(&w->node, sim_now + SIM_MSEC);
    sim_run(w->plane, 10 * SIM_MSEC);
    CHECK_EQ(acked, 1); /* a timer that fired for nothing must not fire again */
    CHECK_EQ(w->front->stats.xruns, 0);
    w->node.state.wanted = true;
    xpa_node_update(&w->node, sim_now);
    sim_run(w->plane, SIM_SEC);
    CHECK(w->front->link.polls, "the clock was forgotten");
    world_free(w);
    w = world_polled(XPA_CAPTURE, 256); /* its clock is known to the end, and after it */
    w->node.state.wanted = false;
    for (int i = 0; i < 400; i++) {
        xpa_node_update(&w->node, sim_now);
        CHECK(!w->front->link.polls, "it polls a stream that has ended");
        sim_run(w->plane, SIM_MSEC);
    }
    CHECK(!w->node.state.running, "it still runs");
    world_free(w);
}

/* Another node drives from now on. */
static struct spa_io_clock other;

static void follow(struct world *w, const char *clock_name) {
    other = w->position.clock;
    other.id = 77;
    w->position.clock.id = 78;
    snprintf(w->position.clock.name, sizeof w->position.clock.name, "%s", clock_name);
    xpa_node_set_io(&w->node, SPA_IO_Clock, &other);
    w->clients.at_nsec = w->daemon.at_nsec = 0;
    CHECK(!w->node.state.driving, "it drives");
}

static void follow_cycles(struct world *w, int cycles) {
    for (int i = 0; i < cycles; i++) {
        sim_run(w->plane, 256 * SIM_SEC / RATE);
        w->position.clock.nsec = sim_now;
        w->rate_match.size = 256;
        process(w);
    }
}

/* Each of the other's cycles reads the page. */
static void test_a_follower_reads_the_page(int direction) {
    struct world *w = world_polled(direction, 256);
    follow(w, "other");
    follow_cycles(w, 500);
    uint64_t xruns = w->front->stats.xruns;
    notified(w);
    follow_cycles(w, 1500);
    CHECK(w->front->link.polls, "positions wake it");
    CHECK_EQ(notified(w), 0);
    double newest = (double)w->front->stream.position_frames;
    double now = xpa_front_position_at(w->front, sim_now);
    CHECK(now - newest < 2 * PERIOD, "the newest position is %f frames old", now - newest);
    CHECK_EQ(w->front->stats.xruns, xruns);
    double untrue = w->front->stats.true_frames - w->front->lead.published_frames;
    CHECK(fabs(untrue) < 2, "what is told is %f frames off", untrue);
    world_free(w);
}

/* The card's sink drives, and the host begins to hold captured frames longer: what is told changes
 * in that cycle, and no frame is lost for it. */
static void test_a_following_source_hears_how_long_frames_are_held(void) {
    struct world *w = world_polled(XPA_CAPTURE, 256);
    follow(w, w->node.clock_name);
    follow_cycles(w, 500);
    CHECK(w->front->link.polls, "positions wake it");
    uint64_t resyncs = w->front->stats.resyncs, xruns = w->front->stats.xruns;
    w->back->stream.hold_frames += RATE / 480;
    w->back->stream.hold_nsec += SIM_SEC / 480;
    follow_cycles(w, 50);
    CHECK_EQ(w->front->stats.resyncs, resyncs);
    CHECK_EQ(w->front->stats.xruns, xruns);
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
    test_a_gap_is_counted();
    test_a_host_of_long_cycles_wakes_nobody();
    test_cycles_too_long_for_the_buffer();
    test_a_rounding_error_is_no_reason_to_wait();
    test_a_drain_ends();
    test_a_follower_reads_the_page(XPA_PLAYBACK);
    test_a_follower_reads_the_page(XPA_CAPTURE);
    test_a_following_source_hears_how_long_frames_are_held();
    return check_close();
}

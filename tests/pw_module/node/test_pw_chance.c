/*
 * A guest's sink and source while things go wrong at random: clients that are late, cycles and
 * notifications that are lost, a host that stands still, a backend that dies and returns, a machine
 * that is suspended while the clock goes on. After each, within WHOLE_NSEC, sound flows without a
 * gap again, no frame is heard twice or out of order, and frontend and backend mean the same
 * position. See graph_world.h.
 *
 * CHANCE_SEED and CHANCE_SEC say which faults, and for how long on the simulated clock. The same
 * seed has the same faults.
 */
#include "graph_world.h"

enum { SECONDS = 600, WHOLE_SEC = 4 };
static const uint64_t WHOLE_NSEC = WHOLE_SEC * SIM_SEC;
static const uint64_t FLOWS_NSEC = SIM_SEC / 2;
static const double SAME_FRAMES = 96; /* 2 ms */

static uint64_t chance;
static const char *last_fault = "none";

static uint64_t up_to(uint64_t nsec) { return (uint64_t)(random_unit(&chance) * (double)nsec); }

static void late_clients(struct world *w) {
    for (int i = 0; i < 50; i++) {
        w->takes_nsec = up_to(40 * SIM_MSEC);
        sim_run(w->plane, up_to(20 * SIM_MSEC));
    }
    w->takes_nsec = SIM_MSEC / 2;
}

static void lost_cycles(struct world *w) {
    uint64_t lost = 1 + up_to(6), cycles = w->cycles;
    w->takes_nsec = NEVER;
    w->pw.shared.links_nsec = sim_now;
    for (int i = 0; i < 5000 && w->cycles < cycles + lost; i++)
        sim_run(w->plane, SIM_MSEC / 10);
    w->takes_nsec = SIM_MSEC / 2;
}

static void host_stands_still(struct world *w) {
    xpa_vdev_disconnect(w->vdev, w->back);
    sim_run(w->plane, up_to(2 * SIM_SEC));
    xpa_vdev_connect(w->vdev, w->back);
}

static void lost_notifications(struct world *w) {
    struct xpa_channel *channels[] = {&w->link->events[GUEST], &w->link->requests[HOST],
                                      &w->link->requests[GUEST]};
    uint64_t until = sim_now + up_to(SIM_SEC / 2);
    while (sim_now < until) {
        sim_now += up_to(3 * SIM_MSEC); /* what came by now is told to nobody */
        xpa_channel_ack(channels[random_below(&chance, 3)]);
        sim_run(w->plane, up_to(2 * SIM_MSEC));
    }
}

static void quantum_changes(struct world *w) {
    static const uint32_t QUANTA[] = {128, 256, 512, 1024};
    w->position.clock.duration = QUANTA[random_below(&chance, 4)];
}

static void suspended_node(struct world *w) {
    w->node.state.wanted = false;
    xpa_node_update(&w->node, sim_now);
    sim_run(w->plane, up_to(2 * SIM_SEC));
    w->clients.at_nsec = w->daemon.at_nsec = 0;
    w->held = w->rate_match.size = 0;
    w->node.state.wanted = true;
    xpa_node_update(&w->node, sim_now);
}

/* Nothing runs, and when it does again all timers are late. */
static void suspended_machine(struct world *w) {
    sim_now += up_to(random_below(&chance, 4) ? 10 * SIM_SEC : 36000 * SIM_SEC);
    sim_settle(w->plane);
}

/* The frontend hears of it a moment later, and has new rings when the backend has returned. */
static void killed_backend(struct world *w) {
    xpa_vdev_disconnect(w->vdev, w->back);
    xpa_back_detach(w->back);
    sim_settle(w->plane);
    xpa_back_free(w->back);
    sim_run(w->plane, up_to(SIM_SEC / 4));
    xpa_front_detach(w->front);
    sim_run(w->plane, up_to(6 * SIM_SEC));
    CHECK(!w->node.state.front, "the node holds on to a stream that is gone");
    struct xpa_front *gone = w->front;
    struct link *old = w->link;
    world_connect(w);
    xpa_node_bind(&w->node, w->front);
    world_open(w);
    xpa_front_free(gone);
    link_free(old);
}

static const struct {
    const char *name;
    void (*func)(struct world *w);
} FAULTS[] = {
    {"late clients", late_clients},           {"lost cycles", lost_cycles},
    {"host stands still", host_stands_still}, {"lost notifications", lost_notifications},
    {"quantum changes", quantum_changes},     {"suspended node", suspended_node},
    {"suspended machine", suspended_machine}, {"killed backend", killed_backend},
};
enum { KINDS = sizeof FAULTS / sizeof *FAULTS };

/* The log has room for a while only. */
static void forget_log(struct world *w) {
    drain_tap(w);
    w->logged = 0;
}

static void check_whole(struct world *w, double since_sec) {
    uint64_t cycles = w->cycles;
    w->silent = 0;
    forget_log(w);
    sim_run(w->plane, FLOWS_NSEC);
    uint64_t due = FLOWS_NSEC / (w->position.clock.duration * SIM_SEC / RATE);
    CHECK(w->cycles + 2 > cycles + due, "%s after %.1f s: %d cycles instead of %d", last_fault,
          since_sec, (int)(w->cycles - cycles), (int)due);
    if (w->node.direction == XPA_PLAYBACK) {
        uint64_t silent = silence(w, 0);
        CHECK(silent == 0, "%s after %.1f s: %d frames of silence", last_fault, since_sec,
              (int)silent);
    } else {
        CHECK(w->silent == 0, "%s after %.1f s: %d cycles without frames", last_fault, since_sec,
              (int)w->silent);
    }
    /* Ways take no time here. One answer that had to wait is then the only one of which the
     * frontend learns how long they take. */
    double way_frames = (double)w->front->stats.transport_nsec * RATE / 1e9;
    double apart = xpa_front_position_at(w->front, sim_now) - xpa_back_position(w->back, sim_now);
    CHECK(fabs(apart) < SAME_FRAMES + way_frames,
          "%s after %.1f s: positions are %.0f frames apart", last_fault, since_sec, apart);
}

/* Neither half makes up for the time in which nothing ran. */
static void test_a_machine_that_was_suspended_for_hours_goes_on_at_once(void) {
    for (int direction = 0; direction < 2; direction++) {
        struct world *w = world_new(direction ? XPA_CAPTURE : XPA_PLAYBACK, 256);
        uint64_t fired = sim_fired, cycles = w->cycles;
        last_fault = "suspended machine";
        sim_now += 10 * 3600 * SIM_SEC;
        sim_settle(w->plane);
        sim_run(w->plane, WHOLE_NSEC);
        CHECK(sim_fired - fired < WHOLE_SEC * 5000, "%d timers", (int)(sim_fired - fired));
        CHECK(w->cycles - cycles < WHOLE_SEC * 400, "%d cycles", (int)(w->cycles - cycles));
        check_whole(w, 0);
        world_free(w);
    }
}

static void by_chance(int direction, uint64_t seconds) {
    struct world *w = world_new(direction, 256);
    double ran_sec = 0;
    uint32_t happened[KINDS] = {0};
    while (ran_sec < (double)seconds) {
        uint64_t began = sim_now;
        int kind = (int)random_below(&chance, KINDS);
        last_fault = FAULTS[kind].name;
        happened[kind]++;
        FAULTS[kind].func(w);
        forget_log(w);
        sim_run(w->plane, WHOLE_NSEC);
        check_whole(w, ran_sec);
        uint64_t took = sim_now - began;
        ran_sec += (double)(took < 20 * SIM_SEC ? took : 20 * SIM_SEC) / 1e9;
    }
    for (int i = 0; i < KINDS; i++)
        printf("%s: %u times\n", FAULTS[i].name, happened[i]);
    world_free(w);
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void) {
    uint64_t seed = number("CHANCE_SEED", 1), seconds = number("CHANCE_SEC", SECONDS);
    printf("seed %llu, %llu s\n", (unsigned long long)seed, (unsigned long long)seconds);
    test_a_machine_that_was_suspended_for_hours_goes_on_at_once();
    for (int direction = 0; direction < 2; direction++) {
        chance = seed;
        by_chance(direction ? XPA_CAPTURE : XPA_PLAYBACK, seconds / 2);
    }
    return check_close();
}

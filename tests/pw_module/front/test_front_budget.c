/*
 * What a backend may cost its guest: wake-ups come in bursts of a bounded length, and what it has
 * sent meanwhile is read after them. The clock is simulated, so work takes no time here: what is
 * counted is how often the frontend was woken.
 */
#include "front_bench.h"

/* Events on both channels, with nothing to read. */
struct flood {
    struct sim_actor actor;
    struct link *link;
    uint64_t every_nsec;
};

static void flood_once(struct sim_actor *actor) {
    struct flood *f = actor->data;
    xpa_channel_notify(&f->link->requests[HOST]);
    xpa_channel_notify(&f->link->events[HOST]);
    actor->at_nsec = sim_now + f->every_nsec;
}

static void flood_start(struct flood *f, struct link *link) {
    *f = (struct flood){.link = link, .every_nsec = SIM_MSEC / 100};
    f->actor = (struct sim_actor){.at_nsec = sim_now + 1, .func = flood_once, .data = f};
    sim_add_actor(&f->actor);
}

/* Another thread of the backend's writes an event for each that is read. */
static struct bench *refilled;
static uint32_t refills;

int __wrap_xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out);
int __real_xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out);

int __wrap_xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out) {
    int got = __real_xpa_evt_ring_pop(r, out);
    if (refilled && got > 0 && refills < 10000) {
        struct xensnd_evt event = {.type = XENSND_EVT_CUR_POS};
        refills++;
        xpa_evt_ring_ack(r);
        xpa_evt_ring_put(&refilled->events, &event);
    }
    return got;
}

/* Another stream on the same plane, before another backend; `budget`: shared, or NULL. */
struct beside {
    struct link *link;
    struct xpa_front *front;
    struct xpa_evt_ring events;
    uint32_t woken;
};

static void on_change_beside(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct beside *o = data;
    (void)now_nsec;
    o->woken += change == XPA_FRONT_POSITION || change == XPA_FRONT_ANSWER;
}

static struct beside *beside_new(struct bench *t, uint32_t id, struct xpa_budget *budget) {
    static const struct xpa_config config = {.rate = RATE,
                                             .channels = 1,
                                             .sample_bytes = FRAME_BYTES,
                                             .sample_kind = XPA_SAMPLE_S32,
                                             .buffer_frames = BUFFER,
                                             .period_frames = PERIOD};
    struct beside *o = calloc(1, sizeof *o);
    o->link = link_new();
    o->front = xpa_front_new(t->plane, id, XPA_PLAYBACK, &o->link->ring_page, &o->link->event_page,
                             o->link->requests[GUEST], o->link->events[GUEST], 0, BACKEND + id);
    o->front->graph.on_change = on_change_beside;
    o->front->graph.data = o;
    if (budget)
        xpa_front_share_budget(o->front, budget);
    xpa_evt_ring_init_back(&o->events, &o->link->event_page);
    xpa_front_attach(o->front);
    xpa_front_open(o->front, &config, 300, 0);
    sim_settle(t->plane);
    return o;
}

static void beside_free(struct bench *t, struct beside *o) {
    xpa_front_detach(o->front);
    sim_settle(t->plane);
    t->notices[XPA_NOTICE_DETACHED] = 0;
    xpa_front_free(o->front);
    link_free(o->link);
    free(o);
}

static void beside_position(struct beside *o, uint64_t frames) {
    struct xensnd_evt event = {.type = XENSND_EVT_CUR_POS};
    event.op.cur_pos.position = frames * FRAME_BYTES;
    CHECK_EQ(xpa_evt_ring_put(&o->events, &event), 0);
    xpa_channel_notify(&o->link->events[HOST]);
}

static uint32_t woken(const struct bench *t) {
    return t->changes[XPA_FRONT_POSITION] + t->changes[XPA_FRONT_ANSWER];
}

static void test_wake_ups_by_a_backend_are_bounded(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct flood flood;
    start(t, 900);
    uint32_t before = woken(t);
    flood_start(&flood, t->link);
    sim_run(t->plane, SIM_SEC); /* 200000 wake-ups, if all were taken */
    uint32_t taken = woken(t) - before;
    CHECK(taken > 2000 && taken < 20000, "woken %u times", taken);
    CHECK(t->front->stats.rests >= 50, "it rested %llu times",
          (unsigned long long)t->front->stats.rests);
    CHECK(t->front->link.budget->work_due_nsec < sim_now + 30 * SIM_MSEC,
          "its debt grew while it rested");
    CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 0);
    flood.actor.at_nsec = 0; /* what it says in the end is heard */
    sim_run(t->plane, 100 * SIM_MSEC);
    position(t, 251);
    CHECK_EQ(t->front->stream.position_frames, 251);
    bench_free(t);
}

static void test_positions_that_come_while_it_rests_are_read_after_it(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct flood flood;
    start(t, 900);
    flood_start(&flood, t->link);
    while (t->front->link.rests_until_nsec == 0)
        sim_run(t->plane, SIM_MSEC / 10);
    flood.actor.at_nsec = 0;
    position(t, 251);
    CHECK_EQ(t->front->stream.position_frames, 0);
    sim_run(t->plane, 20 * SIM_MSEC);
    CHECK_EQ(t->front->stream.position_frames, 251);
    bench_free(t);
}

static void test_an_event_page_that_is_refilled_meanwhile_ends_in_time(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    start(t, 900);
    refilled = t;
    refills = 0;
    position(t, 251);
    refilled = NULL;
    CHECK(refills <= XPA_EVT_RING_SLOTS, "%u events at once", refills);
    CHECK_EQ(t->notices[XPA_NOTICE_BROKEN], 0);
    bench_free(t);
}

/* An honest backend's, while another one floods: each event is taken when it comes. */
static void test_a_flooding_backend_costs_no_other_backend_an_event(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct beside *honest = beside_new(t, 5, NULL);
    struct flood flood;
    flood_start(&flood, t->link);
    for (uint32_t i = 1; i <= 1000; i++) {
        beside_position(honest, i * 48);
        sim_settle(t->plane);
        CHECK_EQ(honest->woken, i);
        sim_run(t->plane, SIM_MSEC);
    }
    CHECK_EQ(honest->front->stats.rests, 0);
    CHECK(t->front->stats.rests > 50, "nobody flooded");
    flood.actor.at_nsec = 0;
    beside_free(t, honest);
    bench_free(t);
}

static void test_streams_of_a_backend_share_what_it_may_cost(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct xpa_budget budget = {0};
    struct beside *both[2];
    struct flood floods[2];
    uint32_t one = 0;
    for (uint32_t i = 0; i < 2; i++) {
        both[i] = beside_new(t, 5 + i, &budget);
        flood_start(&floods[i], both[i]->link);
        sim_run(t->plane, SIM_SEC);
        one = i == 0 ? both[0]->woken : one;
    }
    uint32_t sum = both[0]->woken + both[1]->woken - one;
    CHECK(sum < one + one / 4, "woken %u times by one and %u by both", one, sum);
    for (uint32_t i = 0; i < 2; i++) {
        floods[i].actor.at_nsec = 0;
        beside_free(t, both[i]);
    }
    bench_free(t);
}

/* Ten streams of 64 frames, half of them capturing: an event each period, and an answer for each
 * captured one. */
static void test_a_backend_of_ten_quick_streams_never_rests(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct xpa_budget budget = {0};
    struct beside *all[10];
    for (uint32_t i = 0; i < 10; i++)
        all[i] = beside_new(t, 5 + i, &budget);
    for (uint32_t period = 1; period <= 1500; period++)
        for (uint32_t i = 0; i < 10; i++) {
            beside_position(all[i], period * 64);
            sim_settle(t->plane);
            if (i % 2) {
                xpa_channel_notify(&all[i]->link->requests[HOST]);
                sim_settle(t->plane);
            }
            sim_run(t->plane, 64 * SIM_SEC / RATE / 10);
        }
    for (uint32_t i = 0; i < 10; i++) {
        CHECK_EQ(all[i]->front->stats.rests, 0);
        beside_free(t, all[i]);
    }
    bench_free(t);
}

static void test_a_stream_that_rests_ends_like_any_other(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    struct flood flood;
    flood_start(&flood, t->link);
    while (t->front->link.rests_until_nsec == 0)
        sim_run(t->plane, SIM_MSEC / 10);
    flood.actor.at_nsec = 0;
    bench_free(t);
}

int main(void) {
    test_wake_ups_by_a_backend_are_bounded();
    test_positions_that_come_while_it_rests_are_read_after_it();
    test_an_event_page_that_is_refilled_meanwhile_ends_in_time();
    test_a_flooding_backend_costs_no_other_backend_an_event();
    test_streams_of_a_backend_share_what_it_may_cost();
    test_a_backend_of_ten_quick_streams_never_rests();
    test_a_stream_that_rests_ends_like_any_other();
    return check_close();
}

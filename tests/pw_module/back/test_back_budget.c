/*
 * What a guest may cost: its requests and wake-ups come in bursts of a bounded length, and nothing
 * is refused or lost for it. The clock is simulated, so work takes no time here: what is counted is
 * what the guest got done.
 */
#include "stream_rig.h"

enum { BUFFER = 1000, PERIOD = 250, LONG_BUFFER = 65536 };

static struct rig *rig_open(int direction, uint32_t buffer_frames) {
    struct rig *r = rig_new(direction, buffer_frames, PERIOD, 0);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    return r;
}

/* A guest that keeps its ring full. */
struct flood {
    struct sim_actor actor;
    struct rig *rig;
    struct xensnd_req request;
    uint64_t every_nsec, answered;
    bool silent; /* pushes nothing, and notifies all the same */
};

static void flood_push(struct flood *f) {
    struct rig *r = f->rig;
    while (xpa_front_ring_free(&r->ring) > 0) {
        f->request.id = r->next_id++;
        xpa_front_ring_push(&r->ring, &f->request);
        (void)xpa_front_ring_publish(&r->ring);
    }
}

static void flood_once(struct sim_actor *actor) {
    struct flood *f = actor->data;
    struct rig *r = f->rig;
    struct xensnd_resp response;
    while (xpa_front_ring_pop(&r->ring, &response) == 1)
        f->answered++;
    if (!f->silent)
        flood_push(f);
    xpa_channel_ack(&r->link->requests[GUEST]);
    xpa_channel_notify(&r->link->requests[GUEST]);
    xpa_channel_notify(&r->link->events[GUEST]);
    actor->at_nsec = sim_now + f->every_nsec;
}

/* Another thread of the guest's refills the ring while it is served: whenever it is told of an
 * answer. */
static struct flood *refilled;

int __wrap_xpa_channel_notify(const struct xpa_channel *channel);
int __real_xpa_channel_notify(const struct xpa_channel *channel);

int __wrap_xpa_channel_notify(const struct xpa_channel *channel) {
    struct flood *f = refilled;
    if (f && channel->fd == f->rig->link->requests[HOST].fd && f->answered < 100000) {
        struct xensnd_resp response;
        while (xpa_front_ring_pop(&f->rig->ring, &response) == 1)
            f->answered++;
        (void)xpa_front_ring_rearm(&f->rig->ring, 1);
        flood_push(f);
    }
    return __real_xpa_channel_notify(channel);
}

static void flood_start(struct flood *f, struct rig *r, uint8_t operation, uint32_t bytes) {
    *f = (struct flood){.rig = r, .every_nsec = SIM_MSEC / 20};
    f->request.operation = operation;
    f->request.op.rw.length = bytes;
    f->actor = (struct sim_actor){.at_nsec = sim_now + 1, .func = flood_once, .data = f};
    sim_add_actor(&f->actor);
}

/* Requests that were answered in a second, the first of which has a whole burst. */
static uint64_t flooded(int direction, uint8_t operation, uint32_t bytes) {
    struct rig *r = rig_open(direction, LONG_BUFFER);
    struct flood flood;
    sim_run(r->plane, SIM_SEC);
    flood_start(&flood, r, operation, bytes);
    sim_run(r->plane, SIM_SEC);
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 0);
    CHECK(r->back->stats.rests >= 50 && r->back->stats.rests <= 250, "it rested %llu times",
          (unsigned long long)r->back->stats.rests);
    flood.actor.at_nsec = 0; /* what it asked for is carried out all the same */
    sim_run(r->plane, SIM_SEC);
    flood.silent = true;
    flood_once(&flood.actor);
    flood.actor.at_nsec = 0;
    CHECK_EQ(xpa_front_ring_free(&r->ring), XPA_RING_SLOTS);
    rig_free(r);
    return flood.answered;
}

static void test_transfers_are_bounded(void) {
    uint64_t empty = flooded(XPA_PLAYBACK, XENSND_OP_WRITE, 0);
    /* 25000 if its 40000 events a second cost nothing. */
    CHECK(empty > 4000 && empty < 10000, "%llu empty WRITEs", (unsigned long long)empty);
    uint64_t whole = flooded(XPA_CAPTURE, XENSND_OP_READ, LONG_BUFFER * RIG_FRAME_BYTES);
    CHECK(whole > 700 && whole < 1100, "%llu READs of a whole buffer", (unsigned long long)whole);
    uint64_t refused = flooded(XPA_CAPTURE, XENSND_OP_READ, UINT32_MAX);
    CHECK(refused > 700, "%llu READs of 4 GiB, which copy nothing", (unsigned long long)refused);
}

static void test_a_ring_that_is_refilled_meanwhile_ends_in_time(void) {
    struct rig *r = rig_open(XPA_PLAYBACK, BUFFER);
    struct flood flood;
    flood_start(&flood, r, XENSND_OP_WRITE, 0);
    refilled = &flood;
    sim_run(r->plane, 2); /* begins, and no more */
    refilled = NULL;
    CHECK(flood.answered > 200 && flood.answered < 500, "%llu at once",
          (unsigned long long)flood.answered);
    flood.actor.at_nsec = 0;
    rig_free(r);
}

static void test_what_python_answers_is_bounded(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    struct flood flood;
    for (int i = 0; i < 200; i++) { /* as ALSA refines at an open, one after the other */
        CHECK_EQ(rig_op(r, XENSND_OP_HW_PARAM_QUERY), 0);
        sim_run(r->plane, SIM_MSEC / 10);
    }
    CHECK_EQ(r->back->stats.rests, 0);
    sim_run(r->plane, SIM_SEC);
    uint32_t before = r->notices[XPA_NOTICE_REQUEST];
    flood_start(&flood, r, XENSND_OP_HW_PARAM_QUERY, 0);
    sim_run(r->plane, SIM_SEC);
    uint32_t asked = r->notices[XPA_NOTICE_REQUEST] - before;
    CHECK(asked > 400 && asked < 800, "Python was asked %u times", asked);
    flood.actor.at_nsec = 0;
    rig_free(r);
}

/* Ten streams of 64 frames, as one: none of their requests waits. */
static void test_a_guest_of_ten_quick_streams_never_rests(void) {
    struct rig *r = rig_open(XPA_PLAYBACK, LONG_BUFFER);
    CHECK_EQ(rig_write(r, 0, 1, LONG_BUFFER), 0);
    for (int i = 0; i < 15000; i++) {
        CHECK_EQ(rig_write(r, (uint32_t)(i * 64 % LONG_BUFFER), 1, 64), 0);
        sim_run(r->plane, 64 * SIM_SEC / RIG_RATE / 10);
    }
    CHECK_EQ(r->back->stats.rests, 0);
    rig_free(r);
}

static void test_wake_ups_without_requests_are_bounded(void) {
    struct rig *r = rig_open(XPA_PLAYBACK, BUFFER);
    struct flood flood;
    flood_start(&flood, r, XENSND_OP_WRITE, 0);
    flood.silent = true;
    flood.every_nsec = SIM_MSEC / 100;
    sim_run(r->plane, SIM_SEC);
    CHECK(r->back->stats.rests >= 50, "it rested %llu times",
          (unsigned long long)r->back->stats.rests);
    uint64_t due = r->back->link.budget->work_due_nsec;
    CHECK(due < sim_now + 20 * SIM_MSEC, "its debt grew while it rested");
    /* whoever rests is woken by nothing, and heard in the end */
    flood.actor.at_nsec = 0;
    CHECK_EQ(rig_transfer(r, XENSND_OP_WRITE, 0, 4), NO_ANSWER);
    sim_run(r->plane, 20 * SIM_MSEC);
    CHECK_EQ(rig_pop(r), 0);
    rig_free(r);
}

/* A second stream on the same plane; `budget`: shared, or NULL. */
static struct rig *beside_new(const struct rig *r, struct xpa_budget *budget) {
    struct rig *other = malloc(sizeof *other);
    *other = *r;
    other->link = link_new();
    xpa_front_ring_init(&other->ring, &other->link->ring_page);
    memset(&other->link->event_page, 0, sizeof other->link->event_page);
    other->back =
        xpa_back_new(r->plane, 20, XPA_PLAYBACK, &other->link->ring_page, &other->link->event_page,
                     other->link->requests[HOST], other->link->events[HOST], 0);
    if (budget)
        xpa_back_share_budget(other->back, budget);
    xpa_back_attach(other->back);
    sim_settle(r->plane);
    return other;
}

static void beside_free(struct rig *r, struct rig *other) {
    xpa_back_detach(other->back);
    sim_settle(r->plane);
    xpa_back_free(other->back);
    link_free(other->link);
    free(other);
    r->notices[XPA_NOTICE_DETACHED] = 0;
}

static void test_streams_of_a_guest_share_what_it_may_cost(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    struct xpa_budget budget = {0};
    struct rig *both[2];
    struct flood floods[2];
    for (int i = 0; i < 2; i++) {
        both[i] = beside_new(r, &budget);
        flood_start(&floods[i], both[i], XENSND_OP_WRITE, 0); /* refused: nothing is open */
    }
    sim_run(r->plane, SIM_SEC);
    uint64_t sum = floods[0].answered + floods[1].answered;
    CHECK(sum > 2500 && sum < 8000, "%llu requests of both", (unsigned long long)sum);
    for (int i = 0; i < 2; i++) { /* neither keeps the other from its part */
        CHECK(floods[i].answered > sum / 10, "%llu of them",
              (unsigned long long)floods[i].answered);
        floods[i].actor.at_nsec = 0;
        beside_free(r, both[i]);
    }
    rig_free(r);
}

/* Another guest's: while one floods, each request of the other is answered at once. */
static void test_a_flood_costs_nobody_else_a_request(void) {
    struct rig *r = rig_open(XPA_PLAYBACK, BUFFER);
    struct rig *other = beside_new(r, NULL);
    struct flood flood;
    flood_start(&flood, r, XENSND_OP_WRITE, 0);
    for (int i = 0; i < 1000; i++) {
        sim_run(r->plane, SIM_MSEC);
        CHECK_EQ(rig_transfer(other, XENSND_OP_WRITE, 0, 4), -EIO); /* answered: it is not open */
    }
    CHECK_EQ(other->back->stats.rests, 0);
    CHECK(r->back->stats.rests > 50, "nobody flooded");
    flood.actor.at_nsec = 0;
    beside_free(r, other);
    rig_free(r);
}

/* A guest that rests can be closed, detached, and found dead. */
static void test_what_rests_ends_like_any_other(void) {
    struct rig *r = rig_open(XPA_PLAYBACK, BUFFER);
    struct flood flood;
    flood_start(&flood, r, XENSND_OP_WRITE, 0);
    sim_run(r->plane, 100 * SIM_MSEC);
    while (r->back->link.rests_until_nsec == 0)
        sim_run(r->plane, SIM_MSEC / 10);
    flood.actor.at_nsec = 0;
    xpa_back_close(r->back);
    sim_settle(r->plane);
    sim_run(r->plane, 20 * SIM_MSEC);
    CHECK_EQ(r->back->link.rests_until_nsec, 0);
    flood.actor.at_nsec = sim_now + 1;
    sim_run(r->plane, 100 * SIM_MSEC);
    while (r->back->link.rests_until_nsec == 0)
        sim_run(r->plane, SIM_MSEC / 10);
    rig_free(r);
}

int main(void) {
    test_transfers_are_bounded();
    test_a_ring_that_is_refilled_meanwhile_ends_in_time();
    test_what_python_answers_is_bounded();
    test_a_guest_of_ten_quick_streams_never_rests();
    test_wake_ups_without_requests_are_bounded();
    test_streams_of_a_guest_share_what_it_may_cost();
    test_a_flood_costs_nobody_else_a_request();
    test_what_rests_ends_like_any_other();
    return check_close();
}

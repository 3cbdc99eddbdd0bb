/* Our backend before a model of the kernel's frontend: nothing is lost, nothing hangs. Each
 * scenario is played to Linux up to 7.1, to Linux since 7.2 and to a frontend that looks at no ids,
 * on a connection that is new and on ones whose events have been counted for long. */
#include "kernel_front.h"

#include "random.h"

struct shape {
    uint32_t buffer, period, quantum;
    uint64_t latency_nsec;
    double ppm;
};

/* Two periods a buffer, periods that do not divide the buffer, buffers that are no power of two. */
static const struct shape SHAPES[] = {
    {1024, 256, 64, 0, 0},
    {4096, 2048, 256, 5 * SIM_MSEC, 300},
    {960, 480, 48, SIM_MSEC, -500},
    {1002, 334, 32, SIM_MSEC, 500},
    {1000, 300, 64, 2 * SIM_MSEC, 0},
    {3528, 441, 128, 10 * SIM_MSEC, 200},
    {16384, 4096, 1024, 40 * SIM_MSEC, -100},
    {2047, 677, 96, 3 * SIM_MSEC, 50},
};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof SHAPES[0] };

static struct rig *rig_shaped(const struct shape *s) {
    struct rig *r = rig_new(XPA_PLAYBACK, s->buffer, s->period, 0);
    rig_host_start(r, s->quantum, s->latency_nsec, s->ppm);
    return r;
}

static void report(const struct shape *s, const struct kernel_front *k, const char *what) {
    if (k->state != KERNEL_SETUP || k->xruns)
        printf("  %s, %s after %u: buffer %u period %u quantum %u: state %d xruns %llu\n", what,
               KERNEL_NAMES[k->ids], kernel_past, s->buffer, s->period, s->quantum, (int)k->state,
               (unsigned long long)k->xruns);
}

/* The guest made its rings anew while we connected: its references now mean other pages, and what
 * we took for a request ring was the event page of the stream to come. */
static void test_stale_references_do_not_harm_the_rings_that_follow(void) {
    const struct shape *s = &SHAPES[0];
    struct rig *r = rig_shaped(s);
    struct link *l = r->link;
    struct kernel_front k;
    xpa_back_detach(r->back);
    sim_settle(r->plane);
    xpa_back_free(r->back);
    void *swapped[2][2] = {{&l->event_page, &l->ring_page}, {&l->ring_page, &l->event_page}};
    for (int i = 0; i < 2; i++) {
        r->back = xpa_back_new(r->plane, 7, XPA_PLAYBACK, swapped[i][0], swapped[i][1],
                               l->requests[HOST], l->events[HOST], 0);
        xpa_back_attach(r->back);
        sim_settle(r->plane);
        if (i == 0) {
            xpa_back_detach(r->back);
            sim_settle(r->plane);
            xpa_back_free(r->back);
        }
    }
    r->notices[XPA_NOTICE_DETACHED] = 0;
    struct xensnd_event_page *page = (void *)&l->event_page;
    uint32_t left = page->in_prod;
    kernel_init(&k, r); /* gives it a past, which rings just made have not */
    page->in_cons = r->back->link.event_ring.in_prod = r->back->link.event_id = 0;
    k.event_counter = 0;
    page->in_prod = left;
    kernel_open(&k);
    kernel_play(&k, s->period * 20, true);
    sim_run(r->plane, SIM_SEC);
    report(s, &k, "stale references");
    CHECK_EQ(r->notices[XPA_NOTICE_BROKEN], 0);
    CHECK_EQ(k.state, KERNEL_SETUP);
    rig_free(r);
}

static void test_kernel_plays_and_drains_to_the_last_frame(void) {
    uint64_t seed = 9;
    for (int i = 0; i < SHAPE_COUNT; i++)
        for (int round = 0; round < 6; round++) {
            const struct shape *s = &SHAPES[i];
            struct rig *r = rig_shaped(s);
            struct kernel_front k;
            kernel_init(&k, r);
            kernel_open(&k);
            /* whole periods, whole buffers, and anything else; shorter than a buffer, too */
            uint32_t total = round == 0   ? s->period * 20
                             : round == 1 ? s->buffer * 5
                             : round == 2 ? s->period / 2 + 3
                                          : 1 + random_below(&seed, 30000);
            sim_run(r->plane, 20 * SIM_MSEC);
            kernel_play(&k, total, true);
            sim_run(r->plane, total * SIM_SEC / RIG_RATE + 500 * SIM_MSEC);
            report(s, &k, "drain");
            CHECK_EQ(k.state, KERNEL_SETUP);
            CHECK_EQ(k.xruns, 0);
            kernel_check_positions(&k);
            rig_check_log(r, 0, 1, (int32_t)total);
            CHECK_EQ(rig_holes(r, 0), 0);
            CHECK_EQ(k.backend_frame % s->buffer, 0);
            CHECK_EQ(k.pointer, 0);
            rig_free(r);
        }
}

static void test_every_period_reaches_the_application(void) {
    for (int i = 0; i < SHAPE_COUNT; i++) {
        const struct shape *s = &SHAPES[i];
        struct rig *r = rig_shaped(s);
        struct kernel_front k;
        kernel_init(&k, r);
        kernel_open(&k);
        uint64_t total = 40ull * s->period;
        kernel_play(&k, total, true);
        sim_run(r->plane, total * SIM_SEC / RIG_RATE + 500 * SIM_MSEC);
        /* one event a period and one at STOP; one elapsed period an event */
        CHECK(k.elapsed >= 40 && k.elapsed <= 41, "%llu periods elapsed of 40",
              (unsigned long long)k.elapsed);
        CHECK(r->back->stats.events >= 40 && r->back->stats.events <= 41, "%llu events",
              (unsigned long long)r->back->stats.events);
        rig_free(r);
    }
}

/* Drain, PREPARE, play again, in one OPEN: all of it is heard, each time. */
static void test_stop_prepare_start_loses_nothing(void) {
    uint64_t seed = 21;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        const struct shape *s = &SHAPES[i];
        struct rig *r = rig_shaped(s);
        struct kernel_front k;
        int32_t total = 0;
        kernel_init(&k, r);
        kernel_open(&k);
        for (int round = 0; round < 8; round++) {
            uint32_t frames = 1 + random_below(&seed, 3 * s->buffer);
            if (round)
                kernel_prepare(&k);
            kernel_play(&k, frames, true);
            total += (int32_t)frames;
            sim_run(r->plane, frames * SIM_SEC / RIG_RATE + 400 * SIM_MSEC);
            report(s, &k, "stop and start");
            CHECK_EQ(k.state, KERNEL_SETUP);
            CHECK_EQ(k.xruns, 0);
            rig_check_log(r, 0, 1, total);
        }
        kernel_check_positions(&k);
        rig_free(r);
    }
}

/* snd_pcm_drop() in the middle: what was not heard is dropped, the next run is whole. */
static void test_drop_then_play_is_whole(void) {
    uint64_t seed = 33;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        const struct shape *s = &SHAPES[i];
        struct rig *r = rig_shaped(s);
        struct kernel_front k;
        kernel_init(&k, r);
        kernel_open(&k);
        for (int round = 0; round < 6; round++) {
            kernel_play(&k, 1u << 20, false);
            sim_run(r->plane, 30 * SIM_MSEC + random_below(&seed, 200) * SIM_MSEC);
            kernel_stop(&k, KERNEL_SETUP);
            sim_run(r->plane, 50 * SIM_MSEC);
            uint64_t from = r->log_frames;
            int32_t first = k.next_frame;
            uint32_t frames = 1 + random_below(&seed, 2 * s->buffer);
            kernel_prepare(&k);
            kernel_play(&k, frames, true);
            sim_run(r->plane, frames * SIM_SEC / RIG_RATE + 400 * SIM_MSEC);
            report(s, &k, "drop");
            CHECK_EQ(k.state, KERNEL_SETUP);
            rig_check_log(r, from, first, first + (int32_t)frames - 1);
            kernel_prepare(&k);
        }
        CHECK_EQ(k.xruns, 0);
        rig_free(r);
    }
}

/* What was not heard before the suspend is gone, as ALSA says; all that comes after is heard. */
static void test_suspend_then_play_is_whole(void) {
    uint64_t seed = 57;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        const struct shape *s = &SHAPES[i];
        struct rig *r = rig_shaped(s);
        struct kernel_front k;
        kernel_init(&k, r);
        kernel_open(&k);
        for (int round = 0; round < 6; round++) {
            kernel_play(&k, 1u << 20, false);
            sim_run(r->plane, 300 * SIM_MSEC + random_below(&seed, 200) * SIM_MSEC);
            kernel_suspend(&k);
            sim_run(r->plane, 100 * SIM_MSEC);
            uint64_t from = r->log_frames;
            int32_t first = k.next_frame;
            uint32_t frames = 1 + random_below(&seed, 3 * s->buffer);
            kernel_prepare(&k);
            kernel_play(&k, frames, true);
            sim_run(r->plane, frames * SIM_SEC / RIG_RATE + 400 * SIM_MSEC);
            report(s, &k, "suspend");
            CHECK_EQ(k.state, KERNEL_SETUP);
            rig_check_log(r, from, first, first + (int32_t)frames - 1);
            CHECK_EQ(rig_holes(r, from), 0);
            kernel_prepare(&k);
        }
        CHECK_EQ(k.xruns, 0);
        rig_free(r);
    }
}

/* A buffer filled to the brim, then snd_pcm_drop() before any START: the driver sends no STOP. */
static void test_prepare_without_stop_replaces_what_was_written(void) {
    for (uint32_t fill = 500; fill <= 1000; fill += 500) {
        struct rig *r = rig_new(XPA_PLAYBACK, 1000, 500, 0);
        struct kernel_front k;
        rig_host_start(r, 64, SIM_MSEC, 0);
        kernel_init(&k, r);
        kernel_open(&k);
        k.left = fill;
        kernel_write(&k, fill);
        kernel_prepare(&k);
        kernel_play(&k, 2222, true);
        sim_run(r->plane, 500 * SIM_MSEC);
        CHECK_EQ(k.state, KERNEL_SETUP);
        rig_check_log(r, 0, (int32_t)fill + 1, (int32_t)fill + 2222);
        rig_free(r);
    }
}

/* hw_params again and again: OPEN while open, no CLOSE, and the count starts at 0. */
static void test_open_while_open_starts_anew(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, 1000, 250, 0);
    struct kernel_front k;
    rig_host_start(r, 64, SIM_MSEC, 0);
    kernel_init(&k, r);
    for (int round = 0; round < 4; round++) {
        uint64_t from = r->log_frames;
        int32_t first = k.next_frame;
        kernel_open(&k);
        kernel_play(&k, 3333, true);
        sim_run(r->plane, 300 * SIM_MSEC);
        CHECK_EQ(k.state, KERNEL_SETUP);
        rig_check_log(r, from, first, first + 3332);
        if (round == 1) {
            kernel_hw_free(&k);
            kernel_hw_free(&k); /* without an OPEN */
        }
    }
    kernel_check_positions(&k);
    rig_free(r);
}

/* The guest stands still until the event page is full, then goes on: no id was skipped. */
static void test_full_event_page_keeps_the_id(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, 4800, 48, 0);
    struct kernel_front k;
    rig_host_start(r, 48, SIM_MSEC, 0);
    kernel_init(&k, r);
    kernel_open(&k);
    r->hand_polled = true;
    kernel_play(&k, 4800, false);
    sim_run(r->plane, 200 * SIM_MSEC); /* 100 periods */
    /* 63 slots, or those before the index wraps; a position takes two where counts differ */
    uint32_t room = 0u - kernel_past < XPA_EVT_RING_SLOTS ? 0u - kernel_past : XPA_EVT_RING_SLOTS;
    uint32_t each = kernel_past % 65536 ? 2 : 1;
    if (kernel_past == 0)
        room = XPA_EVT_RING_SLOTS;
    CHECK_EQ(r->back->stats.events, room / each);
    CHECK(r->back->stats.events_skipped >= 30, "%llu skipped",
          (unsigned long long)r->back->stats.events_skipped);
    CHECK_EQ((uint16_t)(r->back->link.event_id - kernel_past), room / each * each);
    r->hand_polled = false;
    sim_settle(r->plane);
    kernel_stop(&k, KERNEL_SETUP);
    kernel_prepare(&k);
    int32_t first = k.next_frame;
    uint64_t from = r->log_frames;
    kernel_play(&k, 10000, true);
    sim_run(r->plane, 500 * SIM_MSEC);
    kernel_check_positions(&k);
    CHECK_EQ(k.state, KERNEL_SETUP);
    rig_check_log(r, from, first, first + 9999);
    rig_free(r);
}

/* The position that the guest sees is the heard one: at each event, exact to the frame. */
static void test_kernel_reads_the_true_delay(void) {
    for (int i = 0; i < SHAPE_COUNT; i++) {
        const struct shape *s = &SHAPES[i];
        struct rig *r = rig_shaped(s);
        struct xensnd_evt event;
        struct kernel_front k;
        kernel_init(&k, r);
        kernel_open(&k);
        kernel_play(&k, 1u << 20, false);
        sim_run(r->plane, SIM_SEC);
        double worst = 0;
        r->hand_polled = true;
        uint64_t end = sim_now + SIM_SEC / 2;
        while (sim_now < end) {
            sim_run(r->plane, 20000);
            while (rig_event(r, &event)) {
                double position = (double)(event.op.cur_pos.position / RIG_FRAME_BYTES);
                double error = fabs(position - rig_truth(r, sim_now));
                worst = fmax(worst, error);
                CHECK_EQ((uint64_t)position % s->period, 1);
                if (kernel_believes(&k, &event))
                    kernel_position(&k, event.op.cur_pos.position);
                kernel_application(&k);
            }
        }
        /* polled every 20 us, which is a frame */
        CHECK(worst < 2.5, "buffer %u: off by %f frames", s->buffer, worst);
        rig_free(r);
    }
}

static void test_all(void) {
    test_stale_references_do_not_harm_the_rings_that_follow();
    test_kernel_plays_and_drains_to_the_last_frame();
    test_every_period_reaches_the_application();
    test_stop_prepare_start_loses_nothing();
    test_drop_then_play_is_whole();
    test_suspend_then_play_is_whole();
    test_prepare_without_stop_replaces_what_was_written();
    test_open_while_open_starts_anew();
    test_full_event_page_keeps_the_id();
    test_kernel_reads_the_true_delay();
}

/* A new connection; counts that differ; a 16-bit count that wraps; one that did; the index wraps.
 */
static const uint32_t PASTS[] = {0, 7, 65533, 3 * 65536, 0u - 40};

int main(void) {
    for (unsigned past = 0; past < sizeof PASTS / sizeof PASTS[0]; past++)
        for (int ids = SINCE_CONNECTION; ids <= NOT_LOOKED_AT && !check_failed; ids++) {
            kernel_past = PASTS[past];
            kernel_ids = (enum kernel_ids)ids;
            test_all();
        }
    return check_close();
}

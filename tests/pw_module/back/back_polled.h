/* A frontend that looks at the event page by itself. Part of test_stream_back.c. */
#ifndef XPA_BACK_POLLED_H
#define XPA_BACK_POLLED_H

#include "back_bench.h"

#include "xen/position_ext.h"
#include "xen/volume_ext.h"

static void poll_page(struct rig *r, uint32_t word) {
    memcpy(&r->link->event_page.bytes[12], &word, sizeof word);
}

static uint64_t timers_fired(const struct rig *r) { return sim_timer(r->back->timer_fd)->fired; }

/* How often the guest was notified since this was last asked. */
static int notified(struct rig *r) {
    int count = 0, got;
    while ((got = xpa_channel_ack(&r->link->events[GUEST])) > 0)
        count += got;
    return count;
}

/* A guest that always has enough. */
static void play_for(struct rig *r, uint64_t msec) {
    for (; msec > 0; msec--) {
        uint64_t ahead = r->back->stats.written_frames - r->back->stream.reported_frames;
        if (ahead + 200 <= BUFFER) {
            uint32_t at = (uint32_t)(r->back->stats.written_frames % BUFFER);
            CHECK_EQ(rig_write(r, at, (int32_t)r->back->stats.written_frames + 1, 200), 0);
        }
        sim_run(r->plane, SIM_MSEC);
    }
}

static struct rig *rig_running(int position_ext, uint32_t quantum_frames) {
    struct rig *r = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, position_ext);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, quantum_frames, SIM_MSEC, 0);
    CHECK_EQ(rig_write(r, 0, 1, 800), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    play_for(r, 50);
    return r;
}

/* The newest event: its position, and the time at which the backend says that it was true. */
static struct xpa_position_ext newest(struct rig *r, uint64_t *position_frames) {
    struct xensnd_evt event = {0};
    while (rig_event(r, &event))
        *position_frames = event.op.cur_pos.position / RIG_FRAME_BYTES;
    return xpa_position_ext_of(&event);
}

/* No notification and no timer, and positions are as true as ever; until the guest asks again. */
static void test_a_polled_page_wakes_nobody(void) {
    struct rig *r = rig_running(1, 64);
    uint64_t frames = 0, before = 0;
    struct xpa_position_ext ext = newest(r, &frames);
    CHECK_EQ(ext.flags, XPA_MAY_POLL);
    poll_page(r, 1);
    play_for(r, 10);
    notified(r);
    uint64_t fired = timers_fired(r);
    for (int i = 0; i < 50; i++) {
        play_for(r, 20); /* 960 frames: several periods */
        ext = newest(r, &frames);
        CHECK(frames > before + 700, "%d after %d", (int)frames, (int)before);
        uint64_t sent = (uint64_t)ext.time_high_nsec << 32 | ext.time_low_nsec;
        double heard = rig_truth(r, sent - ext.age_nsec);
        CHECK(fabs((double)frames - heard) < 0.1, "position %d, heard %f", (int)frames, heard);
        before = frames;
    }
    CHECK_EQ(notified(r), 0);
    CHECK_EQ(timers_fired(r), fired);
    poll_page(r, 0);
    play_for(r, 100);
    int woken = notified(r);
    CHECK(woken >= 18 && woken <= 20, "notified %d times in 100 ms", woken);
    CHECK(timers_fired(r) > fired + 15, "no timer");
    CHECK_EQ(r->back->stats.xruns, 0);
    rig_free(r);
}

/* Not by who has no extension, and not where events are to be late: it would not be told. */
static void test_not_every_page_may_be_polled(void) {
    for (int late = 0; late < 2; late++) {
        struct rig *r = rig_running(late, 64);
        uint64_t frames;
        if (late)
            xpa_back_inject_faults(r->back, SIM_MSEC, 0, 0);
        sim_settle(r->plane);
        poll_page(r, 0xffffffff);
        play_for(r, 10);
        notified(r);
        play_for(r, 100);
        CHECK(notified(r) > 10, "it was not told");
        CHECK_EQ(newest(r, &frames).flags, 0);
        rig_free(r);
    }
}

static uint32_t filled(const struct rig *r) {
    uint32_t word;
    memcpy(&word, &r->link->event_page.bytes[16], sizeof word);
    return word;
}

/* The newest frames are in the buffer, each at its offset, and said to be. */
static void check_filled(const struct rig *r, uint32_t frames) {
    uint32_t end = filled(r);
    CHECK_EQ(end, (uint32_t)r->back->stream.written_frames);
    for (uint32_t i = 0; i < frames; i++)
        CHECK_EQ(r->buffer[(end - 1 - i) % BUFFER], r->next_captured - (int32_t)i);
}

/* Captured frames are in the buffer before their position is told, without a READ; once it is not
 * polled any more nothing is put there. It begins with what may have been told before. */
static void test_a_polled_capture_fills_the_buffer(void) {
    struct rig *r = rig_new(XPA_CAPTURE, BUFFER, PERIOD, 1);
    uint64_t frames = 0;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, 64, 3 * SIM_MSEC, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 100 * SIM_MSEC);
    CHECK_EQ(newest(r, &frames).flags, XPA_MAY_POLL);
    CHECK_EQ(filled(r), 0);
    poll_page(r, 1);
    sim_run(r->plane, 2 * SIM_MSEC);
    check_filled(r, BUFFER / 4);
    notified(r);
    uint64_t fired = timers_fired(r), due_nsec = r->back->link.budget->work_due_nsec;
    for (int i = 0; i < 200; i++) {
        sim_run(r->plane, 1700000);
        check_filled(r, 1 + BUFFER / 4);
        newest(r, &frames);
        CHECK(frames <= filled(r), "position %d before the frames", (int)frames);
    }
    CHECK(frames > 340 * RIG_RATE / 1000, "position %d", (int)frames);
    CHECK_EQ(notified(r), 0);
    CHECK_EQ(timers_fired(r), fired);
    /* 340 ms are 65280 bytes, charged eight times */
    uint64_t debt = r->back->link.budget->work_due_nsec - due_nsec;
    CHECK(debt > 8 * 60000 / 2, "charged %d ns", (int)debt);
    poll_page(r, 0);
    uint32_t end = filled(r);
    sim_run(r->plane, 200 * SIM_MSEC);
    CHECK_EQ(filled(r), end);
    CHECK(notified(r) > 30, "nobody is told of positions");
    memset(r->buffer, 0, BYTES);
    poll_page(r, 1);
    sim_run(r->plane, 2 * SIM_MSEC);
    check_filled(r, BUFFER / 4);
    CHECK_EQ(r->buffer[(filled(r) + BUFFER / 2) % BUFFER], 0); /* no more than that */
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    end = filled(r);
    sim_run(r->plane, 50 * SIM_MSEC);
    CHECK_EQ(filled(r), end);
    rig_free(r);
}

/* The ring was full; no timer comes to look whether there is room by now. */
static void test_a_volume_reaches_who_polls(void) {
    struct rig *r = rig_running(1, 64);
    struct xensnd_evt event;
    r->back->volume_ext = true;
    poll_page(r, 1);
    play_for(r, 10);
    while (rig_event(r, &event))
        ;
    for (int i = 0; i <= XPA_EVT_RING_SLOTS; i++)
        tell_volume(r, XPA_VOLUME_CHANGED, -i);
    play_for(r, 10);
    while (rig_event(r, &event))
        ;
    notified(r);
    play_for(r, 10);
    CHECK(notified(r) > 0, "it was not told");
    int32_t steps = 1;
    while (rig_event(r, &event))
        if (event.type == XPA_EVT_VOLUME)
            steps = xpa_volume_ext_of(&event).volumes[0];
    CHECK_EQ(steps, -XPA_EVT_RING_SLOTS);
    rig_free(r);
}

#endif

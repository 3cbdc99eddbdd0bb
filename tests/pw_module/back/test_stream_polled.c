/* A frontend that looks at the event page by itself: it is not notified, no timer runs for it, and
 * captured frames are in its buffer without being asked for. Whoever sets or clears the word does
 * it at any moment and as often as he likes. */
#include "back_bench.h"

#include "xen/position_ext.h"
#include "xen/volume_ext.h"

/* What happens in the moment before an event is put. */
static void (*before_put)(void);

int __real_xpa_evt_ring_put_all(struct xpa_evt_ring *r, const struct xensnd_evt *evts,
                                uint32_t count);
int __wrap_xpa_evt_ring_put_all(struct xpa_evt_ring *r, const struct xensnd_evt *evts,
                                uint32_t count);

int __wrap_xpa_evt_ring_put_all(struct xpa_evt_ring *r, const struct xensnd_evt *evts,
                                uint32_t count) {
    if (before_put)
        before_put();
    return __real_xpa_evt_ring_put_all(r, evts, count);
}

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
    while (rig_take_event(r, &event))
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
    uint64_t fired = timers_fired(r);
    for (int i = 0; i < 200; i++) {
        sim_run(r->plane, 1700000);
        check_filled(r, 1 + BUFFER / 4);
        newest(r, &frames);
        CHECK(frames <= filled(r), "position %d before the frames", (int)frames);
    }
    CHECK(frames > 340 * RIG_RATE / 1000, "position %d", (int)frames);
    CHECK_EQ(notified(r), 0);
    CHECK_EQ(timers_fired(r), fired);
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

/* A capture stream that runs, polled; its host hands 64 frames over at a time. */
static struct rig *rig_filling(void) {
    struct rig *r = rig_new(XPA_CAPTURE, BUFFER, PERIOD, 1);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    rig_host_start(r, 64, 3 * SIM_MSEC, 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    sim_run(r->plane, 100 * SIM_MSEC);
    poll_page(r, 1);
    sim_run(r->plane, 100 * SIM_MSEC);
    return r;
}

/* What the budget is charged while so little passes, in nanoseconds of work: with a debt that lasts
 * as long, no charge is forgotten. */
static uint64_t charged_nsec(struct rig *r, uint64_t msec) {
    struct xpa_budget *budget = r->back->link.budget;
    uint64_t before = budget->work_due_nsec = sim_now + msec * SIM_MSEC;
    sim_run(r->plane, msec * SIM_MSEC);
    return (budget->work_due_nsec - before) / 8;
}

/* What is copied costs what a READ of it would, and to have it begun anew all the time costs a
 * quarter of the buffer each time. */
static void test_what_is_filled_is_charged(void) {
    struct rig *r = rig_filling();
    uint64_t nsec = charged_nsec(r, 10), frames = 480;
    CHECK(nsec > (frames - 64) * 2 && nsec <= (frames + 64) * 2, "charged %d ns", (int)nsec);
    uint64_t begun_nsec = 0;
    for (int i = 0; i < 20; i++) {
        poll_page(r, 0);
        sim_run(r->plane, 2 * SIM_MSEC);
        poll_page(r, 1);
        begun_nsec += charged_nsec(r, 2);
    }
    CHECK(begun_nsec >= 20 * BYTES / 4 / 2, "charged %d ns", (int)begun_nsec);
    rig_free(r);
}

/* One that has asked for too much is not worked for, and hears of that as anybody does. */
static void test_who_rests_is_given_nothing(void) {
    struct rig *r = rig_filling();
    uint64_t frames = 0;
    newest(r, &frames);
    notified(r);
    xpa_budget_charge(r->back->link.budget, 20 * SIM_MSEC, false, sim_now);
    sim_run(r->plane, 2 * SIM_MSEC);
    CHECK(r->back->link.rests_until_nsec > sim_now, "it does not rest");
    uint32_t end = filled(r);
    sim_run(r->plane, 50 * SIM_MSEC);
    CHECK_EQ(filled(r), end);
    CHECK(notified(r) >= 8, "positions without their frames, and nobody is told");
    rig_free(r);
}

/* Only what was captured since START, whatever lies in the buffer from before; nothing after STOP,
 * even for who begins to poll then. */
static void test_only_what_was_captured_is_filled(void) {
    struct rig *r = rig_filling();
    /* a STOP and a START at once, where the next count begins before what was filled already */
    while (r->back->stream.written_frames % BUFFER > 100)
        sim_run(r->plane, SIM_MSEC);
    uint64_t written = r->back->stream.written_frames;
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    uint64_t begin = r->back->stream.taken_frames;
    CHECK(begin < written, "it goes on at %d, after %d", (int)begin, (int)written);
    memset(r->buffer, 0, BYTES);
    int32_t captured = r->next_captured;
    sim_run(r->plane, 3 * SIM_MSEC);
    uint32_t frames = filled(r) - (uint32_t)begin;
    CHECK(frames > 100 && frames < BUFFER / 4, "%d frames since START", (int)frames);
    for (uint32_t i = 0; i < BUFFER; i++) {
        int32_t there = r->buffer[(begin + i) % BUFFER];
        CHECK_EQ(there, i < frames ? captured + 1 + (int32_t)i : 0);
    }
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_STOP), 0);
    poll_page(r, 0);
    sim_run(r->plane, 5 * SIM_MSEC);
    memset(r->buffer, 0, BYTES);
    poll_page(r, 1);
    sim_run(r->plane, 5 * SIM_MSEC);
    for (uint32_t i = 0; i < BUFFER; i++)
        CHECK_EQ(r->buffer[i], 0);
    rig_free(r);
}

/* A host that hands over more at once than a quarter of the buffer, or than there is room for. */
static void test_a_long_cycle_is_filled_whole(void) {
    static const uint32_t QUANTA[] = {400, 1600};
    for (int i = 0; i < 2; i++) {
        struct rig *r = rig_new(XPA_CAPTURE, BUFFER, PERIOD, 1);
        CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
        rig_host_start(r, QUANTA[i], SIM_MSEC, 0);
        CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
        poll_page(r, 1);
        sim_run(r->plane, 200 * SIM_MSEC);
        check_filled(r, BUFFER);
        rig_free(r);
    }
}

/* The guest waits to be notified again and finds nothing, in the moment before an event is put. */
static struct rig *asks_again;

static void guest_asks_again(void) { poll_page(asks_again, 0); }

static void test_no_event_is_put_unnoticed(void) {
    struct rig *r = asks_again = rig_running(1, 64);
    uint64_t frames;
    poll_page(r, 1);
    play_for(r, 50);
    newest(r, &frames);
    notified(r);
    before_put = guest_asks_again;
    while (r->link->event_page.words[0] == r->link->event_page.words[1])
        play_for(r, 1);
    before_put = NULL;
    CHECK_EQ(notified(r), 1);
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

int main(void) {
    test_a_polled_page_wakes_nobody();
    test_not_every_page_may_be_polled();
    test_a_polled_capture_fills_the_buffer();
    test_what_is_filled_is_charged();
    test_who_rests_is_given_nothing();
    test_only_what_was_captured_is_filled();
    test_a_long_cycle_is_filled_whole();
    test_no_event_is_put_unnoticed();
    test_a_volume_reaches_who_polls();
    return check_close();
}

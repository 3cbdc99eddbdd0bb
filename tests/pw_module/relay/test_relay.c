/*
 * A relay between the data loop and a device's thread, on the simulated clock: the device's part is
 * played by an actor, which asks, takes, brings and marks as libpulse's thread does.
 */
#include <poll.h>

#include "relay/relay.h"
#include "stream_rig.h"

enum { BUFFER = 4800, PERIOD = 480, CHUNK = 480, ROOM = 700, LATENCY_MSEC = 20 };

struct device {
    struct rig *rig;
    struct xpa_relay *relay;
    struct sim_actor actor;
    int32_t captured; /* the newest frame's number */
    bool marks;
};

static bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* What was asked for a chunk ago is heard `latency` later. */
static void play(struct device *d) {
    struct rig *r = d->rig;
    uint32_t frames = xpa_relay_ready(d->relay);
    CHECK(frames == 0 || readable(d->relay->given_fd), "%u frames, and nobody says so", frames);
    xpa_relay_clear_given(d->relay);
    uint64_t before = xpa_relay_count(d->relay);
    CHECK_EQ(before, r->log_frames);
    xpa_relay_take(d->relay, r->log + r->log_frames, frames);
    r->log_frames += frames;
    if (d->marks && frames > 0)
        xpa_relay_mark(d->relay, rig_frame_nsec(r, (double)before) + r->latency_nsec, before);
    xpa_relay_ask(d->relay, CHUNK);
}

static void capture(struct device *d) {
    int32_t frames[CHUNK];
    for (int i = 0; i < CHUNK; i++)
        frames[i] = d->captured + 1 + i;
    if (xpa_relay_put(d->relay, frames, CHUNK, sim_now - d->rig->latency_nsec))
        d->captured += CHUNK;
    xpa_relay_mark(d->relay, sim_now - d->rig->latency_nsec, xpa_relay_count(d->relay));
}

static void turn(struct sim_actor *actor) {
    struct device *d = actor->data;
    actor->at_nsec = sim_now + CHUNK * SIM_SEC / RIG_RATE;
    if (d->rig->direction == XPA_PLAYBACK)
        play(d);
    else
        capture(d);
}

/* The stream is open, and the device runs. */
static struct device *device_new(int direction, bool marks) {
    struct device *d = calloc(1, sizeof *d);
    struct rig *r = rig_new(direction, BUFFER, PERIOD, 1);
    d->rig = r;
    d->marks = marks;
    r->latency_nsec = LATENCY_MSEC * SIM_MSEC;
    r->nsec_per_frame = 1e9 / RIG_RATE;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    d->relay = xpa_relay_new(r->back, direction, RIG_FRAME_BYTES, RIG_RATE, ROOM);
    CHECK_EQ(xpa_relay_connect(d->relay), 0);
    d->actor = (struct sim_actor){.func = turn, .data = d, .at_nsec = sim_now + SIM_MSEC};
    sim_add_actor(&d->actor);
    sim_settle(r->plane);
    if (direction == XPA_PLAYBACK)
        xpa_relay_ask(d->relay, CHUNK);
    r->origin_nsec = d->actor.at_nsec;
    return d;
}

static void device_free(struct device *d) {
    d->actor.at_nsec = 0;
    xpa_relay_disconnect(d->relay);
    sim_settle(d->rig->plane);
    rig_free(d->rig);
    xpa_relay_free(d->relay);
    free(d);
}

static void run_msec(struct device *d, uint64_t msec) { sim_run(d->rig->plane, msec * SIM_MSEC); }

/* So many periods, and the host runs. */
static void start(struct device *d, uint32_t periods) {
    run_msec(d, 100);
    CHECK_EQ(rig_write(d->rig, 0, 1, periods * PERIOD), 0);
    CHECK_EQ(rig_trigger(d->rig, XENSND_OP_TRIGGER_START), 0);
}

static void test_each_frame_passes_once_and_in_order_around_the_ring(void) {
    struct device *d = device_new(XPA_PLAYBACK, true);
    start(d, 10);
    run_msec(d, 300);
    rig_check_log(d->rig, 0, 1, 10 * PERIOD);
    CHECK_EQ(rig_holes(d->rig, 0), 0);
    CHECK(d->rig->log_frames > 10 * ROOM, "the ring was not passed");
    device_free(d);
}

static void test_the_position_is_the_one_that_is_heard(void) {
    struct device *d = device_new(XPA_PLAYBACK, true);
    start(d, 10);
    for (int i = 0; i < 8; i++) {
        run_msec(d, 10);
        double told = xpa_back_position(d->rig->back, sim_now), true_ = rig_truth(d->rig, sim_now);
        CHECK(fabs(told - true_) <= 1, "told %.1f, true %.1f", told, true_);
    }
    CHECK(rig_truth(d->rig, sim_now) > PERIOD, "nothing is heard");
    device_free(d);
}

static void test_a_later_relay_counts_from_where_the_stream_is(void) {
    struct device *d = device_new(XPA_PLAYBACK, true);
    run_msec(d, 100);
    uint64_t before = d->rig->back->stream.host_frames;
    CHECK(before > 0, "nothing was played");
    d->actor.at_nsec = 0;
    xpa_relay_disconnect(d->relay);
    sim_settle(d->rig->plane);
    struct xpa_relay *first = d->relay;
    d->relay = xpa_relay_new(d->rig->back, XPA_PLAYBACK, RIG_FRAME_BYTES, RIG_RATE, ROOM);
    CHECK_EQ(xpa_relay_connect(d->relay), 0);
    d->rig->log_frames = 0;
    d->rig->origin_nsec = d->actor.at_nsec = sim_now + SIM_MSEC;
    xpa_relay_ask(d->relay, CHUNK);
    start(d, 10);
    run_msec(d, 60);
    double told = xpa_back_position(d->rig->back, sim_now), true_ = rig_truth(d->rig, sim_now);
    CHECK(true_ > 0 && fabs(told - true_) <= 1, "told %.1f, true %.1f", told, true_);
    device_free(d);
    xpa_relay_free(first);
}

static void test_a_device_asks_for_no_more_than_there_is_room_for(void) {
    struct device *d = device_new(XPA_PLAYBACK, true);
    d->actor.at_nsec = 0;
    for (int i = 0; i < 5; i++)
        xpa_relay_ask(d->relay, UINT32_MAX);
    CHECK_EQ(xpa_relay_pending(d->relay), ROOM);
    sim_settle(d->rig->plane);
    CHECK_EQ(xpa_relay_ready(d->relay), ROOM);
    device_free(d);
}

static void test_what_is_silenced_is_silent_and_passes_all_the_same(void) {
    struct device *d = device_new(XPA_PLAYBACK, true);
    xpa_relay_silence(d->relay, 1);
    start(d, 5);
    run_msec(d, 80);
    CHECK_EQ(rig_holes(d->rig, 0), 0);
    for (uint64_t i = 0; i < d->rig->log_frames; i++)
        CHECK_EQ(d->rig->log[i], 0);
    CHECK_EQ(d->rig->back->stream.taken_frames, 5 * PERIOD);
    device_free(d);
}

static void test_what_is_captured_can_be_read(void) {
    struct device *d = device_new(XPA_CAPTURE, true);
    start(d, 0);
    run_msec(d, 100);
    uint64_t there = (uint64_t)xpa_back_position(d->rig->back, sim_now) / PERIOD * PERIOD;
    CHECK(there >= 3 * PERIOD, "%d frames can be read", (int)there);
    CHECK_EQ(rig_transfer(d->rig, XENSND_OP_READ, 0, (uint32_t)there * RIG_FRAME_BYTES), 0);
    for (uint64_t i = 1; i < there; i++)
        CHECK_EQ(d->rig->buffer[i], d->rig->buffer[0] + (int32_t)i);
    CHECK(d->rig->buffer[0] > 0, "it is silence");
    device_free(d);
}

static void test_a_microphone_that_is_silenced_is_silent(void) {
    struct device *d = device_new(XPA_CAPTURE, true);
    xpa_relay_silence(d->relay, 1);
    start(d, 0);
    run_msec(d, 100);
    CHECK(d->captured > 3 * PERIOD, "nothing was captured");
    CHECK_EQ(rig_transfer(d->rig, XENSND_OP_READ, 0, 2 * PERIOD * RIG_FRAME_BYTES), 0);
    for (int i = 0; i < 2 * PERIOD; i++)
        CHECK_EQ(d->rig->buffer[i], 0);
    device_free(d);
}

static void test_frames_without_room_are_refused_whole(void) {
    struct device *d = device_new(XPA_CAPTURE, true);
    int32_t frames[ROOM] = {0};
    d->actor.at_nsec = 0;
    CHECK(xpa_relay_put(d->relay, frames, ROOM - 1, sim_now), "refused, though there is room");
    CHECK(!xpa_relay_put(d->relay, frames, 2, sim_now), "taken, though there is no room");
    CHECK_EQ(xpa_relay_count(d->relay), ROOM - 1);
    sim_settle(d->rig->plane);
    CHECK(xpa_relay_put(d->relay, frames, ROOM, sim_now), "refused, though it was emptied");
    device_free(d);
}

static void test_a_device_that_stood_still_is_learned_anew(void) {
    struct device *d = device_new(XPA_PLAYBACK, true);
    start(d, 10);
    run_msec(d, 60);
    d->actor.at_nsec = sim_now + 50 * SIM_MSEC; /* it ran dry */
    xpa_relay_shift(d->relay);
    d->rig->origin_nsec += 50 * SIM_MSEC;
    run_msec(d, 90);
    double told = xpa_back_position(d->rig->back, sim_now), true_ = rig_truth(d->rig, sim_now);
    CHECK(fabs(told - true_) <= PERIOD, "told %.1f, true %.1f", told, true_);
    device_free(d);
}

int main(void) {
    test_each_frame_passes_once_and_in_order_around_the_ring();
    test_the_position_is_the_one_that_is_heard();
    test_a_later_relay_counts_from_where_the_stream_is();
    test_a_device_asks_for_no_more_than_there_is_room_for();
    test_what_is_silenced_is_silent_and_passes_all_the_same();
    test_what_is_captured_can_be_read();
    test_a_microphone_that_is_silenced_is_silent();
    test_frames_without_room_are_refused_whole();
    test_a_device_that_stood_still_is_learned_anew();
    return check_close();
}

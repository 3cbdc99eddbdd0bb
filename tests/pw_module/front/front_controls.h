/* Volumes through the buffer that holds the samples, and events that tell of them. Part of
 * test_stream_front.c. */
#ifndef XPA_FRONT_CONTROLS_H
#define XPA_FRONT_CONTROLS_H

#include "front_bench.h"
#include "xen/volume_ext.h"

static int set_volume(struct bench *t, int32_t steps) {
    int result = xpa_front_control(t->front, XENSND_OP_SET_VOLUME, (uint8_t *)&steps, sizeof steps);
    sim_settle(t->plane);
    return result;
}

static const struct xensnd_req *last_request(const struct bench *t) {
    return &t->requests[(t->request_count - 1) % 64];
}

/* Where the last request says that the volume is. */
static int32_t *last_place(const struct bench *t) {
    CHECK_EQ(last_request(t)->operation, XENSND_OP_SET_VOLUME);
    CHECK_EQ(last_request(t)->op.rw.length, sizeof(int32_t));
    return &t->buffer[last_request(t)->op.rw.offset / FRAME_BYTES];
}

/* Frames of which each is its own number and 1. */
static void put_numbers(struct bench *t, uint32_t frames) {
    int32_t data[BUFFER];
    for (uint32_t i = 0; i < frames; i++)
        data[i] = (int32_t)(t->front->stream.written_frames + i) + 1;
    xpa_front_put(t->front, data, frames);
    sim_settle(t->plane);
}

static void check_numbers(const struct bench *t, uint64_t from, uint64_t to) {
    for (uint64_t frame = from; frame < to; frame++)
        CHECK_EQ(t->buffer[frame % BUFFER], (int32_t)frame + 1);
}

/* With our extension the frames that are not answered yet are spared, without it all that are not
 * heard: such a backend may copy them late. */
static void test_a_volume_lies_where_no_samples_are(int position_ext) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    t->front->position_ext = position_ext;
    xpa_front_prepare(t->front);
    put_numbers(t, PERIOD);
    xpa_front_begin(t->front);
    sim_settle(t->plane);
    for (uint32_t period = 0; period < 40; period++) {
        const struct xpa_front_stream *s = &t->front->stream;
        pass(t, PERIOD);
        position(t, period * PERIOD + 201);
        xpa_front_collect(t->front, sim_now);
        uint32_t before = t->request_count;
        CHECK_EQ(set_volume(t, -1000 - (int32_t)period), 0);
        CHECK_EQ(t->request_count, before); /* it waits for the cycle's frames */
        put_numbers(t, PERIOD);
        CHECK_EQ(*last_place(t), -1000 - (int32_t)period);
        uint64_t unanswered = s->written_frames - PERIOD;
        check_numbers(t, position_ext ? unanswered : s->position_frames, s->written_frames);
        CHECK_EQ(t->notices[XPA_NOTICE_RESPONSE], period + 1);
        CHECK_EQ(t->answer.status, 0);
    }
    CHECK_EQ(t->front->stats.dropped_frames, 0);
    bench_free(t);
}

static void answer_all(struct bench *t, uint32_t from) {
    for (uint32_t i = from; i < t->request_count; i++)
        answer(t, &t->requests[i % 64], 0);
    sim_settle(t->plane);
    xpa_front_collect(t->front, sim_now);
}

/* Whatever the backend takes its time for. */
static void test_no_sample_is_put_where_a_volume_is_not_answered(int position_ext) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    t->front->position_ext = position_ext;
    start(t, 300);
    pass(t, PERIOD);
    position(t, 251);
    xpa_front_collect(t->front, sim_now);
    t->silent = true;
    uint32_t before = t->request_count;
    set_volume(t, -7);
    put_numbers(t, PERIOD);
    const int32_t *place = last_place(t);
    uint32_t room = xpa_front_room(t->front);
    CHECK_EQ(room, position_ext ? BUFFER - PERIOD - 1 : BUFFER - 299 - 1);
    put_numbers(t, room);
    CHECK_EQ(*place, -7);
    CHECK_EQ(xpa_front_room(t->front), 0);
    CHECK_EQ(set_volume(t, -8), 0); /* one at a time */
    xpa_front_put(t->front, NULL, 0);
    sim_settle(t->plane);
    CHECK_EQ(t->answer.status, -EAGAIN);
    answer_all(t, before);
    CHECK_EQ(xpa_front_room(t->front), BUFFER);
    bench_free(t);
}

static void test_a_volume_goes_at_once_where_no_cycle_follows(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    CHECK_EQ(set_volume(t, -1), 0); /* open, not started */
    CHECK_EQ(*last_place(t), -1);
    start(t, 300);
    CHECK_EQ(set_volume(t, -2), 0);
    CHECK_EQ(last_request(t)->operation, XENSND_OP_TRIGGER);
    CHECK_EQ(set_volume(t, -3), -EBUSY);
    xpa_front_end(t->front);
    sim_settle(t->plane);
    CHECK_EQ(*last_place(t), -2);
    start(t, 300);
    set_volume(t, -4);
    xpa_front_check(t->front); /* the graph stands still */
    sim_settle(t->plane);
    CHECK_EQ(*last_place(t), -4);
    set_volume(t, -5);
    t->front->stream.started = false; /* no STOP: it is closed under it */
    xpa_front_close(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->answer.status, -EAGAIN);
    set_volume(t, -6);
    CHECK_EQ(t->answer.status, -EAGAIN);
    CHECK_EQ(*last_place(t), -4);
    bench_free(t);
}

/* A capture stream's volume lies in what the graph has taken; no READ is asked for there. */
static void test_a_volume_lies_where_nothing_captured_is(void) {
    struct bench *t = bench_new(XPA_CAPTURE);
    int32_t data[BUFFER];
    start(t, 0);
    for (uint64_t at = PERIOD + 1; at < 20 * PERIOD; at += PERIOD) {
        uint64_t before = t->front->stream.written_frames;
        pass(t, PERIOD);
        position(t, at);
        for (uint64_t i = before; i < at; i++) /* as READ would */
            t->buffer[i % BUFFER] = (int32_t)i + 1;
        xpa_front_ask(t->front);
        sim_settle(t->plane);
        set_volume(t, -(int32_t)at);
        xpa_front_get(t->front, data, PERIOD / 2 + (at % 500 < PERIOD ? PERIOD / 2 : 0));
        sim_settle(t->plane);
        CHECK_EQ(*last_place(t), -(int32_t)at);
        check_numbers(t, t->front->stream.read_frames, t->front->stream.written_frames);
        xpa_front_get(t->front, data, xpa_front_ready(t->front));
    }
    t->silent = true;
    set_volume(t, -9);
    xpa_front_get(t->front, data, 0);
    sim_settle(t->plane);
    CHECK_EQ(*last_place(t), -9);
    uint32_t place = last_request(t)->op.rw.offset, reads = t->request_count;
    pass(t, BUFFER);
    position(t, t->front->stream.written_frames + BUFFER);
    xpa_front_ask(t->front);
    sim_settle(t->plane);
    CHECK(t->request_count > reads, "nothing was asked for");
    for (uint32_t i = reads; i < t->request_count; i++) {
        const struct xensnd_req *read = &t->requests[i % 64];
        CHECK(read->op.rw.offset > place || read->op.rw.offset + read->op.rw.length <= place,
              "a READ over the volume");
    }
    bench_free(t);
}

/* --- what the host changes --- */

static void volume_event(struct bench *t, uint8_t changed, int32_t steps, bool told) {
    struct xensnd_evt event = {.id = t->event_id++, .type = XPA_EVT_VOLUME};
    struct xpa_volume_ext ext = {.changed = changed, .channels = 1, .volumes = {steps}};
    memcpy(&event.op, &ext, sizeof ext);
    xpa_evt_ring_put(&t->events, &event);
    if (told) {
        xpa_channel_notify(&t->link->events[HOST]);
        sim_settle(t->plane);
    }
}

static struct xpa_volume_ext volume_notice(struct bench *t) {
    struct xpa_notice notice = {0};
    CHECK_EQ(xpa_plane_next_notice(t->plane, &notice), 1);
    CHECK_EQ(notice.kind, XPA_NOTICE_VOLUME);
    struct xensnd_evt event;
    memcpy(&event, notice.packet, sizeof event);
    return xpa_volume_ext_of(&event);
}

/* However many a backend sends, Python has one at a time to read, and misses no change. */
static void test_volumes_wait_for_python_as_the_newest(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    volume_event(t, XPA_VOLUME_CHANGED, -1, true);
    CHECK_EQ(t->notices[XPA_NOTICE_VOLUME], 0); /* not agreed on */
    xpa_front_hear_volumes(t->front);
    t->asleep = true;
    volume_event(t, XPA_VOLUME_CHANGED, -2, true);
    volume_event(t, XPA_MUTE_CHANGED, -3, true);
    volume_event(t, 0, -4, true);
    struct xpa_notice none;
    CHECK_EQ(volume_notice(t).volumes[0], -2);
    CHECK_EQ(xpa_plane_next_notice(t->plane, &none), 0);
    xpa_front_check(t->front);
    sim_settle(t->plane);
    struct xpa_volume_ext ext = volume_notice(t);
    CHECK_EQ(ext.volumes[0], -4);
    CHECK_EQ(ext.changed, XPA_MUTE_CHANGED);
    CHECK_EQ(xpa_plane_next_notice(t->plane, &none), 0);
    t->asleep = false;
    bench_free(t);
}

/* What the host changed before it carried a request out comes before its answer. */
static void test_an_older_volume_is_heard_of_before_the_answer_to_a_newer_one(void) {
    struct bench *t = bench_new(XPA_PLAYBACK);
    xpa_front_hear_volumes(t->front);
    t->silent = t->asleep = true;
    set_volume(t, -1);
    volume_event(t, XPA_VOLUME_CHANGED, -2, false);
    answer(t, last_request(t), 0);
    sim_settle(t->plane);
    struct xpa_notice notice = {0};
    CHECK_EQ(volume_notice(t).volumes[0], -2);
    CHECK_EQ(xpa_plane_next_notice(t->plane, &notice), 1);
    CHECK_EQ(notice.kind, XPA_NOTICE_RESPONSE);
    t->asleep = false;
    bench_free(t);
}

#endif

/* A frontend stream before a backend that the test plays. */
#ifndef XPA_FRONT_BENCH_H
#define XPA_FRONT_BENCH_H

#include "random.h"
#include <math.h>

#include "front/front.h"
#include "stream_sim.h"

enum { RATE = 48000, BUFFER = 1000, PERIOD = 250, FRAME_BYTES = 4, BYTES = BUFFER * FRAME_BYTES };
enum { BACKEND = 8 };

struct bench {
    struct xpa_plane *plane;
    struct link *link;
    struct xpa_front *front;
    int32_t *buffer;
    uint32_t changes[5], notices[9];
    int32_t broken_code;
    struct xensnd_resp answer;
    bool asleep; /* Python */
    /* the backend */
    struct xpa_back_ring ring;
    struct xpa_evt_ring events;
    uint16_t event_id;
    bool silent;       /* answers nothing */
    bool leaves_alone; /* wants to hear of half a ring only */
    int status;
    struct xensnd_req requests[64];
    uint32_t request_count;
};

static void on_change(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct bench *t = data;
    (void)now_nsec;
    t->changes[change]++;
}

static void python(void *data) {
    struct bench *t = data;
    struct xpa_notice notice;
    while (!t->asleep && xpa_plane_next_notice(t->plane, &notice)) {
        t->notices[notice.kind]++;
        if (notice.kind == XPA_NOTICE_BROKEN)
            t->broken_code = notice.code;
        if (notice.kind == XPA_NOTICE_RESPONSE)
            memcpy(&t->answer, notice.packet, sizeof t->answer);
    }
}

static void answer(struct bench *t, const struct xensnd_req *request, int status) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.id = request->id;
    response.operation = request->operation;
    response.status = status;
    xpa_back_ring_push(&t->ring, &response);
    if (xpa_back_ring_publish(&t->ring))
        xpa_channel_notify(&t->link->requests[HOST]);
}

static void backend(void *data) {
    struct bench *t = data;
    struct xensnd_req request;
    bool told = xpa_channel_ack(&t->link->requests[HOST]) > 0;
    xpa_channel_ack(&t->link->events[HOST]);
    if (t->leaves_alone && !told)
        return;
    do {
        while (xpa_back_ring_pop(&t->ring, &request) == 1) {
            t->requests[t->request_count++ % 64] = request;
            if (!t->silent)
                answer(t, &request, t->status);
        }
    } while (xpa_back_ring_rearm(&t->ring, t->leaves_alone ? XPA_RING_SLOTS / 2 : 1));
}

static inline void position_sent(struct bench *t, uint64_t frames, uint32_t age_nsec,
                                 uint64_t sent_nsec) {
    struct xensnd_evt event;
    uint32_t sent[] = {(uint32_t)sent_nsec, (uint32_t)(sent_nsec >> 32)};
    memset(&event, 0, sizeof event);
    event.id = t->event_id++;
    event.type = XENSND_EVT_CUR_POS;
    event.op.cur_pos.position = frames * FRAME_BYTES;
    memcpy(event.op.reserved + 16, &age_nsec, sizeof age_nsec);
    memcpy(event.op.reserved + 20, sent, sizeof sent);
    xpa_evt_ring_put(&t->events, &event);
    xpa_channel_notify(&t->link->events[HOST]);
    sim_settle(t->plane);
}

static inline void position_aged(struct bench *t, uint64_t frames, uint32_t age_nsec) {
    position_sent(t, frames, age_nsec, 0);
}

static inline void position(struct bench *t, uint64_t frames) { position_aged(t, frames, 0); }

static struct bench *bench_new(int direction) {
    struct bench *t = calloc(1, sizeof *t);
    sim_reset();
    t->plane = xpa_plane_new();
    t->link = link_new();
    t->buffer = calloc(BUFFER, FRAME_BYTES);
    t->front = xpa_front_new(t->plane, 3, direction, &t->link->ring_page, &t->link->event_page,
                             t->link->requests[GUEST], t->link->events[GUEST], 0, BACKEND);
    t->front->graph.on_change = on_change;
    t->front->graph.data = t;
    xpa_back_ring_init(&t->ring, &t->link->ring_page);
    xpa_evt_ring_init_back(&t->events, &t->link->event_page);
    sim_add_poll(python, t);
    sim_add_poll(backend, t);
    struct xpa_config config = {.rate = RATE,
                                .channels = 1,
                                .sample_bytes = FRAME_BYTES,
                                .sample_kind = XPA_SAMPLE_S32,
                                .buffer_frames = BUFFER,
                                .period_frames = PERIOD,
                                .buffer = t->buffer};
    xpa_front_attach(t->front);
    xpa_front_open(t->front, &config, 300, 0);
    sim_settle(t->plane);
    CHECK_EQ(t->changes[XPA_FRONT_OPENED], 1);
    return t;
}

static void bench_free(struct bench *t) {
    xpa_front_detach(t->front);
    sim_settle(t->plane);
    CHECK_EQ(t->notices[XPA_NOTICE_DETACHED], 1);
    xpa_front_free(t->front);
    xpa_plane_free(t->plane);
    link_free(t->link);
    free(t->buffer);
    free(t);
}

static void start(struct bench *t, uint32_t frames) {
    xpa_front_prepare(t->front);
    if (t->front->direction == XPA_PLAYBACK)
        xpa_front_put(t->front, NULL, frames);
    xpa_front_begin(t->front);
    sim_settle(t->plane);
}

static inline void pass(struct bench *t, double frames) {
    sim_run(t->plane, (uint64_t)(frames * 1e9 / RATE));
}

static inline int64_t delay(const struct bench *t) {
    return (int64_t)(t->front->stream.written_frames - t->front->stream.position_frames);
}

/* --- requests --- */

#endif

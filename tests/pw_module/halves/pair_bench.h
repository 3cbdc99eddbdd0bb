/* Both halves joined, with a device and applications, for the tests of the pair. */
#ifndef XPA_PAIR_BENCH_H
#define XPA_PAIR_BENCH_H

#include <math.h>

#include "random.h"
#include "back/back.h"
#include "front/front.h"
#include "stream_sim.h"

enum { RATE = 48000, FRAME_BYTES = 4, LOG_FRAMES = RATE * 90 };

struct end {
    struct link *link;
    struct xpa_front *front;
    struct xpa_back *back;
    struct xpa_tap *tap;
    int32_t *buffer, *log;
    uint32_t *guest_before; /* guest frames in the log before this host frame */
    uint64_t logged, first; /* the log holds host frames first..logged */
    /* writer or reader */
    uint32_t quantum_frames, lead_frames, format; /* the format: sndif's number, or 0 */
    int32_t next;
    uint64_t stalled_until_nsec;
    bool check_position, check_prediction;
    double worst_frames, worst_prediction_frames;
    uint64_t positions, starved;
};

struct pair {
    struct xpa_plane *plane;
    struct xpa_vdev *vdev;
    struct end play, capture;
    struct sim_timer *device_timer;
    double ppm;
};

/* The device's word on when a frame was heard. */
static uint64_t mark_nsec, mark_frames;
static const struct xpa_back *marked;
void __real_xpa_back_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames);
void __wrap_xpa_back_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames);
void __wrap_xpa_back_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames) {
    if (b == marked) {
        mark_nsec = nsec;
        mark_frames = host_frames;
    }
    __real_xpa_back_mark(b, nsec, host_frames);
}

static void drain_tap(struct end *e) {
    uint64_t got = xpa_tap_read(e->tap, (uint8_t *)(e->log + e->logged),
                                (LOG_FRAMES - e->logged) * FRAME_BYTES) /
                   FRAME_BYTES;
    if (got == 0)
        return;
    if (e->first == 0 && e->logged == 0) { /* frames before START were nobody's */
        e->first = e->back->stream.host_frames - got;
        memmove(e->log + e->first, e->log, got * FRAME_BYTES);
        memset(e->log, 0, e->first * FRAME_BYTES);
        e->logged = e->first;
    }
    for (uint64_t i = 0; i < got; i++, e->logged++)
        e->guest_before[e->logged + 1] = e->guest_before[e->logged] + (e->log[e->logged] != 0);
}

/* Guest frames heard by now. */
static double truth(struct pair *p) {
    struct end *e = &p->play;
    drain_tap(e);
    double nsec_per_frame = 1e9 / (RATE * (1.0 + p->ppm * 1e-6));
    double host = (double)mark_frames + (double)(int64_t)(sim_now - mark_nsec) / nsec_per_frame;
    host = fmin(host, (double)e->logged);
    uint64_t whole = (uint64_t)host;
    double part = whole < e->logged && e->log[whole] ? host - (double)whole : 0;
    return e->guest_before[whole] + part;
}

static void python(void *data) {
    struct pair *p = data;
    struct xpa_notice notice;
    while (xpa_plane_next_notice(p->plane, &notice))
        CHECK(notice.kind != XPA_NOTICE_BROKEN, "stream %u broke: %d", notice.stream_id,
              notice.code);
}

static void write_cycles(struct pair *p) {
    struct end *e = &p->play;
    struct xpa_front *f = e->front;
    int32_t data[4096];
    if (sim_now < e->stalled_until_nsec || !f->stream.positioned)
        return;
    xpa_front_collect(f, sim_now);
    while (f->stream.written_frames <= f->stream.position_frames + e->lead_frames) {
        if (xpa_front_room(f) < e->quantum_frames)
            break;
        for (uint32_t i = 0; i < e->quantum_frames; i++)
            data[i] = 2 * ++e->next;
        xpa_front_put(f, data, e->quantum_frames);
    }
}

static void on_play(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct pair *p = data;
    struct end *e = &p->play;
    struct xpa_front *f = e->front;
    if (!f->stream.started)
        return;
    if (change == XPA_FRONT_POSITION && f->stream.positioned) {
        CHECK_EQ(f->stream.written_frames, e->back->stats.written_frames);
        CHECK(f->stream.position_frames <= f->stream.written_frames, "heard more than was written");
        e->positions++;
        e->starved += f->stream.starved;
        if (!f->stream.starved && e->check_position) {
            double heard = truth(p);
            double error = (double)f->stream.position_frames - heard;
            e->worst_frames = fmax(e->worst_frames, fabs(error));
            CHECK(fabs(error) < 1.1, "position %llu, heard %f, written %llu",
                  (unsigned long long)f->stream.position_frames, heard,
                  (unsigned long long)f->stream.written_frames);
            if (e->check_prediction)
                e->worst_prediction_frames = fmax(e->worst_prediction_frames,
                                                  fabs(xpa_front_position_at(f, now_nsec) - heard));
        }
    }
    if (change == XPA_FRONT_POSITION || change == XPA_FRONT_ANSWER)
        write_cycles(p);
}

static void on_capture(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct pair *p = data;
    struct end *e = &p->capture;
    int32_t got[16384];
    (void)now_nsec;
    if (!e->front->stream.started)
        return;
    if (change == XPA_FRONT_POSITION)
        xpa_front_ask(e->front);
    uint32_t ready = xpa_front_ready(e->front);
    if (e->logged + ready > LOG_FRAMES)
        return;
    xpa_front_get(e->front, got, ready);
    memcpy(e->log + e->logged, got, (size_t)ready * FRAME_BYTES);
    e->logged += ready;
}

static void end_init(struct pair *p, struct end *e, int direction, uint32_t buffer_frames,
                     uint32_t period_frames, int position_ext) {
    struct xpa_channel *requests, *events;
    e->link = link_new();
    requests = e->link->requests;
    events = e->link->events;
    e->buffer = calloc(buffer_frames, FRAME_BYTES);
    e->log = calloc(LOG_FRAMES, sizeof *e->log);
    e->guest_before = calloc(LOG_FRAMES + 1, sizeof *e->guest_before);
    e->tap = xpa_tap_new(RATE * FRAME_BYTES);
    e->front = xpa_front_new(p->plane, 1, direction, &e->link->ring_page, &e->link->event_page,
                             requests[GUEST], events[GUEST], position_ext, 0);
    e->back = xpa_back_new(p->plane, 2, direction, &e->link->ring_page, &e->link->event_page,
                           requests[HOST], events[HOST], position_ext);
    e->front->graph.on_change = direction == XPA_PLAYBACK ? on_play : on_capture;
    e->front->graph.data = p;
    struct xpa_config config = {.format = e->format,
                                .rate = RATE,
                                .channels = 1,
                                .sample_bytes = FRAME_BYTES,
                                .sample_kind = XPA_SAMPLE_S32,
                                .buffer_frames = buffer_frames,
                                .period_frames = period_frames,
                                .buffer = e->buffer};
    xpa_back_attach(e->back);
    xpa_front_attach(e->front);
    xpa_back_open(e->back, &config);
    xpa_front_open(e->front, &config, e->lead_frames, 0);
    xpa_vdev_connect(p->vdev, e->back);
    if (direction == XPA_PLAYBACK) {
        xpa_back_set_tap(e->back, e->tap);
        marked = e->back;
    }
    sim_settle(p->plane);
}

static void end_free(struct pair *p, struct end *e) {
    if (!e->front)
        return;
    xpa_vdev_disconnect(p->vdev, e->back);
    xpa_front_detach(e->front);
    xpa_back_detach(e->back);
    sim_settle(p->plane);
    xpa_front_free(e->front);
    xpa_back_free(e->back);
    xpa_tap_free(e->tap);
    link_free(e->link);
    free(e->buffer);
    free(e->log);
    free(e->guest_before);
}

static struct pair *pair_new(uint32_t device_quantum_frames, double ppm, int loopback,
                             uint32_t delay_frames, double gain) {
    struct pair *p = calloc(1, sizeof *p);
    sim_reset();
    sim_add_poll(python, p);
    p->plane = xpa_plane_new();
    p->ppm = ppm;
    p->vdev =
        xpa_vdev_new(p->plane, RATE, device_quantum_frames, ppm, loopback, delay_frames, gain);
    return p;
}

static void pair_free(struct pair *p) {
    end_free(p, &p->play);
    end_free(p, &p->capture);
    xpa_vdev_free(p->vdev);
    xpa_plane_free(p->plane);
    free(p);
}

static void play_open(struct pair *p, uint32_t buffer, uint32_t period, uint32_t quantum,
                      uint32_t lead, int position_ext) {
    p->play.quantum_frames = quantum;
    p->play.lead_frames = lead;
    end_init(p, &p->play, XPA_PLAYBACK, buffer, period, position_ext);
    /* the device ticks, nobody else has a timer yet */
    for (int i = 0; i < SIM_SLOTS; i++)
        if (sim_timers[i].source && sim_timers[i].at_nsec)
            p->device_timer = &sim_timers[i];
}

static inline void play_start(struct pair *p, uint32_t period) {
    struct end *e = &p->play;
    uint32_t frames = e->lead_frames + period + 1;
    int32_t *data = calloc(frames, sizeof *data);
    for (uint32_t i = 0; i < frames; i++)
        data[i] = 2 * ++e->next;
    xpa_front_prepare(e->front);
    xpa_front_put(e->front, data, frames);
    free(data);
    xpa_front_begin(e->front);
    sim_settle(p->plane);
}

/* Every frame that was written up to the last one played: once, in order. */
static inline void check_played(struct pair *p) {
    struct end *e = &p->play;
    int32_t next = 1;
    drain_tap(e);
    CHECK_EQ(xpa_tap_dropped_bytes(e->tap), 0);
    for (uint64_t i = 0; i < e->logged; i++)
        if (e->log[i]) {
            CHECK(e->log[i] == 2 * next, "host frame %llu holds %d/2, not %d",
                  (unsigned long long)i, e->log[i], next);
            next = e->log[i] / 2 + 1;
        }
    CHECK_EQ(next - 1, e->back->stream.taken_frames);
    CHECK(next > 1000, "only %d frames were played", next);
}

static void run_and_drain_taps(struct pair *p, uint64_t nsec) {
    for (uint64_t end = sim_now + nsec; sim_now < end;) {
        sim_run(p->plane, nsec < 100 * SIM_MSEC ? nsec : 100 * SIM_MSEC);
        drain_tap(&p->play);
    }
}

#endif

/*
 * One backend stream with its three neighbours: a guest that speaks raw packets, the part of Python
 * (it answers slow requests as the daemon does), and a host device that records what it was given
 * and knows the truth: frame h is heard at origin + latency + h * nsec_per_frame.
 *
 * Samples are one 32-bit number a frame, the guest's frame count from 1; silence is 0.
 */
#ifndef STREAM_RIG_H
#define STREAM_RIG_H

#include <math.h>

#include "back/back.h"
#include "stream_sim.h"

enum { RIG_RATE = 48000, RIG_FRAME_BYTES = 4, RIG_LOG_FRAMES = 48000 * 40 };

struct rig {
    struct xpa_plane *plane;
    struct link *link;
    struct xpa_back *back;
    int direction;
    /* guest */
    struct xpa_front_ring ring;
    uint16_t next_id;
    int32_t *buffer; /* exactly as long as the stream's: the sanitizer watches its ends */
    uint32_t buffer_frames, period_frames;
    bool hand_polled; /* the test itself takes the events */
    /* Python */
    bool asleep;   /* does not answer */
    int held_open; /* result of xpa_back_open */
    struct xpa_config config;
    uint32_t notices[9];
    int32_t broken_code, trigger_code;
    struct xpa_notice request; /* the last one unanswered while asleep */
    /* host */
    struct sim_actor tick;
    uint32_t quantum_frames;
    uint64_t latency_nsec, origin_nsec, ticks;
    uint64_t uneven_nsec; /* every second cycle is said to be so much later than it is */
    double nsec_per_frame;
    int32_t *log;
    uint64_t log_frames;
    int32_t next_captured;
    bool host_running;
};

static inline void rig_python_answer(struct rig *r, const struct xpa_notice *notice) {
    struct xensnd_req request;
    struct xensnd_resp response;
    memcpy(&request, notice->packet, sizeof request);
    memset(&response, 0, sizeof response);
    response.id = request.id;
    response.operation = request.operation;
    switch (request.operation) {
    case XENSND_OP_OPEN:
        r->held_open = xpa_back_open(r->back, &r->config);
        response.status = r->held_open;
        break;
    case XENSND_OP_CLOSE:
        xpa_back_close(r->back);
        break;
    case XENSND_OP_HW_PARAM_QUERY:
        break;
    default:
        response.status = -EOPNOTSUPP;
    }
    xpa_back_respond(r->back, (const uint8_t *)&response);
}

static inline void rig_python(void *data) {
    struct rig *r = data;
    struct xpa_notice notice;
    if (r->asleep)
        return;
    while (xpa_plane_next_notice(r->plane, &notice)) {
        r->notices[notice.kind]++;
        if (notice.kind == XPA_NOTICE_BROKEN)
            r->broken_code = notice.code;
        if (notice.kind == XPA_NOTICE_TRIGGER)
            r->trigger_code = notice.code;
        if (notice.kind == XPA_NOTICE_REQUEST)
            rig_python_answer(r, &notice);
    }
}

static inline uint64_t rig_frame_nsec(const struct rig *r, double frames) {
    return r->origin_nsec + (uint64_t)llround(frames * r->nsec_per_frame);
}

static inline void rig_tick(struct sim_actor *actor) {
    struct rig *r = actor->data;
    struct xpa_back *b = r->back;
    uint64_t nsec = rig_frame_nsec(r, (double)(r->ticks * r->quantum_frames));
    uint64_t uneven_nsec = r->ticks % 2 ? r->uneven_nsec : 0;
    r->ticks++;
    actor->at_nsec = rig_frame_nsec(r, (double)(r->ticks * r->quantum_frames));
    xpa_back_collect(b, sim_now);
    if (!b->stream.open) {
        r->log_frames += r->quantum_frames; /* keeps frame and time together */
        return;
    }
    uint64_t before = r->log_frames;
    /* as if it had been open for ever: one number for host and log */
    b->stream.host_frames = before;
    r->log_frames += r->quantum_frames;
    if (r->direction == XPA_PLAYBACK) {
        xpa_back_pull(b, r->log + before, r->quantum_frames);
        xpa_back_mark(b, nsec + r->latency_nsec + uneven_nsec, before);
    } else { /* handed over when the last of them is `latency` old */
        for (uint32_t i = 0; i < r->quantum_frames; i++)
            r->log[before + i] = ++r->next_captured;
        xpa_back_push(b, r->log + before, r->quantum_frames, r->latency_nsec);
        xpa_back_mark(b, nsec - r->latency_nsec + uneven_nsec, r->log_frames);
    }
}

static inline void rig_host_start(struct rig *r, uint32_t quantum_frames, uint64_t latency_nsec,
                                  double ppm) {
    r->quantum_frames = quantum_frames;
    r->latency_nsec = latency_nsec;
    r->nsec_per_frame = 1e9 / (RIG_RATE * (1.0 + ppm * 1e-6));
    r->origin_nsec = sim_now + SIM_MSEC;
    r->tick.at_nsec = r->origin_nsec;
    r->host_running = true;
}

/* Guest frames heard at `nsec`, by the log: the truth that positions are compared with. */
static inline double rig_truth(const struct rig *r, uint64_t nsec) {
    double frames =
        ((double)(int64_t)(nsec - r->origin_nsec) - (double)r->latency_nsec) / r->nsec_per_frame;
    uint64_t heard = 0, whole = frames > 0 ? (uint64_t)frames : 0;
    for (uint64_t i = 0; i < r->log_frames && i < whole; i++)
        heard += r->log[i] != 0;
    bool begun = frames > 0 && whole < r->log_frames && r->log[whole];
    return (double)heard + (begun ? frames - (double)whole : 0);
}

static inline struct rig *rig_new(int direction, uint32_t buffer_frames, uint32_t period_frames,
                                  int position_ext) {
    struct rig *r = calloc(1, sizeof *r);
    sim_reset();
    r->plane = xpa_plane_new();
    r->link = link_new();
    r->direction = direction;
    r->buffer_frames = buffer_frames;
    r->period_frames = period_frames;
    r->buffer = calloc(buffer_frames, RIG_FRAME_BYTES);
    r->log = calloc(RIG_LOG_FRAMES, sizeof *r->log);
    xpa_front_ring_init(&r->ring, &r->link->ring_page);
    memset(&r->link->event_page, 0, sizeof r->link->event_page);
    r->back = xpa_back_new(r->plane, 7, direction, &r->link->ring_page, &r->link->event_page,
                           r->link->requests[HOST], r->link->events[HOST], position_ext);
    r->config = (struct xpa_config){
        .rate = RIG_RATE,
        .channels = 1,
        .sample_bytes = RIG_FRAME_BYTES,
        .sample_kind = XPA_SAMPLE_S32,
        .buffer_frames = buffer_frames,
        .period_frames = period_frames,
        .buffer = r->buffer,
    };
    r->tick = (struct sim_actor){.func = rig_tick, .data = r};
    sim_add_actor(&r->tick);
    sim_add_poll(rig_python, r);
    xpa_back_attach(r->back);
    sim_settle(r->plane);
    return r;
}

static inline void rig_free(struct rig *r) {
    r->asleep = false;
    xpa_back_detach(r->back);
    sim_settle(r->plane);
    CHECK_EQ(r->notices[XPA_NOTICE_DETACHED], 1);
    xpa_back_free(r->back);
    xpa_plane_free(r->plane);
    link_free(r->link);
    free(r->buffer);
    free(r->log);
    free(r);
}

/* --- the guest's raw requests --- */

/* Whether the backend wants to be told of it. */
static inline bool rig_queue(struct rig *r, struct xensnd_req *request) {
    request->id = r->next_id++;
    CHECK_EQ(xpa_front_ring_push(&r->ring, request), 0);
    return xpa_front_ring_publish(&r->ring);
}

/* A frontend with the extension tells the backend of all that it waits for. */
static inline void rig_push(struct rig *r, struct xensnd_req *request) {
    if (rig_queue(r, request) || r->back->position_ext)
        xpa_channel_notify(&r->link->requests[GUEST]);
}

enum { NO_ANSWER = 12345 };

static inline int rig_pop(struct rig *r) {
    struct xensnd_resp response;
    int got = xpa_front_ring_pop(&r->ring, &response);
    (void)xpa_front_ring_rearm(&r->ring, 1);
    xpa_channel_ack(&r->link->requests[GUEST]);
    return got == 1 ? response.status : NO_ANSWER;
}

/* One request and its answer; at once, since nothing here needs time. */
static inline int rig_call(struct rig *r, struct xensnd_req *request) {
    rig_push(r, request);
    sim_settle(r->plane);
    return rig_pop(r);
}

static inline int rig_op(struct rig *r, uint8_t operation) {
    struct xensnd_req request = {.operation = operation};
    return rig_call(r, &request);
}

static inline int rig_transfer(struct rig *r, uint8_t operation, uint32_t offset, uint32_t length) {
    struct xensnd_req request = {.operation = operation};
    request.op.rw.offset = offset;
    request.op.rw.length = length;
    return rig_call(r, &request);
}

static inline int rig_trigger(struct rig *r, uint8_t type) {
    struct xensnd_req request = {.operation = XENSND_OP_TRIGGER};
    request.op.trigger.type = type;
    return rig_call(r, &request);
}

/* Frames `first`.. at `offset_frames`, split at the buffer's end as the kernel does. */
static inline int rig_write(struct rig *r, uint32_t offset_frames, int32_t first, uint32_t frames) {
    while (frames > 0) {
        uint32_t n =
            r->buffer_frames - offset_frames < frames ? r->buffer_frames - offset_frames : frames;
        for (uint32_t i = 0; i < n; i++)
            r->buffer[offset_frames + i] = first + (int32_t)i;
        int status =
            rig_transfer(r, XENSND_OP_WRITE, offset_frames * RIG_FRAME_BYTES, n * RIG_FRAME_BYTES);
        if (status)
            return status;
        offset_frames = (offset_frames + n) % r->buffer_frames;
        first += (int32_t)n;
        frames -= n;
    }
    return 0;
}

/* The next event: 1 and its parts, or 0. Whether anybody was woken for it is another question. */
static inline int rig_take_event(struct rig *r, struct xensnd_evt *event) {
    struct xensnd_event_page *page = (void *)&r->link->event_page;
    uint32_t cons = page->in_cons;
    if (cons == page->in_prod)
        return 0;
    *event = XENSND_IN_RING_REF(page, cons);
    page->in_cons = cons + 1;
    return 1;
}

/* The same; nobody asks who was woken. */
static inline int rig_event(struct rig *r, struct xensnd_evt *event) {
    xpa_channel_ack(&r->link->events[GUEST]);
    return rig_take_event(r, event);
}

/* Guest frames in the log from log index `from` on are first..last in order, each once. */
static inline void rig_check_log(const struct rig *r, uint64_t from, int32_t first, int32_t last) {
    int32_t next = first;
    for (uint64_t i = from; i < r->log_frames; i++) {
        if (r->log[i] == 0)
            continue;
        CHECK(r->log[i] == next, "log[%llu] is %d, not %d", (unsigned long long)i, r->log[i], next);
        next = r->log[i] + 1;
    }
    CHECK(next == last + 1, "the last frame played is %d, not %d", next - 1, last);
}

/* Silence between the first and the last guest frame from log index `from` on. */
static inline uint64_t rig_holes(const struct rig *r, uint64_t from) {
    uint64_t first = 0, last = 0, guest = 0;
    for (uint64_t i = from; i < r->log_frames; i++)
        if (r->log[i]) {
            first = guest++ ? first : i;
            last = i;
        }
    return guest ? last - first + 1 - guest : 0;
}

#endif

/*
 * A guest's sink and source before a graph in small, on the simulated clock: frontend, backend and
 * virtual device are the real ones, and so is everything of the node that runs on the data loop.
 * The graph does what PipeWire does to its driver: its clients are late, it loses cycles, changes
 * the quantum, and its converter (as in test_converter.c) has frames left over.
 */
#ifndef GRAPH_WORLD_H
#define GRAPH_WORLD_H

#include "node/drive.h"
#include "node/graph.h"
#include "node/lead.h"
#include "random.h"
#include "back/back.h"
#include "stream_sim.h"

enum { RATE = 48000, FRAME_BYTES = 4, BUFFER = 16384, PERIOD = 256, LOG_FRAMES = RATE * 100 };
enum { S32 = XENSND_PCM_FORMAT_S32_LE, FLOAT = XENSND_PCM_FORMAT_F32_LE };
static const uint64_t NEVER = UINT64_MAX;

/* What the host's device takes or gives at once, in worlds to come. */
static uint32_t world_host_frames = 64;

struct world {
    struct xpa_plane *plane;
    struct xpa_vdev *vdev;
    struct link *link;
    struct xpa_back *back;
    struct xpa_front *front;
    struct xpa_tap *tap;
    int32_t *buffer, *log;
    uint64_t logged;
    struct xpa_pw pw;
    struct xpa_pw_node node;
    bool asleep; /* Python */
    uint64_t told_frames;
    /* the graph */
    struct spa_io_position position;
    struct spa_io_rate_match rate_match;
    struct sim_actor clients, daemon; /* both end with process() */
    uint64_t takes_nsec;              /* so long clients need; NEVER: this cycle is lost */
    int32_t next;
    bool lost;
    uint64_t cycles, unfinished, silent, astray;
    uint64_t clock_nsec, clock_position;
    uint64_t last_nsec, longest_nsec, hurried; /* between two cycles; less than most of a quantum */
    uint32_t held, asks_again;                 /* the converter's */
    uint32_t requested;                        /* what pw_stream says of it since 1.0.5: of the */
                                               /* cycle before */
    uint64_t handed;                           /* capture: frames; and how old the oldest was */
    double oldest;
    /* what the stream hands over */
    struct pw_buffer outer;
    struct spa_buffer inner;
    struct spa_data data;
    struct spa_chunk chunk;
    int32_t samples[BUFFER];
};

static struct world *world; /* there is one; pw_stream's functions find it here */

static inline void process(struct world *w) {
    uint32_t quantum = (uint32_t)w->position.clock.duration;
    if (w->node.direction == XPA_PLAYBACK) {
        for (uint32_t i = 0; i < quantum; i++)
            w->samples[i] = 2 * ++w->next;
        w->chunk = (struct spa_chunk){.size = quantum * FRAME_BYTES};
    }
    w->outer.requested = w->node.version < 1000005 ? w->rate_match.size : w->requested;
    w->requested = w->rate_match.size;
    double age = xpa_front_position_at(w->front, sim_now) - (double)w->front->stream.read_frames;
    w->oldest = age > w->oldest ? age : w->oldest;
    xpa_node_process(&w->node);
}

static inline void on_clients(struct sim_actor *actor) { process(actor->data); }

int pw_stream_trigger_process(struct pw_stream *stream) {
    struct world *w = world;
    uint32_t quantum = (uint32_t)w->position.clock.duration;
    (void)stream;
    w->cycles++;
    if (w->last_nsec && sim_now - w->last_nsec > w->longest_nsec)
        w->longest_nsec = sim_now - w->last_nsec;
    w->hurried += sim_now - w->last_nsec < quantum * SIM_SEC / RATE * 3 / 4;
    w->last_nsec = sim_now;
    double late = (double)(int64_t)(w->position.clock.nsec - w->clock_nsec) * RATE / 1e9 -
                  (double)(w->position.clock.position - w->clock_position);
    w->astray += fabs(late) > 2;
    w->clock_nsec = w->position.clock.nsec;
    w->clock_position = w->position.clock.position;
    if (w->node.direction == XPA_PLAYBACK) {
        w->unfinished += w->clients.at_nsec != 0 || w->daemon.at_nsec != 0;
        if (w->lost) /* the driver's part of the lost cycle comes first */
            w->daemon.at_nsec = sim_now + SIM_MSEC / 10;
        w->lost = w->takes_nsec == NEVER;
        w->clients.at_nsec = w->lost ? 0 : sim_now + w->takes_nsec;
        return 0;
    }
    if (w->rate_match.size > 0)
        process(w);
    w->silent += w->held < quantum;
    w->held -= w->held < quantum ? 0 : quantum;
    w->rate_match.size = quantum > w->held ? quantum - w->held : 0;
    return 0;
}

struct pw_buffer *pw_stream_dequeue_buffer(struct pw_stream *stream) {
    (void)stream;
    return &world->outer;
}

int pw_stream_queue_buffer(struct pw_stream *stream, struct pw_buffer *buffer) {
    (void)stream;
    if (world->node.direction == XPA_CAPTURE) {
        world->held += (uint32_t)buffer->size;
        world->handed += buffer->size;
    }
    return 0;
}

static inline void drain_tap(struct world *w) {
    w->logged += xpa_tap_read(w->tap, (uint8_t *)(w->log + w->logged),
                              (LOG_FRAMES - w->logged) * FRAME_BYTES) /
                 FRAME_BYTES;
}

static inline void python(void *data) {
    struct world *w = data;
    struct xpa_notice notice;
    while (!w->asleep && xpa_plane_next_notice(w->plane, &notice)) {
        CHECK(notice.kind != XPA_NOTICE_BROKEN, "broke: %d", notice.code);
        if (notice.kind == XPA_NOTICE_LATENCY) {
            struct xpa_stats stats;
            xpa_front_stats(w->front, &stats);
            w->told_frames = stats.published_frames;
        }
    }
    if (w->tap)
        drain_tap(w);
}

static inline struct xpa_config world_config(const struct world *w, uint32_t format) {
    return (struct xpa_config){.format = format,
                               .rate = RATE,
                               .channels = 1,
                               .sample_bytes = FRAME_BYTES,
                               .sample_kind = XPA_SAMPLE_S32,
                               .buffer_frames = BUFFER,
                               .period_frames = PERIOD,
                               .buffer = w->buffer};
}

/* New rings, and both halves on them. */
static inline void world_connect(struct world *w) {
    w->link = link_new();
    w->front =
        xpa_front_new(w->plane, 1, w->node.direction, &w->link->ring_page, &w->link->event_page,
                      w->link->requests[GUEST], w->link->events[GUEST], 1, 0);
    w->back = xpa_back_new(w->plane, 2, w->node.direction, &w->link->ring_page,
                           &w->link->event_page, w->link->requests[HOST], w->link->events[HOST], 1);
    xpa_back_attach(w->back);
    xpa_front_attach(w->front);
    sim_settle(w->plane);
}

static inline void world_open(struct world *w) {
    struct xpa_config config = world_config(w, S32);
    xpa_back_open(w->back, &config);
    xpa_front_open(w->front, &config, PERIOD + 120, 0);
    if (w->node.direction == XPA_PLAYBACK)
        xpa_back_set_tap(w->back, w->tap);
    xpa_vdev_connect(w->vdev, w->back);
    sim_settle(w->plane);
}

static inline struct world *world_new(int direction, uint32_t quantum) {
    struct world *w = world = calloc(1, sizeof *w);
    sim_reset();
    sim_add_poll(python, w);
    w->plane = xpa_plane_new();
    w->vdev = xpa_vdev_new(w->plane, RATE, world_host_frames, 0, 0, 0, 1.0);
    w->buffer = calloc(BUFFER, FRAME_BYTES);
    w->log = calloc(LOG_FRAMES, sizeof *w->log);
    w->tap = xpa_tap_new(RATE * FRAME_BYTES);
    spa_list_init(&w->pw.loop.nodes);
    w->clients = (struct sim_actor){.func = on_clients, .data = w};
    w->daemon = (struct sim_actor){.func = on_clients, .data = w};
    sim_add_actor(&w->clients);
    sim_add_actor(&w->daemon);
    w->takes_nsec = SIM_MSEC / 2;
    w->data =
        (struct spa_data){.data = w->samples, .maxsize = sizeof w->samples, .chunk = &w->chunk};
    w->inner = (struct spa_buffer){.n_datas = 1, .datas = &w->data};
    w->outer.buffer = &w->inner;
    w->position.clock.duration = quantum;
    w->position.clock.rate = SPA_FRACTION(1, RATE);
    struct xpa_pw_node *n = &w->node;
    n->pw = &w->pw;
    n->plane = w->plane;
    n->direction = direction;
    n->version = 3065;
    n->state.format = (struct xpa_node_format){S32, RATE, 1, FRAME_BYTES, {0}};
    n->timer_source = (struct xpa_source){xpa_timer_create(), xpa_node_on_timer, n};
    xpa_loop_add(&w->plane->loop, &n->timer_source);
    spa_list_append(&w->pw.loop.nodes, &n->state.link);
    world_connect(w);
    n->state.front = w->front;
    w->front->graph.on_change = xpa_node_on_change;
    w->front->graph.data = n;
    world_open(w);
    xpa_node_set_io(n, SPA_IO_Position, &w->position);
    xpa_node_set_io(n, SPA_IO_Clock, &w->position.clock);
    xpa_node_set_io(n, SPA_IO_RateMatch, &w->rate_match);
    n->state.wanted = true;
    xpa_node_update(n, sim_now);
    sim_run(w->plane, SIM_SEC);
    CHECK(w->cycles > 0.8 * RATE / quantum, "%d cycles", (int)w->cycles);
    CHECK_EQ(w->silent, 0); /* not even the first one, for which nothing was asked before */
    return w;
}

static inline void world_free(struct world *w) {
    xpa_vdev_disconnect(w->vdev, w->back);
    w->front->graph.on_change = NULL;
    xpa_front_detach(w->front);
    xpa_back_detach(w->back);
    sim_settle(w->plane);
    xpa_loop_remove(&w->plane->loop, &w->node.timer_source);
    close(w->node.timer_source.fd);
    xpa_front_free(w->front);
    xpa_back_free(w->back);
    xpa_vdev_free(w->vdev);
    xpa_tap_free(w->tap);
    xpa_plane_free(w->plane);
    link_free(w->link);
    free(w->buffer);
    free(w->log);
    free(w);
}

/* Silence heard since log frame `from`; no frame is heard twice, or before an earlier one. */
static inline uint64_t silence(struct world *w, uint64_t from) {
    uint64_t silent = 0;
    int32_t last = 0;
    drain_tap(w);
    CHECK_EQ(xpa_tap_dropped_bytes(w->tap), 0);
    for (uint64_t i = from; i < w->logged; i++) {
        silent += w->log[i] == 0;
        CHECK(w->log[i] == 0 || w->log[i] > last, "frame %d after %d", w->log[i] / 2, last / 2);
        last = w->log[i] ? w->log[i] : last;
    }
    CHECK(w->logged > from + RATE / 10, "only %d frames were heard", (int)(w->logged - from));
    return silent;
}

#endif

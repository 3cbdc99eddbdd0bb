/*
 * The frontend half with real threads: the data loop's own thread with a graph that plays at every
 * position, Python in main (commands, notices, figures, the buffer that it lends), a backend in a
 * third. Time is real, so only order and completeness are checked; the sanitizer of threads watches
 * the rest: what is lent to the data loop is touched by nobody else until it is given back.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "front/front.h"
#include "stream_link.h"

enum { BUFFER = 960, PERIOD = 240, ROUNDS = 12, POSITIONS = 6, LOST_MSEC = 20000 };

static struct link *pages;
static int16_t buffer[BUFFER];
static atomic_bool done;
static atomic_int positions; /* that reached the graph */
static uint64_t played_frames, played_sum;

/* --- the backend --- */

static void answer(struct xpa_back_ring *ring, const struct xensnd_req *request) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.id = request->id;
    response.operation = request->operation;
    xpa_back_ring_push(ring, &response);
    if (xpa_back_ring_publish(ring))
        xpa_channel_notify(&pages->requests[HOST]);
}

static void tell_position(struct xpa_evt_ring *events, uint64_t frames) {
    struct xensnd_evt event;
    memset(&event, 0, sizeof event);
    event.type = XENSND_EVT_CUR_POS;
    event.op.cur_pos.position = frames * sizeof *buffer;
    if (xpa_evt_ring_put(events, &event) == 0)
        xpa_channel_notify(&pages->events[HOST]);
}

static void *backend(void *arg) {
    struct xpa_back_ring ring;
    struct xpa_evt_ring events;
    struct xensnd_req request;
    uint64_t heard = 0;
    (void)arg;
    xpa_back_ring_init(&ring, &pages->ring_page);
    xpa_evt_ring_init_back(&events, &pages->event_page);
    while (!atomic_load(&done)) {
        struct pollfd p = {.fd = pages->requests[HOST].fd, .events = POLLIN};
        poll(&p, 1, 5);
        xpa_channel_ack(&pages->requests[HOST]);
        xpa_channel_ack(&pages->events[HOST]);
        do {
            while (xpa_back_ring_pop(&ring, &request) == 1) {
                if (request.operation == XENSND_OP_WRITE) { /* takes what it is told of */
                    uint32_t first = request.op.rw.offset / sizeof *buffer;
                    for (uint32_t i = 0; i < request.op.rw.length / sizeof *buffer; i++)
                        played_sum += (uint64_t)buffer[first + i];
                    played_frames += request.op.rw.length / sizeof *buffer;
                }
                answer(&ring, &request);
            }
        } while (xpa_back_ring_rearm(&ring, 1));
        if (heard + PERIOD <= played_frames)
            tell_position(&events, heard += PERIOD);
    }
    return NULL;
}

/* --- the graph, on the data loop --- */

static void on_change(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct xpa_front *f = data;
    static int16_t ones[PERIOD];
    for (int i = 0; i < PERIOD; i++)
        ones[i] = 1;
    if (change == XPA_FRONT_OPENED) {
        xpa_front_prepare(f);
        xpa_front_put(f, ones, PERIOD);
        xpa_front_begin(f);
    }
    if (change != XPA_FRONT_POSITION || !f->stream.started)
        return;
    xpa_front_collect(f, now_nsec);
    if (xpa_front_room(f) >= PERIOD)
        xpa_front_put(f, ones, PERIOD);
    atomic_fetch_add(&positions, 1);
}

/* --- Python --- */

static uint32_t notices[9];

static void read_notices(struct xpa_plane *plane) {
    struct xpa_notice notice;
    struct pollfd p = {.fd = xpa_plane_notice_fd(plane), .events = POLLIN};
    poll(&p, 1, 2);
    xpa_plane_clear_notice_fd(plane);
    while (xpa_plane_next_notice(plane, &notice))
        notices[notice.kind]++;
}

static void wait_for(struct xpa_plane *plane, uint32_t kind, uint32_t count) {
    for (int i = 0; i < LOST_MSEC / 2 && notices[kind] < count; i++)
        read_notices(plane);
    CHECK_EQ(notices[kind], count);
}

static void round_of(struct xpa_plane *plane, struct xpa_front *front, uint32_t number) {
    struct xpa_config config = {.rate = 48000,
                                .channels = 1,
                                .sample_bytes = 2,
                                .sample_kind = XPA_SAMPLE_S16,
                                .buffer_frames = BUFFER,
                                .period_frames = PERIOD,
                                .buffer = buffer};
    struct xensnd_req request = {.operation = XENSND_OP_GET_VOLUME};
    struct xpa_stats seen;
    static uint64_t events;
    int before = atomic_load(&positions);
    CHECK_EQ(xpa_front_open(front, &config, PERIOD, 0), 0);
    for (int i = 0; i < LOST_MSEC / 2 && atomic_load(&positions) < before + POSITIONS; i++) {
        read_notices(plane);
        xpa_front_stats(front, &seen); /* while the data loop counts on */
        CHECK(seen.events >= events, "the count of events went back");
        events = seen.events;
    }
    CHECK(atomic_load(&positions) >= before + POSITIONS, "no positions in round %u", number);
    CHECK_EQ(xpa_front_request(front, (const uint8_t *)&request), 0);
    CHECK_EQ(xpa_front_check(front), 0);
    wait_for(plane, XPA_NOTICE_RESPONSE, 2 * number - 1);
    CHECK_EQ(xpa_front_close(front), 0);
    wait_for(plane, XPA_NOTICE_RELEASED, number);
    request.operation = XENSND_OP_CLOSE; /* whatever was asked before it is answered */
    CHECK_EQ(xpa_front_request(front, (const uint8_t *)&request), 0);
    wait_for(plane, XPA_NOTICE_RESPONSE, 2 * number);
    for (int i = 0; i < 10; i++) {
        memset(buffer, 0, sizeof buffer); /* it is ours again, and the backend's no more */
        read_notices(plane);
    }
}

int main(void) {
    pthread_t thread;
    pages = link_new();
    struct xpa_plane *plane = xpa_plane_new();
    struct xpa_front *front =
        xpa_front_new(plane, 1, XPA_PLAYBACK, &pages->ring_page, &pages->event_page,
                      pages->requests[GUEST], pages->events[GUEST], 0, 8);
    front->graph.on_change = on_change;
    front->graph.data = front;
    pthread_create(&thread, NULL, backend, NULL);
    CHECK_EQ(xpa_plane_start_thread(plane), 0);
    CHECK_EQ(xpa_front_attach(front), 0);
    for (uint32_t number = 1; number <= ROUNDS; number++)
        round_of(plane, front, number);
    CHECK_EQ(xpa_front_detach(front), 0);
    wait_for(plane, XPA_NOTICE_DETACHED, 1);
    front->graph.data = NULL; /* all of it is ours again */
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    CHECK_EQ(notices[XPA_NOTICE_BROKEN], 0);
    CHECK_EQ(played_sum, played_frames);
    CHECK(played_frames > 0, "nothing was played");
    xpa_plane_free(plane);
    xpa_front_free(front);
    link_free(pages);
    return check_close();
}

/*
 * The plane's queues with real threads: the data loop's own thread with a virtual device, Python in
 * main (commands, notices), a guest in a third. Time is real, so only order and completeness are
 * checked; the sanitizers watch the rest.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "xen/ring.h"
#include "back/back.h"
#include "stream_link.h"

enum { BUFFER = 960, PERIOD = 480, ROUNDS = 12, LOST_MSEC = 20000 };

static struct link *pages;
static int16_t buffer[BUFFER];
static atomic_bool guest_done;
static int guest_errors, guest_events;

static int request(struct xpa_front_ring *ring, struct xensnd_req *req) {
    struct xensnd_resp response;
    static uint16_t id;
    req->id = id++;
    xpa_front_ring_push(ring, req);
    if (xpa_front_ring_publish(ring))
        xpa_channel_notify(&pages->requests[GUEST]);
    for (;;) {
        struct pollfd p = {.fd = pages->requests[GUEST].fd, .events = POLLIN};
        if (xpa_front_ring_pop(ring, &response) == 1)
            return response.id == req->id ? response.status : -1000;
        if (xpa_front_ring_rearm(ring, 1))
            continue;
        if (poll(&p, 1, LOST_MSEC) != 1)
            return -2000; /* a notification was lost */
        xpa_channel_ack(&pages->requests[GUEST]);
    }
}

static void expect(int seen, int wanted) {
    if (seen != wanted && guest_errors++ == 0)
        printf("status %d, not %d\n", seen, wanted);
}

static int operation(struct xpa_front_ring *ring, uint8_t op) {
    struct xensnd_req req = {.operation = op};
    return request(ring, &req);
}

static void *guest(void *arg) {
    struct xpa_front_ring *ring = arg;
    struct xpa_evt_ring events = {.page = &pages->event_page};
    struct xensnd_evt event;
    for (int round = 0; round < ROUNDS; round++) {
        struct xensnd_req write = {.operation = XENSND_OP_WRITE};
        struct xensnd_req trigger = {.operation = XENSND_OP_TRIGGER};
        write.op.rw.length = sizeof buffer;
        for (int i = 0; i < 5; i++)
            expect(operation(ring, XENSND_OP_HW_PARAM_QUERY), 0);
        expect(operation(ring, XENSND_OP_OPEN), 0);
        for (int i = 0; i < BUFFER; i++)
            buffer[i] = (int16_t)(i + 1);
        expect(request(ring, &write), 0);
        expect(request(ring, &trigger), 0);
        for (int got = 0; got < 2;) { /* both periods are heard */
            struct pollfd p = {.fd = pages->events[GUEST].fd, .events = POLLIN};
            while (xpa_evt_ring_pop(&events, &event) == 1) {
                /* as Linux up to 7.1 does: of a position's two slots one is numbered for it */
                got += event.id == (guest_events & 0xffff);
                guest_events++;
            }
            xpa_evt_ring_ack(&events);
            if (got < 2 && poll(&p, 1, LOST_MSEC) != 1) {
                expect(-3000, 0);
                break;
            }
            xpa_channel_ack(&pages->events[GUEST]);
        }
        for (int i = 0; i < 6; i++) {
            trigger.op.trigger.type = i % 2 ? XENSND_OP_TRIGGER_START : XENSND_OP_TRIGGER_STOP;
            expect(request(ring, &trigger), 0);
        }
        while (xpa_evt_ring_pop(&events, &event) == 1) /* those of STOP */
            guest_events++;
        xpa_evt_ring_ack(&events);
        expect(operation(ring, XENSND_OP_CLOSE), 0);
        while (xpa_evt_ring_pop(&events, &event) == 1)
            guest_events++;
        xpa_evt_ring_ack(&events);
    }
    atomic_store(&guest_done, true);
    return NULL;
}

static const struct xpa_config CONFIG = {.rate = 48000,
                                         .channels = 1,
                                         .sample_bytes = 2,
                                         .sample_kind = XPA_SAMPLE_S16,
                                         .buffer_frames = BUFFER,
                                         .period_frames = PERIOD,
                                         .buffer = buffer};

static uint32_t notices[9];

static void serve(struct xpa_plane *plane, struct xpa_back *back) {
    struct xpa_notice notice;
    struct pollfd p = {.fd = xpa_plane_notice_fd(plane), .events = POLLIN};
    poll(&p, 1, 20);
    xpa_plane_clear_notice_fd(plane);
    struct xpa_stats seen;
    static uint64_t host_cycles;
    xpa_back_stats(back, &seen); /* while the data loop counts on */
    CHECK(seen.cycles >= host_cycles, "the count of cycles went back");
    host_cycles = seen.cycles;
    while (xpa_plane_next_notice(plane, &notice)) {
        notices[notice.kind]++;
        if (notice.kind != XPA_NOTICE_REQUEST)
            continue;
        struct xensnd_req req;
        struct xensnd_resp response;
        memcpy(&req, notice.packet, sizeof req);
        memset(&response, 0, sizeof response);
        response.id = req.id;
        response.operation = req.operation;
        if (req.operation == XENSND_OP_OPEN)
            response.status = xpa_back_open(back, &CONFIG);
        else if (req.operation == XENSND_OP_CLOSE)
            response.status = xpa_back_close(back);
        xpa_back_respond(back, (const uint8_t *)&response);
    }
}

int main(void) {
    struct xpa_front_ring ring;
    struct xpa_evt_ring events;
    pthread_t thread;
    pages = link_new();
    xpa_front_ring_init(&ring, &pages->ring_page);
    xpa_evt_ring_init_front(&events, &pages->event_page);
    struct xpa_plane *plane = xpa_plane_new();
    struct xpa_back *back =
        xpa_back_new(plane, 1, XPA_PLAYBACK, &pages->ring_page, &pages->event_page,
                     pages->requests[HOST], pages->events[HOST], 0);
    struct xpa_vdev *device = xpa_vdev_new(plane, 48000, 48, 0, 0, 0, 1.0);
    struct xpa_tap *tap = xpa_tap_new(1 << 20);
    CHECK_EQ(xpa_plane_start_thread(plane), 0);
    xpa_back_attach(back);
    xpa_back_set_tap(back, tap);
    xpa_vdev_connect(device, back);
    pthread_create(&thread, NULL, guest, &ring);
    int16_t played[4096];
    uint64_t frames = 0;
    int last = 0, rounds = 0, order_errors = 0;
    while (!atomic_load(&guest_done)) {
        serve(plane, back);
        uint64_t got;
        while ((got = xpa_tap_read(tap, (uint8_t *)played, sizeof played)) > 0)
            for (uint64_t i = 0; i < got / 2; i++)
                if (played[i]) {
                    order_errors += played[i] != last % BUFFER + 1;
                    rounds += played[i] == 1;
                    last = played[i];
                    frames++;
                }
    }
    pthread_join(thread, NULL);
    CHECK_EQ(guest_errors, 0);
    CHECK_EQ(order_errors, 0);
    CHECK_EQ(rounds, ROUNDS);
    CHECK_EQ(frames, ROUNDS * BUFFER);
    CHECK_EQ(xpa_tap_dropped_bytes(tap), 0);
    xpa_vdev_disconnect(device, back);
    xpa_back_detach(back);
    for (int i = 0; i < 100 && notices[XPA_NOTICE_DETACHED] == 0; i++)
        serve(plane, back);
    CHECK_EQ(notices[XPA_NOTICE_DETACHED], 1);
    CHECK_EQ(notices[XPA_NOTICE_BROKEN], 0);
    CHECK_EQ(notices[XPA_NOTICE_REQUEST], ROUNDS * 7);
    xpa_plane_free(plane);
    xpa_vdev_free(device);
    xpa_back_free(back);
    xpa_tap_free(tap);
    link_free(pages);
    return check_close();
}

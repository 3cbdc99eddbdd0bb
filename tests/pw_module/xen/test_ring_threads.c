/*
 * Both rings with a thread at each end, sleeping on eventfds as two domains sleep on event
 * channels: a lost notification would hang here, a missing barrier show as a torn slot (and TSan
 * watches). Indices start just below 2^32.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "pages.h"
#include "random.h"
#include "xen/ring.h"

#define REQUESTS 60000u
#define EVENTS 60000u
#define POLLED_EVENTS 5000u
#define START 0xfffffffeu
/* Waiting this long for a notification means that it was lost: nothing here takes seconds. */
#define LOST_MSEC 10000

static union test_page ring_page, event_page;
static int to_back, to_front, event_channel;
static atomic_uint back_wrong, lost, event_wrong;
static atomic_bool give_up;

static void notify(int fd) {
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);

    (void)n;
}

/* false: nobody called. */
static bool wait_for(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t count;

    if (atomic_load(&give_up))
        return false;
    if (poll(&p, 1, LOST_MSEC) == 1)
        return read(fd, &count, sizeof count) == sizeof count;
    atomic_fetch_add(&lost, 1);
    atomic_store(&give_up, true);
    return false;
}

static uint8_t pattern(uint32_t n) { return (uint8_t)(n * 37 + 11); }

static bool whole(const void *slot, uint32_t n, size_t from) {
    const uint8_t *bytes = slot;

    for (size_t i = from; i < 64; i++)
        if (bytes[i] != pattern(n))
            return false;
    return true;
}

/* The backend: answers in order, in batches of random size, with random hold-off. */
static void *back_end(void *arg) {
    struct xpa_back_ring back;
    uint32_t taken = 0, answered = 0;
    uint64_t seed = 77;

    (void)arg;
    xpa_back_ring_init_at(&back, &ring_page, START);
    while (answered < REQUESTS) {
        struct xensnd_req req;
        struct xensnd_resp resp;
        uint32_t batch = 1 + random_below(&seed, 8);
        int got;

        while (batch-- > 0 && (got = xpa_back_ring_pop(&back, &req)) != 0) {
            if (got < 0 || req.id != (uint16_t)taken || !whole(&req, taken, 8))
                atomic_fetch_add(&back_wrong, 1);
            taken++;
        }
        while (answered < taken) {
            memset(&resp, pattern(answered), sizeof resp);
            resp.id = (uint16_t)answered++;
            xpa_back_ring_push(&back, &resp);
        }
        if (xpa_back_ring_publish(&back))
            notify(to_front);
        if (answered < REQUESTS && !xpa_back_ring_rearm(&back, 1) && !wait_for(to_back))
            break;
    }
    return NULL;
}

static void requests_cross_threads_whole_and_no_wakeup_is_lost(void) {
    struct xpa_front_ring front;
    pthread_t thread;
    uint32_t sent = 0, done = 0, wrong = 0;
    uint64_t seed = 5;

    xpa_front_ring_init_at(&front, &ring_page, START);
    CHECK_EQ(pthread_create(&thread, NULL, back_end, NULL), 0);
    while (done < REQUESTS) {
        struct xensnd_req req;
        struct xensnd_resp resp;
        uint32_t batch = 1 + random_below(&seed, 32);
        int got;

        while (batch-- > 0 && sent < REQUESTS && xpa_front_ring_free(&front) > 0) {
            memset(&req, pattern(sent), sizeof req);
            req.id = (uint16_t)sent++;
            xpa_front_ring_push(&front, &req);
        }
        if (xpa_front_ring_publish(&front))
            notify(to_back);
        while ((got = xpa_front_ring_pop(&front, &resp)) != 0) {
            if (got < 0 || resp.id != (uint16_t)done || !whole(&resp, done, 4)) {
                wrong++;
                if (got < 0)
                    break;
            }
            done++;
        }
        /* hold off: sometimes until all that is outstanding has been answered */
        if (sent > done && (sent == REQUESTS || xpa_front_ring_free(&front) == 0)) {
            uint32_t after = 1 + random_below(&seed, sent - done);

            if (!xpa_front_ring_rearm(&front, after) && !wait_for(to_front))
                break;
        }
    }
    pthread_join(thread, NULL);
    CHECK_EQ(done, REQUESTS);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(atomic_load(&back_wrong), 0);
    CHECK_EQ(atomic_load(&lost), 0);
}

static void *event_consumer(void *arg) {
    struct xpa_evt_ring front = *(struct xpa_evt_ring *)arg;
    uint32_t taken = 0;
    uint64_t seed = 9;

    while (taken < EVENTS) {
        struct xensnd_evt evt;
        uint32_t unacknowledged = 0;
        int got;

        while ((got = xpa_evt_ring_pop(&front, &evt)) == 1) {
            if (evt.id != (uint16_t)taken || !whole(&evt, taken, 8))
                atomic_fetch_add(&event_wrong, 1);
            taken++;
            if (++unacknowledged > random_below(&seed, 63)) {
                xpa_evt_ring_ack(&front);
                unacknowledged = 0;
            }
        }
        if (got < 0)
            atomic_fetch_add(&event_wrong, 1);
        xpa_evt_ring_ack(&front);
        if (taken < EVENTS && !wait_for(event_channel))
            break;
    }
    return NULL;
}

static void events_cross_threads_whole(void) {
    struct xpa_evt_ring front, back;
    pthread_t thread;
    uint32_t sent = 0;

    xpa_evt_ring_init_front_at(&front, &event_page, START);
    xpa_evt_ring_init_back_at(&back, &event_page, START);
    CHECK_EQ(pthread_create(&thread, NULL, event_consumer, &front), 0);
    while (sent < EVENTS && !atomic_load(&give_up)) {
        struct xensnd_evt evt;
        int result;

        memset(&evt, pattern(sent), sizeof evt);
        evt.id = (uint16_t)sent;
        result = xpa_evt_ring_put(&back, &evt);
        if (result == 0)
            sent++;
        else if (result != -ENOSPC)
            break;
        notify(event_channel);
    }
    pthread_join(thread, NULL);
    CHECK_EQ(sent, EVENTS);
    CHECK_EQ(atomic_load(&event_wrong), 0);
    CHECK_EQ(atomic_load(&lost), 0);
}

/* --- who looks at the event page by itself --- */

static atomic_uint taken_events;

/* Puts events in small batches, and goes on when they were taken: nobody else would tell of one
 * that was overlooked. */
static void *polled_producer(void *arg) {
    struct xpa_evt_ring back = *(struct xpa_evt_ring *)arg;
    uint32_t sent = 0;
    uint64_t seed = 21;

    while (sent < POLLED_EVENTS && !atomic_load(&give_up)) {
        struct xensnd_evt evt;

        for (uint32_t batch = 1 + random_below(&seed, 3); batch > 0 && sent < POLLED_EVENTS;
             batch--) {
            memset(&evt, pattern(sent), sizeof evt);
            evt.id = (uint16_t)sent++;
            if (xpa_evt_ring_put(&back, &evt) != 0)
                atomic_fetch_add(&event_wrong, 1);
            if (!xpa_evt_ring_polled(&back))
                notify(event_channel);
        }
        while (atomic_load(&taken_events) < sent && !atomic_load(&give_up))
            sched_yield();
    }
    return NULL;
}

/* The consumer looks a few times, then waits to be told, and so on. */
static void no_event_is_overlooked_by_who_stops_to_poll(void) {
    struct xpa_evt_ring front, back;
    pthread_t thread;
    uint32_t taken = 0;
    uint64_t seed = 33;

    xpa_evt_ring_init_front_at(&front, &event_page, START);
    xpa_evt_ring_init_back_at(&back, &event_page, START);
    CHECK_EQ(pthread_create(&thread, NULL, polled_producer, &back), 0);
    while (taken < POLLED_EVENTS) {
        struct xensnd_evt evt;
        bool there;

        xpa_evt_ring_set_polled(&front, true);
        for (uint32_t looks = random_below(&seed, 4); looks > 0; looks--) {
            while (xpa_evt_ring_pop(&front, &evt) == 1)
                taken++;
            xpa_evt_ring_ack(&front);
            atomic_store(&taken_events, taken);
        }
        there = xpa_evt_ring_set_polled(&front, false);
        if (taken < POLLED_EVENTS && !there && !wait_for(event_channel))
            break;
        while (xpa_evt_ring_pop(&front, &evt) == 1) {
            if (evt.id != (uint16_t)taken || !whole(&evt, taken, 8))
                atomic_fetch_add(&event_wrong, 1);
            taken++;
        }
        xpa_evt_ring_ack(&front);
        atomic_store(&taken_events, taken);
    }
    pthread_join(thread, NULL);
    CHECK_EQ(taken, POLLED_EVENTS);
    CHECK_EQ(atomic_load(&event_wrong), 0);
    CHECK_EQ(atomic_load(&lost), 0);
}

int main(void) {
    to_back = eventfd(0, EFD_CLOEXEC);
    to_front = eventfd(0, EFD_CLOEXEC);
    event_channel = eventfd(0, EFD_CLOEXEC);
    CHECK(to_back >= 0 && to_front >= 0 && event_channel >= 0, "eventfd");
    requests_cross_threads_whole_and_no_wakeup_is_lost();
    events_cross_threads_whole();
    no_event_is_overlooked_by_who_stops_to_poll();
    return check_close();
}

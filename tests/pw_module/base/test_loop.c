/* The loop: dispatch from outside, removal from inside callbacks, timers, the own thread. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "base/loop.h"

static struct xpa_loop loop;
static int calls;

static void wake(int fd) {
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);

    (void)n;
}

static bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void drain(struct xpa_source *src, uint32_t epoll_events) {
    uint64_t count;
    ssize_t n = read(src->fd, &count, sizeof count);

    (void)n;
    (void)epoll_events;
    calls++;
}

static struct xpa_source *source(void (*func)(struct xpa_source *, uint32_t), void *data) {
    struct xpa_source *src = malloc(sizeof *src);

    *src = (struct xpa_source){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), func, data};
    CHECK_EQ(xpa_loop_add(&loop, src), 0);
    return src;
}

static void drop(struct xpa_source *src) {
    xpa_loop_remove(&loop, src);
    close(src->fd);
    free(src);
}

static void dispatch_calls_what_is_ready_and_never_waits(void) {
    struct xpa_source *a = source(drain, NULL), *b = source(drain, NULL);

    calls = 0;
    CHECK(!readable(xpa_loop_fd(&loop)), "nothing is ready");
    CHECK_EQ(xpa_loop_dispatch(&loop), 0);
    wake(a->fd);
    CHECK(readable(xpa_loop_fd(&loop)), "the loop's fd shows that a source is ready");
    CHECK_EQ(xpa_loop_dispatch(&loop), 1);
    CHECK(!readable(xpa_loop_fd(&loop)), "and that none is any more");
    wake(a->fd);
    wake(b->fd);
    CHECK_EQ(xpa_loop_dispatch(&loop), 2);
    CHECK_EQ(calls, 3);
    CHECK_EQ(xpa_loop_add(&loop, a), -EEXIST);
    drop(a);
    wake(b->fd);
    CHECK_EQ(xpa_loop_dispatch(&loop), 1);
    xpa_loop_remove(&loop, b);
    xpa_loop_remove(&loop, b); /* not in: ignored */
    CHECK_EQ(xpa_loop_dispatch(&loop), 0);
    CHECK_EQ(xpa_loop_add(&loop, b), 0);
    drop(b);
}

#define MANY 20
static struct xpa_source *many[MANY];

/* Whichever comes first removes and frees all, itself included. */
static void drop_all(struct xpa_source *src, uint32_t epoll_events) {
    (void)src;
    (void)epoll_events;
    calls++;
    for (int i = 0; i < MANY; i++)
        drop(many[i]);
}

static void callbacks_may_free_every_source(void) {
    calls = 0;
    for (int i = 0; i < MANY; i++)
        many[i] = source(drop_all, NULL);
    for (int i = 0; i < MANY; i++)
        wake(many[i]->fd);
    CHECK_EQ(xpa_loop_dispatch(&loop), 1);
    CHECK_EQ(calls, 1);
    CHECK_EQ(xpa_loop_dispatch(&loop), 0);
}

static void more_sources_than_a_batch_are_all_called(void) {
    struct xpa_source *sources[100];
    int dispatches = 0;

    calls = 0;
    for (int i = 0; i < 100; i++) {
        sources[i] = source(drain, NULL);
        wake(sources[i]->fd);
    }
    while (xpa_loop_dispatch(&loop) > 0)
        dispatches++;
    CHECK_EQ(calls, 100);
    CHECK(dispatches > 1, "%d", dispatches);
    for (int i = 0; i < 100; i++)
        drop(sources[i]);
}

static void timers_fire_once_and_can_be_disarmed(void) {
    int fd = xpa_timer_create();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t now = xpa_now_nsec(), due = now + 20000000;

    CHECK(fd >= 0, "%d", fd);
    xpa_timer_ack(fd); /* not fired: must not block */
    xpa_timer_set(fd, due);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK(xpa_now_nsec() >= due, "fired too early");
    xpa_timer_ack(fd);
    CHECK(!readable(fd), "fired twice");
    xpa_timer_set(fd, 1); /* long past */
    CHECK_EQ(poll(&p, 1, 10000), 1);
    xpa_timer_ack(fd);
    xpa_timer_set(fd, xpa_now_nsec() + 1000000);
    xpa_timer_set(fd, 0);
    CHECK_EQ(poll(&p, 1, 30), 0);
    close(fd);
}

struct echo {
    int answer_fd;
    pthread_t thread;
    int policy;
};

static void echo(struct xpa_source *src, uint32_t epoll_events) {
    struct echo *e = src->data;
    struct sched_param param;

    drain(src, epoll_events);
    e->thread = pthread_self();
    pthread_getschedparam(e->thread, &e->policy, &param);
    wake(e->answer_fd);
}

static void own_thread_dispatches_until_stopped(void) {
    struct echo e = {.answer_fd = eventfd(0, EFD_CLOEXEC)};
    struct xpa_source *src = source(echo, &e);
    uint64_t count;

    for (int round = 0; round < 3; round++) {
        CHECK_EQ(xpa_loop_start_thread(&loop), 0);
        CHECK_EQ(xpa_loop_start_thread(&loop), -EBUSY);
        for (int i = 0; i < 10; i++) {
            wake(src->fd);
            CHECK_EQ(read(e.answer_fd, &count, sizeof count), sizeof count);
        }
        CHECK(!pthread_equal(e.thread, pthread_self()), "called in the wrong thread");
        CHECK(loop.own.realtime == (e.policy == SCHED_FIFO), "realtime %d, policy %d",
              loop.own.realtime, e.policy);
        xpa_loop_stop_thread(&loop);
        xpa_loop_stop_thread(&loop);
        CHECK(!readable(xpa_loop_fd(&loop)), "the fd stays readable after stop");
        wake(src->fd);
        CHECK_EQ(xpa_loop_dispatch(&loop), 1); /* and the loop can be driven by hand again */
        CHECK_EQ(read(e.answer_fd, &count, sizeof count), sizeof count);
    }
    drop(src);
    close(e.answer_fd);
}

int main(void) {
    CHECK_EQ(xpa_loop_init(&loop), 0);
    dispatch_calls_what_is_ready_and_never_waits();
    callbacks_may_free_every_source();
    more_sources_than_a_batch_are_all_called();
    timers_fire_once_and_can_be_disarmed();
    own_thread_dispatches_until_stopped();
    CHECK_EQ(xpa_loop_start_thread(&loop), 0);
    xpa_loop_clear(&loop);
    xpa_loop_clear(&loop);
    CHECK_EQ(xpa_loop_dispatch(&loop), -EBADF);
    return check_close();
}

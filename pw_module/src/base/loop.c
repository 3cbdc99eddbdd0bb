/*
 * See base/loop.h. One idea: epoll hands out pointers to sources in batches; a source that is
 * removed while its batch is being dispatched is struck out of the batch, so callbacks may remove
 * (and free) any source, their own included.
 */
#include "base/loop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define REALTIME_PRIORITY 80 /* below PipeWire's own data threads (88), above ordinary services */
#define NSEC_PER_SEC 1000000000ull

int xpa_loop_init(struct xpa_loop *l) {
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    int err;

    *l = (struct xpa_loop){.epoll_fd = -1, .wake_fd = -1};
    atomic_init(&l->quit, false);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0)
        return -errno;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* no source: a null pointer in the batch means nothing to call */
    if (l->wake_fd >= 0 && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &ev) == 0)
        return 0;
    err = -errno;
    xpa_loop_clear(l);
    return err;
}

void xpa_loop_clear(struct xpa_loop *l) {
    xpa_loop_stop_thread(l);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    l->wake_fd = l->epoll_fd = -1;
}

int xpa_loop_fd(const struct xpa_loop *l) { return l->epoll_fd; }

int xpa_loop_add(struct xpa_loop *l, struct xpa_source *src) {
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = src};

    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, src->fd, &ev) < 0 ? -errno : 0;
}

void xpa_loop_remove(struct xpa_loop *l, struct xpa_source *src) {
    struct epoll_event *batch = l->batch.events;

    /* failure means that it was not in, which is what the caller wants */
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
    for (int i = 0; i < l->batch.count; i++)
        if (batch[i].data.ptr == src)
            batch[i].data.ptr = NULL;
}

static int dispatch(struct xpa_loop *l, int timeout_msec) {
    struct epoll_event batch[BATCH];
    int called = 0;
    int n = epoll_wait(l->epoll_fd, batch, BATCH, timeout_msec);

    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    l->batch.events = batch;
    l->batch.count = n;
    l->batch.number++;
    for (int i = 0; i < n; i++) {
        struct xpa_source *src = batch[i].data.ptr;

        if (src == NULL)
            continue;
        src->func(src, batch[i].events);
        called++;
    }
    l->batch.events = NULL;
    l->batch.count = 0;
    return called;
}

int xpa_loop_dispatch(struct xpa_loop *l) { return dispatch(l, 0); }

static void *run(void *arg) {
    struct xpa_loop *l = arg;

    (void)prctl(PR_SET_NAME, "xpa-data"); /* what top -H shows */
    /* acquire, pairs with stop_thread's release; the eventfd ends the wait */
    while (!atomic_load_explicit(&l->quit, memory_order_acquire))
        if (dispatch(l, -1) < 0)
            break;
    return NULL;
}

bool xpa_loop_make_realtime(pthread_t thread) {
    struct sched_param param = {.sched_priority = REALTIME_PRIORITY};
    struct rlimit limit;

    if (pthread_setschedparam(thread, SCHED_FIFO, &param) == 0)
        return true;
    if (getrlimit(RLIMIT_RTPRIO, &limit) != 0 || limit.rlim_cur == 0 ||
        limit.rlim_cur >= REALTIME_PRIORITY)
        return false;
    param.sched_priority = (int)limit.rlim_cur;
    return pthread_setschedparam(thread, SCHED_FIFO, &param) == 0;
}

int xpa_loop_start_thread(struct xpa_loop *l) {
    sigset_t all, before;
    int err;

    if (l->own.running)
        return -EBUSY;
    atomic_store_explicit(&l->quit, false, memory_order_relaxed); /* no thread yet to see it */
    sigfillset(&all);
    /* signals are the main thread's: a new thread inherits the mask */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&l->own.thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    l->own.running = true;
    l->own.realtime = xpa_loop_make_realtime(l->own.thread);
    return 0;
}

void xpa_loop_stop_thread(struct xpa_loop *l) {
    uint64_t one = 1, drained;
    ssize_t unused;

    if (!l->own.running)
        return;
    atomic_store_explicit(&l->quit, true, memory_order_release);
    unused = write(l->wake_fd, &one, sizeof one);
    pthread_join(l->own.thread, NULL);
    l->own.running = false;
    /* the eventfd is level-triggered: empty it, or the fd would stay readable for ever */
    unused = read(l->wake_fd, &drained, sizeof drained);
    (void)unused;
}

int xpa_timer_create(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void xpa_timer_set(int fd, uint64_t abs_nsec) {
    struct itimerspec its = {.it_value.tv_sec = (time_t)(abs_nsec / NSEC_PER_SEC),
                             .it_value.tv_nsec = (long)(abs_nsec % NSEC_PER_SEC)};

    /* fails only for a bad fd */
    (void)timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL);
}

void xpa_timer_ack(int fd) {
    uint64_t expirations;
    ssize_t unused = read(fd, &expirations, sizeof expirations);

    (void)unused; /* EAGAIN: it was rearmed since it fired */
}

uint64_t xpa_now_nsec(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

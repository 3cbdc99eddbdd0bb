/*
 * An epoll set that somebody else drives: PipeWire's data loop polls its fd and calls dispatch, or
 * the loop's own real-time thread does (host outputs that need no PipeWire).
 *
 * Threads: add and remove are for the thread that dispatches (from inside callbacks too), or for
 * any thread while nobody dispatches. Everything else says so.
 */
#ifndef XPA_BASE_LOOP_H
#define XPA_BASE_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Owned by the caller; stays in place from add to remove. The fd stays the caller's to close,
 * after remove. */
struct xpa_source {
    int fd;
    void (*func)(struct xpa_source *src, uint32_t epoll_events);
    void *data;
};

struct xpa_loop {
    /* Set by init, and the same ever after. */
    int epoll_fd;
    int wake_fd; /* eventfd: ends the own thread's wait */

    /* Whoever dispatches. */
    struct {
        void *events; /* struct epoll_event[], those now dispatched: remove() takes sources out */
        int count;
        uint32_t number; /* batches so far */
    } batch;

    /* Whoever starts and stops the own thread. */
    struct {
        pthread_t thread;
        bool running;
        bool realtime; /* it got SCHED_FIFO */
    } own;

    /* Both. */
    _Atomic bool quit;
};

/* 0 or -errno; after an error nothing needs clearing. */
int xpa_loop_init(struct xpa_loop *l);
/* Stops the own thread if there is one; sources are forgotten, their fds stay open. */
void xpa_loop_clear(struct xpa_loop *l);
/* The fd to poll for input; readable while a source is ready. */
int xpa_loop_fd(const struct xpa_loop *l);
/* Watch src->fd for input. 0 or -errno (-EEXIST: the fd is in already). */
int xpa_loop_add(struct xpa_loop *l, struct xpa_source *src);
/* src->func is not called any more once this returns, not even for an event of the running
 * dispatch; src may be freed at once. A source that is not in is ignored. */
void xpa_loop_remove(struct xpa_loop *l, struct xpa_source *src);
/* Run the callback of every source that is ready, without waiting. Number of callbacks or -errno.
 */
int xpa_loop_dispatch(struct xpa_loop *l);
/* Dispatch in a thread of our own from now on: SCHED_FIFO 80 where allowed, else what the limits
 * give, else normal. All signals blocked in it. 0 or -errno (-EBUSY: it runs already). Any thread
 * but the loop's own. */
int xpa_loop_start_thread(struct xpa_loop *l);
/* Ends and joins the thread; nothing if there is none. Any thread but the loop's own. */
void xpa_loop_stop_thread(struct xpa_loop *l);

/* SCHED_FIFO 80 where allowed, else what the limits give; false: neither. Any thread, of any. */
bool xpa_loop_make_realtime(pthread_t thread);

/* A CLOCK_MONOTONIC timerfd, non-blocking, close-on-exec: fd or -errno. */
int xpa_timer_create(void);
/* Fire once at abs_nsec (at once if that has passed); 0 disarms. */
void xpa_timer_set(int fd, uint64_t abs_nsec);
/* Consume an expiry; without one it does nothing. */
void xpa_timer_ack(int fd);
/* CLOCK_MONOTONIC, the clock of all times in this program. */
uint64_t xpa_now_nsec(void);

#endif

/*
 * The few system calls of a data plane, without the kernel: eventfds, the sockets that stand for
 * event channels, timers that a simulated clock fires, and the epoll set over them. Linked with
 * --wrap for each; any other descriptor goes to the kernel. A record of an input costs some twenty
 * system calls, which are nine tenths of its time.
 *
 * Level-triggered and in the order in which sources were added, as far as the data planes can tell;
 * a socket holds as many messages as Linux lets one hold. One thread.
 */
#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

enum { KERNEL_FIRST_FD = 1 << 20, KERNEL_FILES = 64, KERNEL_SOCKET_MESSAGES = 11 };
enum kernel_kind { KERNEL_FREE, KERNEL_EVENTFD, KERNEL_SOCKET, KERNEL_TIMER, KERNEL_EPOLL };

static struct kernel_file {
    enum kernel_kind kind;
    uint64_t count; /* an eventfd's, or messages that wait in a socket */
    int other;      /* the socket's other end; -1: closed */
} kernel_files[KERNEL_FILES];

/* What the one epoll set watches. */
static struct kernel_watch {
    int fd;
    epoll_data_t data;
} kernel_watches[KERNEL_FILES];
static int kernel_watch_count;

int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll_fd, int what, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_msec);
int __wrap_eventfd(unsigned int count, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);
ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t bytes, int flags);
ssize_t __wrap_read(int fd, void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
int __wrap_close(int fd);
ssize_t __real_send(int fd, const void *data, size_t bytes, int flags);
ssize_t __real_recv(int fd, void *data, size_t bytes, int flags);
ssize_t __real_read(int fd, void *data, size_t bytes);
ssize_t __real_write(int fd, const void *data, size_t bytes);
int __real_close(int fd);

static int kernel_fail(int error) {
    errno = error;
    return -1;
}

static int kernel_open(enum kernel_kind kind) {
    for (int i = 0; i < KERNEL_FILES; i++)
        if (kernel_files[i].kind == KERNEL_FREE) {
            kernel_files[i] = (struct kernel_file){.kind = kind, .other = -1};
            return KERNEL_FIRST_FD + i;
        }
    return kernel_fail(EMFILE);
}

/* NULL: the kernel's own, or none. */
static struct kernel_file *kernel_file(int fd) {
    int i = fd - KERNEL_FIRST_FD;
    bool ours = i >= 0 && i < KERNEL_FILES && kernel_files[i].kind != KERNEL_FREE;
    return ours ? &kernel_files[i] : NULL;
}

/* How many are open: the same after as before, or one was leaked. */
static int kernel_open_files(void) {
    int open = 0;
    for (int i = 0; i < KERNEL_FILES; i++)
        open += kernel_files[i].kind != KERNEL_FREE;
    return open;
}

int __wrap_epoll_create1(int flags) {
    (void)flags;
    return kernel_open(KERNEL_EPOLL);
}

static void kernel_forget(int at) {
    size_t after = (size_t)(--kernel_watch_count - at);
    memmove(kernel_watches + at, kernel_watches + at + 1, after * sizeof *kernel_watches);
}

int __wrap_epoll_ctl(int epoll_fd, int what, int fd, struct epoll_event *event) {
    int at = 0;
    if (!kernel_file(epoll_fd) || !kernel_file(fd))
        return kernel_fail(EBADF);
    while (at < kernel_watch_count && kernel_watches[at].fd != fd)
        at++;
    if (what == EPOLL_CTL_ADD && at == kernel_watch_count)
        kernel_watches[kernel_watch_count++] = (struct kernel_watch){fd, event->data};
    else if (what == EPOLL_CTL_ADD)
        return kernel_fail(EEXIST);
    else if (at == kernel_watch_count)
        return kernel_fail(ENOENT);
    else
        kernel_forget(at);
    return 0;
}

int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_msec) {
    int found = 0;
    (void)timeout_msec;
    if (!kernel_file(epoll_fd))
        return kernel_fail(EBADF);
    for (int at = 0; at < kernel_watch_count && found < most; at++)
        if (kernel_file(kernel_watches[at].fd)->count > 0)
            events[found++] = (struct epoll_event){EPOLLIN, kernel_watches[at].data};
    return found;
}

int __wrap_eventfd(unsigned int count, int flags) {
    (void)flags;
    int fd = kernel_open(KERNEL_EVENTFD);
    if (fd >= 0)
        kernel_file(fd)->count = count;
    return fd;
}

/* Never fires: xpa_timer_set() is the simulated clock's. */
int __wrap_timerfd_create(int clock, int flags) {
    (void)clock;
    (void)flags;
    return kernel_open(KERNEL_TIMER);
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2]) {
    (void)domain;
    (void)type;
    (void)protocol;
    for (int i = 0; i < 2; i++)
        if ((fds[i] = kernel_open(KERNEL_SOCKET)) < 0)
            abort();
    kernel_file(fds[0])->other = fds[1];
    kernel_file(fds[1])->other = fds[0];
    return 0;
}

ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags) {
    struct kernel_file *file = kernel_file(fd);
    if (!file)
        return __real_send(fd, data, bytes, flags);
    struct kernel_file *other = kernel_file(file->other);
    if (!other)
        return kernel_fail(ECONNREFUSED);
    if (other->count >= KERNEL_SOCKET_MESSAGES)
        return kernel_fail(EAGAIN);
    other->count++;
    return (ssize_t)bytes;
}

ssize_t __wrap_recv(int fd, void *data, size_t bytes, int flags) {
    struct kernel_file *file = kernel_file(fd);
    if (!file)
        return __real_recv(fd, data, bytes, flags);
    if (file->count == 0)
        return kernel_fail(EAGAIN);
    file->count--;
    memset(data, 1, bytes);
    return (ssize_t)bytes;
}

ssize_t __wrap_read(int fd, void *data, size_t bytes) {
    struct kernel_file *file = kernel_file(fd);
    if (!file)
        return __real_read(fd, data, bytes);
    if (file->kind == KERNEL_SOCKET)
        return __wrap_recv(fd, data, bytes, 0);
    if (file->count == 0)
        return kernel_fail(EAGAIN);
    memcpy(data, &file->count, sizeof file->count);
    file->count = 0;
    return sizeof file->count;
}

ssize_t __wrap_write(int fd, const void *data, size_t bytes) {
    struct kernel_file *file = kernel_file(fd);
    if (!file)
        return __real_write(fd, data, bytes);
    uint64_t more;
    memcpy(&more, data, sizeof more);
    file->count += more;
    return (ssize_t)bytes;
}

int __wrap_close(int fd) {
    struct kernel_file *file = kernel_file(fd);
    if (!file)
        return __real_close(fd);
    for (int at = 0; at < kernel_watch_count; at++)
        if (kernel_watches[at].fd == fd) {
            kernel_forget(at);
            break;
        }
    *file = (struct kernel_file){.kind = KERNEL_FREE};
    return 0;
}

#endif

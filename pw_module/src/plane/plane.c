/* plane/plane.c - see plane/plane.h. */
#include "plane/plane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"

static void wake(int fd) {
    uint64_t one = 1;
    /* EAGAIN: the counter is at its limit, so the reader is about to wake anyway */
    ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}

static void drain(int fd) {
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got;
}

void xpa_plane_carry_out(struct xpa_plane *plane) {
    struct xpa_command command;
    while (xpa_queue_pop(&plane->shared.commands, &command))
        command.func(&command);
}

static void on_commands(struct xpa_source *source, uint32_t events) {
    (void)events;
    drain(source->fd);
    xpa_plane_carry_out(source->data);
}

static int make_queue(struct xpa_queue *queue, uint32_t message_bytes) {
    void *memory = xpa_calloc(XPA_PLANE_MESSAGES, message_bytes);
    if (!memory)
        return -ENOMEM;
    xpa_queue_init(queue, memory, XPA_PLANE_MESSAGES, message_bytes);
    return 0;
}

struct xpa_plane *xpa_plane_new(void) {
    xpa_memory_give_back();
    struct xpa_plane *plane = xpa_calloc(1, sizeof *plane);
    if (!plane)
        return NULL;
    plane->command_fd = plane->notice_fd = -1;
    if (xpa_loop_init(&plane->loop) < 0) {
        free(plane);
        return NULL;
    }
    plane->command_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    plane->notice_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    plane->command_source = (struct xpa_source){plane->command_fd, on_commands, plane};
    if (plane->command_fd < 0 || plane->notice_fd < 0 ||
        make_queue(&plane->shared.commands, sizeof(struct xpa_command)) < 0 ||
        make_queue(&plane->shared.notices, sizeof(struct xpa_notice)) < 0 ||
        xpa_loop_add(&plane->loop, &plane->command_source) < 0) {
        xpa_plane_free(plane);
        return NULL;
    }
    return plane;
}

int xpa_plane_start_thread(struct xpa_plane *plane) {
    int result = xpa_loop_start_thread(&plane->loop);
    plane->threaded = result == 0;
    return result;
}

void xpa_plane_free(struct xpa_plane *plane) {
    if (!plane)
        return;
    if (plane->threaded)
        xpa_loop_stop_thread(&plane->loop);
    xpa_loop_clear(&plane->loop);
    if (plane->command_fd >= 0)
        close(plane->command_fd);
    if (plane->notice_fd >= 0)
        close(plane->notice_fd);
    free(plane->shared.commands.mem);
    free(plane->shared.notices.mem);
    free(plane);
}

int xpa_plane_command(struct xpa_plane *plane, const struct xpa_command *command) {
    if (!xpa_queue_push(&plane->shared.commands, command))
        return -EAGAIN;
    wake(plane->command_fd);
    return 0;
}

uint32_t xpa_plane_notify(struct xpa_plane *plane, uint32_t kind, uint32_t stream_id, int32_t code,
                          const void *packet) {
    struct xpa_notice notice = {.kind = kind, .stream_id = stream_id, .code = code};
    if (packet)
        memcpy(notice.packet, packet, sizeof notice.packet);
    /* A stream has at most one slow request, two triggers (back/requests.c holds the next one
     * back), one latency (node/lead.c) and three farewells under way: there is room for those of
     * 146 streams. What is lost nevertheless is never waited for, but Python hears of it. */
    if (!xpa_queue_push(&plane->shared.notices, &notice))
        atomic_fetch_add_explicit(&plane->shared.lost_notices, 1, memory_order_relaxed);
    wake(plane->notice_fd);
    /* relaxed: this thread alone writes it */
    return atomic_load_explicit(&plane->shared.notices.tail, memory_order_relaxed);
}

bool xpa_plane_noticed(struct xpa_plane *plane, uint32_t ticket) {
    /* What the caller wrote before is seen by whoever has not read the notice yet. Dekker's pattern
     * again: here figures are stored, then head is loaded; Python's thread stores head by popping,
     * then loads figures, and has this fence between, too (xpa_front_stats). So head is the new one
     * here, or the figures are there. */
    atomic_thread_fence(memory_order_seq_cst);
    /* acquire, pairs with pop's release: who sends a notice next does so after the last was read */
    uint32_t head = atomic_load_explicit(&plane->shared.notices.head, memory_order_acquire);
    return (int32_t)(head - ticket) >= 0;
}

uint32_t xpa_plane_take_lost_notices(struct xpa_plane *plane) {
    /* relaxed: a count that stands for itself */
    return atomic_exchange_explicit(&plane->shared.lost_notices, 0, memory_order_relaxed);
}

int xpa_plane_notice_fd(struct xpa_plane *plane) { return plane->notice_fd; }

void xpa_plane_clear_notice_fd(struct xpa_plane *plane) { drain(plane->notice_fd); }

int xpa_plane_next_notice(struct xpa_plane *plane, struct xpa_notice *notice) {
    return xpa_queue_pop(&plane->shared.notices, notice);
}

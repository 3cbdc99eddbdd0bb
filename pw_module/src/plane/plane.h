/* plane/plane.h - the data plane of one process: a loop, a command queue down, a notice queue up.
 *
 * Python pushes commands, the data loop pops them; the data loop pushes notices, Python pops them.
 * Nothing else crosses. The loop is PipeWire's data loop (pipewire/core.c adopts `loop`) or a
 * thread of its own (xpa_plane_start_thread), never both.
 */
#ifndef XPA_PLANE_PLANE_H
#define XPA_PLANE_PLANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/abi.h"
#include "base/loop.h"
#include "time/peer_clock.h"
#include "base/queue.h"
#include "xen/xen_io.h"

struct xpa_command {
    void (*func)(const struct xpa_command *command);
    void *object;
    union {
        void *pointer;
        uint8_t packet[64];
    } arg;
};

enum { XPA_PLANE_MESSAGES = 1024, XPA_PLANE_PEERS = 8 };

struct xpa_plane {
    /* Set before the data loop runs, and the same ever after: for any thread. */
    int command_fd, notice_fd;
    struct xpa_source command_source;

    /* Python's thread. */
    bool threaded;

    struct xpa_loop loop; /* data loop; see there */

    /* What frontend streams have in common; data loop. */
    struct {
        uint32_t event_batch; /* the batch in which one last had an event, and when */
        uint64_t event_nsec;
        struct xpa_peer_clock peers[XPA_PLANE_PEERS]; /* backends that have streams with us */
    } fronts;

    /* What Python's thread and the data loop both touch. */
    struct {
        struct xpa_queue commands, notices;
        atomic_uint lost_notices;
    } shared;
};

/* Python's side: queues a command and wakes the loop. -EAGAIN when the queue is full. */
int xpa_plane_command(struct xpa_plane *plane, const struct xpa_command *command);

/* The data loop's side: all commands that wait, now. Before something is freed that they may name,
 * since what reaches the data loop by another way may overtake them. */
void xpa_plane_carry_out(struct xpa_plane *plane);

/* The data loop's side. Returns a ticket for xpa_plane_noticed(). */
uint32_t xpa_plane_notify(struct xpa_plane *plane, uint32_t kind, uint32_t stream_id, int32_t code,
                          const void *packet);
/* Python has read the notice with this ticket. */
bool xpa_plane_noticed(struct xpa_plane *plane, uint32_t ticket);

#endif

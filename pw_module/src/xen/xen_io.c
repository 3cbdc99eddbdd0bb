/* xen/xen_io.c - event channels and shared pages: ioctls of the Linux kernel's Xen devices.
 *
 * No library of Xen's is linked, so the extension loads on machines without Xen; there the opens
 * return -ENOENT. The structures come from linux-libc-dev and end in arrays of one element: they
 * are allocated as long as the request needs.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64 /* grant offsets pass 2^31 also where off_t is 32 bits */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel's user headers use these two without defining them. */
typedef uint16_t domid_t;
typedef uint32_t grant_ref_t;
#include <xen/evtchn.h>
#include <xen/gntalloc.h>
#include <xen/gntdev.h>

#include "xen/xen_io.h"

_Static_assert(XPA_UNMAP_CLEAR_BYTE == UNMAP_NOTIFY_CLEAR_BYTE, "the kernel's flag");
_Static_assert(XPA_UNMAP_SEND_EVENT == UNMAP_NOTIFY_SEND_EVENT, "the kernel's flag");

/* gntdev takes 65536 grants in one call, gntalloc fewer; keeps each size below 2^31. */
#define MAX_GRANTS 65536u

/* A peer that floods us must not keep the data loop inside one call: more than fit into a channel's
 * queue are those that came meanwhile. */
#define MAX_DRAIN 16

static int open_device(const char *path, int flags) {
    int fd = open(path, O_RDWR | O_CLOEXEC | flags);
    return fd < 0 ? -errno : fd;
}

static int call(int fd, unsigned long request, void *argument) {
    int result;
    do {
        result = ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

/* ---- one end of an event channel ---- */

static int sim_notify(int fd) {
    const char event = 1;
    if (send(fd, &event, sizeof(event), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    switch (errno) {
    case ENOTCONN:
    case ECONNRESET:
    case EPIPE:
        return -ECONNREFUSED;
    case EINTR:
        return -EAGAIN; /* only a full queue could have waited: events are pending */
    default:
        return -errno;
    }
}

static int sim_ack(int fd) {
    char event;
    int count = 0;
    while (count < MAX_DRAIN) {
        if (recv(fd, &event, sizeof(event), MSG_DONTWAIT | MSG_TRUNC) >= 0)
            count++;
        else if (errno == EAGAIN || errno == ECONNRESET)
            break;
        else if (errno != EINTR)
            return -errno;
    }
    return count;
}

static int xen_notify(const struct xpa_channel *channel) {
    struct ioctl_evtchn_notify notify = {.port = channel->port};
    int result = call(channel->fd, IOCTL_EVTCHN_NOTIFY, &notify);
    return result < 0 ? result : 0;
}

/* drivers/xen/evtchn.c: read() gives the ports that fired and leaves them masked; write() of the
 * same numbers unmasks. The device carries one port, so one number is all there can be. */
static int xen_ack(const struct xpa_channel *channel) {
    uint32_t ports[8];
    ssize_t got = read(channel->fd, ports, sizeof(ports));
    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return 0; /* EINTR: the descriptor stays readable */
        if (errno != EFBIG)
            return -errno;
        int result = call(channel->fd, IOCTL_EVTCHN_RESET, NULL); /* its buffer overflowed */
        if (result < 0)
            return result;
        ports[0] = channel->port;
        got = sizeof(ports[0]);
    }
    got -= got % (ssize_t)sizeof(ports[0]);
    if (got > 0 && write(channel->fd, ports, (size_t)got) != got)
        return -errno;
    return (int)(got / (ssize_t)sizeof(ports[0]));
}

int xpa_channel_notify(const struct xpa_channel *channel) {
    return channel->kind == XPA_CHANNEL_SIM ? sim_notify(channel->fd) : xen_notify(channel);
}

int xpa_channel_ack(const struct xpa_channel *channel) {
    return channel->kind == XPA_CHANNEL_SIM ? sim_ack(channel->fd) : xen_ack(channel);
}

/* ---- /dev/xen/evtchn ---- */

int xpa_evtchn_open(void) { return open_device("/dev/xen/evtchn", O_NONBLOCK); }

int xpa_evtchn_restrict(int fd, uint32_t domid) {
    struct ioctl_evtchn_restrict_domid restrict_domid = {.domid = (domid_t)domid};
    if (domid > UINT16_MAX)
        return -EINVAL;
    if (domid == 0) /* drivers/xen/evtchn.c refuses it */
        return 0;
    int result = call(fd, IOCTL_EVTCHN_RESTRICT_DOMID, &restrict_domid);
    return result == -ENOTTY || result == -ENOSYS ? 0 : result;
}

int xpa_evtchn_bind_unbound(int fd, uint32_t domid) {
    struct ioctl_evtchn_bind_unbound_port bind = {.remote_domain = domid};
    return call(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);
}

int xpa_evtchn_bind_interdomain(int fd, uint32_t domid, uint32_t port) {
    struct ioctl_evtchn_bind_interdomain bind = {.remote_domain = domid, .remote_port = port};
    return call(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind);
}

/* ---- /dev/xen/gntalloc ---- */

int xpa_gntalloc_open(void) { return open_device("/dev/xen/gntalloc", 0); }

int xpa_gntalloc_alloc(int fd, uint32_t domid, uint32_t count, uint32_t *refs, uint64_t *index) {
    struct ioctl_gntalloc_alloc_gref *alloc;
    if (count == 0 || count > MAX_GRANTS || domid > UINT16_MAX)
        return -EINVAL;
    alloc = calloc(1, sizeof(*alloc) + count * sizeof(alloc->gref_ids[0]));
    if (!alloc)
        return -ENOMEM;
    alloc->domid = (uint16_t)domid;
    alloc->flags = GNTALLOC_FLAG_WRITABLE;
    alloc->count = count;
    int result = call(fd, IOCTL_GNTALLOC_ALLOC_GREF, alloc);
    if (result >= 0) {
        memcpy(refs, (char *)alloc + offsetof(struct ioctl_gntalloc_alloc_gref, gref_ids),
               count * sizeof(refs[0]));
        *index = alloc->index;
        result = 0;
    }
    free(alloc);
    return result;
}

int xpa_gntalloc_free(int fd, uint64_t index, uint32_t count) {
    struct ioctl_gntalloc_dealloc_gref dealloc = {.index = index, .count = count};
    return call(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &dealloc);
}

int xpa_gntalloc_unmap_notify(int fd, uint64_t byte_index, uint32_t action, uint32_t port) {
    struct ioctl_gntalloc_unmap_notify notify = {
        .index = byte_index, .action = action, .event_channel_port = port};
    return call(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify);
}

/* ---- /dev/xen/gntdev ---- */

int xpa_gntdev_open(void) { return open_device("/dev/xen/gntdev", 0); }

int xpa_gntdev_map(int fd, uint32_t domid, const uint32_t *refs, uint32_t count, uint64_t *index) {
    struct ioctl_gntdev_map_grant_ref *map;
    struct ioctl_gntdev_grant_ref *grants;
    if (count == 0 || count > MAX_GRANTS || domid > UINT16_MAX)
        return -EINVAL;
    map = calloc(1, sizeof(*map) + count * sizeof(map->refs[0]));
    if (!map)
        return -ENOMEM;
    /* Through a pointer: past the declared [1] the compiler sees an array bound. */
    grants = (void *)((char *)map + offsetof(struct ioctl_gntdev_map_grant_ref, refs));
    map->count = count;
    for (uint32_t i = 0; i < count; i++) {
        grants[i].domid = domid;
        grants[i].ref = refs[i];
    }
    int result = call(fd, IOCTL_GNTDEV_MAP_GRANT_REF, map);
    if (result >= 0) {
        *index = map->index;
        result = 0;
    }
    free(map);
    return result;
}

int xpa_gntdev_unmap(int fd, uint64_t index, uint32_t count) {
    struct ioctl_gntdev_unmap_grant_ref unmap = {.index = index, .count = count};
    return call(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap);
}

int xpa_gntdev_unmap_notify(int fd, uint64_t byte_index, uint32_t action, uint32_t port) {
    struct ioctl_gntdev_unmap_notify notify = {
        .index = byte_index, .action = action, .event_channel_port = port};
    return call(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify);
}

/* ---- addresses ---- */

int xpa_mem_reserve(uint64_t bytes, void **address) {
    if (bytes == 0 || bytes > SIZE_MAX)
        return -EINVAL;
    void *range =
        mmap(NULL, (size_t)bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        return -errno;
    *address = range;
    return 0;
}

/* Populated now: the data loop must not meet page faults. What gntdev is asked for without
 * PROT_WRITE, Xen maps with GNTMAP_readonly (drivers/xen/gntdev.c, gntdev_mmap). */
int xpa_mem_map(void *address, uint64_t bytes, int fd, uint64_t offset_bytes, int read_only) {
    if (bytes == 0 || bytes > SIZE_MAX)
        return -EINVAL;
    void *mapped = mmap(address, (size_t)bytes, read_only ? PROT_READ : PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, (off_t)offset_bytes);
    return mapped == MAP_FAILED ? -errno : 0;
}

int xpa_mem_unmap(void *address, uint64_t bytes) {
    if (bytes > SIZE_MAX)
        return -EINVAL;
    return munmap(address, (size_t)bytes) ? -errno : 0;
}

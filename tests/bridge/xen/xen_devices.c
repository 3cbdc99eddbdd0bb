/* xen_devices.c - /dev/xen/evtchn and gntdev for a process on a machine without Xen, by LD_PRELOAD.
 *
 * They answer as drivers/xen/evtchn.c and gntdev.c do, as far as a restricted event channel and a
 * mapping need it, and write each call as a line to standard output. XEN_OLD_KERNEL=1: as a kernel
 * that knows no IOCTL_EVTCHN_RESTRICT_DOMID. XEN_NO_PORTS=1: all event channels are in use. One
 * thread; a descriptor is an empty memory file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint16_t domid_t;
typedef uint32_t grant_ref_t;
#include <xen/evtchn.h>
#include <xen/gntdev.h>

enum { NONE = -1, PORT = 5, PAGES = 16, PAGE_BYTES = 4096, MOST_FDS = 64 };

static int restricted[MOST_FDS]; /* of an event channel's descriptor: the domain, or NONE */

static int said(int result, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(": %s\n", result < 0 ? strerror(-result) : "ok");
    fflush(stdout);
    errno = result < 0 ? -result : errno;
    return result < 0 ? -1 : result;
}

int open64(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    int mode = va_arg(args, int);
    va_end(args);
    if (strncmp(path, "/dev/xen/", 9) != 0)
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
    int fd = memfd_create("device", MFD_CLOEXEC);
    if (fd < 0 || fd >= MOST_FDS || ftruncate(fd, PAGES * PAGE_BYTES) < 0)
        abort();
    restricted[fd] = NONE;
    return fd;
}

/* `domid`: whom a restricted descriptor may bind a port of; NONE: it may not. */
static int may_bind(int fd, int domid) {
    if (getenv("XEN_NO_PORTS"))
        return -ENOSPC;
    return restricted[fd] == NONE || restricted[fd] == domid ? PORT : -EACCES;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    switch (request) {
    case IOCTL_EVTCHN_RESTRICT_DOMID: {
        unsigned domid = ((struct ioctl_evtchn_restrict_domid *)argument)->domid;
        int result = 0;
        if (getenv("XEN_OLD_KERNEL"))
            result = -ENOSYS;
        else if (restricted[fd] != NONE)
            result = -EACCES;
        else if (domid == 0 || domid >= 0x7ff0) /* DOMID_FIRST_RESERVED */
            result = -EINVAL;
        else
            restricted[fd] = (int)domid;
        return said(result, "restrict %u", domid);
    }
    case IOCTL_EVTCHN_BIND_INTERDOMAIN: {
        struct ioctl_evtchn_bind_interdomain *bind = argument;
        return said(may_bind(fd, (int)bind->remote_domain), "bind %u of %u", bind->remote_port,
                    bind->remote_domain);
    }
    case IOCTL_EVTCHN_BIND_UNBOUND_PORT: {
        struct ioctl_evtchn_bind_unbound_port *bind = argument;
        return said(may_bind(fd, NONE), "offer to %u", bind->remote_domain);
    }
    case IOCTL_GNTDEV_MAP_GRANT_REF: {
        struct ioctl_gntdev_map_grant_ref *map = argument;
        map->index = 0;
        return said(0, "map %u pages of %u", map->count, map->refs[0].domid);
    }
    case IOCTL_GNTDEV_UNMAP_GRANT_REF:
        return said(0, "unmap");
    default:
        return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(fd, request, argument);
    }
}

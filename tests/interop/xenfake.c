/* xenfake.c - lets Debian's xenstored run on a machine without Xen, by LD_PRELOAD.
 *
 * It stands in for the libraries through which xenstored sees the hypervisor. The simulated machine
 * is the directory $XENFAKE_DIR:
 *   dom<n>/            domain n exists while this does
 *   dom<n>/ring        its XenStore ring page (io/xs_wire.h), shared with its kernel
 *   dom<n>/evtchn      datagram socket of its kernel: one datagram is one event
 *   xenstored.evtchn   datagram socket of xenstored: a uint32_t, the port that fired
 * Ports of xenstored: VIRQ_PORT says that a domain died, RING_PORT + n is domain n's ring.
 * xenstored has one thread, so this has no locks. XEN_MINOR says which Xen 4 it is from.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

enum { VIRQ_PORT = 1, RING_PORT = 16, MAX_DOMAINS = 4096, PAGE_BYTES = 4096 };

static char handle; /* what opaque handles point to: xenstored only passes them back */
static int events_fd = -1;

static const char *machine_path(char *buffer, size_t size, const char *format, ...) {
    const char *dir = getenv("XENFAKE_DIR");
    int used = snprintf(buffer, size, "%s/", dir ? dir : ".");
    va_list args;
    va_start(args, format);
    vsnprintf(buffer + used, size - (size_t)used, format, args);
    va_end(args);
    return buffer;
}

#define PATH(...) machine_path((char[PATH_MAX]){0}, PATH_MAX, __VA_ARGS__)

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        fprintf(stderr, "xenfake: %s is too long for a socket\n", path);
        abort();
    }
    strcpy(address.sun_path, path);
    return address;
}

/* ---- domains ---- */

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *build_logger,
                                unsigned flags) {
    (void)logger, (void)build_logger, (void)flags;
    return (void *)&handle;
}

int xc_interface_close(xc_interface *xch) {
    (void)xch;
    return 0;
}

static bool domain_exists(uint32_t domid) {
    return domid == 0 || (domid < MAX_DOMAINS && access(PATH("dom%u", domid), F_OK) == 0);
}

#if XEN_MINOR >= 18
/* xenstored 4.18 and later ask with this, for one domain. */
int xc_domain_getinfo_single(xc_interface *xch, uint32_t domid, xc_domaininfo_t *info) {
    (void)xch;
    if (!domain_exists(domid)) {
        errno = ESRCH;
        return -1;
    }
    if (info) {
        memset(info, 0, sizeof(*info));
        info->domain = (domid_t)domid;
        info->flags = XEN_DOMINF_running;
    }
    return 0;
}
#else
/* The first domain whose number is at least `first`, as the hypercall does. */
int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max, xc_dominfo_t *info) {
    (void)xch;
    for (uint32_t domid = first; max > 0 && domid < MAX_DOMAINS; domid++) {
        if (!domain_exists(domid))
            continue;
        memset(info, 0, sizeof(*info));
        info->domid = domid;
        info->running = 1;
        return 1;
    }
    return 0;
}
#endif

/* ---- grants: only ring pages ---- */

xengnttab_handle *xengnttab_open(xentoollog_logger *logger, unsigned flags) {
    (void)logger, (void)flags;
    return (void *)&handle;
}

int xengnttab_close(xengnttab_handle *xgt) {
    (void)xgt;
    return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t count) {
    (void)xgt, (void)count;
    return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot) {
    (void)xgt, (void)ref;
    int fd = open(PATH("dom%u/ring", domid), O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    void *page = mmap(NULL, PAGE_BYTES, prot, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? NULL : page;
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count) {
    (void)xgt;
    return munmap(start, (size_t)count * PAGE_BYTES);
}

/* ---- event channels ---- */

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned int flags) {
    (void)logger, (void)flags;
    struct sockaddr_un address = address_of(PATH("xenstored.evtchn"));
    unlink(address.sun_path);
    events_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(events_fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return NULL;
    return (void *)&handle;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned open_flags) {
    (void)logger, (void)open_flags;
    events_fd = fd;
    return (void *)&handle;
}

int xenevtchn_fd(xenevtchn_handle *xce) {
    (void)xce;
    return events_fd;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq) {
    (void)xce, (void)virq;
    return VIRQ_PORT;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                                                     evtchn_port_t remote_port) {
    (void)xce, (void)remote_port;
    return RING_PORT + (int)domid;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port) {
    (void)xce, (void)port;
    return 0;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port) {
    (void)xce, (void)port;
    return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce) {
    uint32_t port;
    (void)xce;
    return recv(events_fd, &port, sizeof(port), 0) == sizeof(port) ? (int)port : -1;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port) {
    (void)xce;
    if (port < RING_PORT)
        return 0;
    struct sockaddr_un address = address_of(PATH("dom%u/evtchn", port - RING_PORT));
    /* A full socket has events pending already, and a dead domain wants none. */
    sendto(events_fd, "", 1, MSG_DONTWAIT, (struct sockaddr *)&address, sizeof(address));
    return 0;
}

/* ---- domain 0's own ring, which nobody uses: files of the same content as /proc/xen's ---- */

typedef int open_function(const char *path, int flags, ...);

static int open_instead(const char *path, int flags, mode_t mode) {
    open_function *real_open = (open_function *)dlsym(RTLD_NEXT, "open");
    bool page = strcmp(path, "/proc/xen/xsd_kva") == 0;
    bool port = strcmp(path, "/proc/xen/xsd_port") == 0;
    if (!page && !port)
        return real_open(path, flags, mode);
    int fd = real_open(PATH(page ? "xsd_kva" : "xsd_port"), O_RDWR | O_CREAT, 0600);
    if (fd >= 0 && (page ? ftruncate(fd, PAGE_BYTES) != 0 : pwrite(fd, "2", 1, 0) != 1)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* glibc declares these with attributes that a stand-in cannot repeat. */
#define STAND_IN(name)                                                                             \
    int name(const char *path, int flags, ...) {                                                   \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;                                \
        va_end(args);                                                                              \
        return open_instead(path, flags, mode);                                                    \
    }

STAND_IN(open)
STAND_IN(open64)

/* xlfake.c - lets Debian's xl run on a machine without Xen, by LD_PRELOAD, as far as it asks Xen
 * nothing that matters: every hypercall succeeds and answers with zeros, and every domain exists.
 * It stands in for the lowest of Xen's libraries, so that libxl and libxenctrl are the real ones.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>

static char handle; /* what opaque handles point to */

void *xencall_open(struct xentoollog_logger *logger, unsigned flags);
void *xencall_open(struct xentoollog_logger *logger, unsigned flags) {
    (void)logger, (void)flags;
    return &handle;
}

void *xencall_alloc_buffer(void *call, size_t size);
void *xencall_alloc_buffer(void *call, size_t size) {
    (void)call;
    return calloc(1, size);
}

void xencall_free_buffer(void *call, void *buffer);
void xencall_free_buffer(void *call, void *buffer) {
    (void)call;
    free(buffer);
}

/* The arguments of a call that nobody looks at may be left out. */
#define HYPERCALL(name)                                                                            \
    int name(void *call, unsigned op);                                                             \
    int name(void *call, unsigned op) {                                                            \
        (void)call, (void)op;                                                                      \
        return 0;                                                                                  \
    }

HYPERCALL(xencall0)
HYPERCALL(xencall1)
HYPERCALL(xencall2)
HYPERCALL(xencall3)
HYPERCALL(xencall4)
HYPERCALL(xencall5)

long xencall2L(void *call, unsigned op);
long xencall2L(void *call, unsigned op) {
    (void)call, (void)op;
    return 0;
}

#define OPEN_AND_CLOSE(library)                                                                    \
    void *library##_open(struct xentoollog_logger *logger, unsigned flags);                        \
    void *library##_open(struct xentoollog_logger *logger, unsigned flags) {                       \
        (void)logger, (void)flags;                                                                 \
        return &handle;                                                                            \
    }                                                                                              \
    int library##_close(void *opened);                                                             \
    int library##_close(void *opened) {                                                            \
        (void)opened;                                                                              \
        return 0;                                                                                  \
    }

OPEN_AND_CLOSE(xenforeignmemory)
OPEN_AND_CLOSE(xendevicemodel)

int xencall_close(void *call);
int xencall_close(void *call) {
    (void)call;
    return 0;
}

static void running(xc_domaininfo_t *info, uint32_t domid) {
    memset(info, 0, sizeof(*info));
    info->domain = (domid_t)domid;
    info->flags = XEN_DOMINF_running;
}

#if XEN_MINOR >= 18
int xc_domain_getinfo_single(xc_interface *xch, uint32_t domid, xc_domaininfo_t *info) {
    (void)xch;
    running(info, domid);
    return 0;
}
#endif

int xc_domain_getinfolist(xc_interface *xch, uint32_t first, unsigned int max,
                          xc_domaininfo_t *info) {
    (void)xch;
    if (max == 0)
        return 0;
    running(info, first);
    return 1;
}

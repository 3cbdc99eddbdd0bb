/* abi/xen_io.cdef.h - event channels and shared pages; plain declarations, read by C and by cffi.
 *
 * Threads: xpa_channel_notify() and xpa_channel_ack() are for any thread, one at a time for each
 * channel, and are what the data loop uses. Everything else is for the control plane and may block.
 * Every int result is >= 0, or a negative errno. A page is Xen's page: 4096 bytes.
 */

enum { XPA_CHANNEL_XEN = 0, XPA_CHANNEL_SIM = 1 };

/* What a peer learns when our end of a page goes away, also by kill -9 (xen/gntalloc.h). */
enum { XPA_UNMAP_CLEAR_BYTE = 1, XPA_UNMAP_SEND_EVENT = 2 };

/* One end of one event channel. kind XPA_CHANNEL_XEN: fd is a /dev/xen/evtchn of its own, bound to
 * exactly `port`; XPA_CHANNEL_SIM: fd is a datagram socket connected to the other end. */
struct xpa_channel {
    int fd;
    uint32_t port;
    uint32_t kind;
};

/* Never blocks. -EAGAIN: the other end has plenty of events pending already, nothing is lost;
 * -ECONNREFUSED: there is no other end any more. */
int xpa_channel_notify(const struct xpa_channel *channel);
/* Takes what is pending and lets the channel fire again. Look at shared memory after this call,
 * not before it. Returns the number of events taken; several notifications may be one event. */
int xpa_channel_ack(const struct xpa_channel *channel);

/* /dev/xen/evtchn (xen/evtchn.h); bind returns the local port. After restrict, the descriptor binds
 * no port of another domain than this, and offers none to any; 0 also where the kernel cannot do
 * that: one before 4.10, and any for domain 0. */
int xpa_evtchn_open(void);
int xpa_evtchn_restrict(int fd, uint32_t domid);
int xpa_evtchn_bind_unbound(int fd, uint32_t domid);
int xpa_evtchn_bind_interdomain(int fd, uint32_t domid, uint32_t port);

/* /dev/xen/gntalloc: pages of ours for another domain; *index is their offset for xpa_mem_map(). */
int xpa_gntalloc_open(void);
int xpa_gntalloc_alloc(int fd, uint32_t domid, uint32_t count, uint32_t *refs, uint64_t *index);
int xpa_gntalloc_free(int fd, uint64_t index, uint32_t count);
int xpa_gntalloc_unmap_notify(int fd, uint64_t byte_index, uint32_t action, uint32_t port);

/* /dev/xen/gntdev: pages of another domain; a stale reference shows at xpa_mem_map() (-EINVAL). */
int xpa_gntdev_open(void);
int xpa_gntdev_map(int fd, uint32_t domid, const uint32_t *refs, uint32_t count, uint64_t *index);
int xpa_gntdev_unmap(int fd, uint64_t index, uint32_t count);
int xpa_gntdev_unmap_notify(int fd, uint64_t byte_index, uint32_t action, uint32_t port);

/* A reserved range of addresses, filled piece by piece, so that pages from several files or ioctls
 * are contiguous. xpa_mem_unmap() takes the range away with all that was mapped into it. */
int xpa_mem_reserve(uint64_t bytes, void **address);
int xpa_mem_map(void *address, uint64_t bytes, int fd, uint64_t offset_bytes, int read_only);
int xpa_mem_unmap(void *address, uint64_t bytes);

/*
 * See xen/ring.h. How the memory ordering works, said once:
 *
 * - A producer writes slots, then stores its index with release; a consumer loads that index with
 *   acquire, then reads slots. These are the xen_wmb() and xen_rmb() of Xen's macros.
 * - A consumer finishes reading a slot before the producer may learn that it is free: release on
 *   the consumer's index (event ring), or the response that comes back through the same ring.
 * - Hold-off is Dekker's pattern: one side stores prod, then loads event; the other stores event,
 *   then loads prod; at least one must see the other's store, or a wake-up is lost. A full barrier
 *   between the two forbids the load to overtake the store (x86: a locked instruction, Arm: dmb
 *   ish). That is the xen_mb() of Xen's macros, and pairs with it. Not a sequentially consistent
 *   store and load, which would be enough on Arm itself (stlr, then ldar): QEMU on x86 lets that
 *   load overtake, and guests for Arm are developed in it. Compilers make real barriers of the
 *   inner shareable domain whatever the number of our own CPUs, which is what two domains on
 *   different CPUs need.
 * - The buffer's frames are plain memory: what the frontend copies in before a WRITE, and what the
 *   backend copies in before it answers a READ, goes by the index of that request or response, and
 *   a part of the buffer changes hands by nothing else.
 * - An event channel is sent after the index: a system call, at whose end Xen's atomic pending bit
 *   or the simulation's socket is a full barrier. Whoever wakes by it finds the index.
 *
 * What compilers make of this for Arm is looked at by tests/pw_module/arm64. No emulator shows what
 * it is for: those on x86 keep x86's stricter order.
 *
 * Slots are moved in volatile 32-bit words, as Xen's RING_COPY_ does: each word of the shared page
 * is touched exactly once, so the compiler cannot fetch it again after a check (double fetch). Not
 * atomic: between honest ends the index orders everything, and a thread sanitizer can see that.
 */
#include "xen/ring.h"

#include <errno.h>
#include <stdatomic.h>

#define SLOT_BYTES 64u
#define SLOT_WORDS (SLOT_BYTES / 4)
#define PAGE_BYTES XENSND_EVENT_PAGE_SIZE

_Static_assert(sizeof(union xen_sndif_sring_entry) == SLOT_BYTES, "request ring slot");
_Static_assert(sizeof(struct xensnd_req) == SLOT_BYTES, "request");
_Static_assert(sizeof(struct xensnd_resp) == SLOT_BYTES, "response");
_Static_assert(sizeof(struct xensnd_evt) == SLOT_BYTES, "event");
_Static_assert(__CONST_RING_SIZE(xen_sndif, PAGE_BYTES) == XPA_RING_SLOTS, "request ring slots");
_Static_assert(sizeof(RING_IDX) == 4, "indices wrap at 2^32");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a lock cannot be shared with another domain");

/* may_alias: the page holds requests, responses and events; we move words. */
typedef volatile uint32_t __attribute__((may_alias)) page_word;

static uint32_t load_acquire(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

static void store_release(uint32_t *p, uint32_t value) {
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* The hold-off's store: any load after it comes after it. */
static void store_ordered(uint32_t *p, uint32_t value) {
    store_release(p, value);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void copy_from_page(void *out, const void *slot) {
    const page_word *from = slot;
    uint32_t words[SLOT_WORDS];

    for (unsigned i = 0; i < SLOT_WORDS; i++)
        words[i] = from[i];
    memcpy(out, words, SLOT_BYTES);
}

static void copy_to_page(void *slot, const void *in) {
    page_word *to = slot;
    uint32_t words[SLOT_WORDS];

    memcpy(words, in, SLOT_BYTES);
    for (unsigned i = 0; i < SLOT_WORDS; i++)
        to[i] = words[i];
}

/* ---- request ring ---------------------------------------------------------------------------- */

static struct xen_sndif_sring *sring(void *page) { return page; }

static void *request_slot(void *page, uint32_t index) {
    return &sring(page)->ring[0] + (index & (XPA_RING_SLOTS - 1));
}

/* Notify when the peer's event index lies in (old, new]: the rule of xen/ring.h, wrap included. The
 * event index is the peer's, and whatever it holds only decides whether we notify. */
static bool event_passed(uint32_t old_prod, uint32_t new_prod, uint32_t event) {
    return new_prod - event < new_prod - old_prod;
}

void xpa_front_ring_init(struct xpa_front_ring *r, void *page) {
    xpa_front_ring_init_at(r, page, 0);
}

void xpa_front_ring_init_at(struct xpa_front_ring *r, void *page, uint32_t index) {
    struct xen_sndif_sring *s = sring(page);

    /* plain stores: nobody else has the page before its grant reference is published, which takes
     * system calls and XenStore's locks on both sides */
    memset(page, 0, PAGE_BYTES);
    s->req_prod = s->rsp_prod = index;
    s->req_event = s->rsp_event = index + 1;
    *r = (struct xpa_front_ring){
        .page = page, .req_prod_pvt = index, .rsp_cons = index, .req_prod_pub = index};
}

uint32_t xpa_front_ring_free(const struct xpa_front_ring *r) {
    return XPA_RING_SLOTS - (r->req_prod_pvt - r->rsp_cons);
}

int xpa_front_ring_push(struct xpa_front_ring *r, const struct xensnd_req *req) {
    /* rsp_cons moves only after a response has been copied out of its slot, so a free slot is one
     * that we have finished reading, and program order is all that a single location needs */
    if (xpa_front_ring_free(r) == 0)
        return -ENOSPC;
    copy_to_page(request_slot(r->page, r->req_prod_pvt), req);
    r->req_prod_pvt++;
    return 0;
}

bool xpa_front_ring_publish(struct xpa_front_ring *r) {
    struct xen_sndif_sring *s = sring(r->page);
    uint32_t old = r->req_prod_pub;

    /* ordered store: a release too, pairs with the acquire in xpa_back_ring_pop, so the requests
     * are there before the index; then the load, pairs with xpa_back_ring_rearm: we see its
     * req_event or it sees our index */
    store_ordered(&s->req_prod, r->req_prod_pvt);
    r->req_prod_pub = r->req_prod_pvt;
    return event_passed(old, r->req_prod_pub, load_acquire(&s->req_event));
}

int xpa_front_ring_pop(struct xpa_front_ring *r, struct xensnd_resp *out) {
    /* acquire, pairs with xpa_back_ring_publish: the response is whole before we copy it, and what
     * a READ brought is in the buffer */
    uint32_t ready = load_acquire(&sring(r->page)->rsp_prod) - r->rsp_cons;

    if (ready > r->req_prod_pub - r->rsp_cons)
        return -EPROTO;
    if (ready == 0)
        return 0;
    copy_from_page(out, request_slot(r->page, r->rsp_cons));
    r->rsp_cons++;
    return 1;
}

bool xpa_front_ring_rearm(struct xpa_front_ring *r, uint32_t after) {
    struct xen_sndif_sring *s = sring(r->page);

    /* Any difference counts, an impossible one as well: pop will say -EPROTO. Relaxed would do: it
     * only spares us the store, and pop loads the index again. */
    if (load_acquire(&s->rsp_prod) != r->rsp_cons)
        return true;
    /* ordered store, then the load, pairs with xpa_back_ring_publish: the backend sees
     * rsp_event or we see its response */
    store_ordered(&s->rsp_event, r->rsp_cons + after);
    return load_acquire(&s->rsp_prod) != r->rsp_cons;
}

void xpa_back_ring_init(struct xpa_back_ring *r, void *page) { xpa_back_ring_init_at(r, page, 0); }

void xpa_back_ring_init_at(struct xpa_back_ring *r, void *page, uint32_t index) {
    *r = (struct xpa_back_ring){
        .page = page, .req_cons = index, .rsp_prod_pvt = index, .rsp_prod_pub = index};
}

uint32_t xpa_back_ring_unanswered(const struct xpa_back_ring *r) {
    return r->req_cons - r->rsp_prod_pvt;
}

int xpa_back_ring_pop(struct xpa_back_ring *r, struct xensnd_req *out) {
    /* acquire, pairs with xpa_front_ring_publish: the request is whole before we copy it, and what
     * a WRITE names is in the buffer */
    uint32_t ready = load_acquire(&sring(r->page)->req_prod) - r->req_cons;

    /* One comparison says both: not beyond 32 unanswered (RING_REQUEST_PROD_OVERFLOW), and not
     * behind what was popped (Xen's macros would hand out stale slots then). */
    if (ready > XPA_RING_SLOTS - xpa_back_ring_unanswered(r))
        return -EPROTO;
    if (ready == 0)
        return 0;
    copy_from_page(out, request_slot(r->page, r->req_cons));
    r->req_cons++;
    return 1;
}

int xpa_back_ring_push(struct xpa_back_ring *r, const struct xensnd_resp *resp) {
    /* the slot held a request that pop has copied out: same thread, program order suffices */
    if (xpa_back_ring_unanswered(r) == 0)
        return -EINVAL;
    copy_to_page(request_slot(r->page, r->rsp_prod_pvt), resp);
    r->rsp_prod_pvt++;
    return 0;
}

bool xpa_back_ring_publish(struct xpa_back_ring *r) {
    struct xen_sndif_sring *s = sring(r->page);
    uint32_t old = r->rsp_prod_pub;

    /* As xpa_front_ring_publish, with xpa_front_ring_pop and _rearm. It also hands back the slots,
     * and of the buffer what a WRITE named: the release half keeps our reads of both before what
     * the frontend writes there next, which it does after its acquire of this index. */
    store_ordered(&s->rsp_prod, r->rsp_prod_pvt);
    r->rsp_prod_pub = r->rsp_prod_pvt;
    return event_passed(old, r->rsp_prod_pub, load_acquire(&s->rsp_event));
}

bool xpa_back_ring_rearm(struct xpa_back_ring *r, uint32_t after) {
    struct xen_sndif_sring *s = sring(r->page);

    if (load_acquire(&s->req_prod) != r->req_cons) /* as in xpa_front_ring_rearm */
        return true;
    /* ordered store, then the load, pairs with xpa_front_ring_publish: the frontend sees
     * req_event or we see its request */
    store_ordered(&s->req_event, r->req_cons + after);
    return load_acquire(&s->req_prod) != r->req_cons;
}

/* ---- event ring ------------------------------------------------------------------------------ */

static struct xensnd_event_page *event_page(void *page) { return page; }

void xpa_evt_ring_init_front(struct xpa_evt_ring *r, void *page) {
    xpa_evt_ring_init_front_at(r, page, 0);
}

void xpa_evt_ring_init_front_at(struct xpa_evt_ring *r, void *page, uint32_t index) {
    /* plain stores: not granted yet, as xpa_front_ring_init_at */
    memset(page, 0, PAGE_BYTES);
    event_page(page)->in_cons = event_page(page)->in_prod = index;
    *r = (struct xpa_evt_ring){.page = page, .in_prod = index, .in_cons = index};
}

void xpa_evt_ring_init_back(struct xpa_evt_ring *r, void *page) {
    xpa_evt_ring_init_back_at(r, page, 0);
}

void xpa_evt_ring_init_back_at(struct xpa_evt_ring *r, void *page, uint32_t index) {
    *r = (struct xpa_evt_ring){.page = page, .in_prod = index, .in_cons = index};
    /* pairs with the frontend's load in pop. No event goes before it: relaxed would do, but it must
     * be a single store. */
    store_release(&event_page(page)->in_prod, index);
}

int xpa_evt_ring_put(struct xpa_evt_ring *r, const struct xensnd_evt *evt) {
    return xpa_evt_ring_put_all(r, evt, 1);
}

int xpa_evt_ring_put_all(struct xpa_evt_ring *r, const struct xensnd_evt *evts, uint32_t count) {
    /* acquire, pairs with ack: the frontend has finished reading the slots it gives back. Linux has
     * no release there (a barrier only behind it): on Arm it may still be reading the oldest of 63
     * events when we overwrite it. That costs an honest guest at most that one position. */
    uint32_t unread = r->in_prod - load_acquire(&event_page(r->page)->in_cons);
    /* 2^32 is no multiple of 63: index 0 comes to lie on the slot of index 2^32-4, not of 2^32-63.
     * So the first 4 events after the wrap find their slots taken with only 4 events unread. */
    const uint32_t wrap_slots = (UINT32_MAX % XPA_EVT_RING_SLOTS + 1) % XPA_EVT_RING_SLOTS;

    if (unread > XPA_EVT_RING_SLOTS)
        return -EPROTO;
    for (uint32_t i = 0; i < count; i++)
        if (unread + i >= (r->in_prod + i < wrap_slots ? wrap_slots : XPA_EVT_RING_SLOTS))
            return -ENOSPC;
    for (uint32_t i = 0; i < count; i++)
        copy_to_page(&XENSND_IN_RING_REF(r->page, r->in_prod + i), &evts[i]);
    r->in_prod += count;
    /* ordered store: a release too, pairs with the acquire in pop, so the events are whole before
     * the index says so; then the load in xpa_evt_ring_polled, pairs with set_polled */
    store_ordered(&event_page(r->page)->in_prod, r->in_prod);
    return 0;
}

/* What the position extension makes of these four reserved octets; the first one is the liveness
 * extension's. */
enum { POLLED_OCTET = 4, FILLED_OCTET = 8 };

_Static_assert(offsetof(struct xensnd_event_page, reserved[POLLED_OCTET]) % 4 == 0, "one word");

static uint32_t *word(const struct xpa_evt_ring *r, uint32_t octet) {
    return (uint32_t *)(void *)&event_page(r->page)->reserved[octet];
}

bool xpa_evt_ring_polled(const struct xpa_evt_ring *r) {
    return load_acquire(word(r, POLLED_OCTET)) != 0;
}

void xpa_evt_ring_set_filled(struct xpa_evt_ring *r, uint32_t frames) {
    /* release, pairs with filled: the frames are in the buffer before we say so */
    store_release(word(r, FILLED_OCTET), frames);
}

uint32_t xpa_evt_ring_filled(const struct xpa_evt_ring *r) {
    /* acquire, pairs with set_filled: the frames are there when we read them */
    return load_acquire(word(r, FILLED_OCTET));
}

bool xpa_evt_ring_set_polled(struct xpa_evt_ring *r, bool polled) {
    /* ordered store, then the load, pairs with put and polled: the backend sees that it is to
     * notify us, or we see its event */
    store_ordered(word(r, POLLED_OCTET), polled);
    return load_acquire(&event_page(r->page)->in_prod) != r->in_cons;
}

bool xpa_evt_ring_front_lives(const struct xpa_evt_ring *r) {
    /* Cleared by the guest's kernel before it sends the event that makes us look: that event, read
     * by a system call, puts this load after it. Nothing that we read later hangs on the byte. */
    return __atomic_load_n(&event_page(r->page)->reserved[0], __ATOMIC_ACQUIRE) != 0;
}

int xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out) {
    /* acquire, pairs with put: the event is whole before we copy it */
    uint32_t ready = load_acquire(&event_page(r->page)->in_prod) - r->in_cons;

    if (ready > XPA_EVT_RING_SLOTS)
        return -EPROTO;
    if (ready == 0)
        return 0;
    copy_from_page(out, &XENSND_IN_RING_REF(r->page, r->in_cons));
    r->in_cons++;
    return 1;
}

void xpa_evt_ring_ack(struct xpa_evt_ring *r) {
    /* release, pairs with the acquire in put: our reads of the slots are done before the backend
     * may overwrite them */
    store_release(&event_page(r->page)->in_cons, r->in_cons);
}

/*
 * Xen's own ring macros as the oracle. The same random operations run on two pages: on one both
 * ends are Xen's macros, on the other one or both ends are ours. After every operation the pages
 * must be equal byte by byte, and so must every answer, notify decisions included.
 */
#include "check.h"
#include "pages.h"
#include "random.h"
#include "xen/ring.h"

#undef xen_mb
#undef xen_rmb
#undef xen_wmb
#define xen_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

/* One connection: each end is either ours or Xen's. */
struct pair {
    union test_page *page;
    bool our_front, our_back;
    struct xpa_front_ring front;
    struct xpa_back_ring back;
    struct xen_sndif_front_ring xen_front;
    struct xen_sndif_back_ring xen_back;
};

static union test_page reference_page, tested_page;

static void start_pair(struct pair *p, union test_page *page, bool our_front, bool our_back,
                       uint32_t index) {
    struct xen_sndif_sring *s = (void *)page;

    p->page = page;
    p->our_front = our_front;
    p->our_back = our_back;
    memset(page, 0, sizeof *page);
    if (our_front) {
        xpa_front_ring_init_at(&p->front, page, index);
    } else {
        SHARED_RING_INIT(s);
        s->req_prod = s->rsp_prod = index;
        s->req_event = s->rsp_event = index + 1;
        FRONT_RING_ATTACH(&p->xen_front, s, index, TEST_PAGE_BYTES);
    }
    if (our_back)
        xpa_back_ring_init_at(&p->back, page, index);
    else
        BACK_RING_ATTACH(&p->xen_back, s, index, TEST_PAGE_BYTES);
}

static uint32_t front_free(struct pair *p) {
    return p->our_front ? xpa_front_ring_free(&p->front) : RING_FREE_REQUESTS(&p->xen_front);
}

/* Each operation returns what its end answered; -1 for a refusal. */
static int front_push(struct pair *p, const struct xensnd_req *req) {
    if (p->our_front)
        return xpa_front_ring_push(&p->front, req) == 0 ? 0 : -1;
    if (RING_FULL(&p->xen_front))
        return -1;
    *RING_GET_REQUEST(&p->xen_front, p->xen_front.req_prod_pvt) = *req;
    p->xen_front.req_prod_pvt++;
    return 0;
}

static int front_publish(struct pair *p) {
    int notify;

    if (p->our_front)
        return xpa_front_ring_publish(&p->front);
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&p->xen_front, notify);
    return notify;
}

static int front_pop(struct pair *p, struct xensnd_resp *resp) {
    if (p->our_front)
        return xpa_front_ring_pop(&p->front, resp);
    if (!RING_HAS_UNCONSUMED_RESPONSES(&p->xen_front))
        return 0;
    xen_rmb();
    RING_COPY_RESPONSE(&p->xen_front, p->xen_front.rsp_cons, resp);
    p->xen_front.rsp_cons++;
    return 1;
}

static int front_rearm(struct pair *p) {
    int more;

    if (p->our_front)
        return xpa_front_ring_rearm(&p->front, 1);
    RING_FINAL_CHECK_FOR_RESPONSES(&p->xen_front, more);
    return more != 0;
}

static int back_pop(struct pair *p, struct xensnd_req *req) {
    if (p->our_back)
        return xpa_back_ring_pop(&p->back, req);
    if (!RING_HAS_UNCONSUMED_REQUESTS(&p->xen_back))
        return 0;
    xen_rmb();
    RING_COPY_REQUEST(&p->xen_back, p->xen_back.req_cons, req);
    p->xen_back.req_cons++;
    return 1;
}

static int back_push(struct pair *p, const struct xensnd_resp *resp) {
    if (p->our_back)
        return xpa_back_ring_push(&p->back, resp) == 0 ? 0 : -1;
    if (p->xen_back.req_cons == p->xen_back.rsp_prod_pvt)
        return -1;
    *RING_GET_RESPONSE(&p->xen_back, p->xen_back.rsp_prod_pvt) = *resp;
    p->xen_back.rsp_prod_pvt++;
    return 0;
}

static int back_publish(struct pair *p) {
    int notify;

    if (p->our_back)
        return xpa_back_ring_publish(&p->back);
    RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&p->xen_back, notify);
    return notify;
}

static int back_rearm(struct pair *p) {
    int more;

    if (p->our_back)
        return xpa_back_ring_rearm(&p->back, 1);
    RING_FINAL_CHECK_FOR_REQUESTS(&p->xen_back, more);
    return more != 0;
}

static void fill(uint64_t *seed, void *slot) {
    for (int i = 0; i < 8; i++) {
        uint64_t word = random_u64(seed);

        memcpy((char *)slot + 8 * i, &word, 8);
    }
}

static void pages_stay_equal(bool our_front, bool our_back, uint32_t index, uint64_t seed) {
    enum { PUSH, PUBLISH, POP, REARM, BACK_POP, BACK_PUSH, BACK_PUBLISH, BACK_REARM, OPERATIONS };
    struct pair reference, tested;
    int failed_before = check_failed;
    long notified = 0, held_off = 0, taken = 0, refused = 0;

    start_pair(&reference, &reference_page, false, false, index);
    start_pair(&tested, &tested_page, our_front, our_back, index);
    for (int step = 0; step < 20000; step++) {
        uint32_t operation = random_below(&seed, OPERATIONS);
        bool moves = operation == PUSH || operation == POP || operation == BACK_POP ||
                     operation == BACK_PUSH;
        uint32_t times = random_below(&seed, 4) == 0 ? 1 + random_below(&seed, 40) : 1; /* bursts */
        struct xensnd_req req, req2;
        struct xensnd_resp resp, resp2;
        int wanted = 0, seen = 0, at;

        do {
            memset(&req, 0, sizeof req);
            memset(&req2, 0, sizeof req2);
            memset(&resp, 0, sizeof resp);
            memset(&resp2, 0, sizeof resp2);
            switch (operation) {
            case PUSH:
                fill(&seed, &req);
                req2 = req;
                wanted = front_push(&reference, &req);
                seen = front_push(&tested, &req);
                refused += wanted < 0;
                break;
            case PUBLISH:
                wanted = front_publish(&reference);
                seen = front_publish(&tested);
                break;
            case POP:
                wanted = front_pop(&reference, &resp);
                seen = front_pop(&tested, &resp2);
                taken += wanted;
                break;
            case REARM:
                wanted = front_rearm(&reference);
                seen = front_rearm(&tested);
                break;
            case BACK_POP:
                wanted = back_pop(&reference, &req);
                seen = back_pop(&tested, &req2);
                break;
            case BACK_PUSH:
                fill(&seed, &resp);
                resp2 = resp;
                wanted = back_push(&reference, &resp);
                seen = back_push(&tested, &resp);
                refused += wanted < 0;
                break;
            case BACK_PUBLISH:
                wanted = back_publish(&reference);
                seen = back_publish(&tested);
                break;
            case BACK_REARM:
                wanted = back_rearm(&reference);
                seen = back_rearm(&tested);
                break;
            }
            if (operation == PUBLISH || operation == BACK_PUBLISH) {
                notified += wanted;
                held_off += !wanted;
            }
            CHECK(wanted == seen, "step %d: operation %u answers %d, Xen's %d", step, operation,
                  seen, wanted);
            CHECK(memcmp(&req, &req2, sizeof req) == 0, "step %d: requests differ", step);
            CHECK(memcmp(&resp, &resp2, sizeof resp) == 0, "step %d: responses differ", step);
            at = pages_differ(&reference_page, &tested_page);
            CHECK(at < 0, "step %d: operation %u: pages differ at byte %d", step, operation, at);
            CHECK_EQ(front_free(&tested), front_free(&reference));
            if (check_failed > failed_before)
                return; /* all that follows would differ as well */
        } while (moves && --times > 0);
    }
    /* the sequence went everywhere: a test that never notifies would prove nothing */
    CHECK(notified > 500 && held_off > 500 && taken > 2000 && refused > 100,
          "notified %ld, held off %ld, taken %ld, refused %ld", notified, held_off, taken, refused);
    printf("front %s, back %s, from %#x: %ld messages, notified %ld, held off %ld\n",
           our_front ? "ours" : "Xen's", our_back ? "ours" : "Xen's", index, taken, notified,
           held_off);
}

int main(void) {
    static const uint32_t starts[] = {0, 0xfffffffe, 0x7fffffff, 0xffffffe0};

    for (unsigned i = 0; i < sizeof starts / sizeof starts[0]; i++)
        for (unsigned ours = 1; ours < 4; ours++)
            pages_stay_equal(ours & 1, ours & 2, starts[i], 100 * i + ours);
    return check_close();
}

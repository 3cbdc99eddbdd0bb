/*
 * Request ring and event ring: what an honest peer sees, and what happens when the peer writes
 * indices that cannot be true. The peer is played by writing the page's words directly.
 */
#include <errno.h>

#include "check.h"
#include "pages.h"
#include "random.h"
#include "xen/ring.h"

static union test_page page;

/* The page's index words, in the order of struct xen_sndif_sring and struct xensnd_event_page. */
enum { REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT };
enum { IN_CONS, IN_PROD };

static const uint32_t starts[] = {0, 1, 31, 0x7ffffffe, 0xfffffffe, 0xffffffff};
#define STARTS (sizeof starts / sizeof starts[0])

static struct xensnd_req request(uint32_t n) {
    struct xensnd_req req;

    memset(&req, (int)(n * 7 + 1) & 0xff, sizeof req);
    req.id = (uint16_t)n;
    return req;
}

static struct xensnd_resp response(uint32_t n) {
    struct xensnd_resp resp;

    memset(&resp, (int)(n * 5 + 2) & 0xff, sizeof resp);
    resp.id = (uint16_t)n;
    return resp;
}

static struct xensnd_evt event(uint32_t n) {
    struct xensnd_evt evt;

    memset(&evt, 0, sizeof evt);
    evt.id = (uint16_t)n;
    evt.type = XENSND_EVT_CUR_POS;
    evt.op.cur_pos.position = n * 1000ull;
    return evt;
}

static void fresh_page_leaks_nothing_old(void) {
    struct xpa_front_ring front;
    struct xpa_evt_ring evt;

    memset(&page, 0xaa, sizeof page);
    xpa_front_ring_init(&front, &page);
    CHECK_EQ(page.words[REQ_PROD], 0);
    CHECK_EQ(page.words[RSP_PROD], 0);
    CHECK_EQ(page.words[REQ_EVENT], 1);
    CHECK_EQ(page.words[RSP_EVENT], 1);
    for (int i = 4; i < TEST_PAGE_BYTES / 4; i++)
        CHECK_EQ(page.words[i], 0);
    memset(&page, 0xaa, sizeof page);
    xpa_evt_ring_init_front(&evt, &page);
    for (int i = 0; i < TEST_PAGE_BYTES / 4; i++)
        CHECK_EQ(page.words[i], 0);
}

static void requests_go_round_and_come_back(uint32_t start) {
    struct xpa_front_ring front;
    struct xpa_back_ring back;
    struct xensnd_req req, seen;
    struct xensnd_resp resp, answer;

    xpa_front_ring_init_at(&front, &page, start);
    xpa_back_ring_init_at(&back, &page, start);
    for (uint32_t n = 0; n < 200; n++) {
        req = request(n);
        CHECK_EQ(xpa_front_ring_push(&front, &req), 0);
        CHECK_EQ(xpa_back_ring_pop(&back, &seen), 0); /* not visible before publish */
        CHECK(xpa_front_ring_publish(&front), "an idle backend must be notified");
        CHECK_EQ(xpa_back_ring_pop(&back, &seen), 1);
        CHECK(memcmp(&seen, &req, sizeof req) == 0, "request %u differs", n);
        CHECK_EQ(xpa_back_ring_pop(&back, &seen), 0);
        CHECK(!xpa_back_ring_rearm(&back, 1), "nothing came meanwhile");
        resp = response(n);
        CHECK_EQ(xpa_back_ring_push(&back, &resp), 0);
        CHECK_EQ(xpa_front_ring_pop(&front, &answer), 0);
        CHECK(xpa_back_ring_publish(&back), "an idle frontend must be notified");
        CHECK(xpa_front_ring_rearm(&front, 1), "a response is waiting");
        CHECK_EQ(xpa_front_ring_pop(&front, &answer), 1);
        CHECK(memcmp(&answer, &resp, sizeof resp) == 0, "response %u differs", n);
        CHECK_EQ(xpa_front_ring_pop(&front, &answer), 0);
        CHECK(!xpa_front_ring_rearm(&front, 1), "nothing came meanwhile");
    }
}

static void full_ring_refuses(uint32_t start) {
    struct xpa_front_ring front;
    struct xpa_back_ring back;
    struct xensnd_req req = request(1);
    struct xensnd_resp resp = response(1);

    xpa_front_ring_init_at(&front, &page, start);
    xpa_back_ring_init_at(&back, &page, start);
    CHECK_EQ(xpa_back_ring_push(&back, &resp), -EINVAL); /* nothing to answer */
    for (uint32_t n = 0; n < XPA_RING_SLOTS; n++) {
        CHECK_EQ(xpa_front_ring_free(&front), XPA_RING_SLOTS - n);
        CHECK_EQ(xpa_front_ring_push(&front, &req), 0);
    }
    CHECK_EQ(xpa_front_ring_free(&front), 0);
    CHECK_EQ(xpa_front_ring_push(&front, &req), -ENOSPC);
    xpa_front_ring_publish(&front);
    for (uint32_t n = 0; n < XPA_RING_SLOTS; n++)
        CHECK_EQ(xpa_back_ring_pop(&back, &req), 1);
    CHECK_EQ(xpa_back_ring_unanswered(&back), XPA_RING_SLOTS);
    CHECK_EQ(xpa_back_ring_pop(&back, &req), 0);
    CHECK_EQ(xpa_back_ring_push(&back, &resp), 0);
    CHECK_EQ(xpa_front_ring_pop(&front, &resp), 0); /* pushed, not published */
    xpa_back_ring_publish(&back);
    CHECK_EQ(xpa_front_ring_push(&front, &req), -ENOSPC); /* answered, not popped */
    CHECK_EQ(xpa_front_ring_pop(&front, &resp), 1);
    CHECK_EQ(xpa_front_ring_push(&front, &req), 0);
}

/* Every possible distance of a peer's index: right ones are served, wrong ones refused, and a
 * refusal changes nothing. */
static void front_rejects_impossible_rsp_prod(uint32_t start, uint32_t published) {
    struct xpa_front_ring front, before;
    struct xensnd_req req = request(3);
    struct xensnd_resp resp;

    for (int distance = -70; distance <= 70; distance++) {
        int served = 0, result;

        xpa_front_ring_init_at(&front, &page, start);
        for (uint32_t n = 0; n < published; n++)
            xpa_front_ring_push(&front, &req);
        xpa_front_ring_publish(&front);
        xpa_front_ring_push(&front, &req); /* pushed only: must not be answered yet */
        page.words[RSP_PROD] = start + (uint32_t)distance;
        before = front;
        while ((result = xpa_front_ring_pop(&front, &resp)) == 1)
            served++;
        if (distance >= 0 && distance <= (int)published) {
            CHECK_EQ(result, 0);
            CHECK_EQ(served, distance);
        } else {
            CHECK_EQ(result, -EPROTO);
            CHECK(memcmp(&front, &before, sizeof front) == 0, "a refused index changed the ring");
            CHECK(xpa_front_ring_rearm(&front, 1), "pop must be asked again: it says -EPROTO");
        }
    }
}

static void back_rejects_impossible_req_prod(uint32_t start, uint32_t popped, uint32_t answered) {
    struct xpa_back_ring back, before;
    struct xpa_front_ring front;
    struct xensnd_req req;
    struct xensnd_resp resp = response(4);

    for (int distance = -70; distance <= 70; distance++) {
        int served = 0, result;
        int first = (int)popped, last = (int)(answered + XPA_RING_SLOTS);

        xpa_front_ring_init_at(&front, &page, start);
        xpa_back_ring_init_at(&back, &page, start);
        page.words[REQ_PROD] = start + popped;
        for (uint32_t n = 0; n < popped; n++)
            CHECK_EQ(xpa_back_ring_pop(&back, &req), 1);
        for (uint32_t n = 0; n < answered; n++)
            CHECK_EQ(xpa_back_ring_push(&back, &resp), 0);
        page.words[REQ_PROD] = start + (uint32_t)distance;
        before = back;
        while ((result = xpa_back_ring_pop(&back, &req)) == 1)
            served++;
        if (distance >= first && distance <= last) {
            CHECK_EQ(result, 0);
            CHECK_EQ(served, distance - first);
            CHECK(xpa_back_ring_unanswered(&back) <= XPA_RING_SLOTS, "%u unanswered",
                  xpa_back_ring_unanswered(&back));
        } else {
            CHECK_EQ(result, -EPROTO);
            CHECK(memcmp(&back, &before, sizeof back) == 0, "a refused index changed the ring");
        }
    }
}

/* The peer can overwrite what we published; we go by what we know. */
static void front_does_not_believe_its_own_index_in_the_page(void) {
    struct xpa_front_ring front;
    struct xensnd_req req = request(5);
    struct xensnd_resp resp;

    xpa_front_ring_init(&front, &page);
    xpa_front_ring_push(&front, &req);
    xpa_front_ring_publish(&front);
    page.words[REQ_PROD] = 20;
    page.words[RSP_PROD] = 20;
    CHECK_EQ(xpa_front_ring_pop(&front, &resp), -EPROTO);
    page.words[RSP_PROD] = 1;
    CHECK_EQ(xpa_front_ring_pop(&front, &resp), 1);
    xpa_front_ring_push(&front, &req);
    page.words[REQ_EVENT] = 2;
    CHECK(xpa_front_ring_publish(&front), "1 -> 2 passes event 2 whatever the page said of prod");
    CHECK_EQ(page.words[REQ_PROD], 2);
}

/* Any event index the peer chooses only decides about a notification. */
static void hostile_event_indices_are_harmless(uint64_t seed) {
    struct xpa_front_ring front;
    struct xpa_back_ring back;
    struct xensnd_req req = request(6);
    struct xensnd_resp resp = response(6);

    xpa_front_ring_init_at(&front, &page, 0xfffffff0);
    xpa_back_ring_init_at(&back, &page, 0xfffffff0);
    for (int n = 0; n < 2000; n++) {
        page.words[REQ_EVENT] = (uint32_t)random_u64(&seed);
        page.words[RSP_EVENT] = (uint32_t)random_u64(&seed);
        CHECK_EQ(xpa_front_ring_push(&front, &req), 0);
        xpa_front_ring_publish(&front);
        CHECK_EQ(xpa_back_ring_pop(&back, &req), 1);
        CHECK_EQ(xpa_back_ring_push(&back, &resp), 0);
        xpa_back_ring_publish(&back);
        CHECK_EQ(xpa_front_ring_pop(&front, &resp), 1);
    }
}

/* rearm(n): the peer's nth message notifies, earlier ones do not. */
static void rearm_holds_notifications_off(uint32_t start) {
    struct xpa_front_ring front;
    struct xpa_back_ring back;
    struct xensnd_req req = request(7);
    struct xensnd_resp resp = response(7);

    for (uint32_t after = 1; after <= XPA_RING_SLOTS; after++) {
        xpa_front_ring_init_at(&front, &page, start);
        xpa_back_ring_init_at(&back, &page, start);
        CHECK(!xpa_back_ring_rearm(&back, after), "empty");
        for (uint32_t n = 1; n <= XPA_RING_SLOTS; n++) {
            xpa_front_ring_push(&front, &req);
            CHECK_EQ(xpa_front_ring_publish(&front), n == after);
        }
        while (xpa_back_ring_pop(&back, &req) == 1)
            ;
        CHECK(!xpa_front_ring_rearm(&front, after), "no answer yet");
        for (uint32_t n = 1; n <= XPA_RING_SLOTS; n++) {
            CHECK_EQ(xpa_back_ring_push(&back, &resp), 0);
            CHECK_EQ(xpa_back_ring_publish(&back), n == after);
        }
        CHECK(!xpa_back_ring_publish(&back), "nothing new, nothing to notify");
    }
}

/* ---- event ring ------------------------------------------------------------------------------ */

#include "ring_events.h"

int main(void) {
    fresh_page_leaks_nothing_old();
    for (unsigned i = 0; i < STARTS; i++) {
        requests_go_round_and_come_back(starts[i]);
        full_ring_refuses(starts[i]);
        front_rejects_impossible_rsp_prod(starts[i], 0);
        front_rejects_impossible_rsp_prod(starts[i], 5);
        front_rejects_impossible_rsp_prod(starts[i], 31);
        back_rejects_impossible_req_prod(starts[i], 0, 0);
        back_rejects_impossible_req_prod(starts[i], 5, 0);
        back_rejects_impossible_req_prod(starts[i], 32, 0);
        back_rejects_impossible_req_prod(starts[i], 20, 13);
        rearm_holds_notifications_off(starts[i]);
        events_arrive_in_order(starts[i]);
        events_are_put_together_or_not_at_all(starts[i]);
        a_polled_page_says_so(starts[i]);
        event_ends_reject_impossible_indices(starts[i]);
    }
    events_arrive_in_order(0u - 300);
    front_does_not_believe_its_own_index_in_the_page();
    hostile_event_indices_are_harmless(1);
    full_event_ring_refuses();
    for (uint32_t before_wrap = 1; before_wrap <= 70; before_wrap++)
        unread_events_survive_the_wrap(before_wrap);
    return check_close();
}

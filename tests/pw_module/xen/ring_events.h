/* The event ring: order, wrap, and indices that cannot be true. Part of test_ring.c. */
#ifndef XPA_RING_EVENTS_H
#define XPA_RING_EVENTS_H

static void events_arrive_in_order(uint32_t start) {
    struct xpa_evt_ring front, back;
    struct xensnd_evt evt, seen;
    uint32_t sent = 0, taken = 0;
    uint64_t seed = start + 1;

    xpa_evt_ring_init_front_at(&front, &page, start);
    xpa_evt_ring_init_back_at(&back, &page, start);
    for (int round = 0; round < 500; round++) {
        for (uint32_t n = random_below(&seed, 70); n > 0; n--) {
            evt = event(sent);
            if (xpa_evt_ring_put(&back, &evt) != 0)
                break;
            /* where Xen's own macro looks for it */
            CHECK(memcmp(&XENSND_IN_RING_REF(&page, start + sent), &evt, sizeof evt) == 0,
                  "event %u is not in its slot", sent);
            sent++;
            CHECK_EQ(page.words[IN_PROD], start + sent);
        }
        for (uint32_t n = random_below(&seed, 70); n > 0; n--) {
            if (xpa_evt_ring_pop(&front, &seen) != 1)
                break;
            evt = event(taken++);
            CHECK(memcmp(&seen, &evt, sizeof evt) == 0, "event %u reads as %u", taken - 1, seen.id);
        }
        xpa_evt_ring_ack(&front);
        CHECK_EQ(page.words[IN_CONS], start + taken);
    }
    CHECK(taken > 5000, "only %u events went through", taken);
}

static void full_event_ring_refuses(void) {
    struct xpa_evt_ring front, back;
    struct xensnd_evt evt = event(1);

    xpa_evt_ring_init_front(&front, &page);
    xpa_evt_ring_init_back(&back, &page);
    CHECK_EQ(XPA_EVT_RING_SLOTS, 63);
    for (int n = 0; n < XPA_EVT_RING_SLOTS; n++)
        CHECK_EQ(xpa_evt_ring_put(&back, &evt), 0);
    CHECK_EQ(xpa_evt_ring_put(&back, &evt), -ENOSPC);
    CHECK_EQ(page.words[IN_PROD], 63);
    CHECK_EQ(xpa_evt_ring_pop(&front, &evt), 1);
    CHECK_EQ(xpa_evt_ring_put(&back, &evt), -ENOSPC); /* popped, not acknowledged */
    xpa_evt_ring_ack(&front);
    CHECK_EQ(xpa_evt_ring_put(&back, &evt), 0);
    CHECK_EQ(xpa_evt_ring_put(&back, &evt), -ENOSPC);
}

/* Whoever looks at the page by itself says so in a word of it; whatever else stands there is meant
 * for nobody. Once it says that it looks no more, it knows of all that was put until then. */
static void a_polled_page_says_so(uint32_t start) {
    enum { WORD = 3 };
    struct xpa_evt_ring front, back;
    struct xensnd_evt evt = event(0);

    xpa_evt_ring_init_front_at(&front, &page, start);
    xpa_evt_ring_init_back_at(&back, &page, start);
    CHECK(!xpa_evt_ring_polled(&back), "a new page is polled");
    page.bytes[8] = 1; /* the liveness extension's octet */
    CHECK(!xpa_evt_ring_polled(&back), "another octet counts");
    CHECK(!xpa_evt_ring_set_polled(&front, true), "events from nowhere");
    CHECK(xpa_evt_ring_polled(&back), "not polled");
    CHECK_EQ(page.words[WORD], 1);
    CHECK_EQ(page.bytes[8], 1);
    CHECK_EQ(xpa_evt_ring_put(&back, &evt), 0);
    CHECK(xpa_evt_ring_set_polled(&front, false), "an event was overlooked");
    CHECK(!xpa_evt_ring_polled(&back), "polled");
    CHECK_EQ(xpa_evt_ring_pop(&front, &evt), 1);
    CHECK(!xpa_evt_ring_set_polled(&front, false), "an event is seen twice");
    for (uint32_t bit = 0; bit < 32; bit++) {
        page.words[WORD] = 1u << bit;
        CHECK(xpa_evt_ring_polled(&back), "bit %u", bit);
    }
}

/* Events that belong together: all of them are queued or none, wherever the room ends. */
static void events_are_put_together_or_not_at_all(uint32_t start) {
    struct xpa_evt_ring front, back;
    struct xensnd_evt pair[2], seen;
    uint64_t seed = start + 5;
    uint32_t sent = 0, taken = 0, refused = 0;

    xpa_evt_ring_init_front_at(&front, &page, start);
    xpa_evt_ring_init_back_at(&back, &page, start);
    for (int round = 0; round < 3000; round++) {
        uint32_t count = 1 + random_below(&seed, 2);
        pair[0] = event(sent);
        pair[1] = event(sent + 1);
        int result = xpa_evt_ring_put_all(&back, pair, count);
        CHECK(result == 0 || result == -ENOSPC, "%d", result);
        CHECK(result == 0 || sent - taken + count > 4, "refused with %u unread", sent - taken);
        sent += result == 0 ? count : 0;
        refused += result != 0;
        CHECK_EQ(page.words[IN_PROD], start + sent);
        CHECK(sent - taken <= XPA_EVT_RING_SLOTS, "%u unread", sent - taken);
        for (uint32_t n = random_below(&seed, 60) == 0 ? 70 : 0; n > 0; n--) {
            if (xpa_evt_ring_pop(&front, &seen) != 1)
                break;
            pair[0] = event(taken++);
            CHECK(memcmp(&seen, &pair[0], sizeof seen) == 0, "event %u reads as %u", taken - 1,
                  seen.id);
        }
        xpa_evt_ring_ack(&front);
    }
    CHECK(taken > 500 && refused > 100, "%u taken, %u refused", taken, refused);
}

/* 2^32 mod 63 is 4: at the wrap, slots 0 to 3 come round after 4 events, not after 63. */
static void unread_events_survive_the_wrap(uint32_t before_wrap) {
    struct xpa_evt_ring front, back;
    struct xensnd_evt evt;
    uint32_t start = 0u - before_wrap, sent = 0;
    int taken = 0;

    xpa_evt_ring_init_front_at(&front, &page, start);
    xpa_evt_ring_init_back_at(&back, &page, start);
    for (;;) {
        evt = event(sent);
        if (xpa_evt_ring_put(&back, &evt) != 0)
            break;
        sent++;
    }
    /* nothing read: all 63 fit, unless index 0 would fall on an unread event */
    CHECK_EQ(sent, before_wrap >= 4 && before_wrap < 63 ? before_wrap : before_wrap < 4 ? 4 : 63);
    while (xpa_evt_ring_pop(&front, &evt) == 1)
        CHECK_EQ(evt.id, taken++);
    CHECK_EQ(taken, sent);
    xpa_evt_ring_ack(&front);
    evt = event(sent);
    CHECK_EQ(xpa_evt_ring_put(&back, &evt), 0);
}

static void event_ends_reject_impossible_indices(uint32_t start) {
    struct xpa_evt_ring front, back, before;
    struct xensnd_evt evt = event(1);

    for (int distance = -140; distance <= 140; distance++) {
        int result, served = 0;

        /* backend: 20 put, the frontend claims to have read `distance` of them */
        xpa_evt_ring_init_front_at(&front, &page, start);
        xpa_evt_ring_init_back_at(&back, &page, start);
        for (int n = 0; n < 20; n++) {
            CHECK_EQ(xpa_evt_ring_put(&back, &evt), 0);
            page.words[IN_CONS]++; /* so that the wrap never fills it */
        }
        page.words[IN_CONS] = start + (uint32_t)distance;
        before = back;
        result = xpa_evt_ring_put(&back, &evt);
        if (distance > 20 || distance < 20 - XPA_EVT_RING_SLOTS) {
            CHECK_EQ(result, -EPROTO);
            CHECK(memcmp(&back, &before, sizeof back) == 0, "a refused index changed the ring");
            CHECK_EQ(page.words[IN_PROD], start + 20);
        } else {
            CHECK(result == 0 || result == -ENOSPC, "%d at %d", result, distance);
        }
        /* frontend: the backend claims `distance` events */
        xpa_evt_ring_init_front_at(&front, &page, start);
        page.words[IN_PROD] = start + (uint32_t)distance;
        before = front;
        while ((result = xpa_evt_ring_pop(&front, &evt)) == 1)
            served++;
        if (distance < 0 || distance > XPA_EVT_RING_SLOTS) {
            CHECK_EQ(result, -EPROTO);
            CHECK(memcmp(&front, &before, sizeof front) == 0, "a refused index changed the ring");
        } else {
            CHECK_EQ(result, 0);
            CHECK_EQ(served, distance);
        }
    }
}

#endif

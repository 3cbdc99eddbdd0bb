/* The timeline against a list of every host frame: what was guest data, what was silence. */
#include <string.h>

#include "check.h"
#include "random.h"
#include "time/timeline.h"

enum { FRAMES = 200000 };
static uint8_t guest[FRAMES]; /* 1: host frame i carried a guest frame */

static double counted(uint64_t start, double host) {
    double n = 0;
    for (uint64_t i = start; (double)i < host; i++)
        if (guest[i])
            n += host - (double)i < 1 ? host - (double)i : 1;
    return n;
}

static void test_position_stands_still_in_gaps_only(void) {
    struct xpa_timeline t = {0};
    CHECK(!xpa_timeline_gap(&t, 0, 10), "a gap before the start counts");
    xpa_timeline_start(&t, 1000, 500);
    CHECK(xpa_timeline_gap(&t, 600, 50), "no gap");
    CHECK(!xpa_timeline_gap(&t, 650, 50), "a gap that goes on is a new one");
    CHECK(!xpa_timeline_gap(&t, 900, 0), "an empty gap");
    CHECK_EQ(t.gap_count, 1);
    CHECK_EQ(xpa_timeline_guest_at(&t, 400), 1000);
    CHECK_EQ(xpa_timeline_guest_at(&t, 600), 1100);
    CHECK_EQ(xpa_timeline_guest_at(&t, 699), 1100);
    CHECK_EQ(xpa_timeline_guest_at(&t, 701), 1101);
    CHECK_EQ(xpa_timeline_host_at(&t, 1100), 600);
    CHECK_EQ(xpa_timeline_host_at(&t, 1101), 701);
    CHECK(xpa_timeline_in_gap(&t, 700) && !xpa_timeline_in_gap(&t, 701), "in gap");
}

static void test_random_gaps_agree_with_counting(void) {
    uint64_t seed = 3;
    for (int round = 0; round < 40; round++) {
        struct xpa_timeline t = {0};
        uint64_t host = 100;
        memset(guest, 0, sizeof guest);
        xpa_timeline_start(&t, 0, host);
        for (int i = 0; i < XPA_TIMELINE_GAPS; i++) {
            uint32_t data = 1 + random_below(&seed, 300), gap = 1 + random_below(&seed, 200);
            memset(guest + host, 1, data);
            xpa_timeline_gap(&t, host + data, gap);
            host += data + gap;
        }
        for (int i = 0; i < 200; i++) {
            double at = 100 + random_unit(&seed) * (double)(host - 100);
            double want = counted(100, at), got = xpa_timeline_guest_at(&t, at);
            CHECK(got > want - 1e-6 && got < want + 1e-6, "guest_at %f: %f, not %f", at, got, want);
            double back = counted(100, xpa_timeline_host_at(&t, got));
            CHECK(back > got - 1e-6 && back < got + 1e-6, "host_at(%f): %f heard", got, back);
        }
    }
}

/* More gaps than there is room for, none of them heard yet: late, never early, right at the end. */
static void test_overflow_is_late_never_early(void) {
    struct xpa_timeline t = {0};
    uint64_t host = 0, total = 0;
    memset(guest, 0, sizeof guest);
    xpa_timeline_start(&t, 0, 0);
    for (int i = 0; i < 3 * XPA_TIMELINE_GAPS; i++) {
        memset(guest + host, 1, 64);
        xpa_timeline_gap(&t, host + 64, 32);
        host += 96;
        total += 64;
    }
    for (double at = 0; at < (double)host; at += 7) {
        double want = counted(0, at), got = xpa_timeline_guest_at(&t, at);
        CHECK(got <= want + 1e-6, "at %f: %f, early by %f", at, got, got - want);
    }
    CHECK_EQ(xpa_timeline_guest_at(&t, (double)host), total);
    CHECK(xpa_timeline_in_gap(&t, host), "the newest gap is not exact");
}

static void test_forgetting_what_was_heard_changes_nothing(void) {
    struct xpa_timeline t = {0}, whole = {0};
    uint64_t host = 0;
    xpa_timeline_start(&t, 0, 0);
    xpa_timeline_start(&whole, 0, 0);
    for (int i = 0; i < 30; i++, host += 150) {
        xpa_timeline_gap(&t, host + 100, 50);
        xpa_timeline_gap(&whole, host + 100, 50);
        xpa_timeline_forget(&t, (double)host - 300);
        CHECK(t.gap_count <= 5, "%u gaps kept", t.gap_count);
        for (double at = (double)host; at < (double)host + 200; at += 13)
            CHECK_EQ(xpa_timeline_guest_at(&t, at), xpa_timeline_guest_at(&whole, at));
    }
}

int main(void) {
    test_position_stands_still_in_gaps_only();
    test_random_gaps_agree_with_counting();
    test_overflow_is_late_never_early();
    test_forgetting_what_was_heard_changes_nothing();
    return check_close();
}

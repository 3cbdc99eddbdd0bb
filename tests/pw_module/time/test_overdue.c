/* When a cycle that does not come back is given up: on time for the listener, never on a client
 * that is only late, and bounded whatever happens. */
#include "check.h"
#include "time/overdue.h"
#include "random.h"

enum { MSEC = 1000000, QUANTUM = 5333333, AHEAD = 5333333 };
static const uint64_t SEC = 1000000000, START = 1000 * SEC, NEVER = UINT64_MAX / 2;

/* When links came or went last: the graph is rebuilt. */
static uint64_t links_nsec = START - 2 * SEC / 3;

/* Looks whenever the timer says so, a client being done at `done`, and everybody standing still
 * from `stall` on, for `stalled`. When the cycle was given up, or 0. */
static uint64_t run(struct xpa_overdue *o, uint64_t done, uint64_t stall, uint64_t stalled) {
    uint64_t now = START;
    xpa_overdue_start(o, now, 1);
    for (int i = 0; i < 30; i++) {
        uint64_t at = xpa_overdue_look(o, now, START + AHEAD, QUANTUM, links_nsec);
        if (at == 0)
            return now;
        CHECK(at > now, "to be looked at in the past");
        if (done <= at) {
            xpa_overdue_end(o, done > stall ? done + stalled : done);
            return 0;
        }
        now = at > stall && at < stall + stalled ? stall + stalled : at;
    }
    CHECK(false, "looked at for ever");
    return now;
}

static void test_a_lost_cycle_is_given_up_before_frames_are_missing(void) {
    struct xpa_overdue o = {0};
    for (int i = 0; i < 100; i++)
        CHECK_EQ(run(&o, START + MSEC / 2, NEVER, 0), 0);
    uint64_t given_up = run(&o, NEVER, NEVER, 0);
    CHECK(given_up > START + AHEAD / 2, "after %d us", (int)((given_up - START) / 1000));
    CHECK(given_up < START + AHEAD - MSEC / 2, "after %d us", (int)((given_up - START) / 1000));
    CHECK(!o.running, "it still runs");
    CHECK_EQ(xpa_overdue_look(&o, given_up + 1, START + AHEAD, QUANTUM, START), 0);
}

/* Who leaves the look at a cycle to the next event must know when that will not do. */
static void test_a_change_of_links_is_late_for_a_second(void) {
    CHECK(xpa_overdue_lately(START, START), "just now");
    CHECK(xpa_overdue_lately(START - SEC, START), "a second ago");
    CHECK(!xpa_overdue_lately(START - SEC - 1, START), "longer ago");
    CHECK(xpa_overdue_lately(START + SEC, START), "since then");
    CHECK(!xpa_overdue_lately(0, START), "never");
}

/* Where no links come or go, a client is late and no cycle is lost: frames are missing rather than
 * a quantum of that client, for a while. */
static void test_without_a_sign_that_it_is_lost_it_is_waited_for(void) {
    struct xpa_overdue o = {0};
    links_nsec = START - 2 * SEC;
    CHECK_EQ(run(&o, START + 2 * QUANTUM - MSEC, NEVER, 0), 0);
    uint64_t given_up = run(&o, NEVER, NEVER, 0);
    CHECK_EQ(given_up, START + 2 * QUANTUM);
    links_nsec = START - 2 * SEC / 3;
}

static void test_a_late_client_is_waited_for(void) {
    struct xpa_overdue o = {0};
    for (uint64_t late = 0; late < AHEAD * 3 / 4; late += MSEC / 4) {
        o.slow_nsec = 0;
        CHECK_EQ(run(&o, START + late, NEVER, 0), 0);
    }
}

/* Slow ones are given up no sooner than they usually take; not even when frames are missing. */
static void test_a_slow_client_is_not_a_lost_one(void) {
    struct xpa_overdue o = {.slow_nsec = 4 * MSEC};
    CHECK(run(&o, NEVER, NEVER, 0) >= START + AHEAD, "it was not given the time that it takes");
    o.slow_nsec = 0;
    for (int i = 0; i < 100000; i++) { /* what was slow once is forgotten */
        xpa_overdue_start(&o, START, 1);
        xpa_overdue_end(&o, START + (i == 0 ? 20 * MSEC : MSEC / 2));
    }
    CHECK(run(&o, NEVER, NEVER, 0) < START + AHEAD, "slow for ever");
}

static void test_a_client_that_stood_still_with_us_is_given_a_moment(void) {
    struct xpa_overdue o = {0};
    CHECK_EQ(run(&o, START + 20 * MSEC + MSEC / 2, START + MSEC, 20 * MSEC), 0);
}

/* A cycle that was started after a lost one is over when both have come; it is no lost one itself
 * if one of them has. */
static void test_a_cycle_after_a_lost_one_comes_back_twice(void) {
    struct xpa_overdue o = {0};
    run(&o, NEVER, NEVER, 0);
    CHECK(o.lost, "it came back");
    xpa_overdue_start(&o, START, 2);
    xpa_overdue_end(&o, START + MSEC);
    CHECK(o.running && !o.lost, "it was one");
    xpa_overdue_end(&o, START + 2 * MSEC);
    CHECK(!o.running && !o.lost, "it was three");
    xpa_overdue_start(&o, START, 2);
    xpa_overdue_end(&o, START + MSEC);
    for (uint64_t at = START; at; at = xpa_overdue_look(&o, at, START, QUANTUM, START))
        continue;
    CHECK(!o.running && !o.lost, "one came back, and it was lost");
}

static void test_whatever_happens_two_quanta_are_the_end(void) {
    uint64_t seed = 5;
    for (int i = 0; i < 100000; i++) {
        struct xpa_overdue o = {.slow_nsec = random_below(&seed, 400 * MSEC)};
        uint64_t quantum = 600000 + random_below(&seed, 50 * MSEC), now = START;
        uint64_t ahead = random_below(&seed, 2) ? 0 : random_below(&seed, (uint32_t)quantum);
        uint64_t links = random_below(&seed, 2) ? 0 : START;
        uint64_t lasts = START + ahead - random_below(&seed, 3) * MSEC;
        xpa_overdue_start(&o, now, 1);
        for (uint64_t at; (at = xpa_overdue_look(&o, now, lasts, quantum, links)) != 0;)
            now = at;
        CHECK(now <= START + 2 * quantum, "%d us, quantum %d", (int)((now - START) / 1000),
              (int)(quantum / 1000));
        CHECK(now > START, "given up at once");
    }
}

int main(void) {
    test_a_lost_cycle_is_given_up_before_frames_are_missing();
    test_without_a_sign_that_it_is_lost_it_is_waited_for();
    test_a_change_of_links_is_late_for_a_second();
    test_a_late_client_is_waited_for();
    test_a_slow_client_is_not_a_lost_one();
    test_a_client_that_stood_still_with_us_is_given_a_moment();
    test_a_cycle_after_a_lost_one_comes_back_twice();
    test_whatever_happens_two_quanta_are_the_end();
    return check_close();
}

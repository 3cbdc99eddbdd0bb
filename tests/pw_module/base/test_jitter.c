/* Jitter is the standard deviation of the newest marks, whatever they are all late by. */
#include "check.h"
#include "random.h"
#include "base/jitter.h"

static uint64_t after(struct xpa_jitter *j, int marks, double late_nsec, double spread_nsec) {
    for (int i = 0; i < marks; i++)
        xpa_jitter_add(j, late_nsec + (i % 2 ? spread_nsec : -spread_nsec));
    return xpa_jitter_nsec(j);
}

static void test_it_is_the_spread_and_not_the_lateness(void) {
    const double late_nsec[] = {0, 30000, -2000000, 50000000};
    for (int i = 0; i < 4; i++) {
        struct xpa_jitter j = {0};
        uint64_t nsec = after(&j, 200, late_nsec[i], 80000);
        CHECK(nsec > 79000 && nsec < 81000, "%llu ns", (unsigned long long)nsec);
        struct xpa_jitter even = {0};
        CHECK(after(&even, 200, late_nsec[i], 0) < 1000, "though all are alike");
    }
}

static void test_it_is_a_standard_deviation_from_the_second_mark_on(void) {
    struct xpa_jitter j = {0};
    CHECK_EQ(xpa_jitter_nsec(&j), 0);
    xpa_jitter_add(&j, 1000);
    CHECK_EQ(xpa_jitter_nsec(&j), 0);
    xpa_jitter_add(&j, 3000);
    CHECK_EQ(xpa_jitter_nsec(&j), 1000);
    struct xpa_jitter late = {0};
    uint64_t random = 5;
    for (int i = 0; i < 20000; i++)
        xpa_jitter_add(&late, random_exponential(&random, 100000)); /* which deviates as much */
    CHECK(fabs((double)xpa_jitter_nsec(&late) - 100000) < 25000, "%llu ns",
          (unsigned long long)xpa_jitter_nsec(&late));
}

static void test_what_is_long_ago_is_forgotten(void) {
    struct xpa_jitter j = {0};
    after(&j, 1000, 0, 5000000);
    uint64_t nsec = after(&j, 12 * XPA_JITTER_MARKS, 0, 20000);
    CHECK(nsec > 19000 && nsec < 40000, "%llu ns", (unsigned long long)nsec);
}

static void test_a_count_that_begins_anew_is_no_jitter(void) {
    const double far[] = {2e8, -2e8, 1e18, -1e18, NAN, INFINITY};
    struct xpa_jitter j = {0};
    after(&j, 100, 10000, 50000);
    uint64_t before = xpa_jitter_nsec(&j);
    for (int i = 0; i < 6; i++)
        xpa_jitter_add(&j, far[i]);
    CHECK_EQ(xpa_jitter_nsec(&j), before);
}

int main(void) {
    test_it_is_the_spread_and_not_the_lateness();
    test_it_is_a_standard_deviation_from_the_second_mark_on();
    test_what_is_long_ago_is_forgotten();
    test_a_count_that_begins_anew_is_no_jitter();
    return check_close();
}

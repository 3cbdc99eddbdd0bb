/* A margin grows at once, comes back in its time, and each time that this was too soon, later. */
#include "check.h"
#include "time/margin.h"

static const uint64_t SEC = 1000000000, START = 100000000000;

/* When it next becomes less, being asked each 10 ms. */
static uint64_t eased_at(struct xpa_margin *g, uint64_t now, uint32_t expected) {
    uint64_t end = now + 3600 * SEC;
    uint32_t before = g->frames;
    for (; now < end; now += SEC / 100) {
        uint32_t less = xpa_margin_ease(g, now);
        if (less > 0) {
            CHECK_EQ(g->frames, expected);
            CHECK_EQ(before - less, expected);
            return now;
        }
    }
    CHECK(0, "never less than %u", g->frames);
    return now;
}

static struct xpa_margin grown(uint64_t now) {
    struct xpa_margin g = {0};
    xpa_margin_open(&g, 48000, 120);
    CHECK_EQ(xpa_margin_ease(&g, now + 3600 * SEC), 0);
    CHECK_EQ(xpa_margin_grow(&g, now), 120);
    CHECK_EQ(xpa_margin_grow(&g, now), 240);
    CHECK_EQ(xpa_margin_grow(&g, now), 0); /* 10 ms at the most */
    CHECK_EQ(g.frames, 480);
    return g;
}

static void test_what_was_not_needed_comes_back_in_half_a_minute(void) {
    struct xpa_margin g = grown(START);
    uint64_t first = eased_at(&g, START, 240);
    CHECK(first > START + 5 * SEC, "after %d ms", (int)((first - START) / 1000000));
    uint64_t last = eased_at(&g, first, 120);
    CHECK(last < START + 30 * SEC, "after %d ms", (int)((last - START) / 1000000));
    CHECK_EQ(xpa_margin_ease(&g, last + 3600 * SEC), 0);
}

static void test_what_is_needed_stays(void) {
    struct xpa_margin g = grown(START);
    uint64_t now = START;
    for (; now < START + 3600 * SEC; now += SEC) {
        xpa_margin_used(&g, 200, now); /* of the 240 that it would be */
        CHECK_EQ(xpa_margin_ease(&g, now), 0);
    }
    for (uint64_t end = now + 60 * SEC; now < end && g.frames > 240; now += SEC) {
        xpa_margin_used(&g, 100, now);
        xpa_margin_ease(&g, now);
    }
    CHECK_EQ(g.frames, 240);
}

static void test_each_time_that_it_must_grow_again_it_waits_longer(void) {
    struct xpa_margin g = grown(START);
    uint64_t now = START, waited = 0;
    int more = 0;
    for (int i = 0; i < 12; i++) {
        uint64_t at = eased_at(&g, now, 240);
        if (at - now > waited + waited / 2)
            more++;
        CHECK(at - now + SEC > waited, "less than before");
        waited = at - now;
        now = at + SEC;
        CHECK_EQ(xpa_margin_grow(&g, now), 240);
    }
    CHECK_EQ(more, 7); /* 8 s at first, and never more than ten minutes */
    CHECK(waited <= 600 * SEC + SEC, "%d s", (int)(waited / SEC));
}

int main(void) {
    test_what_was_not_needed_comes_back_in_half_a_minute();
    test_what_is_needed_stays();
    test_each_time_that_it_must_grow_again_it_waits_longer();
    return check_close();
}

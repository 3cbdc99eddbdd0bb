/* What a source hands over at changes of the quantum and the rate, to a converter like PipeWire's
 * (audioconvert.c): it takes what it needs for a cycle, holds what is left over, and asks for the
 * rest of a cycle as long as the last one. */
#include <math.h>

#include "check.h"
#include "time/converter.h"
#include "random.h"

enum { RATE = 48000 };

struct model {
    double phase; /* what it took more than was due */
    uint32_t held;
    uint32_t asks;
};

static uint32_t takes(const struct model *m, uint32_t quantum, uint32_t rate) {
    return (uint32_t)ceil((double)quantum * RATE / rate - m->phase);
}

/* False: the cycle has no sound. */
static bool convert(struct model *m, uint32_t given, uint32_t quantum, uint32_t rate) {
    uint32_t need = takes(m, quantum, rate);
    m->held += given;
    if (m->held < need)
        return false;
    m->held -= need;
    m->phase += need - (double)quantum * RATE / rate;
    uint32_t next = takes(m, quantum, rate);
    m->asks = next > m->held ? next - m->held : 0;
    return true;
}

static void test_every_cycle_is_full_and_nothing_stays_behind(void) {
    static const uint32_t QUANTA[] = {32, 64, 256, 441, 1024, 2048},
                          RATES[] = {48000, 44100, 96000};
    uint64_t seed = 7;
    struct model m = {0};
    struct xpa_converter c = {0};
    uint32_t quantum = 1024, rate = RATE;
    for (int i = 0; i < 20000; i++) {
        if (random_below(&seed, 3) == 0)
            quantum = QUANTA[random_below(&seed, 6)];
        if (random_below(&seed, 100) == 0)
            rate = RATES[random_below(&seed, 3)];
        double step = (double)quantum * RATE / rate;
        uint32_t given = xpa_converter_need(&c, m.asks, step, rate != RATE);
        xpa_converter_ran(&c, step, rate != RATE);
        CHECK(convert(&m, given, quantum, rate), "cycle %d of %u at %u: %u are too few", i, quantum,
              rate, given);
        CHECK(m.held < 12, "cycle %d: %u frames stay behind", i, m.held);
    }
}

/* What was left over in it, by whomever, is used up first. */
static void test_what_is_left_over_is_not_given_again(void) {
    struct xpa_converter c = {0};
    xpa_converter_ran(&c, 256, false);
    CHECK_EQ(xpa_converter_need(&c, 0, 256, false), 0);
    CHECK_EQ(xpa_converter_need(&c, 56, 1024, false), 824);
    CHECK_EQ(xpa_converter_need(&c, 0, 64, false), 0);
}

int main(void) {
    test_every_cycle_is_full_and_nothing_stays_behind();
    test_what_is_left_over_is_not_given_again();
    return check_close();
}

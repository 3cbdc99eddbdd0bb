/* A peer's floats, in each of their four encodings: what is no number, too small or too large for a
 * graph becomes what is harmless there, and all else stays as it is, to the bit.
 */
#include "base/silence.h"
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 37, CHANNELS = 3, SAMPLES = FRAMES * CHANNELS }; /* no whole number of blocks */

static const struct {
    double given, taken;
} CASES[] = {
    {NAN, 0},
    {-NAN, 0},
    {INFINITY, 0},
    {-INFINITY, 0},
    {FLT_MAX, 16},
    {-FLT_MAX, -16},
    {16.5, 16},
    {-17, -16},
    {16, 16},
    {-16, -16},
    {1, 1},
    {-1, -1},
    {0.1f, 0.1f},
    {0, 0},
    {0x1p-64, 0x1p-64},
    {-0x1p-64, -0x1p-64},
    {0x1p-65, 0},
    {-0x1p-65, 0},
    {FLT_MIN, 0},
    {FLT_MIN / 2, 0},
    {0x1p-149, 0},
};

static struct xpa_config config_of(uint32_t kind) {
    bool wide = kind == XPA_SAMPLE_F64 || kind == XPA_SAMPLE_F64_SWAPPED;
    return (struct xpa_config){
        .channels = CHANNELS, .sample_bytes = wide ? 8 : 4, .sample_kind = kind};
}

static void reverse(uint8_t *sample, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes / 2; i++) {
        uint8_t other = sample[bytes - 1 - i];
        sample[bytes - 1 - i] = sample[i];
        sample[i] = other;
    }
}

static void encode(const struct xpa_config *c, uint8_t *sample, double value) {
    float narrow = (float)value;
    memcpy(sample, c->sample_bytes == 8 ? (void *)&value : (void *)&narrow, c->sample_bytes);
    if (c->sample_kind == XPA_SAMPLE_F32_SWAPPED || c->sample_kind == XPA_SAMPLE_F64_SWAPPED)
        reverse(sample, c->sample_bytes);
}

static void test_each_sample_alone(uint32_t kind) {
    struct xpa_config c = config_of(kind);
    uint8_t *data = malloc(SAMPLES * c.sample_bytes); /* the sanitizer watches its end */
    uint8_t wanted[8], usual[8];
    encode(&c, usual, 0.3);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (uint32_t place = 0; place < SAMPLES; place++) {
            for (uint32_t k = 0; k < SAMPLES; k++)
                encode(&c, data + k * c.sample_bytes, k == place ? CASES[i].given : 0.3);
            xpa_bound_samples(&c, data, FRAMES);
            encode(&c, wanted, CASES[i].taken);
            for (uint32_t k = 0; k < SAMPLES; k++)
                CHECK(memcmp(data + k * c.sample_bytes, k == place ? wanted : usual,
                             c.sample_bytes) == 0,
                      "kind %u, %g at %u: sample %u", kind, CASES[i].given, place, k);
        }
    free(data);
}

/* What is least in one width is a number in the other, too. */
static void test_what_only_a_double_has(void) {
    struct xpa_config c = config_of(XPA_SAMPLE_F64);
    double data[SAMPLES] = {DBL_MAX, -DBL_MAX, DBL_MIN, DBL_MIN / 2, 1 + DBL_EPSILON};
    xpa_bound_samples(&c, data, FRAMES);
    const double wanted[] = {16, -16, 0, 0, 1 + DBL_EPSILON};
    for (int i = 0; i < 5; i++)
        CHECK(data[i] == wanted[i], "%g at %d", data[i], i);
}

static void test_zero_keeps_its_sign(void) {
    struct xpa_config c = config_of(XPA_SAMPLE_F64);
    double data[SAMPLES] = {-0.0, 0.0, -DBL_MIN};
    xpa_bound_samples(&c, data, FRAMES);
    CHECK(signbit(data[0]) && !signbit(data[1]), "a sample of silence was changed");
    c = config_of(XPA_SAMPLE_F32);
    float single[SAMPLES] = {-0.0f, 1e30f};
    xpa_bound_samples(&c, single, FRAMES);
    CHECK(signbit(single[0]), "a sample of silence was changed");
}

static void test_other_encodings_are_left_alone(void) {
    static const uint32_t KINDS[] = {XPA_SAMPLE_OPAQUE, XPA_SAMPLE_S16, XPA_SAMPLE_S32};
    for (int i = 0; i < 3; i++) {
        struct xpa_config c = config_of(KINDS[i]);
        uint8_t data[SAMPLES * 4];
        memset(data, 0xff, sizeof data); /* as floats, none is a number */
        xpa_bound_samples(&c, data, FRAMES);
        for (size_t k = 0; k < sizeof data; k++)
            CHECK_EQ(data[k], 0xff);
    }
}

static void test_nothing_is_nothing(void) {
    struct xpa_config c = config_of(XPA_SAMPLE_F32);
    xpa_bound_samples(&c, NULL, 0);
}

int main(void) {
    for (uint32_t kind = XPA_SAMPLE_F32; kind <= XPA_SAMPLE_F64_SWAPPED; kind++)
        test_each_sample_alone(kind);
    test_what_only_a_double_has();
    test_zero_keeps_its_sign();
    test_other_encodings_are_left_alone();
    test_nothing_is_nothing();
    return check_close();
}

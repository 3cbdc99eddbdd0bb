/* base/silence.c - see base/silence.h. */
#include "base/silence.h"

#include <stdbool.h>
#include <string.h>

void xpa_fill_samples(const uint8_t *sample, uint32_t sample_bytes, void *target,
                      uint64_t samples) {
    bool uniform = true;
    for (uint32_t i = 1; i < sample_bytes; i++)
        uniform = uniform && sample[i] == sample[0];
    if (uniform) {
        memset(target, sample[0], samples * sample_bytes);
        return;
    }
    uint8_t *at = target;
    for (uint64_t i = 0; i < samples; i++, at += sample_bytes)
        memcpy(at, sample, sample_bytes);
}

void xpa_fill_silence(const struct xpa_config *c, void *target, uint32_t frames) {
    xpa_fill_samples(c->silence, c->sample_bytes, target, (uint64_t)frames * c->channels);
}

/* Of a float, its sign left out, the bits are in the order of the values: that is looked at, which
 * compilers do for many at once, and which no value makes slower. */
enum { BLOCK = 16 };

static const uint32_t LEAST_32 = 0x1f800000, MOST_32 = 0x41800000, INFINITE_32 = 0x7f800000;
static const uint64_t LEAST_64 = 0x3bf0000000000000, MOST_64 = 0x4030000000000000,
                      INFINITE_64 = 0x7ff0000000000000;

static uint32_t bounded_32(uint32_t bits) {
    uint32_t size = bits & 0x7fffffff;
    if ((size != 0 && size < LEAST_32) || size >= INFINITE_32)
        return 0;
    return size > MOST_32 ? (bits & 0x80000000) | MOST_32 : bits;
}

static uint64_t bounded_64(uint64_t bits) {
    uint64_t size = bits & 0x7fffffffffffffff;
    if ((size != 0 && size < LEAST_64) || size >= INFINITE_64)
        return 0;
    return size > MOST_64 ? (bits & 0x8000000000000000) | MOST_64 : bits;
}

/* Whether bounded_32() would change one of a block: the highest bit of a difference is that of a
 * negative number, and of what is subtracted from 0 it says that it is more. */
static bool any_outside_32(const uint32_t *bits) {
    uint32_t outside = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint32_t size = bits[i] & 0x7fffffff;
        outside |= ((size - LEAST_32) & (0 - size)) | (MOST_32 - size);
    }
    return outside >> 31;
}

static uint32_t swapped_32(uint32_t bits, bool swapped) {
    return swapped ? __builtin_bswap32(bits) : bits;
}

static void bound_32(uint8_t *at, uint64_t samples, bool swapped) {
    uint32_t bits[BLOCK];
    for (; samples >= BLOCK && !swapped; samples -= BLOCK, at += sizeof bits) {
        memcpy(bits, at, sizeof bits);
        if (any_outside_32(bits)) {
            for (int i = 0; i < BLOCK; i++)
                bits[i] = bounded_32(bits[i]);
            memcpy(at, bits, sizeof bits);
        }
    }
    for (; samples > 0; samples--, at += sizeof *bits) {
        memcpy(bits, at, sizeof *bits);
        *bits = swapped_32(bounded_32(swapped_32(*bits, swapped)), swapped);
        memcpy(at, bits, sizeof *bits);
    }
}

static uint64_t swapped_64(uint64_t bits, bool swapped) {
    return swapped ? __builtin_bswap64(bits) : bits;
}

static void bound_64(uint8_t *at, uint64_t samples, bool swapped) {
    for (; samples > 0; samples--, at += sizeof(uint64_t)) {
        uint64_t bits;
        memcpy(&bits, at, sizeof bits);
        bits = swapped_64(bounded_64(swapped_64(bits, swapped)), swapped);
        memcpy(at, &bits, sizeof bits);
    }
}

void xpa_bound_samples(const struct xpa_config *c, void *samples, uint32_t frames) {
    uint64_t count = (uint64_t)frames * c->channels;
    switch (c->sample_kind) {
    case XPA_SAMPLE_F32:
    case XPA_SAMPLE_F32_SWAPPED:
        bound_32(samples, count, c->sample_kind == XPA_SAMPLE_F32_SWAPPED);
        break;
    case XPA_SAMPLE_F64:
    case XPA_SAMPLE_F64_SWAPPED:
        bound_64(samples, count, c->sample_kind == XPA_SAMPLE_F64_SWAPPED);
        break;
    }
}

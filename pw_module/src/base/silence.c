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

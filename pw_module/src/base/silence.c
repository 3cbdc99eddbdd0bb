/* base/silence.c - see base/silence.h. */
#include "base/silence.h"

#include <stdbool.h>
#include <string.h>

void xpa_fill_silence(const struct xpa_config *c, void *target, uint32_t frames) {
    uint64_t samples = (uint64_t)frames * c->channels;
    bool uniform = true;
    for (uint32_t i = 1; i < c->sample_bytes; i++)
        uniform = uniform && c->silence[i] == c->silence[0];
    if (uniform) {
        memset(target, c->silence[0], samples * c->sample_bytes);
        return;
    }
    uint8_t *at = target;
    for (uint64_t i = 0; i < samples; i++, at += c->sample_bytes)
        memcpy(at, c->silence, c->sample_bytes);
}

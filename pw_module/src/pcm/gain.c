/* pcm/gain.c - see pcm/gain.h. */
#include "pcm/gain.h"

#include <math.h>
#include <string.h>

/* A cycle that finds one channel's new gain and another's old one is no louder than either says. */
void xpa_pcm_gain_set(struct xpa_pcm_gain *gain, const float *linear, uint32_t count) {
    bool needed = false;
    count = count < XPA_CTL_CHANNELS ? count : XPA_CTL_CHANNELS;
    for (uint32_t i = 0; i < count; i++) {
        atomic_store_explicit(&gain->linear[i], linear[i], memory_order_relaxed);
        needed = needed || linear[i] != 1.0f;
    }
    /* release, pairs with the acquire below: who sees the count sees the gains */
    atomic_store_explicit(&gain->count, needed ? count : 0, memory_order_release);
}

bool xpa_pcm_gain_needed(const struct xpa_pcm_gain *gain) {
    return atomic_load_explicit(&gain->count, memory_order_relaxed) != 0;
}

static int32_t bounded(double value, double most) {
    return (int32_t)lrint(value < -most - 1 ? -most - 1 : value > most ? most : value);
}

static void scale(const struct xpa_config *c, uint8_t *at, uint32_t frames, float gain) {
    size_t stride = (size_t)c->sample_bytes * c->channels;
    for (; frames > 0; frames--, at += stride) {
        int16_t *s16 = (int16_t *)at;
        int32_t *s32 = (int32_t *)at;
        float *f32 = (float *)at;
        if (gain == 0)
            memcpy(at, c->silence, c->sample_bytes);
        else if (c->sample_kind == XPA_SAMPLE_S16)
            *s16 = (int16_t)bounded((double)*s16 * gain, INT16_MAX);
        else if (c->sample_kind == XPA_SAMPLE_S32)
            *s32 = bounded((double)*s32 * gain, INT32_MAX);
        else if (c->sample_kind == XPA_SAMPLE_F32)
            *f32 *= gain;
    }
}

void xpa_pcm_gain_apply(const struct xpa_pcm_gain *gain, const struct xpa_config *c, void *samples,
                        uint32_t frames) {
    /* acquire, pairs with the release in set */
    uint32_t count = atomic_load_explicit(&gain->count, memory_order_acquire);
    for (uint32_t channel = 0; count > 0 && channel < c->channels; channel++) {
        uint32_t place = channel < count ? channel : count - 1;
        float linear = atomic_load_explicit(&gain->linear[place], memory_order_relaxed);
        if (linear != 1.0f)
            scale(c, (uint8_t *)samples + (size_t)channel * c->sample_bytes, frames, linear);
    }
}

/* pcm/gain.h - volumes that are made here, for the host makes none: the data loop multiplies what
 * passes between program and stream. Python's thread sets them at any time.
 */
#ifndef XPA_PCM_GAIN_H
#define XPA_PCM_GAIN_H

#include <stdatomic.h>
#include <stdbool.h>

#include "abi/abi.h"

struct xpa_pcm_gain {
    _Atomic uint32_t count; /* of channels that have one; 0: nothing is to be done */
    _Atomic float linear[XPA_CTL_CHANNELS];
};

/* All that are 1 are none. Channels behind the last one are as that one. */
void xpa_pcm_gain_set(struct xpa_pcm_gain *gain, const float *linear, uint32_t count);

/* Whether xpa_pcm_gain_apply() has anything to do. */
bool xpa_pcm_gain_needed(const struct xpa_pcm_gain *gain);

/* `samples`: aligned as one is, frame by frame. Of encodings other than s16, s32 and float in this
 * machine's order a gain of 0 makes silence, and any other one nothing. */
void xpa_pcm_gain_apply(const struct xpa_pcm_gain *gain, const struct xpa_config *config,
                        void *samples, uint32_t frames);

#endif

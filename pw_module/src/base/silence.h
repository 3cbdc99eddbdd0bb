/* base/silence.h - silence in any encoding: unsigned samples and companded ones are not zero. */
#ifndef XPA_BASE_SILENCE_H
#define XPA_BASE_SILENCE_H

#include "abi/abi.h"

/* `sample`: a silent one. */
void xpa_fill_samples(const uint8_t *sample, uint32_t sample_bytes, void *target, uint64_t samples);
void xpa_fill_silence(const struct xpa_config *config, void *target, uint32_t frames);

#endif

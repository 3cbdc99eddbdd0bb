/* base/silence.h - silence in any encoding: unsigned samples and companded ones are not zero. And
 * what a peer's floating-point samples must not be.
 */
#ifndef XPA_BASE_SILENCE_H
#define XPA_BASE_SILENCE_H

#include "abi/abi.h"

/* `sample`: a silent one. */
void xpa_fill_samples(const uint8_t *sample, uint32_t sample_bytes, void *target, uint64_t samples);
void xpa_fill_silence(const struct xpa_config *config, void *target, uint32_t frames);

/* A graph adds the samples of all its streams, and some of its filters hear their own past: one
 * that is no number would be everybody's silence, and one that is beyond all measure everybody's
 * noise. Very small ones cost many processors a hundred times the work of others. So of a peer's
 * floats what is no number, or less than 2^-64 (-385 dB), becomes 0, and what is more than 16 (24
 * dB, more than any mix needs) becomes that. Other encodings have no such samples.
 */
void xpa_bound_samples(const struct xpa_config *config, void *samples, uint32_t frames);

#endif

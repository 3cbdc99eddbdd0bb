/* base/silence.h - silence in any encoding: unsigned samples and companded ones are not zero. */
#ifndef XPA_BASE_SILENCE_H
#define XPA_BASE_SILENCE_H

#include "abi/abi.h"

void xpa_fill_silence(const struct xpa_config *config, void *target, uint32_t frames);

#endif

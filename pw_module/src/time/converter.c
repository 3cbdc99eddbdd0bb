/* time/converter.c - see time/converter.h. */
#include <math.h>

#include "time/converter.h"

/* A resampler's need differs by a few frames from cycle to cycle. What it asks for less than that
 * it has left over. */
static const double PHASE_FRAMES = 8;
/* So many more than calculated: what is left over it asks for less the next time. */
static const uint32_t SPARE_FRAMES = 2;

void xpa_converter_ran(struct xpa_converter *c, double step_frames, bool resamples) {
    c->step_frames = step_frames;
    c->resamples = resamples;
}

uint32_t xpa_converter_need(const struct xpa_converter *c, uint32_t asked_frames,
                            double step_frames, bool resamples) {
    if (c->step_frames == step_frames && c->resamples == resamples)
        return asked_frames;
    double left = c->step_frames - asked_frames;
    if (left < PHASE_FRAMES)
        left = 0;
    double frames = ceil(step_frames - left) + (resamples ? SPARE_FRAMES : 0);
    return frames > 0 ? (uint32_t)frames : 0;
}

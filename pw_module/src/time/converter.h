/* time/converter.h - capture: how many frames PipeWire's converter needs for a graph's cycle. Pure.
 *
 * After each run it asks for what the next one needs, if that is as long as the last one was. Who
 * starts the graph's cycles is asked so before the next one's length is known: the first of another
 * length would get frames for the old one. Too many would stay in the converter and be late by so
 * much; too few would leave a cycle without sound.
 */
#ifndef XPA_TIME_CONVERTER_H
#define XPA_TIME_CONVERTER_H

#include <stdbool.h>
#include <stdint.h>

struct xpa_converter {
    double step_frames; /* the cycle that it last ran for, in our frames; 0: it is empty */
    bool resamples;
};

void xpa_converter_ran(struct xpa_converter *c, double step_frames, bool resamples);
/* `asked_frames`: what it asked for after that run. */
uint32_t xpa_converter_need(const struct xpa_converter *c, uint32_t asked_frames,
                            double step_frames, bool resamples);

#endif

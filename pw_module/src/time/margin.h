/* time/margin.h - how late a cycle may be: the part of a lead that is ours, beside the host's need.
 * Pure.
 *
 * It doubles when it did not last: what made a cycle late will come again. It halves when half of
 * it would have done for a while. Whenever it must grow again after that, the while doubles: what
 * comes each minute costs a break or two, not one a minute for ever.
 */
#ifndef XPA_TIME_MARGIN_H
#define XPA_TIME_MARGIN_H

#include <stdbool.h>
#include <stdint.h>

struct xpa_margin {
    uint32_t rate;
    uint32_t base_frames; /* never less */
    uint32_t frames;
    uint64_t grown_nsec;  /* what it grew to, while that is more than some stream's least */
    uint64_t needed_nsec; /* when half of it would not have done, last */
    uint64_t wait_nsec;   /* since then, before it halves; 0: as at first */
    bool halved;          /* since it grew */
};

/* A stream is opened: what the margin grew to lasts as long as it did. */
void xpa_margin_open(struct xpa_margin *g, uint32_t rate, uint32_t base_frames);
/* It did not last. How many frames more it is from now on. */
uint32_t xpa_margin_grow(struct xpa_margin *g, uint64_t now_nsec);
/* A cycle needed so much of it. */
void xpa_margin_used(struct xpa_margin *g, double frames, uint64_t now_nsec);
/* How many frames less it is from now on. */
uint32_t xpa_margin_ease(struct xpa_margin *g, uint64_t now_nsec);

#endif

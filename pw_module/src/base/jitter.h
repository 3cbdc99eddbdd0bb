/* base/jitter.h - how unevenly marks come: the standard deviation of their lateness; pure.
 *
 * Of about the last XPA_JITTER_MARKS, older ones fade. What all of them are late by is no jitter,
 * and what is further off than XPA_JITTER_MOST_NSEC is none either: somebody stood still, or the
 * count began anew.
 */
#ifndef XPA_BASE_JITTER_H
#define XPA_BASE_JITTER_H

#include <math.h>
#include <stdint.h>

enum { XPA_JITTER_MARKS = 256, XPA_JITTER_MOST_NSEC = 100000000 };

struct xpa_jitter {
    uint32_t marks;
    double mean_nsec, variance_nsec2;
};

/* A mark was `late_nsec` later than the line says; negative: sooner. */
static inline void xpa_jitter_add(struct xpa_jitter *j, double late_nsec) {
    if (!(fabs(late_nsec) <= XPA_JITTER_MOST_NSEC))
        return;
    if (j->marks < XPA_JITTER_MARKS)
        j->marks++;
    double gain = 1.0 / j->marks;
    double off_nsec = late_nsec - j->mean_nsec;
    j->mean_nsec += gain * off_nsec;
    j->variance_nsec2 = (1 - gain) * (j->variance_nsec2 + gain * off_nsec * off_nsec);
}

static inline uint64_t xpa_jitter_nsec(const struct xpa_jitter *j) {
    return (uint64_t)sqrt(j->variance_nsec2);
}

#endif

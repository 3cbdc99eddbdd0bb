/* time/round_trip.h - how long an event takes to reach us, from round trips on the same way; pure.
 *
 * As NTP does: the fastest of the last round trips are those that nobody delayed, and half of one
 * is one way. A quarter of them counts, as with the clock's marks: the very fastest found both
 * processors awake, which an event seldom does. That still goes up and down by some microseconds,
 * a quarter of a frame, and is averaged over many more. Taken off an event's arrival time it leaves
 * the asymmetry: whatever the way there takes longer than the way back, and half of what the
 * backend needs to answer. The bound on that error is the half itself: both ways take more than
 * nothing.
 */
#ifndef XPA_TIME_ROUND_TRIP_H
#define XPA_TIME_ROUND_TRIP_H

#include <stdint.h>

enum { XPA_TRANSPORT_TRIPS = 16, XPA_TRANSPORT_MEAN_TRIPS = 128 };

struct xpa_transport {
    uint64_t trips_nsec[XPA_TRANSPORT_TRIPS];
    uint32_t count;
    double way_nsec;
};

/* Half of the mean of the fastest quarter of the last trips. */
static inline double xpa_transport_fastest(const struct xpa_transport *t) {
    uint32_t known = t->count < XPA_TRANSPORT_TRIPS ? t->count : XPA_TRANSPORT_TRIPS;
    uint64_t fastest[XPA_TRANSPORT_TRIPS / 4], sum = 0;
    uint32_t wanted = known < 4 ? 1 : known / 4, kept = 0;
    for (uint32_t i = 0; i < known; i++) {
        uint64_t trip = t->trips_nsec[i];
        uint32_t at = kept < wanted ? kept++ : kept;
        for (; at > 0 && trip < fastest[at - 1]; at--)
            if (at < wanted)
                fastest[at] = fastest[at - 1];
        if (at < wanted)
            fastest[at] = trip;
    }
    for (uint32_t i = 0; i < kept; i++)
        sum += fastest[i];
    return (double)sum / wanted / 2;
}

static inline void xpa_transport_add(struct xpa_transport *t, uint64_t round_trip_nsec) {
    if (round_trip_nsec == 0)
        return; /* none takes no time: a clock that stood still measured nothing */
    t->trips_nsec[t->count++ % XPA_TRANSPORT_TRIPS] = round_trip_nsec;
    double way = xpa_transport_fastest(t);
    if (t->count <= XPA_TRANSPORT_TRIPS)
        t->way_nsec = way;
    else
        t->way_nsec += (way - t->way_nsec) / XPA_TRANSPORT_MEAN_TRIPS;
}

/* One way; 0 while nothing is known. */
static inline uint64_t xpa_transport_nsec(const struct xpa_transport *t) {
    return (uint64_t)t->way_nsec;
}

#endif

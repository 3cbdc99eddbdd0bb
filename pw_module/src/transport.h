/* transport.h - how long an event takes to reach us, from round trips on the same way; pure.
 *
 * As NTP does: the fastest of the last round trips are those that nobody delayed, and half of one
 * is one way. A quarter of them counts, as with the clock's marks: the very fastest found both
 * processors awake, which an event seldom does. Taken off an event's arrival time it leaves the
 * asymmetry: whatever the way there takes longer than the way back, and half of what the backend
 * needs to answer. The bound on that error is the half itself: both ways take more than nothing.
 */
#ifndef XPA_TRANSPORT_H
#define XPA_TRANSPORT_H

#include <stdint.h>

enum { XPA_TRANSPORT_TRIPS = 16 };

struct xpa_transport {
    uint64_t trips_nsec[XPA_TRANSPORT_TRIPS];
    uint32_t count;
};

static inline void xpa_transport_add(struct xpa_transport *t, uint64_t round_trip_nsec) {
    if (round_trip_nsec > 0) /* none takes no time: a clock that stood still measured nothing */
        t->trips_nsec[t->count++ % XPA_TRANSPORT_TRIPS] = round_trip_nsec;
}

/* One way; 0 while nothing is known. */
static inline uint64_t xpa_transport_nsec(const struct xpa_transport *t) {
    uint32_t known = t->count < XPA_TRANSPORT_TRIPS ? t->count : XPA_TRANSPORT_TRIPS;
    uint64_t fastest[XPA_TRANSPORT_TRIPS / 4], sum = 0;
    uint32_t wanted = known < 4 ? known > 0 : known / 4, kept = 0;
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
    return kept ? sum / kept / 2 : 0;
}

#endif

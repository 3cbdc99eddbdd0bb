/* transport.h - how long an event takes to reach us, from round trips on the same way; pure.
 *
 * As NTP does: the fastest of the last round trips is the one that nobody delayed, and half of it
 * is one way. Taken off an event's arrival time it leaves the asymmetry: whatever the way there
 * takes longer than the way back, and half of what the backend needs to answer. The bound on that
 * error is the half itself: both ways take more than nothing.
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
    t->trips_nsec[t->count++ % XPA_TRANSPORT_TRIPS] = round_trip_nsec;
}

/* One way; 0 while nothing is known. */
static inline uint64_t xpa_transport_nsec(const struct xpa_transport *t) {
    uint64_t least = 0;
    for (uint32_t i = 0; i < t->count && i < XPA_TRANSPORT_TRIPS; i++)
        if (least == 0 || t->trips_nsec[i] < least)
            least = t->trips_nsec[i];
    return least / 2;
}

#endif

/* time/peer_clock.h - the clock of a backend's machine in terms of ours; pure.
 *
 * An event of the position extension says when it was sent, by the backend's clock. Its arrival is
 * that moment by our clock, later by the way (see time/round_trip.h) and by whatever held it up.
 * Two such clocks hardly drift, every stream of the backend tells of the same pair, and none of it
 * changes when a stream starts or stops: so the late ones are soon known for what they are, and the
 * streams of a card, whose positions are all in the backend's time, agree to the nanosecond.
 */
#ifndef XPA_TIME_PEER_CLOCK_H
#define XPA_TIME_PEER_CLOCK_H

#include "time/clock.h"
#include "time/round_trip.h"

struct xpa_peer_clock {
    /* what was told before the clock last knew better; fades, so that time never leaps */
    double slew_nsec;
    uint64_t slew_from_nsec; /* of the backend's clock */
    struct xpa_clock clock;  /* its position: nsec of the backend's clock */
    struct xpa_transport transport;
    uint32_t domain;  /* the backend's; meant while there are streams */
    uint32_t streams; /* that learn and use it */
    /* Marks cost a wake-up each. Once the two clocks are known they are needed for a while only,
     * every so often, and from one stream. */
    const void *ear; /* that stream */
    uint32_t heard_marks;
    uint64_t heard_from_nsec;
    uint64_t rests_until_nsec, rest_nsec;
};

/* One more stream of `domain`: its peer, begun if it is the first. NULL: all belong to others. */
struct xpa_peer_clock *xpa_peer_clock_join(struct xpa_peer_clock *peers, uint32_t count,
                                           uint32_t domain);

void xpa_peer_clock_begin(struct xpa_peer_clock *p);
/* What was sent at `their_nsec` arrived at `now_nsec`. */
void xpa_peer_clock_mark(struct xpa_peer_clock *p, uint64_t now_nsec, uint64_t their_nsec);
/* Whether `stream` is to bring marks now. */
bool xpa_peer_clock_listens(struct xpa_peer_clock *p, const void *stream, uint64_t now_nsec);
/* It brings none any more. */
void xpa_peer_clock_leave(struct xpa_peer_clock *p, const void *stream);
/* What the peer says cannot be, by what is known: marks are needed. */
void xpa_peer_clock_doubt(struct xpa_peer_clock *p);
/* Only after a first mark. */
uint64_t xpa_peer_clock_ours(const struct xpa_peer_clock *p, uint64_t their_nsec);
uint64_t xpa_peer_clock_theirs(const struct xpa_peer_clock *p, uint64_t our_nsec);

#endif

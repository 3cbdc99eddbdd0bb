/* time/peer_clock.c - see time/peer_clock.h. */
#include "time/peer_clock.h"

#include <math.h>
#include <stddef.h>

/* Both count the same hypervisor's clock; one of them may be disciplined from outside. */
static const double DRIFT_PPB = 10e3;
/* A correction takes so long, but for one that is larger than a leap. */
static const double SLEW_NSEC = 1e9, LEAP_NSEC = 100e3;

/* Long enough for a block of marks (time/clock.c), and at first for as many round trips as are
 * looked at. In what it then rests, the slope that was learnt is off by a fraction of a frame. */
static const uint64_t LISTEN_NSEC = 2250000000, FIRST_LISTEN_NSEC = 4000000000;
static const uint64_t FIRST_REST_NSEC = 16000000000, LONGEST_REST_NSEC = 64000000000;
enum { LEAST_MARKS = 16 };

void xpa_peer_clock_begin(struct xpa_peer_clock *p) {
    struct xpa_clock_config config = {.rate = 1e9, .late_only = true, .drift_ppb = DRIFT_PPB};
    xpa_clock_init(&p->clock, &config);
    p->transport = (struct xpa_transport){0};
    p->slew_nsec = 0;
    p->ear = NULL;
    p->heard_marks = 0;
    p->rests_until_nsec = p->rest_nsec = 0;
}

bool xpa_peer_clock_listens(struct xpa_peer_clock *p, const void *stream, uint64_t now_nsec) {
    if (now_nsec < p->rests_until_nsec)
        return false;
    if (!p->ear)
        p->ear = stream;
    return p->ear == stream || p->rest_nsec == 0;
}

void xpa_peer_clock_leave(struct xpa_peer_clock *p, const void *stream) {
    if (p->ear == stream)
        p->ear = NULL;
}

void xpa_peer_clock_doubt(struct xpa_peer_clock *p) {
    p->rests_until_nsec = 0;
    p->heard_marks = 0;
}

static void heard(struct xpa_peer_clock *p, uint64_t now_nsec) {
    if (now_nsec < p->rests_until_nsec)
        return;
    if (p->heard_marks++ == 0)
        p->heard_from_nsec = now_nsec;
    uint64_t wanted_nsec = p->rest_nsec == 0 ? FIRST_LISTEN_NSEC : LISTEN_NSEC;
    if (p->heard_marks < LEAST_MARKS || now_nsec - p->heard_from_nsec < wanted_nsec)
        return;
    p->rest_nsec = p->rest_nsec == 0 ? FIRST_REST_NSEC : 2 * p->rest_nsec;
    if (p->rest_nsec > LONGEST_REST_NSEC)
        p->rest_nsec = LONGEST_REST_NSEC;
    p->rests_until_nsec = now_nsec + p->rest_nsec;
    p->heard_marks = 0;
}

struct xpa_peer_clock *xpa_peer_clock_join(struct xpa_peer_clock *peers, uint32_t count,
                                           uint32_t domain) {
    struct xpa_peer_clock *unused = NULL;
    for (struct xpa_peer_clock *p = peers; p < peers + count; p++) {
        if (p->streams > 0 && p->domain == domain) {
            p->streams++;
            return p;
        }
        if (p->streams == 0)
            unused = p;
    }
    if (unused) {
        xpa_peer_clock_begin(unused);
        unused->domain = domain;
        unused->streams = 1;
    }
    return unused;
}

/* What is left of the last correction. */
static int64_t slew(const struct xpa_peer_clock *p, uint64_t their_nsec) {
    double since = (double)(int64_t)(their_nsec - p->slew_from_nsec) / SLEW_NSEC;
    return (int64_t)(p->slew_nsec * (1 - fmin(fmax(since, 0), 1)));
}

uint64_t xpa_peer_clock_ours(const struct xpa_peer_clock *p, uint64_t their_nsec) {
    return xpa_clock_time_at(&p->clock, (double)their_nsec) + (uint64_t)slew(p, their_nsec);
}

uint64_t xpa_peer_clock_theirs(const struct xpa_peer_clock *p, uint64_t our_nsec) {
    double nsec = xpa_clock_position_at(&p->clock, our_nsec);
    uint64_t their_nsec = nsec > 0 ? (uint64_t)nsec : 0;
    return their_nsec - (uint64_t)slew(p, their_nsec);
}

void xpa_peer_clock_mark(struct xpa_peer_clock *p, uint64_t now_nsec, uint64_t their_nsec) {
    bool known = xpa_clock_ready(&p->clock);
    uint64_t before = known ? xpa_peer_clock_ours(p, their_nsec) : 0;
    xpa_clock_mark(&p->clock, now_nsec - xpa_transport_nsec(&p->transport), their_nsec);
    uint64_t after = xpa_clock_time_at(&p->clock, (double)their_nsec);
    double leap_nsec = known ? (double)(int64_t)(before - after) : 0;
    p->slew_nsec = fabs(leap_nsec) < LEAP_NSEC ? leap_nsec : 0;
    p->slew_from_nsec = their_nsec;
    heard(p, now_nsec);
}

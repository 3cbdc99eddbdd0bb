/* front/time.c - when the backend's frames are, by our clock; data loop.
 *
 * With a backend that says when it sent its events (position extension), the stream's clock runs in
 * the backend's time, where events are never late, and time/peer_clock.h translates. With any other
 * one it runs in ours, and follows the earliest events.
 *
 * A captured frame can be read when it is as old as the host says. That age steps when the host's
 * need does, while the microphone goes on evenly: so the clock runs at the microphone, and the age
 * is added to what it answers. A step is true at once then; no clock must learn it first.
 */
#include <math.h>

#include "front/front.h"

/* The backend's clock is not believed to be further off than this: then it is not used. */
static const uint64_t FUTURE_NSEC = 10000000, PAST_NSEC = 3000000000;

/* No frame is held longer: more is a backend's mistake. */
static const uint64_t MAX_HELD_NSEC = 1000000000;

/* The backend's events tell of its own clock for the device, which is a line already. */
static const double THEIR_NOISE_NSEC = 2000;

void xpa_front_time_init(struct xpa_front *f, bool timed) {
    struct xpa_clock_config config = {.rate = f->stream.config.rate, .late_only = !timed};
    if (timed)
        config.noise_nsec = THEIR_NOISE_NSEC;
    xpa_clock_init(&f->stream.clock, &config);
    f->stream.timed = timed;
}

/* True if `their_nsec` can be what the backend's clock showed when it sent what we have now. */
static bool credible(const struct xpa_front *f, uint64_t their_nsec, uint64_t now_nsec) {
    uint64_t ours = xpa_peer_clock_ours(f->link.peer, their_nsec);
    return ours < now_nsec + FUTURE_NSEC && now_nsec < ours + PAST_NSEC;
}

/* The extension's bytes are the peer's: any time may stand there. */
void xpa_front_time_sent(struct xpa_front *f, uint64_t their_nsec, uint64_t now_nsec, bool woken) {
    bool timed = their_nsec > XPA_MAX_AGE_NSEC + MAX_HELD_NSEC && their_nsec < UINT64_MAX / 4;
    if (timed) {
        if (woken)
            xpa_peer_clock_mark(f->link.peer, now_nsec, their_nsec);
        timed = credible(f, their_nsec, now_nsec);
    }
    if (timed != f->stream.timed)
        xpa_front_time_init(f, timed);
}

/* How long a captured frame takes from the microphone until it can be read. */
static uint64_t held_nsec(const struct xpa_front *f) {
    const struct xpa_front_stream *s = &f->stream;
    double nsec = f->direction == XPA_CAPTURE ? s->host_frames * 1e9 / s->config.rate : 0;
    return (uint64_t)fmin(nsec, (double)MAX_HELD_NSEC);
}

void xpa_front_time_mark(struct xpa_front *f, uint64_t position, uint64_t age_nsec,
                         uint64_t their_nsec, uint64_t now_nsec) {
    uint64_t past_nsec = age_nsec + held_nsec(f);
    if (xpa_front_time_locked(f)) {
        uint64_t was_nsec = xpa_front_time_at(f, (double)position);
        xpa_jitter_add(&f->stream.jitter, (double)(int64_t)(now_nsec - age_nsec - was_nsec));
        f->stats.jitter_nsec = xpa_jitter_nsec(&f->stream.jitter);
    }
    if (f->stream.timed)
        xpa_clock_mark(&f->stream.clock, their_nsec - past_nsec, position);
    else
        xpa_clock_mark(&f->stream.clock,
                       now_nsec - past_nsec - xpa_transport_nsec(&f->link.peer->transport),
                       position);
}

void xpa_front_expect_jump(struct xpa_front *f) { xpa_clock_shift(&f->stream.clock); }

bool xpa_front_time_ready(const struct xpa_front *f) { return xpa_clock_ready(&f->stream.clock); }

bool xpa_front_time_locked(const struct xpa_front *f) {
    return xpa_clock_locked(&f->stream.clock) &&
           (!f->stream.timed || xpa_clock_locked(&f->link.peer->clock));
}

uint64_t xpa_front_time_at(const struct xpa_front *f, double position_frames) {
    uint64_t nsec = xpa_clock_time_at(&f->stream.clock, position_frames) + held_nsec(f);
    return f->stream.timed ? xpa_peer_clock_ours(f->link.peer, nsec) : nsec;
}

double xpa_front_position_at(const struct xpa_front *f, uint64_t nsec) {
    if (f->stream.timed)
        nsec = xpa_peer_clock_theirs(f->link.peer, nsec);
    return xpa_clock_position_at(&f->stream.clock, nsec - held_nsec(f));
}

double xpa_front_nsec_per_frame(const struct xpa_front *f) {
    double ours_per_theirs = f->stream.timed ? xpa_clock_nsec_per_frame(&f->link.peer->clock) : 1.0;
    return xpa_clock_nsec_per_frame(&f->stream.clock) * ours_per_theirs;
}

double xpa_front_ppm(const struct xpa_front *f) {
    return (1e9 / (xpa_front_nsec_per_frame(f) * f->stream.config.rate) - 1.0) * 1e6;
}

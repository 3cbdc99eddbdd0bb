/* node/lead.c - the distance that is kept, and what applications are told of it; see node/lead.h.
 *
 * Applications are told whole frames of the nominal rate. Frames of the host's device last a little
 * longer or shorter: at 200 ppm a lead of 2500 is half a frame off. So a driver keeps that distance
 * in device frames which lasts as long as what was told. A follower with our clock cannot choose
 * when a cycle starts; it tells what its distance came to (offset_frames). What PipeWire resamples
 * between the graph and us lies in the resampler as well.
 */
#include <math.h>

#include "node/lead.h"

/* Half a frame cannot be told; what lies just there must not go back and forth. */
static const double TOLD_WITHIN_FRAMES = 0.52;

/* How fast a lead comes back, in steps of how much: too little to be heard, or to unsettle who
 * resamples to our cycles; and each step is told to all clients. */
static const double SHRINKS_PPM = 300;
enum { SHRINK_FRAMES = 4 };

/* In cycles: what was found is read once a second. Never in the one whose time is taken (cycle.c).
 */
enum { MEASURE_EVERY = 16 };

/* The host's need as last seen, and our own margin: how late a cycle may be. A lead that somebody
 * chose stays, however little the host needs, and grows as the margin does. */
uint32_t xpa_lead_wanted(const struct xpa_front *f) {
    if (f->direction == XPA_CAPTURE || f->stream.host_frames_max <= 0)
        return f->lead.asked_frames;
    const struct xpa_margin *margin = &f->lead.margin;
    uint32_t needed_frames = (uint32_t)ceil(f->stream.host_frames_max) + margin->frames;
    uint32_t least_frames = f->lead.least_frames + margin->frames - margin->base_frames;
    return f->lead.least_frames > 0 ? SPA_MAX(needed_frames, least_frames) : needed_frames;
}

/* Never less than a period: a starved position runs ahead to the end of its period, and frames put
 * behind it would bring no event. */
void xpa_lead_set(struct xpa_front *f, uint32_t lead_frames) {
    uint32_t limit = f->stream.config.buffer_frames / 2;
    lead_frames = lead_frames < limit ? lead_frames : limit;
    f->lead.frames =
        lead_frames > f->stream.config.period_frames ? lead_frames : f->stream.config.period_frames;
    f->stats.lead_frames = f->lead.frames;
    xpa_lead_tell(f);
}

void xpa_lead_renew(struct xpa_pw_node *n) {
    n->lead.surplus_frames = 0;
    xpa_lead_set(n->state.front, xpa_lead_wanted(n->state.front));
}

/* The sound is broken just now, so a longer lead costs no break of its own. */
void xpa_lead_grow(struct xpa_pw_node *n, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    uint32_t more = xpa_margin_grow(&f->lead.margin, now_nsec);
    uint32_t there = SPA_MIN(more, n->lead.surplus_frames);
    if (more == 0)
        return;
    f->lead.asked_frames += more;
    n->lead.surplus_frames -= there;
    xpa_lead_set(f, f->lead.frames + more - there);
    n->follow.synced = false;
}

void xpa_lead_used(struct xpa_pw_node *n, double frames, uint64_t now_nsec) {
    struct xpa_front *f = n->state.front;
    xpa_margin_used(&f->lead.margin, frames, now_nsec);
    uint32_t less = xpa_margin_ease(&f->lead.margin, now_nsec);
    f->lead.asked_frames -= less;
    n->lead.surplus_frames += less;
}

/* Another stream of the card goes by our cycles, and its frames by the same clock: what our lead
 * loses would be added to its own. */
static bool is_followed(const struct xpa_pw_node *n) {
    struct xpa_pw_node *other;
    spa_list_for_each (other, &n->pw->loop.nodes, state.link) {
        if (other->state.running && !other->state.driving && other->io.position &&
            other->io.position->clock.id == n->io.clock->id &&
            strcmp(other->clock_name, n->clock_name) == 0)
            return true;
    }
    return false;
}

/* Frames are neither left out nor repeated: cycles start a little later (capture: sooner) than they
 * would, until the surplus is gone. */
void xpa_lead_shrink(struct xpa_pw_node *n, double step_frames) {
    struct xpa_front *f = n->state.front;
    if (n->lead.surplus_frames == 0 || is_followed(n))
        return;
    n->lead.shrunk_frames += step_frames * SHRINKS_PPM * 1e-6;
    if (n->lead.shrunk_frames < SHRINK_FRAMES)
        return;
    uint32_t less = SPA_MIN(n->lead.surplus_frames, SHRINK_FRAMES);
    n->lead.shrunk_frames = 0;
    n->lead.surplus_frames -= less;
    /* the host needs more by now, or the buffer held no longer lead */
    if (f->lead.frames + f->stream.config.period_frames / 4 < xpa_lead_wanted(f) + less)
        n->lead.surplus_frames = 0;
    else
        xpa_lead_set(f, f->lead.frames - less);
}

/* A captured frame is as old as the host says when it can be read. */
static double host_age(const struct xpa_front *f) {
    return f->direction == XPA_CAPTURE ? f->stream.host_frames : 0;
}

double xpa_lead_distance(const struct xpa_front *f, double step_frames) {
    double nominal = f->lead.frames + (f->direction == XPA_CAPTURE ? step_frames : 0);
    if (!xpa_front_time_locked(f))
        return nominal;
    return nominal * 1e9 / (xpa_front_nsec_per_frame(f) * f->stream.config.rate);
}

/* The resampler is there while the node follows a strange clock, or its rate is not the graph's. */
void xpa_lead_note_resampler(struct xpa_pw_node *n) {
    struct xpa_front *f = n->state.front;
    double frames = n->io.rate_match ? n->io.rate_match->delay : 0;
    if (n->direction == XPA_PLAYBACK) /* it counts what goes in */
        frames *= (double)f->stream.config.rate / n->io.position->clock.rate.denom;
    /* it comes and goes at once; what it holds from cycle to cycle differs by a frame */
    double gain = fabs(frames - f->lead.resampler_frames) > 4 ? 1.0 : 0.05;
    f->lead.resampler_frames += gain * (frames - f->lead.resampler_frames);
    if (f->lead.resampler_frames < 0.01)
        f->lead.resampler_frames = 0;
    xpa_lead_tell(f);
}

/* What applications are told: a played frame is heard `lead` after its cycle began; a captured one
 * waited `lead` here, and before that as long as the host says. */
void xpa_lead_tell(struct xpa_front *f) {
    double exact = f->lead.frames + host_age(f) + f->lead.offset_frames + f->lead.resampler_frames;
    if (exact != floor(exact) && fabs(exact - f->lead.published_frames) <= TOLD_WITHIN_FRAMES)
        return;
    uint32_t frames = (uint32_t)lround(fmax(exact, 0));
    if (frames == f->lead.published_frames)
        return;
    f->lead.published_frames = frames;
    f->stats.published_frames = frames;
    /* who has not read the last notice yet finds this figure there, too */
    if (!f->lead.unread || xpa_plane_noticed(f->plane, f->lead.ticket))
        f->lead.ticket = xpa_plane_notify(f->plane, XPA_NOTICE_LATENCY, f->id, 0, NULL);
    f->lead.unread = true;
}

void xpa_lead_measure(const struct xpa_pw_node *n, uint32_t frames) {
    struct xpa_front *f = n->state.front;
    if (n->cycle.processed % MEASURE_EVERY != MEASURE_EVERY / 2)
        return;
    if (!n->io.position || !f->stream.positioned || !xpa_front_time_locked(f))
        return;
    double there = xpa_front_position_at(f, n->io.position->clock.nsec);
    double delay = f->direction == XPA_PLAYBACK
                       ? (double)f->stream.written_frames - there
                       : there - (double)(f->stream.read_frames + frames) + host_age(f);
    f->stats.true_frames = delay + f->lead.resampler_frames;
}

/* time/timeline.c - see time/timeline.h. */
#include "time/timeline.h"

#include <string.h>

void xpa_timeline_start(struct xpa_timeline *t, uint64_t guest_frames, uint64_t host_frames) {
    memset(t, 0, sizeof *t);
    t->guest_frames = guest_frames;
    t->host_frames = host_frames;
    t->valid = true;
}

static uint64_t end_of(const struct xpa_gap *gap) { return gap->start_frames + gap->length_frames; }

/* Makes the end of the oldest gap the new origin. What was heard before it is in the past. */
static void fold_oldest(struct xpa_timeline *t) {
    const struct xpa_gap *oldest = &t->gaps[0];
    t->guest_frames += oldest->start_frames - t->host_frames;
    t->host_frames = end_of(oldest);
    t->gap_count--;
    memmove(&t->gaps[0], &t->gaps[1], t->gap_count * sizeof t->gaps[0]);
}

/* No place for one more gap that was not heard yet: the second-oldest moves up to the oldest. The
 * guest's position is a little late until both were heard, never early. */
static void join_oldest(struct xpa_timeline *t) {
    t->gaps[0].length_frames += t->gaps[1].length_frames;
    t->gap_count--;
    memmove(&t->gaps[1], &t->gaps[2], (t->gap_count - 1) * sizeof t->gaps[0]);
}

bool xpa_timeline_gap(struct xpa_timeline *t, uint64_t start_frames, uint64_t length_frames) {
    if (!t->valid || length_frames == 0)
        return false;
    if (xpa_timeline_in_gap(t, start_frames)) {
        t->gaps[t->gap_count - 1].length_frames += length_frames;
        return false;
    }
    if (t->gap_count == XPA_TIMELINE_GAPS)
        join_oldest(t);
    t->gaps[t->gap_count++] = (struct xpa_gap){start_frames, length_frames};
    return true;
}

void xpa_timeline_forget(struct xpa_timeline *t, double host_frames) {
    /* the last one stays: it may go on, and a starved position counts from its start */
    while (t->gap_count > 1 && (double)end_of(&t->gaps[0]) <= host_frames)
        fold_oldest(t);
}

bool xpa_timeline_in_gap(const struct xpa_timeline *t, uint64_t host_frames) {
    return t->gap_count > 0 && end_of(&t->gaps[t->gap_count - 1]) == host_frames;
}

double xpa_timeline_guest_at(const struct xpa_timeline *t, double host_frames) {
    double guest = (double)t->guest_frames;
    if (host_frames <= (double)t->host_frames)
        return guest;
    guest += host_frames - (double)t->host_frames;
    for (uint32_t i = 0; i < t->gap_count; i++) {
        double into = host_frames - (double)t->gaps[i].start_frames;
        if (into <= 0)
            break;
        double length = (double)t->gaps[i].length_frames;
        guest -= into < length ? into : length;
    }
    return guest;
}

double xpa_timeline_host_at(const struct xpa_timeline *t, double guest_frames) {
    double host = (double)t->host_frames + guest_frames - (double)t->guest_frames;
    for (uint32_t i = 0; i < t->gap_count; i++) {
        /* Equal: the frame before the gap has just been heard; that is when the count was reached.
         */
        if ((double)t->gaps[i].start_frames >= host)
            break;
        host += (double)t->gaps[i].length_frames;
    }
    return host;
}

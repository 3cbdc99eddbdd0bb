/* timeline.c - see timeline.h. */
#include "timeline.h"

#include <string.h>

void xpa_timeline_start(struct xpa_timeline *t, uint64_t guest_frames, uint64_t host_frames) {
    memset(t, 0, sizeof *t);
    t->guest_frames = guest_frames;
    t->host_frames = host_frames;
    t->valid = true;
}

/* Makes the end of the oldest gap the new origin. What was heard before it is in the past. */
static void fold_oldest(struct xpa_timeline *t) {
    const struct xpa_gap *oldest = &t->gaps[0];
    t->guest_frames += oldest->start_frames - t->host_frames;
    t->host_frames = oldest->start_frames + oldest->length_frames;
    t->gap_count--;
    memmove(&t->gaps[0], &t->gaps[1], t->gap_count * sizeof t->gaps[0]);
}

void xpa_timeline_gap(struct xpa_timeline *t, uint64_t start_frames, uint64_t length_frames) {
    if (!t->valid || length_frames == 0)
        return;
    if (t->gap_count > 0) {
        struct xpa_gap *last = &t->gaps[t->gap_count - 1];
        if (last->start_frames + last->length_frames == start_frames) {
            last->length_frames += length_frames;
            return;
        }
    }
    if (t->gap_count == XPA_TIMELINE_GAPS)
        fold_oldest(t);
    t->gaps[t->gap_count++] = (struct xpa_gap){start_frames, length_frames};
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
        /* Equal: the frame before the gap has just been heard; that is when the count was reached. */
        if ((double)t->gaps[i].start_frames >= host)
            break;
        host += (double)t->gaps[i].length_frames;
    }
    return host;
}

/* time/timeline.h - which guest frame is heard when: host frames against guest frames.
 *
 * A host device takes frames for ever; the guest delivers frames when it can. Where the guest had
 * none, the host was given silence, and the guest's position must stand still for exactly that
 * long: that keeps "written - position" the true delay whatever happened. This file holds that
 * mapping as a short list of gaps. Pure arithmetic, used from the data loop only.
 */
#ifndef XPA_TIME_TIMELINE_H
#define XPA_TIME_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

enum { XPA_TIMELINE_GAPS = 32 };

struct xpa_gap {
    uint64_t start_frames; /* host frame at which silence began */
    uint64_t length_frames;
};

struct xpa_timeline {
    uint64_t guest_frames; /* this guest frame ... */
    uint64_t host_frames;  /* ... is played as this host frame */
    struct xpa_gap gaps[XPA_TIMELINE_GAPS];
    uint32_t gap_count;
    bool valid; /* false until the first guest frame was taken */
};

/* The next guest frame `guest_frames` is played as host frame `host_frames`; forgets all gaps. */
void xpa_timeline_start(struct xpa_timeline *t, uint64_t guest_frames, uint64_t host_frames);

/* `length_frames` of silence were given to the host from host frame `start_frames` on. True: a new
 * gap begins; false: nothing, or the last one goes on. */
bool xpa_timeline_gap(struct xpa_timeline *t, uint64_t start_frames, uint64_t length_frames);

/* Everything before host frame `host_frames` was heard: gaps that ended there are not needed. */
void xpa_timeline_forget(struct xpa_timeline *t, double host_frames);

/* True while silence goes on at `host_frames`, the end of what the host was given. */
bool xpa_timeline_in_gap(const struct xpa_timeline *t, uint64_t host_frames);

/* Guest frames heard when `host_frames` of the host have been heard. */
double xpa_timeline_guest_at(const struct xpa_timeline *t, double host_frames);

/* The host frame count at which `guest_frames` of the guest have been heard. */
double xpa_timeline_host_at(const struct xpa_timeline *t, double guest_frames);

#endif

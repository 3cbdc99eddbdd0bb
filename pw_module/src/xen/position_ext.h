/* xen/position_ext.h - the position extension's fields in an event, for both halves.
 *
 * Our proposal (packaging/doc/position-extension.md): they lie in bytes of CUR_POS that Xen's
 * header reserves, right behind the position, and only if both ends asked for it. Python reads the
 * offsets from this struct, too. Pure; any thread.
 */
#ifndef XPA_POSITION_EXT_H
#define XPA_POSITION_EXT_H

#include <string.h>

#include "xen/sndif.h"

struct xpa_position_ext {
    uint32_t host_frames;     /* taken but not heard (capture: age of the newest readable frame) */
    uint32_t host_frames_max; /* the largest of the last second */
    uint32_t age_nsec;        /* the position was true this long before `time` */
    uint32_t time_low_nsec, time_high_nsec; /* when the event was queued, by the backend's clock */
    uint32_t flags;
};

/* A flag: the backend heeds a frontend that looks at the event page by itself, from then on.
 * Captured frames are then in the guest's buffer without being asked for (xpa_evt_ring_filled). */
#define XPA_MAY_POLL 1u

/* As an age: no time at which frames of the guest were heard. The position ran ahead, as a hardware
 * pointer does, through silence that was played because there were none. */
#define XPA_NO_AGE UINT32_MAX

/* In an age: silence was played between the last position and this one. Both are true, but no line
 * leads from one to the other. */
#define XPA_AFTER_GAP (1u << 31)

static inline void xpa_position_ext_put(struct xensnd_evt *event,
                                        const struct xpa_position_ext *ext) {
    memcpy((uint8_t *)&event->op + sizeof event->op.cur_pos, ext, sizeof *ext);
}

static inline struct xpa_position_ext xpa_position_ext_of(const struct xensnd_evt *event) {
    struct xpa_position_ext ext;
    memcpy(&ext, (const uint8_t *)&event->op + sizeof event->op.cur_pos, sizeof ext);
    return ext;
}

#endif

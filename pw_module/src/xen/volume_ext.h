/* xen/volume_ext.h - the volume extension's event, for both halves.
 *
 * Our proposal (packaging/doc/volume-extension.md): an event of a type that Xen's header does not
 * have, sent only if both ends asked for it. Python reads the offsets from this struct, too. Pure;
 * any thread.
 */
#ifndef XPA_VOLUME_EXT_H
#define XPA_VOLUME_EXT_H

#include <string.h>

#include "xen/sndif.h"

enum { XPA_EVT_VOLUME = 1, XPA_VOLUME_EXT_CHANNELS = 12 };

/* `changed`: what the host set since the frontend last did. Without either bit the event tells of
 * `silenced` only. */
enum { XPA_VOLUME_CHANGED = 1, XPA_MUTE_CHANGED = 2 };

struct xpa_volume_ext {
    uint8_t changed;
    uint8_t silenced; /* 1: by an order of the host, whatever `muted` says */
    uint8_t channels; /* how many of `volumes` there are */
    uint8_t reserved;
    uint32_t muted;                           /* bit n: channel n */
    int32_t volumes[XPA_VOLUME_EXT_CHANNELS]; /* steps of 0.001 dB */
};

_Static_assert(sizeof(struct xpa_volume_ext) <= sizeof(((struct xensnd_evt *)NULL)->op),
               "it fits an event");

static inline struct xpa_volume_ext xpa_volume_ext_of(const struct xensnd_evt *event) {
    struct xpa_volume_ext ext;
    memcpy(&ext, &event->op, sizeof ext);
    return ext;
}

/* What an event that nobody has seen had to say of changes, this newer one says too. */
static inline void xpa_volume_ext_add(struct xensnd_evt *event, uint8_t changed) {
    struct xpa_volume_ext ext = xpa_volume_ext_of(event);
    ext.changed |= changed;
    memcpy(&event->op, &ext, sizeof ext);
}

#endif

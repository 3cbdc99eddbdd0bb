/* back/volume.c - tells the guest what the host made of its volume (xen/volume_ext.h); data loop.
 *
 * Python knows the host's volume and gives us the whole event. One that finds the ring full waits
 * for the next position, and what changes meanwhile becomes part of it.
 */
#include "back/back.h"

#include <errno.h>

#include "xen/volume_ext.h"

int xpa_back_send_volume(struct xpa_back *b) {
    if (!b->volume.due || !b->link.attached || b->link.broken)
        return 0;
    int result = xpa_back_put_event(b, &b->volume.event);
    if (result == -ENOSPC)
        return 0;
    b->volume.due = false;
    if (result < 0)
        return result;
    b->stats.events++;
    xpa_channel_notify(&b->event_channel);
    return 0;
}

int xpa_back_set_volume(struct xpa_back *b, const struct xensnd_evt *event) {
    if (!b->volume_ext)
        return 0;
    uint8_t before = b->volume.due ? xpa_volume_ext_of(&b->volume.event).changed : 0;
    b->volume.event = *event;
    b->volume.event.type = XPA_EVT_VOLUME;
    xpa_volume_ext_add(&b->volume.event, before);
    b->volume.due = true;
    return xpa_back_send_volume(b);
}

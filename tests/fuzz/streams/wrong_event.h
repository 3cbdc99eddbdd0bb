/* An event as a backend may write it: right where the record says nothing else. */
#ifndef WRONG_EVENT_H
#define WRONG_EVENT_H

#include "fuzz.h"
#include "xen/position_ext.h"
#include "xen/volume_ext.h"

static struct xensnd_evt wrong_event(const struct record *r, uint32_t number, uint64_t bytes) {
    struct xensnd_evt event;
    memset(&event, 0, sizeof event);
    event.id = (uint16_t)number;
    event.type = XENSND_EVT_CUR_POS;
    if (r->how & 64)
        event.type = r->how & 1 ? XPA_EVT_VOLUME : r->how;
    event.op.cur_pos.position = bytes;
    if (r->how & 2)
        event.op.cur_pos.position = (uint64_t)r->number << r->small % 33;
    struct xpa_position_ext ext = {
        .host_frames = r->how & 4 ? r->number : r->number % 1000,
        .host_frames_max = r->number,
        .age_nsec = r->how & 8 ? r->number : r->small,
        .time_low_nsec = r->how & 8 ? r->number : (uint32_t)sim_now,
        .time_high_nsec = r->how & 16 ? r->number : (uint32_t)(sim_now >> 32),
        .flags = r->what & 64 ? r->number : XPA_MAY_POLL,
    };
    if (!(r->how & 32))
        xpa_position_ext_put(&event, &ext);
    return event;
}

#endif

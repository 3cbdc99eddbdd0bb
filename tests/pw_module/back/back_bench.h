/* A backend stream in its rig, for the tests of it. */
#ifndef XPA_BACK_BENCH_H
#define XPA_BACK_BENCH_H

#include "stream_rig.h"

#include "random.h"
#include "xen/volume_ext.h"

enum { BUFFER = 1000, PERIOD = 250, BYTES = BUFFER * RIG_FRAME_BYTES };

static inline struct rig *rig_open(int direction) {
    struct rig *r = rig_new(direction, BUFFER, PERIOD, 0);
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    return r;
}

static inline struct rig *rig_playing(uint32_t quantum_frames, uint64_t latency_nsec,
                                      uint32_t frames) {
    struct rig *r = rig_open(XPA_PLAYBACK);
    rig_host_start(r, quantum_frames, latency_nsec, 0);
    CHECK_EQ(rig_write(r, 0, 1, frames), 0);
    CHECK_EQ(rig_trigger(r, XENSND_OP_TRIGGER_START), 0);
    return r;
}

static inline double position(const struct rig *r) { return xpa_back_position(r->back, sim_now); }

static inline void tell_volume(struct rig *r, uint8_t changed, int32_t steps) {
    struct xensnd_evt event = {.type = XPA_EVT_VOLUME};
    struct xpa_volume_ext ext = {.changed = changed, .channels = 1, .volumes = {steps}};
    memcpy(&event.op, &ext, sizeof ext);
    CHECK_EQ(xpa_back_tell_volume(r->back, (const uint8_t *)&event), 0);
    sim_settle(r->plane);
}

#endif

/* What a guest is told of its volume. Part of test_stream_back.c. */
#ifndef XPA_BACK_VOLUMES_H
#define XPA_BACK_VOLUMES_H

#include "back_bench.h"
#include "xen/volume_ext.h"

static void test_a_guest_is_told_of_volumes_if_it_asked_for_that(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, 1000, 250, 1);
    struct xensnd_evt event;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    tell_volume(r, XPA_VOLUME_CHANGED, -1);
    CHECK_EQ(rig_event(r, &event), 0);
    r->back->volume_ext = true;
    uint16_t id = r->back->link.event_id;
    tell_volume(r, XPA_VOLUME_CHANGED, -2);
    CHECK_EQ(rig_event(r, &event), 1);
    CHECK_EQ(event.type, XPA_EVT_VOLUME);
    CHECK_EQ(event.id, id);
    CHECK_EQ(xpa_volume_ext_of(&event).volumes[0], -2);
    CHECK_EQ(xpa_volume_ext_of(&event).changed, XPA_VOLUME_CHANGED);
    CHECK_EQ(rig_event(r, &event), 0);
    rig_free(r);
}

/* A guest that does not read its events hears of all changes when it does, as the newest. */
static void test_a_volume_that_finds_the_ring_full_is_told_later(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, 1000, 250, 1);
    struct xensnd_evt event;
    r->back->volume_ext = true;
    CHECK_EQ(rig_op(r, XENSND_OP_OPEN), 0);
    for (int i = 0; i < XPA_EVT_RING_SLOTS; i++)
        tell_volume(r, 0, i);
    tell_volume(r, XPA_VOLUME_CHANGED, -1);
    tell_volume(r, XPA_MUTE_CHANGED, -2);
    for (int i = 0; i < XPA_EVT_RING_SLOTS; i++) {
        CHECK_EQ(rig_event(r, &event), 1);
        CHECK_EQ(xpa_volume_ext_of(&event).volumes[0], i);
    }
    CHECK_EQ(rig_event(r, &event), 0);
    tell_volume(r, 0, -3);
    CHECK_EQ(rig_event(r, &event), 1);
    CHECK_EQ(xpa_volume_ext_of(&event).volumes[0], -3);
    CHECK_EQ(xpa_volume_ext_of(&event).changed, XPA_VOLUME_CHANGED | XPA_MUTE_CHANGED);
    rig_free(r);
}

/* The frontend before left its node behind, and this one does not know the extension. */
static void test_a_predecessors_volume_extension_does_not_count(void) {
    struct rig *r = rig_new(XPA_PLAYBACK, 1000, 250, 1);
    xpa_back_detach(r->back);
    sim_settle(r->plane);
    struct xpa_back *b =
        xpa_back_new(r->plane, 8, XPA_PLAYBACK, &r->link->ring_page, &r->link->event_page,
                     r->link->requests[HOST], r->link->events[HOST], 1);
    xpa_back_tell_volumes(b);
    xpa_back_watch(b);
    xpa_back_attach(b);
    sim_settle(r->plane);
    CHECK(!b->volume_ext, "the byte is not set");
    xpa_back_detach(b);
    sim_settle(r->plane);
    xpa_back_free(b);
    r->notices[XPA_NOTICE_DETACHED] = 0;
    rig_free(r);
}

#endif

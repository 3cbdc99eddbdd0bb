/* card/params.c - profiles and routes as clients read them; see card/card.h.
 *
 * The layouts are those of PipeWire's own devices: a profile's "classes" say to session managers
 * which nodes it has, a route's "info" to mixers what picture it gets.
 */
#include <spa/param/param.h>
#include <spa/param/profile.h>
#include <spa/param/props.h>
#include <spa/param/route.h>

#include "card/card.h"

_Static_assert((int)XPA_AVAILABLE_UNKNOWN == (int)SPA_PARAM_AVAILABILITY_unknown &&
                   (int)XPA_AVAILABLE_NO == (int)SPA_PARAM_AVAILABILITY_no &&
                   (int)XPA_AVAILABLE_YES == (int)SPA_PARAM_AVAILABILITY_yes,
               "the same numbers");

/* Mixers take names like these apart to pair outputs with inputs. */
static const struct {
    const char *name, *description;
    int priority;
} PROFILES[] = {
    [XPA_PROFILE_OFF] = {"off", "Off", 0},
    [XPA_PROFILE_OUTPUT] = {"output:playback", "Output", 2},
    [XPA_PROFILE_INPUT] = {"input:capture", "Input", 1},
    [XPA_PROFILE_DUPLEX] = {"output:playback+input:capture", "Duplex", 3},
};

/* The n-th one that the card has, or -1. */
static int nth_profile(const struct xpa_card *card, uint32_t n) {
    for (uint32_t profile = 0; profile < SPA_N_ELEMENTS(PROFILES); profile++)
        if (xpa_card_offers(card, profile) && n-- == 0)
            return (int)profile;
    return -1;
}

/* The n-th one in these directions, or -1. */
static int nth_route(const struct xpa_card *card, uint32_t directions, uint32_t n) {
    for (uint32_t index = 0; index < card->route_count; index++)
        if (directions & xpa_card_direction(&card->routes[index]) && n-- == 0)
            return (int)index;
    return -1;
}

static void add_class(const struct xpa_card *card, struct spa_pod_builder *b, uint32_t direction) {
    struct spa_pod_frame class, devices;
    int count = 0;
    while (nth_route(card, direction, (uint32_t)count) >= 0)
        count++;
    spa_pod_builder_push_struct(b, &class);
    spa_pod_builder_string(b, direction == XPA_PROFILE_INPUT ? "Audio/Source" : "Audio/Sink");
    spa_pod_builder_int(b, count);
    spa_pod_builder_string(b, "card.profile.devices");
    spa_pod_builder_push_array(b, &devices);
    for (int n = 0; n < count; n++)
        spa_pod_builder_int(b, nth_route(card, direction, (uint32_t)n));
    spa_pod_builder_pop(b, &devices);
    spa_pod_builder_pop(b, &class);
}

static struct spa_pod *profile_param(const struct xpa_card *card, struct spa_pod_builder *b,
                                     uint32_t id, uint32_t profile) {
    struct spa_pod_frame object, classes;
    spa_pod_builder_push_object(b, &object, SPA_TYPE_OBJECT_ParamProfile, id);
    spa_pod_builder_add(b, SPA_PARAM_PROFILE_index, SPA_POD_Int((int)profile),
                        SPA_PARAM_PROFILE_name, SPA_POD_String(PROFILES[profile].name),
                        SPA_PARAM_PROFILE_description,
                        SPA_POD_String(PROFILES[profile].description), SPA_PARAM_PROFILE_priority,
                        SPA_POD_Int(PROFILES[profile].priority), SPA_PARAM_PROFILE_available,
                        SPA_POD_Id(SPA_PARAM_AVAILABILITY_yes), 0);
    spa_pod_builder_prop(b, SPA_PARAM_PROFILE_classes, 0);
    spa_pod_builder_push_struct(b, &classes);
    spa_pod_builder_int(b, (profile & XPA_PROFILE_OUTPUT ? 1 : 0) +
                               (profile & XPA_PROFILE_INPUT ? 1 : 0));
    if (profile & XPA_PROFILE_INPUT)
        add_class(card, b, XPA_PROFILE_INPUT);
    if (profile & XPA_PROFILE_OUTPUT)
        add_class(card, b, XPA_PROFILE_OUTPUT);
    spa_pod_builder_pop(b, &classes);
    if (id == SPA_PARAM_Profile)
        spa_pod_builder_add(b, SPA_PARAM_PROFILE_save, SPA_POD_Bool(card->profile_saved), 0);
    return spa_pod_builder_pop(b, &object);
}

static void add_info(struct spa_pod_builder *b, bool capture) {
    struct spa_pod_frame info;
    spa_pod_builder_prop(b, SPA_PARAM_ROUTE_info, 0);
    spa_pod_builder_push_struct(b, &info);
    spa_pod_builder_int(b, 2);
    spa_pod_builder_string(b, "port.type");
    spa_pod_builder_string(b, capture ? "mic" : "speaker");
    spa_pod_builder_string(b, "device.icon-name");
    spa_pod_builder_string(b, capture ? "audio-input-microphone" : "audio-speakers");
    spa_pod_builder_pop(b, &info);
}

static void add_profiles(const struct xpa_card *card, struct spa_pod_builder *b,
                         uint32_t direction) {
    struct spa_pod_frame profiles;
    int profile;
    spa_pod_builder_prop(b, SPA_PARAM_ROUTE_profiles, 0);
    spa_pod_builder_push_array(b, &profiles);
    for (uint32_t n = 0; (profile = nth_profile(card, n)) >= 0; n++)
        if ((uint32_t)profile & direction)
            spa_pod_builder_int(b, profile);
    spa_pod_builder_pop(b, &profiles);
}

static void add_props(struct spa_pod_builder *b, const struct xpa_card_route *route) {
    struct spa_pod_frame props;
    uint32_t positions[SPA_AUDIO_MAX_CHANNELS];
    xpa_pw_positions(route->channels, positions);
    spa_pod_builder_prop(b, SPA_PARAM_ROUTE_props, 0);
    spa_pod_builder_push_object(b, &props, SPA_TYPE_OBJECT_Props, SPA_PARAM_Route);
    spa_pod_builder_add(
        b, SPA_PROP_mute, SPA_POD_Bool(route->mute), SPA_PROP_channelVolumes,
        SPA_POD_Array(sizeof(float), SPA_TYPE_Float, route->channels, route->volumes),
        SPA_PROP_volumeBase, SPA_POD_Float(1.0f), SPA_PROP_channelMap,
        SPA_POD_Array(sizeof(uint32_t), SPA_TYPE_Id, route->channels, positions),
        SPA_PROP_latencyOffsetNsec, SPA_POD_Long(route->latency_offset_nsec), 0);
    spa_pod_builder_pop(b, &props);
}

static struct spa_pod *route_param(const struct xpa_card *card, struct spa_pod_builder *b,
                                   uint32_t id, uint32_t index) {
    const struct xpa_card_route *route = &card->routes[index];
    struct spa_pod_frame object;
    int32_t device = (int32_t)index;
    spa_pod_builder_push_object(b, &object, SPA_TYPE_OBJECT_ParamRoute, id);
    spa_pod_builder_add(b, SPA_PARAM_ROUTE_index, SPA_POD_Int(device), SPA_PARAM_ROUTE_direction,
                        SPA_POD_Id(route->capture ? SPA_DIRECTION_INPUT : SPA_DIRECTION_OUTPUT),
                        SPA_PARAM_ROUTE_name, SPA_POD_String(route->name),
                        SPA_PARAM_ROUTE_description, SPA_POD_String(route->description),
                        SPA_PARAM_ROUTE_priority, SPA_POD_Int(100), SPA_PARAM_ROUTE_available,
                        SPA_POD_Id(route->available), 0);
    add_info(b, route->capture);
    add_profiles(card, b, xpa_card_direction(route));
    spa_pod_builder_add(b, SPA_PARAM_ROUTE_devices,
                        SPA_POD_Array(sizeof device, SPA_TYPE_Int, 1, &device), 0);
    if (id == SPA_PARAM_Route) {
        spa_pod_builder_add(b, SPA_PARAM_ROUTE_device, SPA_POD_Int(device), SPA_PARAM_ROUTE_profile,
                            SPA_POD_Int((int)card->state.profile), 0);
        add_props(b, route);
        spa_pod_builder_add(b, SPA_PARAM_ROUTE_save, SPA_POD_Bool(card->route_saved[index]), 0);
    }
    return spa_pod_builder_pop(b, &object);
}

struct spa_pod *xpa_card_param(const struct xpa_card *card, struct spa_pod_builder *b, uint32_t id,
                               uint32_t index) {
    int found = -1;
    switch (id) {
    case SPA_PARAM_EnumProfile:
        found = nth_profile(card, index);
        return found < 0 ? NULL : profile_param(card, b, id, (uint32_t)found);
    case SPA_PARAM_Profile:
        return index > 0 ? NULL : profile_param(card, b, id, card->state.profile);
    case SPA_PARAM_EnumRoute:
        found = nth_route(card, XPA_PROFILE_DUPLEX, index);
        break;
    case SPA_PARAM_Route:
        found = nth_route(card, card->state.profile, index);
        break;
    }
    return found < 0 ? NULL : route_param(card, b, id, (uint32_t)found);
}

/* card/card.c - the card's life, and what clients set; see card/card.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <spa/monitor/utils.h>
#include <spa/param/param.h>
#include <spa/param/profile.h>
#include <spa/param/props.h>
#include <spa/param/route.h>
#include <spa/pod/dynamic.h>
#include <spa/pod/filter.h>
#include <spa/pod/parser.h>

#include "base/memory.h"
#include "card/card.h"

/* Whatever a client asks for, a route is at most so loud (20 dB), and its offset so long. */
static const float LOUDEST = 10.0f;
static const int64_t LONGEST_OFFSET_NSEC = 10 * SPA_NSEC_PER_SEC;

static void tell_python(struct xpa_card *card) {
    if (!card->told)
        xpa_pw_post(card->pw, XPA_PW_EVENT_CARD, card->id, 0, 0, 0, NULL);
    card->told = true;
}

/* --- what PipeWire is told --- */

static void emit_info(struct xpa_card *card, uint64_t mask) {
    struct spa_device_info info = SPA_DEVICE_INFO_INIT();
    info.change_mask = mask;
    info.props = &card->properties->dict;
    info.params = card->params;
    info.n_params = XPA_CARD_PARAMS;
    spa_device_emit_info(&card->hooks, &info);
}

/* Clients read these anew: the flag differs from what it was. */
static void renewed(struct xpa_card *card, uint32_t first, uint32_t last) {
    for (uint32_t i = first; i <= last; i++)
        card->params[i].flags ^= SPA_PARAM_INFO_SERIAL;
    emit_info(card, SPA_DEVICE_CHANGE_MASK_PARAMS);
}

static int add_listener(void *object, struct spa_hook *listener,
                        const struct spa_device_events *events, void *data) {
    struct xpa_card *card = object;
    struct spa_hook_list others;
    spa_hook_list_isolate(&card->hooks, &others, listener, events, data);
    emit_info(card, SPA_DEVICE_CHANGE_MASK_PROPS | SPA_DEVICE_CHANGE_MASK_PARAMS);
    spa_hook_list_join(&card->hooks, &others);
    return 0;
}

static int sync_done(void *object, int seq) {
    struct xpa_card *card = object;
    spa_device_emit_result(&card->hooks, seq, 0, 0, NULL);
    return 0;
}

static int enum_params(void *object, int seq, uint32_t id, uint32_t start, uint32_t most,
                       const struct spa_pod *filter) {
    struct xpa_card *card = object;
    uint8_t memory[4096];
    uint32_t count = 0;
    bool more = true;
    for (uint32_t index = start; more && count < most; index++) {
        struct spa_pod_dynamic_builder b;
        spa_pod_dynamic_builder_init(&b, memory, sizeof memory, 4096);
        struct spa_result_device_params result = {.id = id, .index = index, .next = index + 1};
        struct spa_pod *param = xpa_card_param(card, &b.b, id, index);
        more = param != NULL;
        /* the filter's answer follows in the same memory, which may move as it grows */
        struct spa_pod *copy = more ? spa_pod_copy(param) : NULL;
        if (copy && spa_pod_filter(&b.b, &result.param, copy, filter) == 0) {
            spa_device_emit_result(&card->hooks, seq, 0, SPA_RESULT_TYPE_DEVICE_PARAMS, &result);
            count++;
        }
        free(copy);
        spa_pod_dynamic_builder_clean(&b);
    }
    return 0;
}

/* --- what clients set --- */

static int set_profile(struct xpa_card *card, const struct spa_pod *param) {
    int32_t profile = (int32_t)card->directions;
    bool save = false;
    if (param && spa_pod_parse_object(param, SPA_TYPE_OBJECT_ParamProfile, NULL,
                                      SPA_PARAM_PROFILE_index, SPA_POD_Int(&profile),
                                      SPA_PARAM_PROFILE_save, SPA_POD_OPT_Bool(&save)) < 0)
        return -EINVAL;
    if (profile < 0 || !xpa_card_offers(card, (uint32_t)profile))
        return -EINVAL;
    bool same = card->state.profile == (uint32_t)profile;
    if (same && card->profile_saved == save)
        return 0;
    card->state.profile = (uint32_t)profile;
    card->profile_saved = save;
    renewed(card, XPA_CARD_PROFILE, same ? XPA_CARD_PROFILE : XPA_CARD_ROUTE);
    if (!same)
        tell_python(card);
    return 0;
}

static float bounded(float volume) {
    return volume >= 0 ? SPA_MIN(volume, LOUDEST) : 0.0f; /* not a number: 0 */
}

/* WirePlumber sets the route of every new card, at 40 % where it has no volume stored; it does not
 * say which of both, but a default is one value for all channels and has no channel map. We come
 * after the host's volume and so stay at what we have: two times 40 % is hardly heard. */
static bool is_default(const struct spa_pod *props, bool save, uint32_t count) {
    return !save && count == 1 && !spa_pod_find_prop(props, NULL, SPA_PROP_channelMap);
}

static void set_props(struct xpa_card_route *route, const struct spa_pod *props, bool save) {
    float volumes[SPA_AUDIO_MAX_CHANNELS];
    const struct spa_pod_prop *prop;
    uint32_t count = 0;
    if ((prop = spa_pod_find_prop(props, NULL, SPA_PROP_channelVolumes)))
        count = spa_pod_copy_array(&prop->value, SPA_TYPE_Float, volumes, SPA_N_ELEMENTS(volumes));
    if (count > 0 && is_default(props, save, count))
        return;
    for (uint32_t i = 0; count > 0 && i < route->channels; i++)
        route->volumes[i] = bounded(volumes[i % count]);
    bool mute;
    if ((prop = spa_pod_find_prop(props, NULL, SPA_PROP_mute)) &&
        spa_pod_get_bool(&prop->value, &mute) == 0)
        route->mute = mute;
    int64_t offset;
    if ((prop = spa_pod_find_prop(props, NULL, SPA_PROP_latencyOffsetNsec)) &&
        spa_pod_get_long(&prop->value, &offset) == 0)
        route->latency_offset_nsec = SPA_CLAMP(offset, -LONGEST_OFFSET_NSEC, LONGEST_OFFSET_NSEC);
}

static int set_route(struct xpa_card *card, const struct spa_pod *param) {
    int32_t index, device;
    const struct spa_pod *props = NULL;
    bool save = false;
    if (!param ||
        spa_pod_parse_object(param, SPA_TYPE_OBJECT_ParamRoute, NULL, SPA_PARAM_ROUTE_index,
                             SPA_POD_Int(&index), SPA_PARAM_ROUTE_device, SPA_POD_Int(&device),
                             SPA_PARAM_ROUTE_props, SPA_POD_OPT_Pod(&props), SPA_PARAM_ROUTE_save,
                             SPA_POD_OPT_Bool(&save)) < 0)
        return -EINVAL;
    if (index < 0 || (uint32_t)index >= card->route_count || device != index)
        return -EINVAL;
    if (props && !spa_pod_is_object_type(props, SPA_TYPE_OBJECT_Props))
        return -EINVAL;
    struct xpa_card_route before = card->routes[index];
    if (props)
        set_props(&card->routes[index], props, save);
    card->route_saved[index] = save;
    /* also if nothing changed: WirePlumber 0.5 takes a route of which it has not heard since it set
     * it for a new one when a user changes it, and sets it again, to its default */
    renewed(card, XPA_CARD_ROUTE, XPA_CARD_ROUTE);
    if (memcmp(&before, &card->routes[index], sizeof before) != 0)
        tell_python(card);
    return 0;
}

static int set_param(void *object, uint32_t id, uint32_t flags, const struct spa_pod *param) {
    (void)flags;
    if (id == SPA_PARAM_Profile)
        return set_profile(object, param);
    return id == SPA_PARAM_Route ? set_route(object, param) : -ENOENT;
}

static const struct spa_device_methods METHODS = {
    SPA_VERSION_DEVICE_METHODS, .add_listener = add_listener, .sync = sync_done,
    .enum_params = enum_params, .set_param = set_param,
};

/* --- its life --- */

static void on_bound(void *data, uint32_t global_id) {
    struct xpa_card *card = data;
    card->state.global_id = global_id;
    tell_python(card);
}

static void lose(struct xpa_card *card) {
    card->state.lost = true;
    tell_python(card);
}

static void on_removed(void *data) { lose(data); }

/* After it is bound, errors are of single calls. */
static void on_error(void *data, int seq, int result, const char *message) {
    struct xpa_card *card = data;
    (void)seq, (void)result, (void)message;
    if (card->state.global_id < 0)
        lose(card);
}

static const struct pw_proxy_events PROXY_EVENTS = {PW_VERSION_PROXY_EVENTS, .bound = on_bound,
                                                    .removed = on_removed, .error = on_error};

static int export_card(struct xpa_card *card) {
    static const uint32_t IDS[] = {
        [XPA_CARD_ENUM_PROFILE] = SPA_PARAM_EnumProfile,
        [XPA_CARD_PROFILE] = SPA_PARAM_Profile,
        [XPA_CARD_ENUM_ROUTE] = SPA_PARAM_EnumRoute,
        [XPA_CARD_ROUTE] = SPA_PARAM_Route,
    };
    for (uint32_t i = 0; i < XPA_CARD_PARAMS; i++) {
        bool set = i == XPA_CARD_PROFILE || i == XPA_CARD_ROUTE;
        uint32_t flags = set ? SPA_PARAM_INFO_READWRITE : SPA_PARAM_INFO_READ;
        card->params[i] = SPA_PARAM_INFO(IDS[i], flags);
    }
    spa_hook_list_init(&card->hooks);
    card->device.iface =
        SPA_INTERFACE_INIT(SPA_TYPE_INTERFACE_Device, SPA_VERSION_DEVICE, &METHODS, card);
    card->proxy = pw_core_export(card->pw->locked.core, SPA_TYPE_INTERFACE_Device,
                                 &card->properties->dict, &card->device, 0);
    if (!card->proxy)
        return errno ? -errno : -EIO;
    pw_proxy_add_listener(card->proxy, &card->proxy_listener, &PROXY_EVENTS, card);
    return 0;
}

struct xpa_card *xpa_card_new(struct xpa_pw *pw, uint32_t id, const char *const *keys,
                              const char *const *values, uint32_t count,
                              const struct xpa_card_route *routes, uint32_t route_count,
                              uint32_t profile) {
    XPA_PW_LOCKED(pw);
    struct xpa_card *card = xpa_calloc(1, sizeof *card);
    if (!card)
        return NULL;
    *card = (struct xpa_card){.pw = pw, .id = id, .route_count = route_count};
    card->state = (struct xpa_card_state){.global_id = -1, .profile = profile};
    card->routes = xpa_calloc(SPA_MAX(route_count, 1u), sizeof *routes);
    card->route_saved = xpa_calloc(SPA_MAX(route_count, 1u), sizeof *card->route_saved);
    card->properties = pw_properties_new(NULL, NULL);
    for (uint32_t i = 0; card->properties && i < count; i++)
        pw_properties_set(card->properties, keys[i], values[i]);
    int result = card->routes && card->route_saved && card->properties ? 0 : -ENOMEM;
    for (uint32_t i = 0; result == 0 && i < route_count; i++) {
        card->routes[i] = routes[i];
        card->directions |= xpa_card_direction(&routes[i]);
        if (routes[i].channels < 1 || routes[i].channels > SPA_N_ELEMENTS(routes[i].volumes))
            result = -EINVAL;
    }
    if (result == 0)
        result = xpa_card_offers(card, profile) ? export_card(card) : -EINVAL;
    if (result < 0) {
        xpa_card_free(card);
        errno = -result;
        return NULL;
    }
    return card;
}

void xpa_card_read(struct xpa_card *card, struct xpa_card_state *state) {
    XPA_PW_LOCKED(card->pw);
    card->told = false;
    *state = card->state;
}

void xpa_card_read_route(struct xpa_card *card, uint32_t index, struct xpa_card_route *route) {
    XPA_PW_LOCKED(card->pw);
    *route = card->routes[index];
}

/* Those it had stay as loud, those that are new become like them. */
void xpa_card_set_channels(struct xpa_card *card, uint32_t index, uint32_t channels) {
    XPA_PW_LOCKED(card->pw);
    struct xpa_card_route *route = &card->routes[index];
    channels = SPA_CLAMP(channels, 1u, (uint32_t)SPA_N_ELEMENTS(route->volumes));
    if (channels == route->channels)
        return;
    for (uint32_t i = route->channels; i < channels; i++)
        route->volumes[i] = route->volumes[i % route->channels];
    route->channels = channels;
    renewed(card, XPA_CARD_ROUTE, XPA_CARD_ROUTE);
}

void xpa_card_set_available(struct xpa_card *card, uint32_t index, uint32_t available) {
    XPA_PW_LOCKED(card->pw);
    if (card->routes[index].available == available)
        return;
    card->routes[index].available = available;
    renewed(card, XPA_CARD_ENUM_ROUTE, XPA_CARD_ROUTE);
}

void xpa_card_set_volumes(struct xpa_card *card, uint32_t index, const float *volumes,
                          uint32_t count, int mute) {
    XPA_PW_LOCKED(card->pw);
    struct xpa_card_route *route = &card->routes[index];
    struct xpa_card_route before = *route;
    for (uint32_t i = 0; count > 0 && i < route->channels; i++)
        route->volumes[i] = bounded(volumes[i % count]);
    if (mute >= 0)
        route->mute = mute;
    if (memcmp(&before, route, sizeof before) == 0)
        return;
    renewed(card, XPA_CARD_ROUTE, XPA_CARD_ROUTE);
    tell_python(card);
}

void xpa_card_free(struct xpa_card *card) {
    if (!card)
        return;
    XPA_PW_LOCKED(card->pw);
    if (card->proxy) {
        spa_hook_remove(&card->proxy_listener);
        pw_proxy_destroy(card->proxy);
    }
    xpa_pw_forget(card->pw, card->id);
    pw_properties_free(card->properties);
    free(card->route_saved);
    free(card->routes);
    free(card);
}

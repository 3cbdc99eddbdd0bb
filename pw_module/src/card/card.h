/* card/card.h - a guest's sound card as PipeWire's Device object, exported by this process.
 *
 * card/card.c    its life, and what clients set
 * card/params.c  what clients read, as pods
 *
 * Session managers choose a profile and a route for it and remember them, mixers show both. The
 * nodes are not its own: Python makes and frees them by the profile, and gives them its id. All of
 * this is with the lock of PipeWire's main loop (pipewire/core.h); the daemon's calls come with it.
 */
#ifndef XPA_CARD_CARD_H
#define XPA_CARD_CARD_H

#include <spa/monitor/device.h>

#include "pipewire/core.h"

/* In the order in which the daemon is told of them. */
enum {
    XPA_CARD_ENUM_PROFILE,
    XPA_CARD_PROFILE,
    XPA_CARD_ENUM_ROUTE,
    XPA_CARD_ROUTE,
    XPA_CARD_PARAMS
};

struct xpa_card {
    struct xpa_pw *pw;
    uint32_t id; /* of its events */
    struct pw_properties *properties;
    struct spa_device device;
    struct spa_hook_list hooks;
    struct spa_param_info params[XPA_CARD_PARAMS];
    struct pw_proxy *proxy;
    struct spa_hook proxy_listener;
    struct xpa_card_state state;
    bool told;          /* Python has not read the state since */
    bool profile_saved; /* a person chose it: a session manager remembers it */
    uint32_t directions;
    uint32_t route_count;
    bool *route_saved;
    struct xpa_card_route *routes;
};

/* XPA_PROFILE_OUTPUT or _INPUT. */
static inline uint32_t xpa_card_direction(const struct xpa_card_route *route) {
    return route->capture ? XPA_PROFILE_INPUT : XPA_PROFILE_OUTPUT;
}

static inline bool xpa_card_offers(const struct xpa_card *card, uint32_t profile) {
    return (profile & ~card->directions) == 0;
}

/* The param number `index` of that kind; NULL after the last one. */
struct spa_pod *xpa_card_param(const struct xpa_card *card, struct spa_pod_builder *b, uint32_t id,
                               uint32_t index);

#endif

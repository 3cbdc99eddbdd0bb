/* abi/card.cdef.h - a guest's sound card, as PipeWire's Device object; as pw.cdef.h.
 *
 * A profile says which of its nodes exist; a route is a node's way to the ear, with its volume. Any
 * client may choose both. XPA_PW_EVENT_CARD, once until the state is read, says that something
 * changed; what exists and how loud it is, Python sees to.
 */

/* Numbers of profiles, and which directions they have. */
enum {
    XPA_PROFILE_OFF = 0,
    XPA_PROFILE_OUTPUT = 1,
    XPA_PROFILE_INPUT = 2,
    XPA_PROFILE_DUPLEX = 3,
};

/* Whether something can be heard by a route: SPA_PARAM_AVAILABILITY_*. */
enum {
    XPA_AVAILABLE_UNKNOWN = 0,
    XPA_AVAILABLE_NO = 1,
    XPA_AVAILABLE_YES = 2,
};

/* Route n is that of the node with "card.profile.device" n. */
struct xpa_card_route {
    int32_t capture;
    uint32_t available;
    char name[64], description[192];
    uint32_t channels; /* at most 64, as in volumes */
    float volumes[64]; /* linear */
    int32_t mute;
    int64_t latency_offset_nsec; /* what a user adds to what is published */
};

struct xpa_card_state {
    int64_t global_id; /* -1: PipeWire has not answered yet */
    int32_t lost;      /* it was refused, or somebody destroyed it */
    uint32_t profile;
};

struct xpa_card;

/* `profile`: to begin with. NULL and errno if PipeWire cannot have devices of ours. */
struct xpa_card *xpa_card_new(struct xpa_pw *pw, uint32_t id, const char *const *keys,
                              const char *const *values, uint32_t count,
                              const struct xpa_card_route *routes, uint32_t route_count,
                              uint32_t profile);
void xpa_card_read(struct xpa_card *card, struct xpa_card_state *state);
void xpa_card_read_route(struct xpa_card *card, uint32_t index, struct xpa_card_route *route);
void xpa_card_set_channels(struct xpa_card *card, uint32_t index, uint32_t channels);
/* Clients are told at once. */
void xpa_card_set_available(struct xpa_card *card, uint32_t index, uint32_t available);
/* The host has, and so clients are told: `count` 0 leaves the volumes, `mute` -1 the mute. */
void xpa_card_set_volumes(struct xpa_card *card, uint32_t index, const float *volumes,
                          uint32_t count, int mute);
void xpa_card_free(struct xpa_card *card);

/* abi/pw.cdef.h - what Python sees of the PipeWire side; plain declarations, read by C and by cffi.
 *
 * Every function here is called from Python's main thread. Those that touch PipeWire's own objects
 * take the lock of its main loop; those that read a figure or take an event do not need it. What
 * happened on that loop waits as events; xpa_pw_fd is readable then. Audio runs on PipeWire's
 * data loop, which also drives the plane.
 */

enum {
    XPA_PW_EVENT_LOST = 1, /* the connection to the daemon is gone; text: why */
    XPA_PW_EVENT_FORMAT =
        2, /* node: a[0] sndif format or -1 (suspended), a[1] rate, a[2] channels */
    XPA_PW_EVENT_STATE = 3,  /* node or host: a[0] pw_stream_state, text: error */
    XPA_PW_EVENT_VOLUME = 4, /* host: somebody changed volume or mute, see xpa_pw_host_volumes */
    XPA_PW_EVENT_CARD = 5,   /* card: see xpa_card_read */
    /* A session manager has started anew that links no node whose ports it finds made. */
    XPA_PW_EVENT_MANAGER = 6,
};

struct xpa_pw_event {
    uint32_t kind;
    uint32_t id;
    int32_t a[3];
    char text[112];
};

/* What a guest node offers, best first. */
struct xpa_pw_offer {
    uint32_t format_count, rate_count, channels_count;
    uint32_t formats[32]; /* sndif numbers */
    uint32_t rates[32];
    uint32_t channels[16];
};

struct xpa_plane;
struct xpa_front;
struct xpa_back;
struct xpa_pw;
struct xpa_pw_node;
struct xpa_pw_host;

const char *xpa_pw_library_version(void);
int xpa_pw_supports_format(uint32_t sndif_format);
/* One silent sample, in its first bytes; the others, and those of an unknown format, are 0. */
void xpa_pw_silence(uint32_t sndif_format, uint8_t sample[8]);

struct xpa_pw *xpa_pw_new(struct xpa_plane *plane, const char *application_name);
int xpa_pw_connect(struct xpa_pw *pw);
void xpa_pw_disconnect(struct xpa_pw *pw);
void xpa_pw_free(struct xpa_pw *pw);
/* Whether the daemon has answered the question before (at first: true), and then asks again. */
int xpa_pw_answers(struct xpa_pw *pw);
int xpa_pw_fd(struct xpa_pw *pw);
void xpa_pw_clear_fd(struct xpa_pw *pw);
int xpa_pw_next_event(struct xpa_pw *pw, struct xpa_pw_event *event);

/* Guest: a sink or source of the graph, clocked by the backend's positions. */
struct xpa_pw_node *xpa_pw_node_new(struct xpa_pw *pw, struct xpa_plane *plane, uint32_t id,
                                    int direction, const char *const *keys,
                                    const char *const *values, uint32_t count,
                                    const struct xpa_pw_offer *offer);
int xpa_pw_node_bind(struct xpa_pw_node *node, struct xpa_front *front);
void xpa_pw_node_set_latency(struct xpa_pw_node *node, uint32_t lead_frames, uint32_t rate);
/* What the card's route says of it: `count` linear volumes, and what is added to the latency. The
 * `soft` ones are what PipeWire makes of the samples here; the backend makes the rest. */
void xpa_pw_node_set_route(struct xpa_pw_node *node, const float *volumes,
                           const float *soft_volumes, uint32_t count, int mute, int soft_mute,
                           int64_t latency_offset_nsec);
void xpa_pw_node_set_properties(struct xpa_pw_node *node, const char *const *keys,
                                const char *const *values, uint32_t count);
uint32_t xpa_pw_node_global_id(struct xpa_pw_node *node);
void xpa_pw_node_free(struct xpa_pw_node *node);

/* Host: one stream of one guest, a follower in the host's graph. */
struct xpa_pw_host *xpa_pw_host_new(struct xpa_pw *pw, struct xpa_back *back, uint32_t id,
                                    int direction, uint32_t sndif_format, uint32_t rate,
                                    uint32_t channels, uint32_t sample_bytes,
                                    const char *const *keys, const char *const *values,
                                    uint32_t count);
void xpa_pw_host_set_active(struct xpa_pw_host *host, int active);
/* From now on, or from when PipeWire can. */
int xpa_pw_host_set_volumes(struct xpa_pw_host *host, const float *volumes, uint32_t count,
                            int mute);
uint32_t xpa_pw_host_volumes(struct xpa_pw_host *host, float *volumes, uint32_t room, int *mute);
void xpa_pw_host_free(struct xpa_pw_host *host);

/* A measuring client. One mark a cycle: frame `frame`, handled in the cycle that began at
 * cycle_nsec, will be heard (or was at the microphone) at published_nsec, says PipeWire. */
struct xpa_probe_mark {
    uint64_t frame, cycle_nsec;
    int64_t published_nsec; /* of a clock that is wrong it may be anything */
};

struct xpa_pw_probe;

struct xpa_pw_probe *xpa_pw_probe_new(struct xpa_pw *pw, uint32_t id, uint32_t rate,
                                      uint32_t channels, uint32_t quantum_frames,
                                      const char *play_target, const float *samples,
                                      uint64_t play_frames, const char *capture_target,
                                      uint64_t capture_frames);
uint64_t xpa_pw_probe_done_frames(struct xpa_pw_probe *probe, int direction);
uint32_t xpa_pw_probe_marks(struct xpa_pw_probe *probe, int direction, struct xpa_probe_mark *marks,
                            uint32_t room);
const float *xpa_pw_probe_captured(struct xpa_pw_probe *probe);
void xpa_pw_probe_free(struct xpa_pw_probe *probe);

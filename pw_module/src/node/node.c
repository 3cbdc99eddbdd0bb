/* node/node.c - the guest node's life, outside of the data loop; see node/node.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spa/param/latency-utils.h>
#include <spa/param/props.h>

#include "base/memory.h"
#include "node/node.h"
#include "pipewire/library.h"

static int invoke(struct xpa_pw_node *n, spa_invoke_func_t func, const void *data, size_t size) {
    /* blocking: on return the data loop has seen it */
    return pw_loop_invoke(n->pw->data_loop, func, 0, data, size, true, n);
}

struct io_message {
    uint32_t io;
    void *area;
};

static int do_set_io(struct spa_loop *loop, bool async, uint32_t seq, const void *data, size_t size,
                     void *user_data) {
    const struct io_message *message = data;
    (void)loop, (void)async, (void)seq, (void)size;
    xpa_node_set_io(user_data, message->io, message->area);
    return 0;
}

static void on_io_changed(void *data, uint32_t io, void *area, uint32_t size) {
    struct io_message message = {io, area};
    (void)size;
    invoke(data, do_set_io, &message, sizeof message);
}

/* A source that PipeWire has just stopped, and of which the program does not know yet, can start a
 * cycle: what that brings is taken by nobody (audioadapter.c, follower_ready()). It would be the
 * first that the next program records, and each frame after it a cycle older than told. Here, where
 * nothing else can be at the stream: the main thread waits for us. */
static void drop_untaken(struct xpa_pw_node *n) {
    if (n->direction == XPA_CAPTURE)
        pw_stream_flush(n->stream, false);
}

static int do_set_state(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                        size_t size, void *user_data) {
    struct xpa_pw_node *n = user_data;
    enum pw_stream_state state = *(const enum pw_stream_state *)data;
    bool was_wanted = n->state.wanted;
    (void)loop, (void)async, (void)seq, (void)size;
    n->state.wanted = state == PW_STREAM_STATE_STREAMING;
    xpa_overdue_forget(&n->cycle.overdue);
    xpa_node_update(n, xpa_now_nsec());
    if (was_wanted && state == PW_STREAM_STATE_PAUSED)
        drop_untaken(n);
    return 0;
}

static void on_state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state,
                             const char *error) {
    struct xpa_pw_node *n = data;
    (void)old;
    invoke(n, do_set_state, &state, sizeof state);
    xpa_pw_post(n->pw, XPA_PW_EVENT_STATE, n->id, (int)state, 0, 0, error);
}

static int do_set_format(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                         size_t size, void *user_data) {
    (void)loop, (void)async, (void)seq, (void)size;
    xpa_node_set_format(user_data, data);
    return 0;
}

static void on_param_changed(void *data, uint32_t id, const struct spa_pod *param) {
    struct xpa_pw_node *n = data;
    struct spa_audio_info_raw info;
    if (id != SPA_PARAM_Format)
        return;
    if (!param) {
        xpa_pw_post(n->pw, XPA_PW_EVENT_FORMAT, n->id, -1, 0, 0, NULL);
        return;
    }
    spa_zero(info);
    if (spa_format_audio_raw_parse(param, &info) < 0)
        return;
    int number = xpa_pw_sndif_format(info.format);
    struct xpa_node_format format = {(uint32_t)number,
                                     info.rate,
                                     info.channels,
                                     info.channels * xpa_pw_sample_bytes(info.format),
                                     {0}};
    xpa_pw_silence((uint32_t)number, format.silence);
    /* first the data loop, which may get frames of that format as soon as we return */
    invoke(n, do_set_format, &format, sizeof format);
    xpa_pw_post(n->pw, XPA_PW_EVENT_FORMAT, n->id, number, (int32_t)info.rate,
                (int32_t)info.channels, NULL);
}

static void on_process(void *data) { xpa_node_process(data); }

/* As ALSA's devices with a mixer of their own do: the converter applies the soft ones, if they come
 * together with the others. */
static void set_volumes(struct xpa_pw_node *n) {
    float mute = n->locked.mute ? 1.0f : 0.0f, soft_mute = n->locked.soft_mute ? 1.0f : 0.0f;
    pw_stream_set_control(n->stream, SPA_PROP_channelVolumes, n->locked.volume_count,
                          n->locked.volumes, SPA_PROP_mute, 1, &mute, SPA_PROP_softVolumes,
                          n->locked.volume_count, n->locked.soft_volumes, SPA_PROP_softMute, 1,
                          &soft_mute, 0);
}

/* Until a format is set there is no volume, and mixers would show a sink that was never used at 0
 * %, as one channel. What is set now holds for the format to come. */
static void on_control_info(void *data, uint32_t id, const struct pw_stream_control *control) {
    struct xpa_pw_node *n = data;
    (void)control;
    if (id != SPA_PROP_channelVolumes || n->locked.volume_known)
        return;
    n->locked.volume_known = true;
    set_volumes(n);
}

static const struct pw_stream_events STREAM_EVENTS = {
    PW_VERSION_STREAM_EVENTS,    .state_changed = on_state_changed, .control_info = on_control_info,
    .io_changed = on_io_changed, .param_changed = on_param_changed, .process = on_process,
};

/* One EnumFormat for a channel count: all formats and rates, the first of each preferred. */
static const struct spa_pod *enum_format(struct spa_pod_builder *b,
                                         const struct xpa_pw_offer *offer, uint32_t channels) {
    struct spa_pod_frame object, choice;
    uint32_t positions[SPA_AUDIO_MAX_CHANNELS];
    spa_pod_builder_push_object(b, &object, SPA_TYPE_OBJECT_Format, SPA_PARAM_EnumFormat);
    spa_pod_builder_add(b, SPA_FORMAT_mediaType, SPA_POD_Id(SPA_MEDIA_TYPE_audio),
                        SPA_FORMAT_mediaSubtype, SPA_POD_Id(SPA_MEDIA_SUBTYPE_raw), 0);
    spa_pod_builder_prop(b, SPA_FORMAT_AUDIO_format, 0);
    spa_pod_builder_push_choice(b, &choice, SPA_CHOICE_Enum, 0);
    spa_pod_builder_id(b, xpa_pw_spa_format(offer->formats[0]));
    for (uint32_t i = 0; i < offer->format_count; i++)
        spa_pod_builder_id(b, xpa_pw_spa_format(offer->formats[i]));
    spa_pod_builder_pop(b, &choice);
    spa_pod_builder_prop(b, SPA_FORMAT_AUDIO_rate, 0);
    spa_pod_builder_push_choice(b, &choice, SPA_CHOICE_Enum, 0);
    spa_pod_builder_int(b, (int32_t)offer->rates[0]);
    for (uint32_t i = 0; i < offer->rate_count; i++)
        spa_pod_builder_int(b, (int32_t)offer->rates[i]);
    spa_pod_builder_pop(b, &choice);
    xpa_pw_positions(channels, positions);
    spa_pod_builder_add(b, SPA_FORMAT_AUDIO_channels, SPA_POD_Int((int32_t)channels),
                        SPA_FORMAT_AUDIO_position,
                        SPA_POD_Array(sizeof(uint32_t), SPA_TYPE_Id, channels, positions), 0);
    return spa_pod_builder_pop(b, &object);
}

/* A sink's delay is its lead, from the start of the cycle. A captured frame is a quantum old when
 * the cycle starts, and the lead on top. One nanosecond more: readers truncate to frames.
 *
 * pipewire-pulse tells its clients the delay of a cycle's start together with the index of its end,
 * and they ask at any moment of it: half a quantum too little on average for what is played.
 * pulse_delay takes that out of what they read, and puts it into what everybody else reads. */
static const struct spa_pod *latency(struct spa_pod_builder *b, const struct xpa_pw_node *n) {
    bool capture = n->direction == XPA_CAPTURE;
    struct spa_latency_info info =
        SPA_LATENCY_INFO(capture ? SPA_DIRECTION_OUTPUT : SPA_DIRECTION_INPUT);
    int64_t nsec = (int64_t)((uint64_t)n->locked.lead_frames * SPA_NSEC_PER_SEC / n->locked.rate);
    info.min_ns = info.max_ns = (uint64_t)SPA_MAX(nsec + n->locked.latency_offset_nsec, 0) + 1;
    info.min_quantum = info.max_quantum = capture ? 1.0f : n->pulse_delay ? 0.5f : 0.0f;
    return spa_latency_build(b, SPA_PARAM_Latency, &info);
}

static void publish_latency(struct xpa_pw_node *n) {
    uint8_t memory[512];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(memory, sizeof memory);
    const struct spa_pod *param = n->locked.rate ? latency(&b, n) : NULL;
    if (param)
        pw_stream_update_params(n->stream, &param, 1);
}

void xpa_pw_node_set_latency(struct xpa_pw_node *n, uint32_t lead_frames, uint32_t rate) {
    XPA_PW_LOCKED(n->pw);
    n->locked.lead_frames = lead_frames;
    n->locked.rate = rate;
    publish_latency(n);
}

/* The offset is one of the node's Props too: that is where pipewire-pulse reads a port's. */
void xpa_pw_node_set_route(struct xpa_pw_node *n, const float *volumes, const float *soft_volumes,
                           uint32_t count, int mute, int soft_mute, int64_t latency_offset_nsec) {
    XPA_PW_LOCKED(n->pw);
    n->locked.volume_count = SPA_MIN(count, (uint32_t)SPA_AUDIO_MAX_CHANNELS);
    memcpy(n->locked.volumes, volumes, n->locked.volume_count * sizeof *volumes);
    memcpy(n->locked.soft_volumes, soft_volumes, n->locked.volume_count * sizeof *soft_volumes);
    n->locked.mute = mute;
    n->locked.soft_mute = soft_mute;
    if (n->locked.volume_known)
        set_volumes(n);
    if (n->locked.latency_offset_nsec == latency_offset_nsec)
        return;
    n->locked.latency_offset_nsec = latency_offset_nsec;
    uint8_t memory[512];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(memory, sizeof memory);
    const struct spa_pod *props =
        spa_pod_builder_add_object(&b, SPA_TYPE_OBJECT_Props, SPA_PARAM_Props,
                                   SPA_PROP_latencyOffsetNsec, SPA_POD_Long(latency_offset_nsec));
    pw_stream_update_params(n->stream, &props, 1);
    publish_latency(n);
}

void xpa_pw_node_set_properties(struct xpa_pw_node *n, const char *const *keys,
                                const char *const *values, uint32_t count) {
    XPA_PW_LOCKED(n->pw);
    struct pw_properties *properties = xpa_pw_properties(keys, values, count);
    if (properties)
        pw_stream_update_properties(n->stream, &properties->dict);
    pw_properties_free(properties);
}

static void do_add(const struct xpa_command *command) {
    struct xpa_pw_node *n = command->object;
    spa_list_append(&n->pw->loop.nodes, &n->state.link);
    n->state.timer_added = xpa_loop_add(&n->plane->loop, &n->timer_source) == 0;
}

static int do_forget(struct spa_loop *loop, bool async, uint32_t seq, const void *data, size_t size,
                     void *user_data) {
    struct xpa_pw_node *n = user_data;
    (void)loop, (void)async, (void)seq, (void)data, (void)size;
    xpa_plane_carry_out(n->plane);
    if (n->stream) /* here, where process() cannot be on its way to it */
        spa_hook_remove(&n->locked.listener);
    if (n->state.timer_added)
        xpa_loop_remove(&n->plane->loop, &n->timer_source);
    n->state.timer_added = false;
    if (n->state.link.next)
        spa_list_remove(&n->state.link);
    if (n->state.front)
        n->state.front->graph.on_change = NULL;
    n->state.front = NULL;
    n->state.wanted = false;
    return 0;
}

static int make_stream(struct xpa_pw_node *n, const char *const *keys, const char *const *values,
                       uint32_t count) {
    struct pw_properties *properties = xpa_pw_properties(keys, values, count);
    if (!properties)
        return -ENOMEM;
    const char *name = pw_properties_get(properties, "xenpv.clock.name");
    snprintf(n->clock_name, sizeof n->clock_name, "%s", name ? name : "xenpv");
    const char *pulse_delay = pw_properties_get(properties, "xenpv.pulse-delay");
    n->pulse_delay = pulse_delay && spa_atob(pulse_delay);
    const char *title = pw_properties_get(properties, PW_KEY_NODE_DESCRIPTION);
    n->stream = pw_stream_new(n->pw->locked.core, title ? title : "Xen PV Audio", properties);
    if (!n->stream)
        return errno ? -errno : -ENOMEM;
    pw_stream_add_listener(n->stream, &n->locked.listener, &STREAM_EVENTS, n);
    return 0;
}

/* PW_STREAM_FLAG_RT_TRIGGER_DONE, which older headers lack and older libraries do not look at. */
#define RT_TRIGGER_DONE ((enum pw_stream_flags)(1u << 12))

/* Since PipeWire 1.1.81 the stream takes back the buffer that it handed over last before it calls a
 * follower's process(), and after a driver's (stream.c). With one buffer, the first cycle after
 * another driver has gone would find none, and be silent. Before, one is enough. */
enum { CAPTURE_BUFFERS = 2, CAPTURE_BUFFERS_SINCE = 1001081 };

static const struct spa_pod *buffers(struct spa_pod_builder *b) {
    return spa_pod_builder_add_object(b, SPA_TYPE_OBJECT_ParamBuffers, SPA_PARAM_Buffers,
                                      SPA_PARAM_BUFFERS_buffers, SPA_POD_Int(CAPTURE_BUFFERS));
}

static int connect_stream(struct xpa_pw_node *n, const struct xpa_pw_offer *offer) {
    uint8_t memory[8192];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(memory, sizeof memory);
    const struct spa_pod *params[18];
    uint32_t param_count = 0;
    for (uint32_t i = 0; i < offer->channels_count; i++)
        if (offer->channels[i] == 0 || offer->channels[i] > XPA_MAX_CHANNELS)
            return -EINVAL; /* no room in positions[] */
    for (uint32_t i = 0; i < offer->channels_count && i < 15; i++)
        params[param_count++] = enum_format(&b, offer, offer->channels[i]);
    if (param_count > 1) /* the graph takes the first one, pipewire-pulse shows the last one */
        params[param_count++] = enum_format(&b, offer, offer->channels[0]);
    if (n->direction == XPA_CAPTURE && n->version >= CAPTURE_BUFFERS_SINCE)
        params[param_count++] = buffers(&b);
    n->locked.volume_count = SPA_MIN(offer->channels[0], (uint32_t)SPA_AUDIO_MAX_CHANNELS);
    for (uint32_t i = 0; i < n->locked.volume_count; i++)
        n->locked.volumes[i] = n->locked.soft_volumes[i] = 1.0f;
    return pw_stream_connect(n->stream,
                             n->direction == XPA_CAPTURE ? PW_DIRECTION_OUTPUT : PW_DIRECTION_INPUT,
                             PW_ID_ANY,
                             PW_STREAM_FLAG_MAP_BUFFERS | PW_STREAM_FLAG_RT_PROCESS |
                                 PW_STREAM_FLAG_DRIVER | RT_TRIGGER_DONE,
                             params, param_count);
}

struct xpa_pw_node *xpa_pw_node_new(struct xpa_pw *pw, struct xpa_plane *plane, uint32_t id,
                                    int direction, const char *const *keys,
                                    const char *const *values, uint32_t count,
                                    const struct xpa_pw_offer *offer) {
    XPA_PW_LOCKED(pw);
    struct xpa_pw_node *n = xpa_calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->pw = pw;
    n->plane = plane;
    n->id = id;
    n->direction = direction;
    n->version = xpa_pw_version();
    n->made_nsec = xpa_now_nsec();
    xpa_pw_watch_links(pw);
    struct xpa_command command = {.func = do_add, .object = n};
    n->timer_source = (struct xpa_source){xpa_timer_create(), xpa_node_on_timer, n};
    int result = SPA_MIN(n->timer_source.fd, 0);
    if (result == 0)
        result = make_stream(n, keys, values, count);
    if (result == 0)
        result = xpa_plane_command(plane, &command);
    if (result == 0)
        result = connect_stream(n, offer);
    if (result < 0) {
        xpa_pw_node_free(n);
        errno = -result;
        return NULL;
    }
    return n;
}

static void do_bind(const struct xpa_command *command) {
    xpa_node_bind(command->object, command->arg.pointer);
}

/* The node uses this stream from now on, until the stream is detached. */
int xpa_pw_node_bind(struct xpa_pw_node *n, struct xpa_front *front) {
    struct xpa_command command = {.func = do_bind, .object = n, .arg.pointer = front};
    return xpa_plane_command(n->plane, &command);
}

uint32_t xpa_pw_node_global_id(struct xpa_pw_node *n) {
    XPA_PW_LOCKED(n->pw);
    return pw_stream_get_node_id(n->stream);
}

void xpa_pw_node_free(struct xpa_pw_node *n) {
    if (!n)
        return;
    XPA_PW_LOCKED(n->pw);
    invoke(n, do_forget, NULL, 0);
    if (n->stream)
        xpa_pw_leave_as_a_device(n->pw, n->stream, n->made_nsec);
    if (n->timer_source.fd >= 0)
        close(n->timer_source.fd);
    xpa_pw_forget(n->pw, n->id);
    free(n);
}

/*
 * PipeWire as far as one stream of ours meets it: the test says when its callbacks and hooks run,
 * and on which thread. Properties and pods are the library's own; what is defined here stands in
 * front of its functions. Calls into the data loop are carried out at once.
 */
#ifndef PIPEWIRE_SIM_H
#define PIPEWIRE_SIM_H

#include "pipewire/core.h"

static struct {
    struct spa_hook_list streams, hooks; /* listeners of the stream, of the loop's polls */
    bool no_properties, no_stream;
    int connected; /* what connecting returns */
    int buffers;   /* how many it asked for; 0: as many as PipeWire likes */
} sim_pw;
static const char *sim_pw_version = "1.4.2";

static int sim_pw_invoke(void *object, spa_invoke_func_t func, uint32_t seq, const void *data,
                         size_t size, bool block, void *user_data) {
    (void)block;
    return func(object, false, seq, data, size, user_data);
}

static void sim_pw_add_hook(void *object, struct spa_hook *hook,
                            const struct spa_loop_control_hooks *hooks, void *data) {
    (void)object;
    spa_hook_list_append(&sim_pw.hooks, hook, hooks, data);
}

static const struct spa_loop_methods SIM_PW_LOOP = {SPA_VERSION_LOOP_METHODS,
                                                    .invoke = sim_pw_invoke};
static const struct spa_loop_control_methods SIM_PW_CONTROL = {SPA_VERSION_LOOP_CONTROL_METHODS,
                                                               .add_hook = sim_pw_add_hook};
static struct spa_loop sim_pw_loop = {
    {SPA_TYPE_INTERFACE_Loop, SPA_VERSION_LOOP, {&SIM_PW_LOOP, NULL}}};
static struct spa_loop_control sim_pw_control = {
    {SPA_TYPE_INTERFACE_LoopControl, SPA_VERSION_LOOP_CONTROL, {&SIM_PW_CONTROL, NULL}}};
static struct pw_loop sim_pw_data_loop = {.loop = &sim_pw_loop, .control = &sim_pw_control};

static struct xpa_pw sim_pw_new(struct xpa_plane *plane) {
    memset(&sim_pw, 0, sizeof sim_pw);
    spa_hook_list_init(&sim_pw.streams);
    spa_hook_list_init(&sim_pw.hooks);
    return (struct xpa_pw){.plane = plane, .data_loop = &sim_pw_data_loop, .event_fd = -1};
}

const char *pw_get_library_version(void) { return sim_pw_version; }
void pw_thread_loop_lock(struct pw_thread_loop *loop) { (void)loop; }
void pw_thread_loop_unlock(struct pw_thread_loop *loop) { (void)loop; }

struct pw_properties *pw_properties_new(const char *key, ...) {
    static const struct spa_dict NOTHING = {.items = NULL};
    struct pw_properties *properties =
        sim_pw.no_properties ? NULL : pw_properties_new_dict(&NOTHING);
    (void)key;
    return properties;
}

static char sim_pw_stream;

struct pw_stream *pw_stream_new(struct pw_core *core, const char *name,
                                struct pw_properties *properties) {
    (void)core, (void)name;
    pw_properties_free(properties); /* they are the stream's, also when it fails */
    return sim_pw.no_stream ? NULL : (struct pw_stream *)&sim_pw_stream;
}

void pw_stream_add_listener(struct pw_stream *stream, struct spa_hook *listener,
                            const struct pw_stream_events *events, void *data) {
    (void)stream;
    spa_hook_list_append(&sim_pw.streams, listener, events, data);
}

int pw_stream_connect(struct pw_stream *stream, enum pw_direction direction, uint32_t target_id,
                      enum pw_stream_flags flags, const struct spa_pod **params,
                      uint32_t n_params) {
    (void)stream, (void)direction, (void)target_id, (void)flags;
    sim_pw.buffers = 0;
    for (uint32_t i = 0; i < n_params; i++)
        if (SPA_POD_TYPE(params[i]) == SPA_TYPE_Object &&
            ((const struct spa_pod_object *)params[i])->body.id == SPA_PARAM_Buffers)
            spa_pod_parse_object(params[i], SPA_TYPE_OBJECT_ParamBuffers, NULL,
                                 SPA_PARAM_BUFFERS_buffers, SPA_POD_OPT_Int(&sim_pw.buffers));
    return sim_pw.connected;
}

void pw_stream_destroy(struct pw_stream *stream) { (void)stream; }

void xpa_pw_leave(struct xpa_pw *pw, struct pw_stream *stream) {
    (void)pw;
    pw_stream_destroy(stream);
}

void xpa_pw_begin_leaving(struct xpa_pw *pw) { (void)pw; }
void xpa_pw_leaving_answered(struct xpa_pw *pw, int answer) { (void)pw, (void)answer; }

void xpa_pw_leave_as_a_device(struct xpa_pw *pw, struct pw_stream *stream, uint64_t made_nsec) {
    (void)made_nsec;
    xpa_pw_leave(pw, stream);
}

#endif

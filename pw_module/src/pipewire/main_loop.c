/* pipewire/main_loop.c - PipeWire's main loop, spared a wake-up in each cycle.
 *
 * When a stream that drives its graph ends a cycle, pw_stream tells the main loop, for the event
 * trigger_done; nobody listens to that here. Since 1.1.0 PW_STREAM_FLAG_RT_TRIGGER_DONE spares it.
 * Before that, all that libpipewire asks of the main loop from the data loop without waiting for it
 * and without data is this, and the end of a drain, a process() outside of the data loop or a wish
 * for a cycle that another node drives, none of which our streams have (stream.c). So a context
 * of those versions gets the main loop with another face, which passes on everything but that.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "pipewire/core.h"
#include "pipewire/library.h"

enum { SPARED_BY_FLAG_SINCE = 1001000 };

struct xpa_main_loop {
    struct pw_loop *real, face;
    struct spa_loop loop;
    /* Written by the data loop before there are streams: whoever calls later has seen it. */
    pthread_t data_thread;
    bool spares;
};

static int add_source(void *object, struct spa_source *source) {
    struct xpa_main_loop *m = object;
    return spa_loop_add_source(m->real->loop, source);
}

static int update_source(void *object, struct spa_source *source) {
    struct xpa_main_loop *m = object;
    return spa_loop_update_source(m->real->loop, source);
}

static int remove_source(void *object, struct spa_source *source) {
    struct xpa_main_loop *m = object;
    return spa_loop_remove_source(m->real->loop, source);
}

static int invoke(void *object, spa_invoke_func_t func, uint32_t seq, const void *data, size_t size,
                  bool block, void *user_data) {
    struct xpa_main_loop *m = object;
    if (m->spares && !block && !data && pthread_equal(pthread_self(), m->data_thread))
        return 0;
    return spa_loop_invoke(m->real->loop, func, seq, data, size, block, user_data);
}

static const struct spa_loop_methods METHODS = {
    SPA_VERSION_LOOP_METHODS,       .add_source = add_source, .update_source = update_source,
    .remove_source = remove_source, .invoke = invoke,
};

struct xpa_main_loop *xpa_main_loop_new(struct pw_loop *real) {
    struct xpa_main_loop *m = xpa_calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->real = real;
    m->face = *real;
    m->loop.iface = SPA_INTERFACE_INIT(SPA_TYPE_INTERFACE_Loop, SPA_VERSION_LOOP, &METHODS, m);
    m->face.loop = &m->loop;
    return m;
}

struct pw_loop *xpa_main_loop_face(struct xpa_main_loop *m) {
    return xpa_pw_version() < SPARED_BY_FLAG_SINCE ? &m->face : m->real;
}

void xpa_main_loop_spare(struct xpa_main_loop *m) {
    m->data_thread = pthread_self();
    m->spares = true;
}

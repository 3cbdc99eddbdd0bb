/* slowpause.c - by LD_PRELOAD: a main thread that is kept waiting just when it pauses a stream. The
 * first to hear of each pause takes 60 ms over it, so the program itself hears of it that much
 * later, while the stream's node is stopped already. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include <pipewire/stream.h>

static void on_state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state,
                             const char *error) {
    (void)data, (void)error;
    if (old == PW_STREAM_STATE_STREAMING && state == PW_STREAM_STATE_PAUSED)
        usleep(60000);
}

static const struct pw_stream_events EVENTS = {PW_VERSION_STREAM_EVENTS,
                                               .state_changed = on_state_changed};

/* Python loads extensions, and what they need, where RTLD_NEXT does not look. */
static void *real(const char *name) {
    return dlsym(dlopen("libpipewire-0.3.so.0", RTLD_NOLOAD | RTLD_LAZY), name);
}

struct pw_stream *pw_stream_new(struct pw_core *core, const char *name,
                                struct pw_properties *props) {
    struct pw_stream *(*make)(struct pw_core *, const char *, struct pw_properties *) =
        (struct pw_stream * (*)(struct pw_core *, const char *, struct pw_properties *))
            real("pw_stream_new");
    void (*add)(struct pw_stream *, struct spa_hook *, const struct pw_stream_events *, void *) =
        (void (*)(struct pw_stream *, struct spa_hook *, const struct pw_stream_events *,
                  void *))real("pw_stream_add_listener");
    struct pw_stream *stream = make(core, name, props);
    struct spa_hook *hook = calloc(1, sizeof *hook); /* as long as the process lives */
    if (!hook)
        abort();
    if (stream)
        add(stream, hook, &EVENTS, NULL);
    return stream;
}

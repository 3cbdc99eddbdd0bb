/* pipewire/leaving.c - streams that nobody needs any more, on their way out; main loop's thread, or
 * with its lock.
 *
 * A client of PipeWire before 0.3.72 keeps the descriptors of messages for what it has destroyed
 * already (module-protocol-native.c, process_remote, "FIXME close fds"): two of each stream that
 * ends while it begins, one of each link. A guest that opens and closes, or a card that is plugged
 * and unplugged, would use up all that this process may have.
 *
 * So of a host's stream the daemon is asked to take the node away; what it had sent until then
 * still finds its stream, and after that nothing more can come. A guest's sink or source, if it has
 * only begun, waits for an answer instead, since WirePlumber 0.4 suspends what has been idle for
 * 5 s, and crashes if the daemon has taken it away by then (suspend-node.lua). An older one is
 * destroyed at once: links come to it now and then, not at each OPEN.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "pipewire/core.h"
#include "pipewire/library.h"

enum { NO_LEAK_SINCE = 3072, AGAIN_NSEC = 100000000 };

/* A daemon that does not do as it was asked. */
static const uint64_t PATIENCE_NSEC = 2000000000;

/* Since it was made: what the daemon sends of its own accord has come by then, once it has said
 * that the node is there. */
static const uint64_t BEGINS_NSEC = 100000000;

struct leaving {
    struct spa_list link;
    struct xpa_pw *pw;
    struct pw_stream *stream;
    struct spa_hook listener;
    uint64_t since_nsec;
    bool taken_away; /* by the daemon */
    bool asked, gone;
    int answer; /* to what it was asked, if nothing is taken away */
};

static bool leaks(void) { return xpa_pw_version() < NO_LEAK_SINCE; }

static void ask(struct leaving *l) {
    if (!l->taken_away)
        l->answer = pw_core_sync(l->pw->locked.core, PW_ID_CORE, 0);
    else if (l->pw->locked.registry)
        pw_registry_destroy(l->pw->locked.registry, pw_stream_get_node_id(l->stream));
    l->asked = true;
}

static void look_again(struct xpa_pw *pw) {
    struct timespec soon = {.tv_nsec = AGAIN_NSEC};
    pw_loop_update_timer(pw_thread_loop_get_loop(pw->thread), pw->locked.leaving_timer, &soon, NULL,
                         false);
}

static void end(struct leaving *l) {
    spa_list_remove(&l->link);
    spa_hook_remove(&l->listener);
    pw_stream_destroy(l->stream);
    free(l);
}

static void sweep(struct xpa_pw *pw) {
    struct leaving *l, *next;
    uint64_t now_nsec = xpa_now_nsec();
    spa_list_for_each_safe(l, next, &pw->locked.leaving, link) {
        if (l->gone || now_nsec - l->since_nsec > PATIENCE_NSEC)
            end(l);
    }
}

static void on_gone(void *data, uint64_t count) {
    (void)count;
    sweep(data);
}

static void on_timer(void *data, uint64_t expirations) {
    struct xpa_pw *pw = data;
    (void)expirations;
    sweep(pw);
    struct leaving *l;
    spa_list_for_each (l, &pw->locked.leaving, link) {
        if (l->asked && l->taken_away)
            ask(l);
    }
    if (!spa_list_is_empty(&pw->locked.leaving))
        look_again(pw);
}

/* Not from within a callback of its own. */
static void is_gone(struct leaving *l) {
    l->gone = true;
    pw_loop_signal_event(pw_thread_loop_get_loop(l->pw->thread), l->pw->locked.leaving_event);
}

void xpa_pw_leaving_answered(struct xpa_pw *pw, int answer) {
    struct leaving *l;
    spa_list_for_each (l, &pw->locked.leaving, link) {
        if (l->asked && !l->taken_away && l->answer == answer)
            is_gone(l);
    }
}

static void go_on(struct leaving *l, enum pw_stream_state state) {
    switch (state) {
    case PW_STREAM_STATE_CONNECTING: /* the node has no number yet */
        break;
    case PW_STREAM_STATE_PAUSED:
    case PW_STREAM_STATE_STREAMING:
        if (!l->asked)
            ask(l);
        break;
    case PW_STREAM_STATE_UNCONNECTED:
    case PW_STREAM_STATE_ERROR:
        is_gone(l);
        break;
    }
}

static void on_state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state,
                             const char *error) {
    (void)old, (void)error;
    go_on(data, state);
}

static const struct pw_stream_events EVENTS = {PW_VERSION_STREAM_EVENTS,
                                               .state_changed = on_state_changed};

static bool has_sources(struct xpa_pw *pw) {
    struct pw_loop *loop = pw_thread_loop_get_loop(pw->thread);
    if (!pw->locked.leaving_event)
        pw->locked.leaving_event = pw_loop_add_event(loop, on_gone, pw);
    if (!pw->locked.leaving_timer)
        pw->locked.leaving_timer = pw_loop_add_timer(loop, on_timer, pw);
    return pw->locked.leaving_event && pw->locked.leaving_timer;
}

/* Before there are streams, so that none costs descriptors that stay. */
void xpa_pw_begin_leaving(struct xpa_pw *pw) {
    if (leaks())
        has_sources(pw);
}

static void leave(struct xpa_pw *pw, struct pw_stream *stream, bool taken_away) {
    enum pw_stream_state state = pw_stream_get_state(stream, NULL);
    bool there = state != PW_STREAM_STATE_UNCONNECTED && state != PW_STREAM_STATE_ERROR;
    bool asks = there && leaks() && has_sources(pw);
    struct leaving *l = asks ? xpa_calloc(1, sizeof *l) : NULL;
    if (!l) {
        pw_stream_destroy(stream);
        return;
    }
    l->pw = pw;
    l->stream = stream;
    l->taken_away = taken_away;
    l->since_nsec = xpa_now_nsec();
    spa_list_append(&pw->locked.leaving, &l->link);
    pw_stream_add_listener(stream, &l->listener, &EVENTS, l);
    xpa_pw_watch_links(pw); /* it has the registry */
    if (taken_away)
        pw_stream_set_active(stream, false);
    go_on(l, pw_stream_get_state(stream, NULL));
    look_again(pw);
}

void xpa_pw_leave(struct xpa_pw *pw, struct pw_stream *stream) { leave(pw, stream, true); }

void xpa_pw_leave_as_a_device(struct xpa_pw *pw, struct pw_stream *stream, uint64_t made_nsec) {
    if (pw_stream_get_state(stream, NULL) == PW_STREAM_STATE_CONNECTING ||
        xpa_now_nsec() - made_nsec < BEGINS_NSEC)
        leave(pw, stream, false);
    else
        pw_stream_destroy(stream);
}

void xpa_pw_end_leaving(struct xpa_pw *pw) {
    struct leaving *l;
    struct pw_loop *loop = pw_thread_loop_get_loop(pw->thread);
    spa_list_consume(l, &pw->locked.leaving, link) end(l);
    if (pw->locked.leaving_event)
        pw_loop_destroy_source(loop, pw->locked.leaving_event);
    if (pw->locked.leaving_timer)
        pw_loop_destroy_source(loop, pw->locked.leaving_timer);
    pw->locked.leaving_event = pw->locked.leaving_timer = NULL;
}

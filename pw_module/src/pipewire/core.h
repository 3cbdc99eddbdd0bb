/* pipewire/core.h - one connection to a PipeWire daemon, shared by the nodes of this process.
 *
 * PipeWire's main loop has a thread in C: what wakes it, a client or the session manager, would
 * cost Python's thread more than the audio. Python's calls take the loop's
 * lock (XPA_PW_LOCKED); callbacks run with it and leave events in a list, an eventfd says so; C
 * never calls Python. The lock also keeps calls into the data loop (pw_loop_invoke) one at a time.
 * The data loop is PipeWire's real-time thread; the plane's epoll set is one source of it.
 */
#ifndef XPA_PIPEWIRE_CORE_H
#define XPA_PIPEWIRE_CORE_H

#include <pipewire/pipewire.h>
#include <spa/param/audio/format-utils.h>
#include <spa/pod/builder.h>

#include "plane/plane.h"

struct xpa_pw {
    /* Set before any other thread knows it, and the same ever after: for any thread. */
    struct xpa_plane *plane;
    struct pw_thread_loop *thread;
    struct xpa_main_loop *main_loop; /* of `thread`, as the context knows it */
    int event_fd;
    struct pw_context *context;
    struct pw_loop *data_loop;

    /* With the lock of `thread`'s loop. */
    struct {
        struct pw_core *core;
        struct spa_hook core_listener;
        bool asked; /* a question that is not answered yet, and its number */
        int asked_seq;
        struct pw_registry *registry;
        struct spa_hook registry_listener;
        struct pw_proxy *manager; /* see pipewire/manager.c */
        struct spa_hook manager_listener;
        bool manager_seen, manager_known;
        struct spa_list leaving; /* see pipewire/leaving.c */
        struct spa_source *leaving_event, *leaving_timer;
        struct xpa_pw_event *events; /* a growing ring */
        uint32_t event_count, event_room;
    } locked;

    /* The data loop's; Python's thread waits while it is made and taken away. */
    struct {
        struct spa_source *plane_source;
        struct spa_list nodes; /* of struct xpa_pw_node */
    } loop;

    /* What PipeWire's main loop and the data loop both touch. */
    struct {
        _Atomic uint64_t links_nsec; /* when links of the graph last came or went */
    } shared;
};

/* Runs the rest of the enclosing block with PipeWire's main loop standing still. */
#define XPA_PW_LOCKED(pw)                                                                          \
    __attribute__((cleanup(xpa_pw_unlock))) struct pw_thread_loop *locked_ = (pw)->thread;         \
    pw_thread_loop_lock(locked_)

static inline void xpa_pw_unlock(struct pw_thread_loop **thread) { pw_thread_loop_unlock(*thread); }

/* pipewire/main_loop.c. NULL: no memory. */
struct xpa_main_loop *xpa_main_loop_new(struct pw_loop *real);
struct pw_loop *xpa_main_loop_face(struct xpa_main_loop *m);
/* From the data loop, before there are streams. */
void xpa_main_loop_spare(struct xpa_main_loop *m);

void xpa_pw_post(struct xpa_pw *pw, uint32_t kind, uint32_t id, int32_t a0, int32_t a1, int32_t a2,
                 const char *text);

/* What waits with that id is told to nobody any more. With the lock. */
void xpa_pw_forget(struct xpa_pw *pw, uint32_t id);

/* From now on `links_nsec` is kept, until the connection ends. With the lock. */
void xpa_pw_watch_links(struct xpa_pw *pw);
void xpa_pw_unwatch_links(struct xpa_pw *pw);

/* An object of the graph: the session manager that made it may be another one. With the lock. */
void xpa_pw_manager_global(struct xpa_pw *pw, const char *type, const struct spa_dict *properties);
void xpa_pw_manager_forget(struct xpa_pw *pw);

/* Ends a stream that has no listener any more, now or a little later. With the lock. The first is
 * for those that come and go, the other for sinks and sources. */
void xpa_pw_leave(struct xpa_pw *pw, struct pw_stream *stream);
void xpa_pw_leave_as_a_device(struct xpa_pw *pw, struct pw_stream *stream, uint64_t made_nsec);
/* The daemon has answered a pw_core_sync(). */
void xpa_pw_leaving_answered(struct xpa_pw *pw, int answer);
/* Once connected. */
void xpa_pw_begin_leaving(struct xpa_pw *pw);
/* All that have not ended yet, before the connection does. */
void xpa_pw_end_leaving(struct xpa_pw *pw);

/* sndif format number <-> SPA_AUDIO_FORMAT_*; 0 (unknown) or -1 where there is none. */
uint32_t xpa_pw_spa_format(uint32_t sndif_format);
int xpa_pw_sndif_format(uint32_t spa_format);
/* 0: unknown. */
uint32_t xpa_pw_sample_bytes(uint32_t spa_format);

/* ALSA's channel order, which kernel guests use: FL FR RL RR FC LFE SL SR. */
void xpa_pw_positions(uint32_t channels, uint32_t *positions);

struct pw_properties *xpa_pw_properties(const char *const *keys, const char *const *values,
                                        uint32_t count);

#endif

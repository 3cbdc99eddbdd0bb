/* pw_core.h - one connection to a PipeWire daemon, shared by the nodes of this process.
 *
 * The main loop has no thread of its own: Python polls its fd and calls xpa_pw_dispatch, so all
 * of PipeWire's callbacks but process() run in Python's thread, inside that call. They leave
 * events in a list; C never calls Python. The data loop is PipeWire's real-time thread; the plane's
 * epoll set is one source of it.
 */
#ifndef XPA_PW_CORE_H
#define XPA_PW_CORE_H

#include <pipewire/pipewire.h>
#include <spa/param/audio/format-utils.h>
#include <spa/pod/builder.h>

#include "plane.h"

#include "pw.cdef.h"

struct xpa_pw {
    struct xpa_plane *plane;
    struct pw_loop *loop;
    struct pw_context *context;
    struct pw_loop *data_loop;
    struct pw_core *core;
    struct spa_hook core_listener;
    struct spa_source *plane_source;
    struct xpa_pw_event *events; /* a growing ring */
    uint32_t event_count, event_room;
};

void xpa_pw_post(struct xpa_pw *pw, uint32_t kind, uint32_t id, int32_t a0, int32_t a1, int32_t a2,
                 const char *text);

/* A version as 1'000'000 * major + 1000 * minor + micro. */
int xpa_pw_version(void);

/* sndif format number <-> SPA_AUDIO_FORMAT_*; 0 (unknown) or -1 where there is none. */
uint32_t xpa_pw_spa_format(uint32_t sndif_format);
int xpa_pw_sndif_format(uint32_t spa_format);

/* ALSA's channel order, which kernel guests use: FL FR RL RR FC LFE SL SR. */
void xpa_pw_positions(uint32_t channels, uint32_t *positions);

struct pw_properties *xpa_pw_properties(const char *const *keys, const char *const *values,
                                        uint32_t count);

#endif

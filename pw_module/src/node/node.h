/* node/node.h - a guest's sink or source in its PipeWire graph.
 *
 * node/node.c    the node: connection, format, latency, properties; Python's thread
 * node/cycle.c   the stream's start and end, the audio callback; all from here on: data loop
 * node/drive.c   this node starts the graph's cycles: when
 * node/follow.c  another node does
 * node/lead.c    the distance that is kept, and what applications are told of it
 * node/graph.c   a cycle's length, the driver's clock, the trigger
 *
 * One invariant replaces a schedule: a playback cycle starts when the backend has played all but
 * `lead` of what we wrote (P = written - lead), a capture cycle when its quantum and `lead` more
 * have been captured (P = read + quantum + lead). Whatever changes (quantum, rate, driver,
 * backend), the next P follows from the counters and the delay stays what was published.
 */
#ifndef XPA_NODE_NODE_H
#define XPA_NODE_NODE_H

#include <stddef.h>

#include <spa/node/io.h>
#include <spa/utils/dll.h>

#include "time/converter.h"
#include "time/overdue.h"
#include "pipewire/core.h"
#include "front/front.h"

/* Since 0.3.68 the padding of spa_io_clock carries these; same size, so decided by the library's
 * version at run time, and one binary serves all. */
struct xpa_clock_tail {
    struct spa_fraction target_rate;
    uint64_t target_duration;
    uint32_t target_seq, cycle;
    uint64_t xrun;
};

_Static_assert(sizeof(struct spa_io_clock) == offsetof(struct spa_io_clock, next_nsec) +
                                                  sizeof(uint64_t) + sizeof(struct xpa_clock_tail),
               "the tail of spa_io_clock lies where it is expected");

/* What the graph's frames are. A stream that is open for another format must not touch them. */
struct xpa_node_format {
    uint32_t format; /* sndif's number */
    uint32_t rate, channels, frame_bytes;
    uint8_t silence[8]; /* one sample */
};

struct xpa_pw_node {
    /* Set before the data loop knows the node, and the same ever after: for any thread. */
    struct xpa_pw *pw;
    struct xpa_plane *plane;
    uint32_t id;
    int direction;
    struct pw_stream *stream;
    char clock_name[64];
    int version;
    uint64_t made_nsec;
    bool pulse_delay; /* tell the delay so that PulseAudio's clients read the true one */
    struct xpa_source timer_source;

    /* With the lock of PipeWire's main loop (pipewire/core.h). */
    struct {
        struct spa_hook listener;
        bool volume_known;                          /* there are controls to set it */
        float volumes[SPA_AUDIO_MAX_CHANNELS];      /* what mixers show */
        float soft_volumes[SPA_AUDIO_MAX_CHANNELS]; /* what is done to the samples here */
        uint32_t volume_count;
        bool mute, soft_mute;
        uint32_t lead_frames, rate; /* rate 0: not open yet */
        int64_t latency_offset_nsec;
    } locked;

    /* The rest is the data loop's. What the node does: */
    struct {
        struct spa_list link; /* in pw->loop.nodes */
        struct xpa_front *front;
        struct xpa_node_format format;
        uint64_t armed_nsec; /* the timer */
        bool timer_added;
        bool wanted;  /* the graph runs this node */
        bool running; /* the stream is started for it */
        bool driving; /* this node starts the graph's cycles */
        bool draining;
        bool in_update;
        uint64_t drain_frames; /* stopping when the position is here */
        uint64_t drain_until_nsec;
        uint64_t idle_nsec; /* since when there is no backend, while driving */
        uint32_t rate;      /* of the stream that was started last */
    } state;

    /* What PipeWire and we tell each other. */
    struct {
        struct spa_io_position *position;
        struct spa_io_clock *clock;
        struct spa_io_rate_match *rate_match;
    } io;

    /* One round of the graph. */
    struct {
        struct xpa_overdue overdue; /* playback: the one that was started */
        uint64_t triggered_nsec;
        struct xpa_converter converter; /* capture */
        bool served;                    /* capture: process() was called for the last cycle */
        uint64_t quantum_frames, processed;
    } cycle;

    /* The lead is so much longer than it need be; and what is due of that, but not yet given back.
     */
    struct {
        uint32_t surplus_frames;
        double shrunk_frames;
    } lead;

    /* Following another driver (node/follow.h). */
    struct {
        struct spa_dll dll;
        uint32_t dll_quantum;
        double sec;
        uint32_t offset_cycles; /* that front->lead.offset_frames is the mean of */
        bool synced;
        uint64_t quantum; /* of the cycle before, and how far off the distance was there */
        double error_frames;
        double held_frames;   /* by the host, as last seen */
        double doubt_sec;     /* when, by `sec`, the distance to our own clock was set anew */
        uint32_t fill_cycles; /* until the resampler, just started, is full */
        bool drifted;         /* from a driver that seemed to have our clock */
    } follow;
};

/* From now on its frames go through `front`, until that is detached. Again: nothing happens. */
void xpa_node_bind(struct xpa_pw_node *n, struct xpa_front *front);
/* The graph's frames are such ones from now on. */
void xpa_node_set_format(struct xpa_pw_node *n, const struct xpa_node_format *format);
void xpa_node_update(struct xpa_pw_node *n, uint64_t now_nsec);
void xpa_node_process(struct xpa_pw_node *n);
void xpa_node_set_io(struct xpa_pw_node *n, uint32_t io, void *area);
void xpa_node_on_change(void *data, enum xpa_front_change change, uint64_t now_nsec);
void xpa_node_on_timer(struct xpa_source *source, uint32_t events);

#endif

/* pulse/pulse.h - one connection to a PulseAudio server, shared by the backend's streams.
 *
 * In order; each uses only those before it:
 * library.c  libpulse, opened when it is needed
 * events.c   what there is to say to Python
 * volume.c   a stream's volumes, both ways
 * server.c   the connection
 * stream.c   a guest's stream: frames through the relay, and when they are heard
 *
 * libpulse has a thread of its own, whose lock Python's calls take (XPA_PULSE_LOCKED); callbacks
 * run with it and leave events in a list, an eventfd says so. Nothing here runs on the data loop.
 */
#ifndef XPA_PULSE_PULSE_H
#define XPA_PULSE_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "pulse/library.h"
#include "relay/relay.h"

enum { XPA_PULSE_EVENTS = 256 };

struct xpa_pulse {
    /* Set before any other thread knows it, and the same ever after: for any thread. */
    const struct xpa_pulse_library *pa;
    pa_threaded_mainloop *thread;
    pa_mainloop_api *api;
    int event_fd;

    /* With the lock of `thread`. */
    struct {
        pa_context *context;
        struct xpa_pulse_stream *streams; /* those that are there, by `next` */
        struct xpa_pulse_event events[XPA_PULSE_EVENTS];
        uint32_t event_count;
    } locked;
};

struct xpa_pulse_stream {
    /* Set before any other thread knows it, and the same ever after: for any thread. */
    struct xpa_pulse *pulse;
    struct xpa_relay *relay;
    uint32_t id, rate, frame_bytes;

    /* With the lock of the server's thread. */
    struct {
        struct xpa_pulse_stream *next;
        pa_stream *stream;
        pa_io_event *given; /* playback: the data loop has given frames */
        bool ready, active;

        pa_operation *asking; /* when what is heard; the last time at */
        uint64_t asked_nsec;
        bool marked; /* capture: when which frame was at the microphone */
        uint64_t marked_nsec, marked_position;

        pa_operation *question; /* about the volume, and whether it is to be asked again */
        bool again;
        pa_cvolume has;
        bool has_mute, known;
        pa_cvolume set; /* no channels: nothing is to be set */
        float set_linear[PA_CHANNELS_MAX];
        bool set_mute;
    } locked;
};

/* Runs the rest of the enclosing block with libpulse's thread standing still. */
#define XPA_PULSE_LOCKED(pulse)                                                                    \
    __attribute__((cleanup(xpa_pulse_unlock))) struct xpa_pulse *locked_ = (pulse);                \
    locked_->pa->threaded_mainloop_lock(locked_->thread)

static inline void xpa_pulse_unlock(struct xpa_pulse **pulse) {
    (*pulse)->pa->threaded_mainloop_unlock((*pulse)->thread);
}

/* Ends a question whose answer nobody waits for, or that is answered. */
static inline void xpa_pulse_no_answer(struct xpa_pulse *pulse, pa_operation *operation) {
    if (operation)
        pulse->pa->operation_unref(operation);
}

/* events.c; with the lock. An event that says no more than one of the same that waits is left out.
 */
void xpa_pulse_post(struct xpa_pulse *pulse, uint32_t kind, uint32_t id, int32_t code,
                    const char *text);
/* What waits with that id is told to nobody any more. */
void xpa_pulse_forget(struct xpa_pulse *pulse, uint32_t id);

/* volume.c; with the lock */
/* The server has said that the stream with that index changed. */
void xpa_pulse_volume_changed(struct xpa_pulse *pulse, bool capture, uint32_t index);
/* It is there from now on: what was set is set there, and what it has is asked. */
void xpa_pulse_volume_begin(struct xpa_pulse_stream *s);
void xpa_pulse_volume_end(struct xpa_pulse_stream *s);

#endif

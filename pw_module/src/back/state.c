/* back/state.c - stopped, running, paused: what the guest's triggers change; data loop.
 *
 * The rules are BACKEND_PCM's in sndif/stream_rules.py, whose test compares the two.
 */
#include "back/back.h"

#include <errno.h>
#include <math.h>

void xpa_back_tell_host(struct xpa_back *b, bool running) {
    b->link.trigger_ticket = xpa_plane_notify(b->plane, XPA_NOTICE_TRIGGER, b->id, running, NULL);
    b->link.trigger_unread = true;
}

static void start(struct xpa_back *b) {
    struct xpa_back_stream *s = &b->stream;
    s->running = true;
    s->paused = false;
    s->ahead_known = false;
    if (b->direction == XPA_CAPTURE) /* what was captured before STOP could be read until now */
        s->written_frames = s->taken_frames = s->reported_frames;
    xpa_back_next_boundary(b);
    xpa_back_schedule(b, xpa_now_nsec());
}

/* STOP drops what was not heard. The position is rounded up to a multiple of the buffer and sent
 * once: the kernel's frontend keeps its pointer over STOP and START while ALSA starts again at
 * offset 0, and loses audio unless the two meet there (packaging/doc/peers.md, Positions). */
int xpa_back_stop(struct xpa_back *b) {
    struct xpa_back_stream *s = &b->stream;
    double position = xpa_back_position(b, xpa_now_nsec());
    uint64_t buffer = s->config.buffer_frames;
    uint64_t base = ((uint64_t)ceil(position) + buffer - 1) / buffer * buffer;
    int result = 0;
    s->running = s->paused = s->fills = false;
    s->timeline.valid = false;
    s->stopped_frames = (uint64_t)position;
    if (b->direction == XPA_PLAYBACK)
        s->written_frames = s->taken_frames = base;
    s->late_frames = 0;
    s->next_offset_frames = 0;
    b->stats.delay_frames = 0;
    if (s->config.period_frames > 0 && base != s->reported_frames)
        result = xpa_back_send_position(b, base, 0, xpa_now_nsec());
    s->reported_frames = base;
    xpa_back_schedule(b, xpa_now_nsec());
    return result;
}

static void set_paused(struct xpa_back *b, bool paused) {
    b->stream.paused = paused;
    xpa_back_schedule(b, xpa_now_nsec());
}

int xpa_back_trigger(struct xpa_back *b, uint8_t type, int *status) {
    int result = 0;
    *status = 0;
    if (type > XENSND_OP_TRIGGER_RESUME) {
        *status = -EINVAL;
    } else if (!b->stream.open) {
        *status = -EIO;
    } else if (type == XENSND_OP_TRIGGER_START) {
        if (b->stream.running && (!b->stream.paused || b->direction == XPA_PLAYBACK)) {
            if (b->stream.paused)
                set_paused(b, false);
            return 0;
        }
        if (b->stream.running) /* after a guest's suspend, see xpa_back_prepared_anew */
            result = xpa_back_stop(b);
        start(b);
        xpa_back_tell_host(b, true);
    } else if (type == XENSND_OP_TRIGGER_STOP) {
        if (!b->stream.running)
            return 0;
        result = xpa_back_stop(b);
        xpa_back_tell_host(b, false);
    } else if (!b->stream.running) {
        *status = -EINVAL;
    } else {
        set_paused(b, type == XENSND_OP_TRIGGER_PAUSE);
    }
    return result;
}

/* front/control.c - volume and mute, through the buffer that holds the samples; data loop.
 *
 * sndif has no field for a volume: SET_VOLUME, MUTE and UNMUTE name a place in the stream's buffer
 * (sndif.h, "Packets, used for input/output operations"), so while samples flow a place is needed
 * in which none are. It is right before what the backend may still look at: before the oldest
 * frame of which it has not said that it has copied it (our backend copies at WRITE), and with a
 * backend without our extension before the newest frame that was heard, should it copy late. What
 * lies there is over, and it is where samples come last. For a capture stream it is right before
 * what the graph has not taken yet. Until the answer is there no sample is put there.
 *
 * A backend may serve its ring in order and a volume by a slower hand than samples (ours does): so
 * it is sent right behind a cycle's frames, when those of the next are farthest.
 */
#include "front/front.h"

#include <errno.h>
#include <string.h>

static const struct xpa_config *config(const struct xpa_front *f) { return &f->stream.config; }

/* Frames before this one are over. The counters are modulo 2^64 and may go back (position.c). */
static uint64_t over_frames(const struct xpa_front *f) {
    const struct xpa_front_stream *s = &f->stream;
    uint64_t answered = s->written_frames - f->link.pending_frames;
    uint64_t other = f->direction == XPA_CAPTURE ? s->read_frames
                     : f->position_ext           ? answered
                                                 : s->position_frames;
    return (int64_t)(answered - other) < 0 ? answered : other;
}

/* The place lies in one piece: that before `over`, or if the buffer begins there, at its end. */
static bool find_place(struct xpa_front *f, uint32_t frames) {
    uint64_t over = over_frames(f), used = f->stream.written_frames - over;
    uint64_t buffer = config(f)->buffer_frames;
    if (used + 2ull * frames > buffer || f->link.pending_frames > buffer)
        return false;
    uint32_t end = (uint32_t)(over % buffer);
    f->control.offset_frames = end >= frames ? end - frames : (uint32_t)buffer - frames;
    return true;
}

/* Python may have the next one. */
static void done_with(struct xpa_front *f) { atomic_store(&f->shared.control_taken, false); }

static void give_up(struct xpa_front *f) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.operation = f->shared.control_operation;
    response.status = -EAGAIN;
    done_with(f);
    xpa_plane_notify(f->plane, XPA_NOTICE_RESPONSE, f->id, -EAGAIN, &response);
}

static void send(struct xpa_front *f, uint32_t frames) {
    struct xensnd_req request;
    uint32_t offset_bytes = f->control.offset_frames * f->stream.frame_bytes;
    memcpy((uint8_t *)config(f)->buffer + offset_bytes, f->shared.control, f->shared.control_bytes);
    memset(&request, 0, sizeof request);
    request.operation = f->shared.control_operation;
    request.op.rw.offset = offset_bytes;
    request.op.rw.length = f->shared.control_bytes;
    done_with(f);
    (void)xpa_front_send_request(f, &request);    /* there is a slot */
    (void)xpa_front_ring_rearm(&f->link.ring, 1); /* its answer wakes us */
    f->control.id = request.id;
    f->control.frames = frames;
}

void xpa_front_send_control(struct xpa_front *f) {
    bool possible = f->stream.open && !f->link.broken && f->link.attached;
    if (!f->control.waiting || (possible && xpa_front_slots(f) == 0))
        return;
    f->control.waiting = false;
    uint32_t frame_bytes = possible ? f->stream.frame_bytes : 1;
    uint32_t frames = (f->shared.control_bytes + frame_bytes - 1) / frame_bytes;
    if (possible && f->control.frames == 0 && find_place(f, frames))
        send(f, frames);
    else
        give_up(f);
}

uint32_t xpa_front_clear_frames(const struct xpa_front *f, uint32_t offset_frames) {
    uint32_t buffer = config(f)->buffer_frames;
    if (f->control.frames == 0)
        return UINT32_MAX;
    uint32_t into = (offset_frames + buffer - f->control.offset_frames) % buffer;
    return into < f->control.frames ? 0 : buffer - into;
}

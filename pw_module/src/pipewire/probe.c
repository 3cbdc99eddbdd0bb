/* pipewire/probe.c - a native real-time client that writes down what it is told about time.
 *
 * It plays given samples once and records what it captures, and for each cycle keeps the time at
 * which PipeWire says that the first of its frames will be heard, or was at the microphone. What
 * is true is found by looking at the samples elsewhere; the difference is the error that any
 * application would make. Both directions run on the data loop of one process.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pipewire/core.h"

struct side {
    /* Set before the data loop knows the stream, and the same ever after. */
    struct xpa_pw_probe *probe;
    struct pw_stream *stream;
    struct spa_hook listener;
    float *samples; /* interleaved; playback: given, capture: filled */
    uint64_t frames;
    struct xpa_probe_mark *marks;
    uint32_t mark_room;

    /* The data loop writes, Python's thread reads: so many samples and marks are whole. */
    struct {
        _Atomic uint64_t done_frames;
        _Atomic uint32_t mark_count;
    } shared;
};

struct xpa_pw_probe {
    struct xpa_pw *pw;
    uint32_t id, rate, channels;
    struct side play, capture;
};

static void mark(struct side *s, int sign) {
    struct pw_time t;
    if (s->shared.mark_count == s->mark_room || pw_stream_get_time_n(s->stream, &t, sizeof t) < 0 ||
        t.rate.denom == 0 || t.now == 0)
        return;
    double away = (double)(t.buffered + t.queued) / s->probe->rate +
                  (double)t.delay * t.rate.num / t.rate.denom;
    s->marks[s->shared.mark_count] = (struct xpa_probe_mark){
        .frame = s->shared.done_frames,
        .cycle_nsec = (uint64_t)t.now,
        .published_nsec = t.now + sign * llround(away * 1e9),
    };
    s->shared.mark_count++;
}

static void on_play(void *data) {
    struct side *s = data;
    struct pw_buffer *buffer = pw_stream_dequeue_buffer(s->stream);
    if (!buffer)
        return;
    struct spa_data *d = &buffer->buffer->datas[0];
    uint32_t frame_bytes = s->probe->channels * (uint32_t)sizeof(float);
    uint64_t room = d->maxsize / frame_bytes;
    uint64_t n = buffer->requested && buffer->requested < room ? buffer->requested : room;
    uint64_t left = s->frames - s->shared.done_frames, m = n < left ? n : left;
    if (m > 0)
        mark(s, 1);
    memcpy(d->data, s->samples + s->shared.done_frames * s->probe->channels, m * frame_bytes);
    memset((uint8_t *)d->data + m * frame_bytes, 0, (n - m) * frame_bytes);
    s->shared.done_frames += m;
    d->chunk->offset = 0;
    d->chunk->stride = (int32_t)frame_bytes;
    d->chunk->size = (uint32_t)n * frame_bytes;
    buffer->size = n;
    pw_stream_queue_buffer(s->stream, buffer);
}

static void on_capture(void *data) {
    struct side *s = data;
    struct pw_buffer *buffer = pw_stream_dequeue_buffer(s->stream);
    if (!buffer)
        return;
    struct spa_data *d = &buffer->buffer->datas[0];
    uint32_t frame_bytes = s->probe->channels * (uint32_t)sizeof(float);
    uint32_t offset = SPA_MIN(d->chunk->offset, d->maxsize);
    uint64_t n = SPA_MIN(d->chunk->size, d->maxsize - offset) / frame_bytes;
    n = SPA_MIN(n, s->frames - s->shared.done_frames);
    if (n > 0)
        mark(s, -1);
    memcpy(s->samples + s->shared.done_frames * s->probe->channels,
           SPA_PTROFF(d->data, offset, void), n * frame_bytes);
    s->shared.done_frames += n;
    pw_stream_queue_buffer(s->stream, buffer);
}

static void on_state(void *data, enum pw_stream_state old, enum pw_stream_state state,
                     const char *error) {
    struct side *s = data;
    (void)old;
    xpa_pw_post(s->probe->pw, XPA_PW_EVENT_STATE, s->probe->id, (int)state, 0, 0, error);
}

static const struct pw_stream_events PLAY_EVENTS = {PW_VERSION_STREAM_EVENTS,
                                                    .state_changed = on_state, .process = on_play};
static const struct pw_stream_events CAPTURE_EVENTS = {
    PW_VERSION_STREAM_EVENTS, .state_changed = on_state, .process = on_capture};

static int open_side(struct side *s, const char *target, uint32_t quantum_frames, bool capture) {
    struct xpa_pw_probe *p = s->probe;
    uint8_t memory[1024];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(memory, sizeof memory);
    struct pw_properties *properties = pw_properties_new(
        PW_KEY_MEDIA_TYPE, "Audio", PW_KEY_MEDIA_CATEGORY, capture ? "Capture" : "Playback",
        PW_KEY_NODE_NAME, capture ? "xen-pv-audio-probe-in" : "xen-pv-audio-probe-out", NULL);
    if (target && *target)
        pw_properties_set(properties, "target.object", target);
    pw_properties_setf(properties, PW_KEY_NODE_LATENCY, "%u/%u", quantum_frames, p->rate);
    s->stream = pw_stream_new(p->pw->locked.core, "Xen PV Audio probe", properties);
    if (!s->stream)
        return -ENOMEM;
    pw_stream_add_listener(s->stream, &s->listener, capture ? &CAPTURE_EVENTS : &PLAY_EVENTS, s);
    struct spa_audio_info_raw info =
        SPA_AUDIO_INFO_RAW_INIT(.format = SPA_AUDIO_FORMAT_F32, .rate = p->rate,
                                .channels = p->channels);
    xpa_pw_positions(p->channels, info.position);
    const struct spa_pod *param = spa_format_audio_raw_build(&b, SPA_PARAM_EnumFormat, &info);
    return pw_stream_connect(
        s->stream, capture ? PW_DIRECTION_INPUT : PW_DIRECTION_OUTPUT, PW_ID_ANY,
        PW_STREAM_FLAG_AUTOCONNECT | PW_STREAM_FLAG_MAP_BUFFERS | PW_STREAM_FLAG_RT_PROCESS, &param,
        1);
}

static int allocate(struct side *s, uint64_t frames) {
    s->frames = frames;
    s->mark_room = (uint32_t)(frames / 16 + 16);
    s->samples = xpa_calloc(frames * s->probe->channels + 1, sizeof *s->samples);
    s->marks = xpa_calloc(s->mark_room, sizeof *s->marks);
    return s->samples && s->marks ? 0 : -ENOMEM;
}

struct xpa_pw_probe *xpa_pw_probe_new(struct xpa_pw *pw, uint32_t id, uint32_t rate,
                                      uint32_t channels, uint32_t quantum_frames,
                                      const char *play_target, const float *samples,
                                      uint64_t play_frames, const char *capture_target,
                                      uint64_t capture_frames) {
    XPA_PW_LOCKED(pw);
    struct xpa_pw_probe *p = xpa_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->pw = pw;
    p->id = id;
    p->rate = rate;
    p->channels = channels;
    p->play.probe = p->capture.probe = p;
    int result = allocate(&p->play, play_frames);
    if (result == 0)
        result = allocate(&p->capture, capture_frames);
    if (result == 0 && play_frames > 0) {
        memcpy(p->play.samples, samples, play_frames * channels * sizeof *samples);
        result = open_side(&p->play, play_target, quantum_frames, false);
    }
    if (result >= 0 && capture_frames > 0)
        result = open_side(&p->capture, capture_target, quantum_frames, true);
    if (result < 0) {
        xpa_pw_probe_free(p);
        errno = -result;
        return NULL;
    }
    return p;
}

static const struct side *side_of(const struct xpa_pw_probe *p, int direction) {
    return direction == XPA_CAPTURE ? &p->capture : &p->play;
}

uint64_t xpa_pw_probe_done_frames(struct xpa_pw_probe *p, int direction) {
    return side_of(p, direction)->shared.done_frames;
}

uint32_t xpa_pw_probe_marks(struct xpa_pw_probe *p, int direction, struct xpa_probe_mark *marks,
                            uint32_t room) {
    const struct side *s = side_of(p, direction);
    uint32_t count = SPA_MIN(s->shared.mark_count, room);
    memcpy(marks, s->marks, count * sizeof *marks);
    return count;
}

const float *xpa_pw_probe_captured(struct xpa_pw_probe *p) { return p->capture.samples; }

static void close_side(struct side *s) {
    if (s->stream) {
        spa_hook_remove(&s->listener);
        pw_stream_destroy(s->stream);
    }
    free(s->samples);
    free(s->marks);
}

void xpa_pw_probe_free(struct xpa_pw_probe *p) {
    if (!p)
        return;
    XPA_PW_LOCKED(p->pw);
    close_side(&p->play);
    close_side(&p->capture);
    free(p);
}

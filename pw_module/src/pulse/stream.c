/* pulse/stream.c - one guest's stream in the server: its frames, and when they are heard; see
 * pulse.h.
 *
 * The server says when it asks for frames, or brings some, and the relay has the data loop give or
 * take them. How far it has come is asked after that, some tens of times a second: its answer tells
 * the moment at which it looked (on one machine both have one clock), how much it had queued then,
 * and how long what it has taken is on its way. libpulse's own interpolation is not asked: the
 * guest's clock is made of the answers themselves.
 */
#include "pulse/pulse.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "xen/sndif.h"

/* Of what is to be played, four quanta wait on the way, a quarter of it where the server keeps what
 * its device takes next. */
enum { QUANTA = 4 };

enum { ASK_NSEC = 20000000, OLDEST_NSEC = 1000000000 };

static const struct {
    uint32_t sndif;
    pa_sample_format_t pulse;
} FORMATS[] = {
    {XENSND_PCM_FORMAT_U8, PA_SAMPLE_U8},
    {XENSND_PCM_FORMAT_S16_LE, PA_SAMPLE_S16LE},
    {XENSND_PCM_FORMAT_S16_BE, PA_SAMPLE_S16BE},
    {XENSND_PCM_FORMAT_S24_LE, PA_SAMPLE_S24_32LE},
    {XENSND_PCM_FORMAT_S24_BE, PA_SAMPLE_S24_32BE},
    {XENSND_PCM_FORMAT_S32_LE, PA_SAMPLE_S32LE},
    {XENSND_PCM_FORMAT_S32_BE, PA_SAMPLE_S32BE},
    {XENSND_PCM_FORMAT_F32_LE, PA_SAMPLE_FLOAT32LE},
    {XENSND_PCM_FORMAT_F32_BE, PA_SAMPLE_FLOAT32BE},
    {XENSND_PCM_FORMAT_MU_LAW, PA_SAMPLE_ULAW},
    {XENSND_PCM_FORMAT_A_LAW, PA_SAMPLE_ALAW},
};

static pa_sample_format_t pulse_format(uint32_t sndif_format) {
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++)
        if (FORMATS[i].sndif == sndif_format)
            return FORMATS[i].pulse;
    return PA_SAMPLE_INVALID;
}

int xpa_pulse_supports_format(uint32_t sndif_format) {
    return pulse_format(sndif_format) != PA_SAMPLE_INVALID;
}

/* --- when what is heard --- */

/* CLOCK_MONOTONIC of a moment of the wall clock; 0: one of them has been set meanwhile. */
static uint64_t monotonic_nsec(const struct timeval *moment) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t age_nsec = ((int64_t)wall.tv_sec - moment->tv_sec) * 1000000000 + wall.tv_nsec -
                       (int64_t)moment->tv_usec * 1000;
    return age_nsec >= 0 && age_nsec < OLDEST_NSEC ? xpa_now_nsec() - (uint64_t)age_nsec : 0;
}

static uint64_t later(uint64_t nsec, pa_usec_t usec) { return nsec + (uint64_t)usec * 1000; }

/* The server had `queued` frames more than it had played. */
static void mark_played(struct xpa_pulse_stream *s, const pa_timing_info *info, uint64_t nsec,
                        uint64_t queued) {
    uint64_t count = xpa_relay_count(s->relay);
    if (info->playing && queued <= count)
        xpa_relay_mark(s->relay, later(nsec, info->sink_usec), count - queued);
}

/* The server had `queued` frames more than we have taken from it. */
static void mark_captured(struct xpa_pulse_stream *s, const pa_timing_info *info, uint64_t nsec,
                          uint64_t queued) {
    s->locked.marked_nsec = nsec - (uint64_t)info->source_usec * 1000;
    s->locked.marked_position = xpa_relay_count(s->relay) + queued;
    s->locked.marked = true;
    xpa_relay_mark(s->relay, s->locked.marked_nsec, s->locked.marked_position);
}

static void end_asking(struct xpa_pulse_stream *s) {
    xpa_pulse_no_answer(s->pulse, s->locked.asking);
    s->locked.asking = NULL;
}

static void on_timing(pa_stream *stream, int success, void *data) {
    struct xpa_pulse_stream *s = data;
    end_asking(s);
    const pa_timing_info *info = s->pulse->pa->stream_get_timing_info(stream);
    if (!success || !info || info->read_index_corrupt || info->write_index_corrupt ||
        !s->locked.active || info->write_index < info->read_index)
        return;
    uint64_t nsec = monotonic_nsec(&info->timestamp);
    uint64_t queued = (uint64_t)(info->write_index - info->read_index) / s->frame_bytes;
    if (nsec == 0)
        return;
    if (s->relay->direction == XPA_PLAYBACK)
        mark_played(s, info, nsec, queued);
    else
        mark_captured(s, info, nsec, queued);
}

static void ask(struct xpa_pulse_stream *s) {
    uint64_t now_nsec = xpa_now_nsec();
    if (s->locked.asking || now_nsec - s->locked.asked_nsec < ASK_NSEC)
        return;
    s->locked.asking = s->pulse->pa->stream_update_timing_info(s->locked.stream, on_timing, s);
    s->locked.asked_nsec = now_nsec;
}

/* It ran dry, was moved to another device, or begins: what is heard when is to be learned anew. */
static void on_shift(pa_stream *stream, void *data) {
    struct xpa_pulse_stream *s = data;
    (void)stream;
    s->locked.marked = false;
    xpa_relay_shift(s->relay);
}

/* --- frames --- */

static void want(struct xpa_pulse_stream *s) {
    size_t room_bytes = s->pulse->pa->stream_writable_size(s->locked.stream);
    if (!s->locked.ready || !s->locked.active || room_bytes == (size_t)-1)
        return;
    uint32_t frames = (uint32_t)(room_bytes / s->frame_bytes);
    uint32_t pending = xpa_relay_pending(s->relay);
    if (frames > pending)
        xpa_relay_ask(s->relay, frames - pending);
}

static void on_writable(pa_stream *stream, size_t bytes, void *data) {
    (void)stream, (void)bytes;
    want(data);
}

static void on_given(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
                     void *data) {
    struct xpa_pulse_stream *s = data;
    const struct xpa_pulse_library *pa = s->pulse->pa;
    (void)api, (void)event, (void)fd, (void)flags;
    xpa_relay_clear_given(s->relay);
    uint32_t frames;
    while (s->locked.ready && (frames = xpa_relay_ready(s->relay)) > 0) {
        void *memory;
        size_t bytes = (size_t)frames * s->frame_bytes;
        if (pa->stream_begin_write(s->locked.stream, &memory, &bytes) < 0 || !memory)
            return;
        uint32_t room = (uint32_t)(bytes / s->frame_bytes);
        if (room < frames)
            frames = room;
        xpa_relay_take(s->relay, memory, frames);
        pa->stream_write(s->locked.stream, memory, (size_t)frames * s->frame_bytes, NULL, 0,
                         PA_SEEK_RELATIVE);
    }
    if (s->locked.ready)
        ask(s);
}

static void bring(struct xpa_pulse_stream *s, const void *samples, uint32_t frames) {
    if (!s->locked.active || !s->locked.marked)
        return;
    int64_t since = (int64_t)(xpa_relay_count(s->relay) + frames - s->locked.marked_position);
    uint64_t newest_nsec = s->locked.marked_nsec + (uint64_t)(since * 1000000000 / s->rate);
    if (!samples || !xpa_relay_put(s->relay, samples, frames, newest_nsec)) {
        s->locked.marked = false;
        xpa_relay_shift(s->relay);
    }
}

static void on_readable(pa_stream *stream, size_t bytes, void *data) {
    struct xpa_pulse_stream *s = data;
    const struct xpa_pulse_library *pa = s->pulse->pa;
    const void *samples; /* NULL: some are missing */
    while (pa->stream_peek(stream, &samples, &bytes) == 0 && bytes > 0) {
        bring(s, samples, (uint32_t)(bytes / s->frame_bytes));
        pa->stream_drop(stream);
    }
    ask(s);
}

/* --- its life --- */

static void cork(struct xpa_pulse_stream *s) {
    int corked = !s->locked.active;
    xpa_pulse_no_answer(s->pulse, s->pulse->pa->stream_cork(s->locked.stream, corked, NULL, NULL));
}

static void on_state(pa_stream *stream, void *data) {
    struct xpa_pulse_stream *s = data;
    struct xpa_pulse *pulse = s->pulse;
    pa_stream_state_t state = pulse->pa->stream_get_state(stream);
    s->locked.ready = state == PA_STREAM_READY;
    if (s->locked.ready) {
        xpa_pulse_volume_begin(s);
        cork(s);
        ask(s);
        want(s);
        xpa_pulse_post(pulse, XPA_PULSE_EVENT_STREAM, s->id, 1, NULL);
    } else if (state == PA_STREAM_FAILED || state == PA_STREAM_TERMINATED) {
        int error = pulse->pa->context_errno(pulse->locked.context);
        const char *why = state == PA_STREAM_TERMINATED ? "the stream was ended in the server"
                                                        : pulse->pa->strerror(error);
        xpa_pulse_post(pulse, XPA_PULSE_EVENT_STREAM, s->id, 0, why);
    }
}

void xpa_pulse_stream_set_active(struct xpa_pulse_stream *s, int active) {
    XPA_PULSE_LOCKED(s->pulse);
    if (s->locked.active == (active != 0))
        return;
    s->locked.active = active != 0;
    on_shift(NULL, s);
    if (s->locked.ready)
        cork(s);
    if (s->relay->direction == XPA_PLAYBACK)
        want(s);
}

static pa_stream *new_stream(struct xpa_pulse *pulse, const pa_sample_spec *spec,
                             const char *const *keys, const char *const *values, uint32_t count) {
    const struct xpa_pulse_library *pa = pulse->pa;
    uint8_t channels = spec->channels;
    bool known = channels == 1 || channels == 2 || channels == 4 || channels == 6 || channels == 8;
    pa_channel_map map; /* ALSA's order, which kernel guests use */
    if (!pa->channel_map_init_auto(&map, channels,
                                   known ? PA_CHANNEL_MAP_ALSA : PA_CHANNEL_MAP_AUX))
        return NULL;
    pa_proplist *properties = pa->proplist_new();
    for (uint32_t i = 0; i < count; i++)
        pa->proplist_sets(properties, keys[i], values[i]);
    /* its name is the property media.name */
    pa_stream *stream =
        pa->stream_new_with_proplist(pulse->locked.context, NULL, spec, &map, properties);
    pa->proplist_free(properties);
    return stream;
}

static int connect_stream(struct xpa_pulse_stream *s, const char *device, uint32_t quantum_frames) {
    const struct xpa_pulse_library *pa = s->pulse->pa;
    uint32_t quantum_bytes = quantum_frames * s->frame_bytes, as_usual = UINT32_MAX;
    pa_buffer_attr wanted = {as_usual, QUANTA * quantum_bytes, as_usual, quantum_bytes,
                             quantum_bytes};
    pa_stream_flags_t flags = PA_STREAM_START_CORKED | PA_STREAM_ADJUST_LATENCY;
    pa_stream *stream = s->locked.stream;
    pa->stream_set_state_callback(stream, on_state, s);
    pa->stream_set_moved_callback(stream, on_shift, s);
    if (s->relay->direction == XPA_CAPTURE) {
        pa->stream_set_read_callback(stream, on_readable, s);
        return pa->stream_connect_record(stream, device, &wanted, flags);
    }
    pa->stream_set_write_callback(stream, on_writable, s);
    pa->stream_set_underflow_callback(stream, on_shift, s);
    pa->stream_set_started_callback(stream, on_shift, s);
    s->locked.given =
        s->pulse->api->io_new(s->pulse->api, s->relay->given_fd, PA_IO_EVENT_INPUT, on_given, s);
    return pa->stream_connect_playback(stream, device, &wanted, flags, NULL, NULL);
}

struct xpa_pulse_stream *xpa_pulse_stream_new(struct xpa_pulse *pulse, struct xpa_relay *relay,
                                              uint32_t id, uint32_t sndif_format, uint32_t rate,
                                              uint32_t channels, uint32_t quantum_frames,
                                              const char *device, const char *const *keys,
                                              const char *const *values, uint32_t count) {
    pa_sample_spec spec = {pulse_format(sndif_format), rate, (uint8_t)channels};
    if (channels > PA_CHANNELS_MAX || !pulse->pa->sample_spec_valid(&spec)) {
        errno = EINVAL;
        return NULL;
    }
    XPA_PULSE_LOCKED(pulse);
    struct xpa_pulse_stream *s = xpa_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->pulse = pulse;
    s->relay = relay;
    s->id = id;
    s->rate = rate;
    s->frame_bytes = relay->frame_bytes;
    s->locked.next = pulse->locked.streams;
    pulse->locked.streams = s;
    s->locked.stream = new_stream(pulse, &spec, keys, values, count);
    if (!s->locked.stream || connect_stream(s, device, quantum_frames) < 0) {
        xpa_pulse_stream_free(s);
        errno = EIO;
        return NULL;
    }
    return s;
}

static void unlist(struct xpa_pulse_stream *s) {
    struct xpa_pulse_stream **at = &s->pulse->locked.streams;
    while (*at != s)
        at = &(*at)->locked.next;
    *at = s->locked.next;
}

void xpa_pulse_stream_free(struct xpa_pulse_stream *s) {
    if (!s)
        return;
    const struct xpa_pulse_library *pa = s->pulse->pa;
    XPA_PULSE_LOCKED(s->pulse);
    unlist(s);
    xpa_pulse_volume_end(s);
    if (s->locked.asking)
        pa->operation_cancel(s->locked.asking);
    end_asking(s);
    xpa_pulse_forget(s->pulse, s->id);
    if (s->locked.given)
        s->pulse->api->io_free(s->locked.given);
    if (s->locked.stream) {
        pa->stream_set_state_callback(s->locked.stream, NULL, NULL);
        pa->stream_set_write_callback(s->locked.stream, NULL, NULL);
        pa->stream_set_read_callback(s->locked.stream, NULL, NULL);
        pa->stream_set_moved_callback(s->locked.stream, NULL, NULL);
        pa->stream_set_underflow_callback(s->locked.stream, NULL, NULL);
        pa->stream_set_started_callback(s->locked.stream, NULL, NULL);
        pa->stream_disconnect(s->locked.stream);
        pa->stream_unref(s->locked.stream);
    }
    free(s);
}

/* pipewire/host.c - one guest stream in the host's graph: a follower there, never a driver.
 *
 * process() runs on the data loop, like the stream's rings, so frames pass without locks. Each
 * cycle says when its first frame will be heard (pw_stream_get_time_n: the cycle's start, what is
 * queued and in the resampler, and the delay behind us, device latency included); those marks are
 * the guest's clock.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <spa/param/props.h>

#include "base/memory.h"
#include "pipewire/core.h"
#include "back/back.h"

struct xpa_pw_host {
    /* Set before any other thread knows the host, and the same ever after: for any thread. */
    struct xpa_pw *pw;
    struct xpa_back *back;
    uint32_t id;
    int direction;
    uint32_t rate, frame_bytes;
    struct pw_stream *stream;

    /* With the lock of PipeWire's main loop. */
    struct {
        struct spa_hook listener;
        float volumes[SPA_AUDIO_MAX_CHANNELS]; /* as PipeWire has them */
        uint32_t volume_count;
        bool mute;
        bool volume_known;                         /* there are controls to set it */
        float set_volumes[SPA_AUDIO_MAX_CHANNELS]; /* as the guest has set them */
        uint32_t set_count;
        bool set_mute;
    } locked;

    /* What the data loop writes, and threads that wait for it read (before_poll). */
    struct {
        _Atomic pthread_t loop_thread; /* the data loop's */
    } shared;

    /* The graph's cycles; data loop. */
    struct {
        struct spa_hook loop_listener;
        struct spa_io_position *position;
        uint64_t expected_position; /* of the graph's clock; 0: none yet */
        uint32_t clock_id;
        uint64_t seen_position; /* of the cycle that process() was called for last */
        uint64_t next_nsec;     /* when its driver meant to begin the next one; 0: it did not say */
        bool processed, overtaken;
    } cycle;
};

static uint64_t nsec_of(double frames, double rate) {
    return (uint64_t)llround(frames * 1e9 / rate);
}

/* Frames (ours) that the graph went through without calling us. */
static uint32_t missed_frames(struct xpa_pw_host *h) {
    const struct spa_io_clock *clock = &h->cycle.position->clock;
    uint64_t expected = h->cycle.expected_position;
    bool known = expected != 0 && clock->id == h->cycle.clock_id && clock->rate.denom != 0;
    h->cycle.expected_position = clock->position + clock->duration;
    h->cycle.clock_id = clock->id;
    if (known && clock->position == expected)
        return 0;
    uint64_t missed = clock->position - expected;
    if (!known || clock->position < expected || missed > clock->rate.denom) {
        xpa_clock_shift(&h->back->stream.clock); /* another clock: its phase is new */
        return 0;
    }
    return (uint32_t)((double)missed * h->rate / clock->rate.denom);
}

static bool too_late(const struct xpa_pw_host *h, uint64_t now_nsec) {
    const struct spa_io_clock *clock = &h->cycle.position->clock;
    if (clock->rate.denom == 0 || now_nsec <= clock->nsec)
        return false;
    return now_nsec - clock->nsec > nsec_of((double)clock->duration, clock->rate.denom);
}

/* After a cycle's work, the node's conversion included. If the driver has begun its next cycle by
 * then, or would have if it had a processor, nobody may have taken what this one gave. It is taken
 * in the next, unless there is something new by then: that replaces it (impl-port.c, tee_process),
 * and nobody hears of it. */
static void before_poll(void *data) {
    struct xpa_pw_host *h = data;
    /* A thread that waits for pw_loop_invoke() runs the loop's hooks, too (spa/support/loop.c). It
     * says nothing of the cycle, and would race with process(). */
    if (!pthread_equal(pthread_self(), h->shared.loop_thread))
        return;
    if (h->cycle.processed && h->cycle.position) {
        bool begun = h->cycle.position->clock.position != h->cycle.seen_position;
        h->cycle.overtaken = begun || (h->cycle.next_nsec && xpa_now_nsec() > h->cycle.next_nsec);
    }
    h->cycle.processed = false;
}

static void after_poll(void *data) { (void)data; }

/* Both: a loop of PipeWire 1.0 and later refuses hooks of which one is missing. */
static const struct spa_loop_control_hooks LOOP_HOOKS = {
    SPA_VERSION_LOOP_CONTROL_HOOKS,
    .before = before_poll,
    .after = after_poll,
};

static void mark(struct xpa_pw_host *h, const struct pw_time *time, uint64_t host_frames) {
    if (!time || !time->rate.denom)
        return;
    double ahead = (double)(time->buffered + time->queued) / h->rate +
                   (double)time->delay * time->rate.num / time->rate.denom;
    xpa_back_mark(h->back, (uint64_t)time->now + nsec_of(fmax(ahead, 0), 1.0), host_frames);
}

/* Frames that the cycle before gave would be replaced, or this one comes to too late. */
static bool unheard(struct xpa_pw_host *h, uint64_t now_nsec) {
    bool overtaken = h->cycle.overtaken;
    h->cycle.overtaken = false;
    return overtaken || (h->cycle.position && too_late(h, now_nsec));
}

/* Gives nothing, not even silence. */
static void hold(struct xpa_pw_host *h, const struct pw_time *time) {
    const struct spa_io_clock *clock = &h->cycle.position->clock;
    uint64_t before = h->back->stream.host_frames;
    if (clock->rate.denom)
        xpa_back_hold(h->back, (uint32_t)(clock->duration * h->rate / clock->rate.denom));
    mark(h, time, before);
}

static void play(struct xpa_pw_host *h, struct pw_buffer *buffer, const struct pw_time *time) {
    struct xpa_back *b = h->back;
    struct spa_data *data = &buffer->buffer->datas[0];
    uint32_t frames = data->maxsize / h->frame_bytes;
    if (buffer->requested && buffer->requested < frames)
        frames = (uint32_t)buffer->requested;
    uint64_t before = b->stream.host_frames;
    xpa_back_pull(b, data->data, frames);
    mark(h, time, before);
    data->chunk->offset = 0;
    data->chunk->stride = (int32_t)h->frame_bytes;
    data->chunk->size = frames * h->frame_bytes;
    buffer->size = frames;
}

static void record(struct xpa_pw_host *h, struct pw_buffer *buffer, const struct pw_time *time,
                   uint64_t now_nsec) {
    struct xpa_back *b = h->back;
    struct spa_data *data = &buffer->buffer->datas[0];
    uint32_t offset = SPA_MIN(data->chunk->offset, data->maxsize);
    uint32_t frames = SPA_MIN(data->chunk->size, data->maxsize - offset) / h->frame_bytes;
    if (!time || !time->rate.denom)
        return;
    double behind = (double)(time->buffered + time->queued) / h->rate +
                    (double)time->delay * time->rate.num / time->rate.denom;
    /* the delay is that of the cycle's first frame, as on the way out; the newest is so much
     * younger, and was there when the cycle began at the latest */
    uint64_t age = nsec_of(fmax(behind - (double)frames / h->rate, 0), 1.0);
    uint64_t since = now_nsec > (uint64_t)time->now ? now_nsec - (uint64_t)time->now : 0;
    xpa_back_push(b, SPA_PTROFF(data->data, offset, void), frames, age + since);
    xpa_back_mark(b, (uint64_t)time->now - age, b->stream.host_frames);
}

/* What the guest has asked for until now, and the cycles that passed us by. */
static void catch_up(struct xpa_pw_host *h, uint64_t now_nsec) {
    xpa_back_collect(h->back, now_nsec);
    uint32_t missed = h->cycle.position ? missed_frames(h) : 0;
    if (missed > 0)
        xpa_back_missed(h->back, missed);
}

static void note_cycle(struct xpa_pw_host *h) {
    if (!h->cycle.position)
        return;
    const struct spa_io_clock *clock = &h->cycle.position->clock;
    h->cycle.seen_position = clock->position;
    h->cycle.next_nsec = clock->next_nsec > clock->nsec ? clock->next_nsec : 0;
    h->cycle.processed = h->direction == XPA_PLAYBACK;
}

static void on_process(void *data) {
    struct xpa_pw_host *h = data;
    struct pw_time time;
    uint64_t now_nsec = xpa_now_nsec();
    const struct pw_time *timed =
        pw_stream_get_time_n(h->stream, &time, sizeof time) == 0 ? &time : NULL;
    if (h->direction == XPA_PLAYBACK && h->back->stream.open && unheard(h, now_nsec)) {
        catch_up(h, now_nsec);
        hold(h, timed);
        return;
    }
    struct pw_buffer *buffer = pw_stream_dequeue_buffer(h->stream);
    if (!buffer)
        return;
    note_cycle(h);
    if (h->back->stream.open && buffer->buffer->datas[0].data) {
        catch_up(h, now_nsec);
        if (h->direction == XPA_PLAYBACK)
            play(h, buffer, timed);
        else
            record(h, buffer, timed, now_nsec);
    }
    pw_stream_queue_buffer(h->stream, buffer);
}

static int do_set_position(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                           size_t size, void *user_data) {
    struct xpa_pw_host *h = user_data;
    (void)loop, (void)async, (void)seq, (void)size;
    h->cycle.position = *(struct spa_io_position *const *)data;
    h->cycle.expected_position = 0;
    return 0;
}

static int do_watch_loop(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                         size_t size, void *user_data) {
    struct xpa_pw_host *h = user_data;
    (void)loop, (void)async, (void)seq, (void)data, (void)size;
    h->shared.loop_thread = pthread_self();
    pw_loop_add_hook(h->pw->data_loop, &h->cycle.loop_listener, &LOOP_HOOKS, h);
    return 0;
}

static int do_leave_loop(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                         size_t size, void *user_data) {
    struct xpa_pw_host *h = user_data;
    (void)loop, (void)async, (void)seq, (void)data, (void)size;
    spa_hook_remove(&h->locked.listener); /* here, where process() cannot be on its way to it */
    spa_hook_remove(&h->cycle.loop_listener);
    return 0;
}

static void on_io_changed(void *data, uint32_t io, void *area, uint32_t size) {
    struct xpa_pw_host *h = data;
    (void)size;
    if (io == SPA_IO_Position)
        pw_loop_invoke(h->pw->data_loop, do_set_position, 0, &area, sizeof area, true, h);
}

static void on_state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state,
                             const char *error) {
    struct xpa_pw_host *h = data;
    (void)old;
    xpa_pw_post(h->pw, XPA_PW_EVENT_STATE, h->id, (int)state, 0, 0, error);
}

static int set_volumes(struct xpa_pw_host *h) {
    float mute = h->locked.set_mute ? 1.0f : 0.0f;
    return pw_stream_set_control(h->stream, SPA_PROP_channelVolumes, h->locked.set_count,
                                 h->locked.set_volumes, SPA_PROP_mute, 1, &mute, 0);
}

/* A stream is at 100 % before anybody has set it: what the guest set until there are controls, the
 * first of them takes, and that nobody hears of. */
static void on_control_info(void *data, uint32_t id, const struct pw_stream_control *control) {
    struct xpa_pw_host *h = data;
    if (id == SPA_PROP_channelVolumes && !h->locked.volume_known) {
        h->locked.volume_known = true;
        if (h->locked.set_count > 0) {
            set_volumes(h);
            return;
        }
    }
    if (id == SPA_PROP_channelVolumes) {
        h->locked.volume_count = SPA_MIN(control->n_values, (uint32_t)SPA_AUDIO_MAX_CHANNELS);
        memcpy(h->locked.volumes, control->values, h->locked.volume_count * sizeof(float));
    } else if (id == SPA_PROP_mute && control->n_values > 0) {
        h->locked.mute = control->values[0] > 0.5f;
    } else {
        return;
    }
    xpa_pw_post(h->pw, XPA_PW_EVENT_VOLUME, h->id, 0, 0, 0, NULL);
}

static const struct pw_stream_events STREAM_EVENTS = {
    PW_VERSION_STREAM_EVENTS,        .state_changed = on_state_changed,
    .control_info = on_control_info, .io_changed = on_io_changed,
    .process = on_process,
};

/* audioconvert makes buffers for two of the longest quanta, and memory for 64 of them behind that,
 * which it counts in 32 bits (audioconvert.c: impl_node_port_use_buffers() in 0.3.65, ensure_tmp()
 * in 1.4.2). With the rate and the channels that a guest may choose, 64 buffers are 4 GiB and more,
 * the count wraps, and it writes past the little that it gets. As much as one buffer it clears, so
 * that is resident (`empty`); a cycle that needs more than a buffer calls process() again for the
 * rest (audioadapter.c, impl_node_process()). */
enum { LONGEST_QUANTA_FRAMES = 16384, USUAL_RATE = 48000, MOST_BUFFER_BYTES = 1 << 23 };

/* NULL: what audioconvert makes by itself is small enough, for a graph of 8 kHz too. */
static const struct spa_pod *smaller_buffers(struct spa_pod_builder *b, uint32_t frame_bytes,
                                             uint32_t rate) {
    uint64_t usual = (uint64_t)frame_bytes * rate * LONGEST_QUANTA_FRAMES / USUAL_RATE;
    if (usual <= MOST_BUFFER_BYTES / 8)
        return NULL;
    int bytes = (int)SPA_MIN(usual, (uint64_t)MOST_BUFFER_BYTES);
    return spa_pod_builder_add_object(
        b, SPA_TYPE_OBJECT_ParamBuffers, SPA_PARAM_Buffers, SPA_PARAM_BUFFERS_size,
        SPA_POD_CHOICE_RANGE_Int(bytes, (int)frame_bytes, MOST_BUFFER_BYTES));
}

struct xpa_pw_host *xpa_pw_host_new(struct xpa_pw *pw, struct xpa_back *back, uint32_t id,
                                    int direction, uint32_t sndif_format, uint32_t rate,
                                    uint32_t channels, uint32_t sample_bytes,
                                    const char *const *keys, const char *const *values,
                                    uint32_t count) {
    uint8_t memory[1024];
    struct spa_pod_builder b = SPA_POD_BUILDER_INIT(memory, sizeof memory);
    if (channels == 0 || channels > XPA_MAX_CHANNELS) { /* as many as info.position has room for */
        errno = EINVAL;
        return NULL;
    }
    XPA_PW_LOCKED(pw);
    struct xpa_pw_host *h = xpa_calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->pw = pw;
    h->back = back;
    h->id = id;
    h->direction = direction;
    h->rate = rate;
    h->frame_bytes = channels * sample_bytes;
    h->stream =
        pw_stream_new(pw->locked.core, "Xen PV Audio", xpa_pw_properties(keys, values, count));
    if (!h->stream) {
        free(h);
        return NULL;
    }
    pw_loop_invoke(pw->data_loop, do_watch_loop, 0, NULL, 0, true, h);
    pw_stream_add_listener(h->stream, &h->locked.listener, &STREAM_EVENTS, h);
    struct spa_audio_info_raw info =
        SPA_AUDIO_INFO_RAW_INIT(.format = xpa_pw_spa_format(sndif_format), .rate = rate,
                                .channels = channels);
    xpa_pw_positions(channels, info.position);
    const struct spa_pod *params[] = {
        spa_format_audio_raw_build(&b, SPA_PARAM_EnumFormat, &info),
        smaller_buffers(&b, h->frame_bytes, rate),
    };
    int result = pw_stream_connect(
        h->stream, direction == XPA_CAPTURE ? PW_DIRECTION_INPUT : PW_DIRECTION_OUTPUT, PW_ID_ANY,
        PW_STREAM_FLAG_AUTOCONNECT | PW_STREAM_FLAG_MAP_BUFFERS | PW_STREAM_FLAG_RT_PROCESS |
            PW_STREAM_FLAG_INACTIVE,
        params, params[1] ? 2 : 1);
    if (result < 0) {
        xpa_pw_host_free(h);
        errno = -result;
        return NULL;
    }
    atomic_store(&back->shared.host_wakes, true);
    return h;
}

void xpa_pw_host_set_active(struct xpa_pw_host *h, int active) {
    XPA_PW_LOCKED(h->pw);
    pw_stream_set_active(h->stream, active);
}

int xpa_pw_host_set_volumes(struct xpa_pw_host *h, const float *volumes, uint32_t count, int mute) {
    if (count == 0 || count > SPA_AUDIO_MAX_CHANNELS)
        return -EINVAL;
    XPA_PW_LOCKED(h->pw);
    memcpy(h->locked.set_volumes, volumes, count * sizeof *volumes);
    h->locked.set_count = count;
    h->locked.set_mute = mute;
    return h->locked.volume_known ? set_volumes(h) : 0;
}

uint32_t xpa_pw_host_volumes(struct xpa_pw_host *h, float *volumes, uint32_t room, int *mute) {
    XPA_PW_LOCKED(h->pw);
    uint32_t count = SPA_MIN(h->locked.volume_count, room);
    memcpy(volumes, h->locked.volumes, count * sizeof *volumes);
    *mute = h->locked.mute;
    return count;
}

void xpa_pw_host_free(struct xpa_pw_host *h) {
    if (!h)
        return;
    atomic_store(&h->back->shared.host_wakes, false);
    XPA_PW_LOCKED(h->pw);
    pw_loop_invoke(h->pw->data_loop, do_leave_loop, 0, NULL, 0, true, h);
    xpa_pw_leave(h->pw, h->stream);
    free(h);
}

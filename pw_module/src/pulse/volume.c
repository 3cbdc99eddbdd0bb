/* pulse/volume.c - a stream's volumes in the server's mixer, both ways; with the lock, see pulse.h.
 *
 * PulseAudio's volumes are whole numbers, so what was set comes back a little off. Where the server
 * has what we set, the caller is told its own figures.
 */
#include "pulse/pulse.h"

#include <errno.h>
#include <string.h>

static bool captures(const struct xpa_pulse_stream *s) {
    return s->relay->direction == XPA_CAPTURE;
}

static uint32_t index_of(const struct xpa_pulse_stream *s) {
    return s->pulse->pa->stream_get_index(s->locked.stream);
}

static void ask(struct xpa_pulse_stream *s);

static void heard(struct xpa_pulse_stream *s, const pa_cvolume *volume, int mute) {
    s->locked.has = *volume;
    s->locked.has_mute = mute != 0;
    s->locked.known = true;
    xpa_pulse_post(s->pulse, XPA_PULSE_EVENT_VOLUME, s->id, 0, NULL);
}

static void end_question(struct xpa_pulse_stream *s) {
    if (s->locked.question)
        s->pulse->pa->operation_unref(s->locked.question);
    s->locked.question = NULL;
    if (s->locked.again)
        ask(s);
}

static void on_played(pa_context *context, const pa_sink_input_info *info, int end, void *data) {
    (void)context;
    if (end)
        end_question(data);
    else
        heard(data, &info->volume, info->mute);
}

static void on_captured(pa_context *context, const pa_source_output_info *info, int end,
                        void *data) {
    (void)context;
    if (end)
        end_question(data);
    else
        heard(data, &info->volume, info->mute);
}

static void ask(struct xpa_pulse_stream *s) {
    const struct xpa_pulse_library *pa = s->pulse->pa;
    pa_context *context = s->pulse->locked.context;
    s->locked.again = s->locked.question != NULL;
    if (s->locked.again)
        return;
    s->locked.question =
        captures(s) ? pa->context_get_source_output_info(context, index_of(s), on_captured, s)
                    : pa->context_get_sink_input_info(context, index_of(s), on_played, s);
}

void xpa_pulse_volume_changed(struct xpa_pulse *pulse, bool capture, uint32_t index) {
    for (struct xpa_pulse_stream *s = pulse->locked.streams; s; s = s->locked.next)
        if (s->locked.ready && captures(s) == capture && index_of(s) == index)
            ask(s);
}

static void set(struct xpa_pulse_stream *s) {
    const struct xpa_pulse_library *pa = s->pulse->pa;
    pa_context *context = s->pulse->locked.context;
    const pa_cvolume *volume = &s->locked.set;
    int mute = s->locked.set_mute;
    pa_operation *done[2];
    if (captures(s)) {
        done[0] = pa->context_set_source_output_volume(context, index_of(s), volume, NULL, NULL);
        done[1] = pa->context_set_source_output_mute(context, index_of(s), mute, NULL, NULL);
    } else {
        done[0] = pa->context_set_sink_input_volume(context, index_of(s), volume, NULL, NULL);
        done[1] = pa->context_set_sink_input_mute(context, index_of(s), mute, NULL, NULL);
    }
    xpa_pulse_no_answer(s->pulse, done[0]);
    xpa_pulse_no_answer(s->pulse, done[1]);
}

void xpa_pulse_volume_begin(struct xpa_pulse_stream *s) {
    if (s->locked.set.channels > 0)
        set(s);
    ask(s);
}

void xpa_pulse_volume_end(struct xpa_pulse_stream *s) {
    s->locked.again = false;
    if (s->locked.question) {
        s->pulse->pa->operation_cancel(s->locked.question);
        s->pulse->pa->operation_unref(s->locked.question);
        s->locked.question = NULL;
    }
}

int xpa_pulse_stream_set_volumes(struct xpa_pulse_stream *s, const float *volumes, uint32_t count,
                                 int mute) {
    if (count == 0 || count > PA_CHANNELS_MAX)
        return -EINVAL;
    XPA_PULSE_LOCKED(s->pulse);
    memcpy(s->locked.set_linear, volumes, count * sizeof *volumes);
    s->locked.set.channels = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++)
        s->locked.set.values[i] = s->pulse->pa->sw_volume_from_linear((double)volumes[i]);
    s->locked.set_mute = mute != 0;
    if (s->locked.ready)
        set(s);
    return 0;
}

uint32_t xpa_pulse_stream_volumes(struct xpa_pulse_stream *s, float *volumes, uint32_t room,
                                  int *mute) {
    const struct xpa_pulse_library *pa = s->pulse->pa;
    XPA_PULSE_LOCKED(s->pulse);
    if (!s->locked.known)
        return 0;
    uint32_t count = s->locked.has.channels < room ? s->locked.has.channels : room;
    bool ours = s->locked.set.channels > 0 && pa->cvolume_equal(&s->locked.has, &s->locked.set);
    for (uint32_t i = 0; i < count; i++)
        volumes[i] = ours ? s->locked.set_linear[i]
                          : (float)pa->sw_volume_to_linear(s->locked.has.values[i]);
    *mute = s->locked.has_mute;
    return count;
}

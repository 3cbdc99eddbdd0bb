/* ioplug/pcm_xenpv.c - libasound_module_pcm_xenpv.so: a stream of the frontend as an ALSA PCM.
 *
 *     pcm.xenpv { type xenpv }          # card 0, device 0, the first stream of the direction
 *     pcm.car { type xenpv card 0 device 1 stream 2 }
 */
#include "ioplug/plug.h"

#include <errno.h>

#include <xen/io/sndif.h>

/* sndif numbers formats as ALSA does. */
_Static_assert(XENSND_PCM_FORMAT_U8 == SND_PCM_FORMAT_U8, "sndif's formats are ALSA's");
_Static_assert(XENSND_PCM_FORMAT_S24_LE == SND_PCM_FORMAT_S24_LE, "sndif's formats are ALSA's");
_Static_assert(XENSND_PCM_FORMAT_F64_BE == SND_PCM_FORMAT_FLOAT64_BE, "sndif's formats are ALSA's");
_Static_assert(XENSND_PCM_FORMAT_A_LAW == SND_PCM_FORMAT_A_LAW, "sndif's formats are ALSA's");

enum { MOST_PERIODS = 1024 };

static int set_formats(snd_pcm_ioplug_t *io, uint32_t mask, size_t *least_bytes) {
    unsigned int formats[32], count = 0;
    *least_bytes = 8;
    for (unsigned int format = 0; format <= SND_PCM_FORMAT_A_LAW; format++) {
        int bits = snd_pcm_format_physical_width((snd_pcm_format_t)format);
        if (!(mask & 1u << format) || bits <= 0)
            continue;
        formats[count++] = format;
        *least_bytes = (size_t)bits / 8 < *least_bytes ? (size_t)bits / 8 : *least_bytes;
    }
    return snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, count, formats);
}

static int set_space(struct xpa_plug *p, const struct xpa_pcm_answer *space) {
    static const unsigned int access[] = {SND_PCM_ACCESS_RW_INTERLEAVED,
                                          SND_PCM_ACCESS_MMAP_INTERLEAVED};
    snd_pcm_ioplug_t *io = &p->io;
    size_t sample_bytes = 1;
    uint32_t rates = space->rate_count < XPA_PCM_RATES ? space->rate_count : XPA_PCM_RATES;
    int result = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 2, access);
    if (result == 0)
        result = set_formats(io, space->formats, &sample_bytes);
    if (result == 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS,
                                                 space->channels_min, space->channels_max);
    if (result == 0 && rates > 0)
        result = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE, rates, space->rates);
    else if (result == 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, space->rate_min,
                                                 space->rate_max);
    if (result < 0)
        return result;
    unsigned int period_bytes =
        space->period_frames_min * space->channels_min * (unsigned int)sample_bytes;
    result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, period_bytes,
                                             space->buffer_bytes_max / 2);
    if (result == 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES,
                                                 2 * period_bytes, space->buffer_bytes_max);
    if (result == 0)
        result = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, MOST_PERIODS);
    return result;
}

static int read_definition(struct xpa_plug *p, snd_config_t *definition, const char **path) {
    snd_config_iterator_t i, next;
    snd_config_for_each(i, next, definition) {
        snd_config_t *entry = snd_config_iterator_entry(i);
        const char *key;
        char *text = NULL;
        long number = -1;
        if (snd_config_get_id(entry, &key) < 0 || strcmp(key, "comment") == 0 ||
            strcmp(key, "type") == 0 || strcmp(key, "hint") == 0)
            continue;
        if (strcmp(key, "socket") == 0 && snd_config_get_string(entry, path) == 0)
            continue;
        if (snd_config_get_ascii(entry, &text) == 0)
            number = strtol(text, NULL, 10);
        free(text);
        if (strcmp(key, "card") == 0 && number >= 0)
            p->question.card = (uint32_t)number;
        else if (strcmp(key, "device") == 0 && number >= 0)
            p->question.device = (uint32_t)number;
        else if (strcmp(key, "stream") == 0 && number >= -1)
            p->question.stream = (int32_t)number;
        else {
            SNDERR("xenpv: %s is wrong here: card, device, stream take a number, socket a path",
                   key);
            return -EINVAL;
        }
    }
    return 0;
}

static int open_pcm(struct xpa_plug *p, const char *name, snd_pcm_stream_t stream, int mode) {
    struct xpa_pcm_answer space;
    int result = xpa_link_connect(&p->link);
    if (result < 0) {
        SNDERR("xenpv: nobody listens at %s: is `xen-pv-audio frontend --serve alsa` running?",
               p->link.path);
        return -ENODEV;
    }
    result = xpa_plug_ask(p, XPA_PCM_SPACE, &space);
    if (result < 0)
        return result;
    p->io.version = SND_PCM_IOPLUG_VERSION;
    p->io.name = "Xen PV Audio";
    p->io.callback = &xpa_plug_calls;
    p->io.private_data = p;
    p->io.flags = SND_PCM_IOPLUG_FLAG_MONOTONIC | SND_PCM_IOPLUG_FLAG_BOUNDARY_WA;
    p->io.poll_fd = p->link.socket;
    p->io.poll_events = POLLIN;
    result = snd_pcm_ioplug_create(&p->io, name, stream, mode);
    if (result < 0)
        return result;
    result = set_space(p, &space);
    if (result < 0)
        snd_pcm_ioplug_delete(&p->io); /* which calls on_close */
    return result < 0 ? 1 : 0;
}

#pragma GCC visibility push(default)
SND_PCM_PLUGIN_DEFINE_FUNC(xenpv) {
    const char *path = NULL;
    (void)root;
    struct xpa_plug *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->capture = stream == SND_PCM_STREAM_CAPTURE;
    p->question.direction = p->capture ? XPA_CAPTURE : XPA_PLAYBACK;
    p->question.stream = -1;
    int result = read_definition(p, conf, &path);
    xpa_link_init(&p->link, path);
    if (result == 0)
        result = open_pcm(p, name, stream, mode);
    if (result == 0) {
        *pcmp = p->io.pcm;
        return 0;
    }
    if (result > 0)
        return -EINVAL; /* it is freed already */
    xpa_link_close(&p->link);
    free(p);
    return result;
}
SND_PCM_PLUGIN_SYMBOL(xenpv);
#pragma GCC visibility pop

/* alsa/device.c - a device that is open and set up, and when what is heard; see alsa.h. */
#include "alsa/alsa.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "xen/sndif.h"

enum { QUANTA = 4, RESUMES = 50, RESUME_MSEC = 20 };

static const uint64_t OLDEST_NSEC = 1000000000;

static const struct {
    uint32_t sndif;
    snd_pcm_format_t alsa;
} FORMATS[] = {
    {XENSND_PCM_FORMAT_S8, SND_PCM_FORMAT_S8},
    {XENSND_PCM_FORMAT_U8, SND_PCM_FORMAT_U8},
    {XENSND_PCM_FORMAT_S16_LE, SND_PCM_FORMAT_S16_LE},
    {XENSND_PCM_FORMAT_S16_BE, SND_PCM_FORMAT_S16_BE},
    {XENSND_PCM_FORMAT_U16_LE, SND_PCM_FORMAT_U16_LE},
    {XENSND_PCM_FORMAT_U16_BE, SND_PCM_FORMAT_U16_BE},
    {XENSND_PCM_FORMAT_S24_LE, SND_PCM_FORMAT_S24_LE},
    {XENSND_PCM_FORMAT_S24_BE, SND_PCM_FORMAT_S24_BE},
    {XENSND_PCM_FORMAT_U24_LE, SND_PCM_FORMAT_U24_LE},
    {XENSND_PCM_FORMAT_U24_BE, SND_PCM_FORMAT_U24_BE},
    {XENSND_PCM_FORMAT_S32_LE, SND_PCM_FORMAT_S32_LE},
    {XENSND_PCM_FORMAT_S32_BE, SND_PCM_FORMAT_S32_BE},
    {XENSND_PCM_FORMAT_U32_LE, SND_PCM_FORMAT_U32_LE},
    {XENSND_PCM_FORMAT_U32_BE, SND_PCM_FORMAT_U32_BE},
    {XENSND_PCM_FORMAT_F32_LE, SND_PCM_FORMAT_FLOAT_LE},
    {XENSND_PCM_FORMAT_F32_BE, SND_PCM_FORMAT_FLOAT_BE},
    {XENSND_PCM_FORMAT_F64_LE, SND_PCM_FORMAT_FLOAT64_LE},
    {XENSND_PCM_FORMAT_F64_BE, SND_PCM_FORMAT_FLOAT64_BE},
    {XENSND_PCM_FORMAT_MU_LAW, SND_PCM_FORMAT_MU_LAW},
    {XENSND_PCM_FORMAT_A_LAW, SND_PCM_FORMAT_A_LAW},
};

static snd_pcm_format_t alsa_format(uint32_t sndif_format) {
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++)
        if (FORMATS[i].sndif == sndif_format)
            return FORMATS[i].alsa;
    return SND_PCM_FORMAT_UNKNOWN;
}

int xpa_alsa_supports_format(uint32_t sndif_format) {
    return alsa_format(sndif_format) != SND_PCM_FORMAT_UNKNOWN;
}

static int fail(char why[XPA_ALSA_WHY], const struct xpa_alsa_wish *wish, const char *what,
                int error, const char *cure) {
    snprintf(why, XPA_ALSA_WHY, "%.60s %s%s", wish->name, what, cure);
    return error;
}

static int set_hardware(struct xpa_alsa_device *d, const struct xpa_alsa_wish *wish,
                        snd_pcm_hw_params_t *hw, char why[XPA_ALSA_WHY]) {
    static const char CONVERT[] = " (a plughw: device converts)";
    const struct xpa_alsa_library *snd = d->snd;
    snd_pcm_uframes_t period = wish->quantum_frames, buffer = QUANTA * period;
    char what[48];
    int result = snd->pcm_hw_params_any(d->pcm, hw);
    if (result >= 0)
        result = snd->pcm_hw_params_set_access(d->pcm, hw, SND_PCM_ACCESS_RW_INTERLEAVED);
    if (result < 0)
        return fail(why, wish, "cannot be written to by frames", result, CONVERT);
    result = snd->pcm_hw_params_set_format(d->pcm, hw, alsa_format(wish->sndif_format));
    if (result < 0)
        return fail(why, wish, "does not take the card's sample format", result, CONVERT);
    result = snd->pcm_hw_params_set_channels(d->pcm, hw, wish->channels);
    if (result < 0) {
        snprintf(what, sizeof what, "does not take %u channels", wish->channels);
        return fail(why, wish, what, result, CONVERT);
    }
    result = snd->pcm_hw_params_set_rate(d->pcm, hw, wish->rate, 0);
    if (result < 0) {
        snprintf(what, sizeof what, "does not take %u Hz", wish->rate);
        return fail(why, wish, what, result, CONVERT);
    }
    (void)snd->pcm_hw_params_set_period_size_near(d->pcm, hw, &period, NULL);
    (void)snd->pcm_hw_params_set_buffer_size_near(d->pcm, hw, &buffer);
    result = snd->pcm_hw_params(d->pcm, hw);
    if (result >= 0)
        result = snd->pcm_hw_params_get_period_size(hw, &d->period_frames, NULL);
    if (result >= 0)
        result = snd->pcm_hw_params_get_buffer_size(hw, &d->buffer_frames);
    return result < 0 ? fail(why, wish, "cannot be set up", result, "") : 0;
}

static int set_software(struct xpa_alsa_device *d, const struct xpa_alsa_wish *wish,
                        snd_pcm_sw_params_t *sw, char why[XPA_ALSA_WHY]) {
    const struct xpa_alsa_library *snd = d->snd;
    int result = snd->pcm_sw_params_current(d->pcm, sw);
    /* it is started by hand */
    if (result >= 0)
        result = snd->pcm_sw_params_set_start_threshold(d->pcm, sw, 2 * d->buffer_frames);
    if (result >= 0)
        result = snd->pcm_sw_params_set_avail_min(d->pcm, sw, d->period_frames);
    if (result >= 0)
        result = snd->pcm_sw_params_set_tstamp_mode(d->pcm, sw, SND_PCM_TSTAMP_ENABLE);
    if (result >= 0)
        result = snd->pcm_sw_params_set_tstamp_type(d->pcm, sw, SND_PCM_TSTAMP_TYPE_MONOTONIC);
    if (result >= 0)
        result = snd->pcm_sw_params(d->pcm, sw);
    return result < 0 ? fail(why, wish, "cannot be set up", result, "") : 0;
}

static int set_up(struct xpa_alsa_device *d, const struct xpa_alsa_wish *wish,
                  char why[XPA_ALSA_WHY]) {
    const struct xpa_alsa_library *snd = d->snd;
    snd_pcm_hw_params_t *hw = NULL;
    snd_pcm_sw_params_t *sw = NULL;
    int result = -ENOMEM;
    if (snd->pcm_hw_params_malloc(&hw) >= 0 && snd->pcm_sw_params_malloc(&sw) >= 0 &&
        snd->pcm_status_malloc(&d->status) >= 0)
        result = set_hardware(d, wish, hw, why);
    if (result >= 0)
        result = set_software(d, wish, sw, why);
    if (hw)
        snd->pcm_hw_params_free(hw);
    if (sw)
        snd->pcm_sw_params_free(sw);
    return result;
}

int xpa_alsa_device_open(struct xpa_alsa_device *d, const struct xpa_alsa_wish *wish,
                         char why[XPA_ALSA_WHY]) {
    snd_pcm_stream_t stream =
        d->direction == XPA_CAPTURE ? SND_PCM_STREAM_CAPTURE : SND_PCM_STREAM_PLAYBACK;
    /* not blocking: else it waits for whoever has the device now */
    int result = d->snd->pcm_open(&d->pcm, wish->name, stream, SND_PCM_NONBLOCK);
    if (result < 0)
        d->pcm = NULL;
    if (result == -EBUSY || result == -EAGAIN)
        return fail(why, wish, "is in use", result, " (a dmix or dsnoop device can be shared)");
    if (result < 0)
        return fail(why, wish, "cannot be opened: ", result, d->snd->strerror(result));
    d->rate = wish->rate;
    return set_up(d, wish, why);
}

void xpa_alsa_device_close(struct xpa_alsa_device *d) {
    if (d->status)
        d->snd->pcm_status_free(d->status);
    if (d->pcm) {
        (void)d->snd->pcm_drop(d->pcm);
        (void)d->snd->pcm_close(d->pcm);
    }
    d->status = NULL;
    d->pcm = NULL;
}

bool xpa_alsa_device_time(struct xpa_alsa_device *d, uint64_t *nsec, int64_t *delay_frames) {
    const struct xpa_alsa_library *snd = d->snd;
    if (snd->pcm_status(d->pcm, d->status) < 0 ||
        snd->pcm_status_get_state(d->status) != SND_PCM_STATE_RUNNING)
        return false;
    snd_htimestamp_t stamp;
    snd->pcm_status_get_htstamp(d->status, &stamp);
    uint64_t now_nsec = xpa_now_nsec();
    uint64_t at_nsec = (uint64_t)stamp.tv_sec * 1000000000 + (uint64_t)stamp.tv_nsec;
    /* plugins may have no stamps, or those of another clock */
    bool sound = at_nsec <= now_nsec && now_nsec - at_nsec < OLDEST_NSEC;
    *nsec = sound ? at_nsec : now_nsec;
    *delay_frames = snd->pcm_status_get_delay(d->status);
    return true;
}

int xpa_alsa_device_recover(struct xpa_alsa_device *d, int error) {
    const struct xpa_alsa_library *snd = d->snd;
    if (error == -ESTRPIPE) { /* the machine was suspended: the driver wakes up in its own time */
        struct timespec pause = {.tv_nsec = RESUME_MSEC * 1000000};
        for (int i = 0; i < RESUMES && snd->pcm_resume(d->pcm) == -EAGAIN; i++)
            nanosleep(&pause, NULL);
    } else if (error != -EPIPE) {
        return error;
    }
    (void)snd->pcm_drop(d->pcm);
    return snd->pcm_prepare(d->pcm);
}

/* pipewire/core.c - see pipewire/core.h. */
#include "pipewire/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <pipewire/data-loop.h>

#include "pipewire/library.h"
#include "xen/sndif.h"

/* What audioconvert turns into the graph's floats; compressed formats have no place in a graph.
 * The big-endian unsigned ones have names in SPA and no converter. */
static const struct {
    uint32_t sndif, spa, sample_bytes;
    uint8_t silence[8]; /* one sample; what is not named is zero */
} FORMATS[] = {
    {XENSND_PCM_FORMAT_S8, SPA_AUDIO_FORMAT_S8, 1, {0}},
    {XENSND_PCM_FORMAT_U8, SPA_AUDIO_FORMAT_U8, 1, {0x80}},
    {XENSND_PCM_FORMAT_S16_LE, SPA_AUDIO_FORMAT_S16_LE, 2, {0}},
    {XENSND_PCM_FORMAT_S16_BE, SPA_AUDIO_FORMAT_S16_BE, 2, {0}},
    {XENSND_PCM_FORMAT_U16_LE, SPA_AUDIO_FORMAT_U16_LE, 2, {0, 0x80}},
    {XENSND_PCM_FORMAT_S24_LE, SPA_AUDIO_FORMAT_S24_32_LE, 4, {0}},
    {XENSND_PCM_FORMAT_S24_BE, SPA_AUDIO_FORMAT_S24_32_BE, 4, {0}},
    {XENSND_PCM_FORMAT_U24_LE, SPA_AUDIO_FORMAT_U24_32_LE, 4, {0, 0, 0x80}},
    {XENSND_PCM_FORMAT_S32_LE, SPA_AUDIO_FORMAT_S32_LE, 4, {0}},
    {XENSND_PCM_FORMAT_S32_BE, SPA_AUDIO_FORMAT_S32_BE, 4, {0}},
    {XENSND_PCM_FORMAT_U32_LE, SPA_AUDIO_FORMAT_U32_LE, 4, {0, 0, 0, 0x80}},
    {XENSND_PCM_FORMAT_F32_LE, SPA_AUDIO_FORMAT_F32_LE, 4, {0}},
    {XENSND_PCM_FORMAT_F32_BE, SPA_AUDIO_FORMAT_F32_BE, 4, {0}},
    {XENSND_PCM_FORMAT_F64_LE, SPA_AUDIO_FORMAT_F64_LE, 8, {0}},
    {XENSND_PCM_FORMAT_F64_BE, SPA_AUDIO_FORMAT_F64_BE, 8, {0}},
    {XENSND_PCM_FORMAT_MU_LAW, SPA_AUDIO_FORMAT_ULAW, 1, {0x7f}},
    {XENSND_PCM_FORMAT_A_LAW, SPA_AUDIO_FORMAT_ALAW, 1, {0x55}},
};

uint32_t xpa_pw_spa_format(uint32_t sndif_format) {
    for (size_t i = 0; i < SPA_N_ELEMENTS(FORMATS); i++)
        if (FORMATS[i].sndif == sndif_format)
            return FORMATS[i].spa;
    return SPA_AUDIO_FORMAT_UNKNOWN;
}

int xpa_pw_sndif_format(uint32_t spa_format) {
    for (size_t i = 0; i < SPA_N_ELEMENTS(FORMATS); i++)
        if (FORMATS[i].spa == spa_format)
            return (int)FORMATS[i].sndif;
    return -1;
}

uint32_t xpa_pw_sample_bytes(uint32_t spa_format) {
    for (size_t i = 0; i < SPA_N_ELEMENTS(FORMATS); i++)
        if (FORMATS[i].spa == spa_format)
            return FORMATS[i].sample_bytes;
    return 0;
}

void xpa_pw_silence(uint32_t sndif_format, uint8_t sample[8]) {
    memset(sample, 0, 8);
    for (size_t i = 0; i < SPA_N_ELEMENTS(FORMATS); i++)
        if (FORMATS[i].sndif == sndif_format)
            memcpy(sample, FORMATS[i].silence, sizeof FORMATS[i].silence);
}

int xpa_pw_supports_format(uint32_t sndif_format) {
    return xpa_pw_spa_format(sndif_format) != SPA_AUDIO_FORMAT_UNKNOWN;
}

_Static_assert((int)XPA_MAX_CHANNELS <= (int)SPA_AUDIO_MAX_CHANNELS, "positions have that room");

void xpa_pw_positions(uint32_t channels, uint32_t *positions) {
    static const uint32_t SURROUND[] = {
        SPA_AUDIO_CHANNEL_FL, SPA_AUDIO_CHANNEL_FR,  SPA_AUDIO_CHANNEL_RL, SPA_AUDIO_CHANNEL_RR,
        SPA_AUDIO_CHANNEL_FC, SPA_AUDIO_CHANNEL_LFE, SPA_AUDIO_CHANNEL_SL, SPA_AUDIO_CHANNEL_SR};
    bool known = channels == 2 || channels == 4 || channels == 6 || channels == 8;
    for (uint32_t i = 0; i < channels && i < XPA_MAX_CHANNELS; i++)
        positions[i] = known ? SURROUND[i] : SPA_AUDIO_CHANNEL_AUX0 + i;
    if (channels == 1)
        positions[0] = SPA_AUDIO_CHANNEL_MONO;
}

struct pw_properties *xpa_pw_properties(const char *const *keys, const char *const *values,
                                        uint32_t count) {
    /* Since 1.2 a configuration may have several data loops, whatever the context asked for: ours
     * is the first, and without this they share the streams (test_one_loop.py). */
    struct pw_properties *properties = pw_properties_new("node.loop.name", "data-loop.0", NULL);
    for (uint32_t i = 0; properties && i < count; i++)
        pw_properties_set(properties, keys[i], values[i]);
    return properties;
}

static void on_core_error(void *data, uint32_t id, int seq, int result, const char *message) {
    struct xpa_pw *pw = data;
    (void)seq;
    if (id == PW_ID_CORE && (result == -EPIPE || result == -ECONNRESET))
        xpa_pw_post(pw, XPA_PW_EVENT_LOST, 0, result, 0, 0, message);
}

static void on_core_done(void *data, uint32_t id, int seq) {
    struct xpa_pw *pw = data;
    if (id != PW_ID_CORE)
        return;
    if (seq == pw->locked.asked_seq)
        pw->locked.asked = false;
    xpa_pw_leaving_answered(pw, seq);
}

static const struct pw_core_events CORE_EVENTS = {
    PW_VERSION_CORE_EVENTS,
    .done = on_core_done,
    .error = on_core_error,
};

int xpa_pw_answers(struct xpa_pw *pw) {
    XPA_PW_LOCKED(pw);
    if (pw->locked.asked)
        return 0;
    if (pw->locked.core) {
        pw->locked.asked_seq = pw_core_sync(pw->locked.core, PW_ID_CORE, 0);
        pw->locked.asked = pw->locked.asked_seq >= 0;
    }
    return 1;
}

static void on_plane(void *data, int fd, uint32_t mask) {
    struct xpa_pw *pw = data;
    (void)fd;
    (void)mask;
    xpa_loop_dispatch(&pw->plane->loop);
}

static int adopt_plane(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                       size_t size, void *user_data) {
    struct xpa_pw *pw = user_data;
    (void)loop, (void)async, (void)seq, (void)data, (void)size;
    xpa_main_loop_spare(pw->main_loop);
    pw->loop.plane_source = pw_loop_add_io(pw->data_loop, xpa_loop_fd(&pw->plane->loop), SPA_IO_IN,
                                           false, on_plane, pw);
    return pw->loop.plane_source ? 0 : -errno;
}

static int release_plane(struct spa_loop *loop, bool async, uint32_t seq, const void *data,
                         size_t size, void *user_data) {
    struct xpa_pw *pw = user_data;
    (void)loop, (void)async, (void)seq, (void)data, (void)size;
    pw_loop_destroy_source(pw->data_loop, pw->loop.plane_source);
    pw->loop.plane_source = NULL;
    return 0;
}

struct xpa_pw *xpa_pw_new(struct xpa_plane *plane, const char *application_name) {
    struct xpa_pw *pw = calloc(1, sizeof *pw);
    if (!pw)
        return NULL;
    pw_init(NULL, NULL);
    pw->plane = plane;
    spa_list_init(&pw->loop.nodes);
    spa_list_init(&pw->locked.leaving);
    pw->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pw->thread = pw_thread_loop_new("xenpv-pw", NULL);
    if (pw->thread)
        pw->main_loop = xpa_main_loop_new(pw_thread_loop_get_loop(pw->thread));
    if (pw->event_fd < 0 || !pw->main_loop) {
        xpa_pw_free(pw);
        return NULL;
    }
    /* Before 1.3.81 only client-rt.conf loads the module that makes the data thread real-time. */
    const char *config = xpa_pw_version() >= 1003081 ? "client.conf" : "client-rt.conf";
    /* One data loop: rings, clock and process() share what they own without a lock. */
    pw->context =
        pw_context_new(xpa_main_loop_face(pw->main_loop),
                       pw_properties_new(PW_KEY_CONFIG_NAME, config, PW_KEY_APP_NAME,
                                         application_name, "context.num-data-loops", "1", NULL),
                       0);
    if (!pw->context) {
        xpa_pw_free(pw);
        return NULL;
    }
    struct pw_data_loop *loop = pw_context_get_data_loop(pw->context);
    pw->data_loop = loop ? pw_data_loop_get_loop(loop) : NULL;
    if (!pw->data_loop || pw_thread_loop_start(pw->thread) < 0) {
        xpa_pw_free(pw);
        return NULL;
    }
    XPA_PW_LOCKED(pw);
    pw_loop_invoke(pw->data_loop, adopt_plane, 0, NULL, 0, true, pw);
    return pw;
}

int xpa_pw_connect(struct xpa_pw *pw) {
    XPA_PW_LOCKED(pw);
    if (pw->locked.core)
        return 0;
    pw->locked.core = pw_context_connect(pw->context, NULL, 0);
    if (!pw->locked.core)
        return errno ? -errno : -EIO;
    pw_core_add_listener(pw->locked.core, &pw->locked.core_listener, &CORE_EVENTS, pw);
    xpa_pw_begin_leaving(pw);
    return 0;
}

/* Nodes and hosts must have been freed. */
void xpa_pw_disconnect(struct xpa_pw *pw) {
    XPA_PW_LOCKED(pw);
    if (!pw->locked.core)
        return;
    xpa_pw_end_leaving(pw);
    xpa_pw_unwatch_links(pw);
    spa_hook_remove(&pw->locked.core_listener);
    pw_core_disconnect(pw->locked.core);
    pw->locked.core = NULL;
    pw->locked.asked = false;
}

void xpa_pw_free(struct xpa_pw *pw) {
    if (!pw)
        return;
    if (pw->context) {
        xpa_pw_disconnect(pw);
        if (pw->loop.plane_source) {
            XPA_PW_LOCKED(pw);
            pw_loop_invoke(pw->data_loop, release_plane, 0, NULL, 0, true, pw);
        }
        pw_thread_loop_stop(pw->thread);
        pw_context_destroy(pw->context);
    }
    if (pw->thread)
        pw_thread_loop_destroy(pw->thread);
    free(pw->main_loop);
    if (pw->event_fd >= 0)
        close(pw->event_fd);
    free(pw->locked.events);
    free(pw);
}

int xpa_pw_fd(struct xpa_pw *pw) { return pw->event_fd; }

void xpa_pw_clear_fd(struct xpa_pw *pw) {
    uint64_t count;
    ssize_t got = read(pw->event_fd, &count, sizeof count);
    (void)got;
}

/* ioplug/ctl_xenpv.c - libasound_module_ctl_xenpv.so: the volumes and mutes of the frontend's card
 * as ALSA controls.
 *
 *     ctl.xenpv { type xenpv }          # card 0
 *
 * Each playback stream is a "Master", each capture stream a "Capture", with a volume a channel and
 * a switch. The frontend has the values: each call asks it, and its restart is not noticed. What
 * others change comes over a second connection, made when a program subscribes; an event is read
 * from there as it is, so poll() returns for as long as one waits. The end of that connection is
 * the program's -ENODEV: the card was taken away.
 *
 * The program's thread, in calls of alsa-lib (control_external.h).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <alsa/asoundlib.h>
#include <alsa/control_external.h>
#include <sound/tlv.h>

#include "ioplug/link.h"

struct control {
    snd_ctl_ext_t ext;
    struct xpa_link link, watch;
    uint32_t card;
    struct xpa_ctl_answer state; /* as it was read last */
};

static const unsigned int DECIBELS[] = {
    SNDRV_CTL_TLVT_DB_MINMAX_MUTE,
    2 * sizeof(unsigned int),
    (unsigned int)(-XPA_CTL_LOUDEST *XPA_CTL_STEP_CDB),
    0,
};

/* --- asking --- */

static int ask_once(struct control *c, const struct xpa_ctl_question *question,
                    struct xpa_ctl_answer *answer) {
    if (send(c->link.socket, question, sizeof *question, MSG_NOSIGNAL) != sizeof *question)
        return -ENODEV;
    ssize_t got;
    do
        got = recv(c->link.socket, answer, sizeof *answer, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -ENODEV;
    if (got != sizeof *answer || answer->version != XPA_PCM_VERSION)
        return got == 0 ? -ENODEV : -EPROTO;
    if (answer->status < 0)
        return answer->status;
    if (answer->stream_count > XPA_CTL_STREAMS)
        return -EPROTO;
    for (uint32_t i = 0; i < answer->stream_count; i++)
        if (answer->streams[i].channels < 1 || answer->streams[i].channels > XPA_CTL_CHANNELS)
            return -EPROTO;
    return 0;
}

/* A frontend that was restarted has closed the connection and listens anew. */
static int ask(struct control *c, struct xpa_ctl_question *question,
               struct xpa_ctl_answer *answer) {
    question->version = XPA_PCM_VERSION;
    question->card = c->card;
    if (xpa_link_lost(&c->link) && xpa_link_connect(&c->link) < 0)
        return -ENODEV;
    int result = ask_once(c, question, answer);
    if (result == -ENODEV && xpa_link_lost(&c->link) && xpa_link_connect(&c->link) == 0)
        result = ask_once(c, question, answer);
    return result;
}

static int read_state(struct control *c) {
    struct xpa_ctl_question question = {.ask = XPA_CTL_READ};
    struct xpa_ctl_answer answer;
    int result = ask(c, &question, &answer);
    if (result == 0)
        c->state = answer;
    return result;
}

/* --- which control: its key is its place among them all --- */

static int on_count(snd_ctl_ext_t *ext) {
    struct control *c = ext->private_data;
    return (int)c->state.stream_count * XPA_CTL_KINDS;
}

static void fill_id(const struct control *c, unsigned int key, snd_ctl_elem_id_t *id) {
    static const char *const NAMES[2][XPA_CTL_KINDS] = {
        {"Master Playback Volume", "Master Playback Switch"},
        {"Capture Volume", "Capture Switch"},
    };
    unsigned int stream = key / XPA_CTL_KINDS, index = 0;
    uint32_t direction = c->state.streams[stream].direction;
    for (unsigned int i = 0; i < stream; i++)
        index += c->state.streams[i].direction == direction;
    snd_ctl_elem_id_set_interface(id, SND_CTL_ELEM_IFACE_MIXER);
    snd_ctl_elem_id_set_name(id, NAMES[direction == XPA_CAPTURE][key % XPA_CTL_KINDS]);
    snd_ctl_elem_id_set_index(id, index);
}

static int on_list(snd_ctl_ext_t *ext, unsigned int offset, snd_ctl_elem_id_t *id) {
    const struct control *c = ext->private_data;
    if (offset >= c->state.stream_count * XPA_CTL_KINDS)
        return -EINVAL;
    fill_id(c, offset, id);
    return 0;
}

static snd_ctl_ext_key_t on_find(snd_ctl_ext_t *ext, const snd_ctl_elem_id_t *id) {
    const struct control *c = ext->private_data;
    unsigned int count = c->state.stream_count * XPA_CTL_KINDS;
    unsigned int number = snd_ctl_elem_id_get_numid(id);
    if (number > 0)
        return number <= count ? number - 1 : SND_CTL_EXT_KEY_NOT_FOUND;
    snd_ctl_elem_id_t *other;
    snd_ctl_elem_id_alloca(&other);
    for (unsigned int key = 0; key < count; key++) {
        fill_id(c, key, other);
        if (snd_ctl_elem_id_get_interface(id) == SND_CTL_ELEM_IFACE_MIXER &&
            snd_ctl_elem_id_get_index(id) == snd_ctl_elem_id_get_index(other) &&
            strcmp(snd_ctl_elem_id_get_name(id), snd_ctl_elem_id_get_name(other)) == 0)
            return key;
    }
    return SND_CTL_EXT_KEY_NOT_FOUND;
}

/* --- what it is --- */

static int on_attribute(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, int *type, unsigned int *access,
                        unsigned int *count) {
    const struct control *c = ext->private_data;
    bool volume = key % XPA_CTL_KINDS == XPA_CTL_VOLUME;
    *type = volume ? SND_CTL_ELEM_TYPE_INTEGER : SND_CTL_ELEM_TYPE_BOOLEAN;
    *access = SND_CTL_EXT_ACCESS_READWRITE | (volume ? SND_CTL_EXT_ACCESS_TLV_READ : 0);
    *count = volume ? c->state.streams[key / XPA_CTL_KINDS].channels : 1;
    ext->tlv.p = volume ? DECIBELS : NULL;
    return 0;
}

static int on_integer_info(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *least, long *most,
                           long *step) {
    (void)ext;
    *least = 0;
    *most = key % XPA_CTL_KINDS == XPA_CTL_VOLUME ? XPA_CTL_LOUDEST : 1;
    *step = 1;
    return 0;
}

/* --- its values: a switch is on where nothing is muted --- */

static int on_read(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *values) {
    struct control *c = ext->private_data;
    uint32_t count = c->state.stream_count;
    int result = read_state(c);
    if (result < 0)
        return result;
    if (key / XPA_CTL_KINDS >= c->state.stream_count || c->state.stream_count != count)
        return -ENODEV; /* another card */
    const struct xpa_ctl_stream *stream = &c->state.streams[key / XPA_CTL_KINDS];
    if (key % XPA_CTL_KINDS == XPA_CTL_MUTE)
        values[0] = !stream->muted;
    else
        for (uint32_t i = 0; i < stream->channels; i++)
            values[i] = stream->volumes[i];
    return 0;
}

static int on_write(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *values) {
    struct control *c = ext->private_data;
    long before[XPA_CTL_CHANNELS];
    int result = on_read(ext, key, before);
    if (result < 0)
        return result;
    struct xpa_ctl_question question = {.ask = XPA_CTL_WRITE,
                                        .stream = (uint32_t)(key / XPA_CTL_KINDS),
                                        .kind = (uint32_t)(key % XPA_CTL_KINDS)};
    struct xpa_ctl_answer answer;
    bool mute = question.kind == XPA_CTL_MUTE, changed = false;
    uint32_t count = mute ? 1 : c->state.streams[question.stream].channels;
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] < 0 || values[i] > (mute ? 1 : XPA_CTL_LOUDEST))
            return -EINVAL;
        changed = changed || values[i] != before[i];
        question.values[i] = mute ? !values[i] : (int32_t)values[i];
    }
    if (!changed)
        return 0;
    result = ask(c, &question, &answer);
    return result < 0 ? result : 1;
}

/* --- what others change --- */

static void on_subscribe(snd_ctl_ext_t *ext, int subscribe) {
    struct control *c = ext->private_data;
    if (!subscribe) {
        xpa_link_close(&c->watch);
        return;
    }
    if (c->watch.socket >= 0 || xpa_link_connect(&c->watch) < 0)
        return;
    struct xpa_ctl_question question = {
        .version = XPA_PCM_VERSION, .ask = XPA_CTL_WATCH, .card = c->card};
    /* its loss is seen where events are read */
    (void)send(c->watch.socket, &question, sizeof question, MSG_NOSIGNAL);
}

static int on_event(snd_ctl_ext_t *ext, snd_ctl_elem_id_t *id, unsigned int *mask) {
    struct control *c = ext->private_data;
    struct xpa_ctl_event event;
    ssize_t got = recv(c->watch.socket, &event, sizeof event, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return -EAGAIN;
    if (got != sizeof event || event.stream >= c->state.stream_count || event.kind >= XPA_CTL_KINDS)
        return -ENODEV;
    snd_ctl_elem_id_clear(id);
    fill_id(c, event.stream * XPA_CTL_KINDS + event.kind, id);
    snd_ctl_elem_id_set_numid(id, event.stream * XPA_CTL_KINDS + event.kind + 1);
    *mask = SND_CTL_EVENT_MASK_VALUE;
    return 1;
}

static int on_poll_count(snd_ctl_ext_t *ext) {
    (void)ext;
    return 1;
}

/* Before a program subscribes there is nothing to wait for. */
static int on_poll_descriptors(snd_ctl_ext_t *ext, struct pollfd *fds, unsigned int space) {
    const struct control *c = ext->private_data;
    if (space < 1)
        return 0;
    *fds = (struct pollfd){c->watch.socket >= 0 ? c->watch.socket : c->link.socket, POLLIN, 0};
    return 1;
}

static int on_poll_revents(snd_ctl_ext_t *ext, struct pollfd *fds, unsigned int count,
                           unsigned short *revents) {
    (void)ext;
    *revents = count == 1 ? (unsigned short)fds->revents : 0;
    return 0;
}

static void on_close(snd_ctl_ext_t *ext) {
    struct control *c = ext->private_data;
    xpa_link_close(&c->link);
    xpa_link_close(&c->watch);
    free(c);
}

static const snd_ctl_ext_callback_t CALLS = {
    .close = on_close,
    .elem_count = on_count,
    .elem_list = on_list,
    .find_elem = on_find,
    .get_attribute = on_attribute,
    .get_integer_info = on_integer_info,
    .read_integer = on_read,
    .write_integer = on_write,
    .subscribe_events = on_subscribe,
    .read_event = on_event,
    .poll_descriptors_count = on_poll_count,
    .poll_descriptors = on_poll_descriptors,
    .poll_revents = on_poll_revents,
};

/* --- the plugin's entry --- */

static int read_definition(struct control *c, snd_config_t *definition, const char **path) {
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
        if (strcmp(key, "card") != 0 || number < 0) {
            SNDERR("xenpv: %s is wrong here: card takes a number, socket a path", key);
            return -EINVAL;
        }
        c->card = (uint32_t)number;
    }
    return 0;
}

static int open_card(struct control *c, const char *name, int mode) {
    if (xpa_link_connect(&c->link) < 0) {
        SNDERR("xenpv: nobody listens at %s: is `xen-pv-audio frontend --serve alsa` running?",
               c->link.path);
        return -ENODEV;
    }
    int result = read_state(c);
    if (result < 0)
        return result;
    c->state.name[sizeof c->state.name - 1] = '\0';
    c->state.long_name[sizeof c->state.long_name - 1] = '\0';
    c->ext.version = SND_CTL_EXT_VERSION;
    c->ext.card_idx = 0;
    strcpy(c->ext.id, "xenpv");
    strcpy(c->ext.driver, "Xen PV Audio");
    snprintf(c->ext.name, sizeof c->ext.name, "%s", c->state.name);
    snprintf(c->ext.longname, sizeof c->ext.longname, "%s", c->state.long_name);
    strcpy(c->ext.mixername, "Xen PV Audio");
    c->ext.poll_fd = c->link.socket;
    c->ext.callback = &CALLS;
    c->ext.private_data = c;
    return snd_ctl_ext_create(&c->ext, name, mode);
}

#pragma GCC visibility push(default)
SND_CTL_PLUGIN_DEFINE_FUNC(xenpv) {
    const char *path = NULL;
    (void)root;
    struct control *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    int result = read_definition(c, conf, &path);
    xpa_link_init(&c->link, path);
    xpa_link_init(&c->watch, path);
    if (result == 0)
        result = open_card(c, name, mode);
    if (result == 0) {
        *handlep = c->ext.handle;
        return 0;
    }
    xpa_link_close(&c->link);
    free(c);
    return result;
}
SND_CTL_PLUGIN_SYMBOL(xenpv);
#pragma GCC visibility pop

/* relay/relay.h - frames and times between the data loop and a device's own thread.
 *
 * libpulse and alsa-lib lock, allocate and may wait for whoever is at the other end, so their calls
 * are made in threads of their own, and a server or driver that hangs holds up no other guest. The
 * device's thread asks for frames (playback) or brings them (capture) and says when which of them
 * is heard; the data loop, whose the guest's rings are, gives or takes them at once. Between the
 * two are a ring of frames, a queue of messages and an eventfd each way.
 *
 * Frames are counted from 0, the first that passed; silence for want of the guest's frames counts.
 */
#ifndef XPA_RELAY_RELAY_H
#define XPA_RELAY_RELAY_H

#include "back/back.h"

struct xpa_relay_message {
    uint32_t kind;
    uint32_t frames;
    uint64_t nsec, position;
};

struct xpa_relay {
    /* Set before any other thread knows it, and the same ever after: for any thread. */
    struct xpa_back *back;
    int direction;
    uint32_t frame_bytes, rate, room_frames;
    uint8_t *ring;
    int wake_fd;  /* the data loop's: the device wants something */
    int given_fd; /* the device's: frames to be played are there */
    struct xpa_source source;

    /* Data loop. */
    struct {
        uint64_t base_frames; /* of the stream's host frames, those before our first */
    } loop;

    /* What the device's thread and the data loop both touch. */
    struct {
        struct xpa_queue messages;
        _Atomic uint64_t asked_frames; /* playback: by the device */
        _Atomic uint64_t put_frames, taken_frames;
        _Atomic bool silent;
    } shared;
};

/* --- for the device's thread --- */

/* Playback: so many more, at the most as many as there is room for. */
void xpa_relay_ask(struct xpa_relay *r, uint32_t frames);
/* Asked for and not taken. */
uint32_t xpa_relay_pending(const struct xpa_relay *r);
/* Of those, what is there; after given_fd has become readable. */
uint32_t xpa_relay_ready(const struct xpa_relay *r);
void xpa_relay_take(struct xpa_relay *r, void *target, uint32_t frames);
/* So that given_fd becomes readable only for what comes after. */
void xpa_relay_clear_given(const struct xpa_relay *r);

/* Capture: frames, of which the newest reached the microphone at `nsec`. False: there is no room,
 * and they are lost. */
bool xpa_relay_put(struct xpa_relay *r, const void *source, uint32_t frames, uint64_t nsec);

/* How many have been taken (playback) or put (capture): the number of the next one. */
uint64_t xpa_relay_count(const struct xpa_relay *r);

/* Frame `position` is heard, or those before it have reached the microphone, at `nsec`. */
void xpa_relay_mark(struct xpa_relay *r, uint64_t nsec, uint64_t position);

/* The device stood still, or is another one: the next mark says anew when what is heard. */
void xpa_relay_shift(struct xpa_relay *r);

#endif

/* ioplug/plug.h - one PCM in a program.
 *
 * pcm_xenpv.c   what its definition says, and what there is to choose from: the plugin's entry
 * calls.c       alsa-lib's calls
 * device.c      where program and device are, by what the frontend says
 *
 * The program's thread, in calls of alsa-lib (pcm_ioplug.h); none waits but open, hw_params, drain
 * and a prepare after a loss.
 */
#ifndef XPA_IOPLUG_PLUG_H
#define XPA_IOPLUG_PLUG_H

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>

#include "ioplug/link.h"

struct xpa_plug {
    snd_pcm_ioplug_t io;
    struct xpa_link link;
    struct xpa_pcm_question question; /* as it was opened last */
    bool capture;
    uint32_t epoch;
    size_t frame_bytes;
    snd_pcm_uframes_t boundary, avail_min;
    snd_pcm_uframes_t appl_ptr; /* alsa-lib's, as last seen; modulo boundary */
    uint64_t appl_frames;       /* the same, since the last prepare */
    uint64_t handed_frames;     /* playback: of these, what the frontend may have passed on */
    uint64_t hw_frames;
    struct xpa_pcm_line line;
};

extern const snd_pcm_ioplug_callback_t xpa_plug_calls;

int xpa_plug_ask(struct xpa_plug *p, uint32_t what, struct xpa_pcm_answer *answer);

uint64_t xpa_plug_now_nsec(void);
/* The frontend has given the PCM up. */
bool xpa_plug_lost(const struct xpa_plug *p);
/* Below: only while something is open. */
enum xpa_pcm_state xpa_plug_state(const struct xpa_plug *p);
/* The newest line of this epoch; before there is one the device stands at our first frame. */
const struct xpa_pcm_line *xpa_plug_line(struct xpa_plug *p);
/* What alsa-lib has moved since the last prepare, also by snd_pcm_rewind() and _forward(), which we
 * are not told of. */
uint64_t xpa_plug_appl_frames(struct xpa_plug *p);
uint64_t xpa_plug_hw_frames(struct xpa_plug *p);
uint64_t xpa_plug_avail_frames(struct xpa_plug *p);

#endif

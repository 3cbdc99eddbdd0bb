/* ioplug/device.c - where program and device are; see ioplug/plug.h. The hardware pointer and the
 * delay are read off the frontend's line, so they are as exact between two events as at them. */
#include "ioplug/plug.h"

#include <time.h>

/* The line is written in some instructions: who finds it half done so often has met a dead one. */
enum { LINE_TRIES = 16 };

uint64_t xpa_plug_now_nsec(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool xpa_plug_lost(const struct xpa_plug *p) {
    return !p->link.share ||
           atomic_load_explicit(&p->link.share->frontend.lost, memory_order_acquire) != 0;
}

enum xpa_pcm_state xpa_plug_state(const struct xpa_plug *p) {
    uint64_t word = atomic_load_explicit(&p->link.share->frontend.state, memory_order_acquire);
    return xpa_pcm_epoch(word) == p->epoch ? xpa_pcm_value(word) : XPA_PCM_STOPPED;
}

const struct xpa_pcm_line *xpa_plug_line(struct xpa_plug *p) {
    struct xpa_pcm_line line;
    for (int i = 0; i < LINE_TRIES; i++) {
        if (!xpa_pcm_line_get(p->link.share, &line))
            continue;
        if (line.epoch == p->epoch)
            p->line = line;
        break;
    }
    return &p->line;
}

uint64_t xpa_plug_appl_frames(struct xpa_plug *p) {
    snd_pcm_sframes_t moved = (snd_pcm_sframes_t)(p->io.appl_ptr - p->appl_ptr);
    snd_pcm_sframes_t half = (snd_pcm_sframes_t)(p->boundary / 2);
    if (moved > half)
        moved -= (snd_pcm_sframes_t)p->boundary;
    else if (moved < -half)
        moved += (snd_pcm_sframes_t)p->boundary;
    p->appl_ptr = p->io.appl_ptr;
    p->appl_frames += (uint64_t)moved;
    return p->appl_frames;
}

uint64_t xpa_plug_hw_frames(struct xpa_plug *p) {
    uint64_t word =
        atomic_load_explicit(&p->link.share->frontend.passed_frames, memory_order_acquire);
    enum xpa_pcm_state state = xpa_plug_state(p);
    uint64_t hw = p->hw_frames;
    if (xpa_pcm_epoch(word) == p->epoch)
        hw = xpa_pcm_hw_frames(p->capture, xpa_plug_line(p), xpa_pcm_value(word),
                               xpa_plug_now_nsec());
    /* alsa-lib ends a drain when all is taken: it is over when all is heard */
    if (!p->capture && p->io.state == SND_PCM_STATE_DRAINING && hw >= p->handed_frames && hw > 0)
        hw = p->handed_frames - 1;
    if (!p->capture && state == XPA_PCM_DRAINED)
        hw = p->handed_frames;
    if (hw > p->hw_frames)
        p->hw_frames = hw;
    return p->hw_frames;
}

uint64_t xpa_plug_avail_frames(struct xpa_plug *p) {
    uint64_t hw = xpa_plug_hw_frames(p), appl = xpa_plug_appl_frames(p);
    uint64_t avail = p->capture ? hw - appl : hw + p->io.buffer_size - appl;
    return (int64_t)avail > 0 ? avail : 0;
}

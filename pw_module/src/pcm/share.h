/* pcm/share.h - what the frontend's data loop and a program's plugin have in common: the memory
 * file of one open PCM. The samples follow at XPA_PCM_SAMPLES, frame n at n modulo buffer_frames.
 *
 * Frames count from the program's last prepare, which begins a new epoch. A word holds an epoch and
 * a value, so that one that is read is of this epoch or is not, with no lock: the program may begin
 * a new one at any moment, and either side may be killed at any instruction. A word is stored with
 * release after the samples and words that it tells of, and loaded with acquire before them.
 *
 * Each side copies what the other has written once, then checks it, then uses it.
 */
#ifndef XPA_PCM_SHARE_H
#define XPA_PCM_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "no lock is shared with a process that may be killed");

enum { XPA_PCM_SAMPLES = 4096 };

/* What the program wants, */
enum xpa_pcm_ask { XPA_PCM_ASK_STOP, XPA_PCM_ASK_START, XPA_PCM_ASK_DRAIN };
/* and what has become of it. */
enum xpa_pcm_state { XPA_PCM_STOPPED, XPA_PCM_RUNNING, XPA_PCM_DRAINED, XPA_PCM_XRUN };

/* Where the device is: at `base_nsec` (CLOCK_MONOTONIC) frame `base_frames` is heard, or for
 * capture just said into the microphone; nsec_per_frame 0: it stands there. */
struct xpa_pcm_line {
    uint32_t epoch;
    uint64_t base_nsec;
    double base_frames, nsec_per_frame;
    double taken_frames; /* playback: so much more than what is heard has left us for good */
};

struct xpa_pcm_share {
    struct {
        _Atomic uint64_t ask;             /* word */
        _Atomic uint64_t appl_frames;     /* word: playback: written; capture: read */
        _Atomic uint64_t avail_min;       /* frames: then it wants to be woken */
        _Atomic uint32_t goes_on_in_xrun; /* its stop threshold is out of reach */
    } program;
    char pad[64];
    struct {
        _Atomic uint64_t state;         /* word */
        _Atomic uint64_t passed_frames; /* word: playback: out of the samples; capture: in them */
        _Atomic uint32_t lost;          /* this PCM is over: it must be opened anew */
        _Atomic uint32_t line_number;   /* odd while the line is written */
        _Atomic uint64_t line_epoch, line_base_nsec;
        _Atomic double line_base_frames, line_nsec_per_frame, line_taken_frames;
    } frontend;
};

_Static_assert(sizeof(struct xpa_pcm_share) <= XPA_PCM_SAMPLES, "the samples lie behind it");

static inline uint64_t xpa_pcm_word(uint32_t epoch, uint64_t value) {
    return (uint64_t)(epoch & 0xffff) << 48 | (value & (((uint64_t)1 << 48) - 1));
}

static inline uint32_t xpa_pcm_epoch(uint64_t word) { return (uint32_t)(word >> 48); }

static inline uint64_t xpa_pcm_value(uint64_t word) { return word & (((uint64_t)1 << 48) - 1); }

static inline void xpa_pcm_line_put(struct xpa_pcm_share *share, const struct xpa_pcm_line *line) {
    /* relaxed: this side alone writes it */
    uint32_t number = atomic_load_explicit(&share->frontend.line_number, memory_order_relaxed);
    atomic_store_explicit(&share->frontend.line_number, number | 1, memory_order_relaxed);
    /* release fence: who sees a field of the new line sees the odd number, too */
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&share->frontend.line_epoch, line->epoch, memory_order_relaxed);
    atomic_store_explicit(&share->frontend.line_base_nsec, line->base_nsec, memory_order_relaxed);
    atomic_store_explicit(&share->frontend.line_base_frames, line->base_frames,
                          memory_order_relaxed);
    atomic_store_explicit(&share->frontend.line_nsec_per_frame, line->nsec_per_frame,
                          memory_order_relaxed);
    atomic_store_explicit(&share->frontend.line_taken_frames, line->taken_frames,
                          memory_order_relaxed);
    /* release, pairs with the first acquire in get: an even number has its whole line */
    atomic_store_explicit(&share->frontend.line_number, (number | 1) + 1, memory_order_release);
}

/* False: it is being written just now, or whoever wrote it was killed meanwhile. */
static inline bool xpa_pcm_line_get(struct xpa_pcm_share *share, struct xpa_pcm_line *line) {
    /* acquire, pairs with put's last store */
    uint32_t number = atomic_load_explicit(&share->frontend.line_number, memory_order_acquire);
    line->epoch = (uint32_t)atomic_load_explicit(&share->frontend.line_epoch, memory_order_relaxed);
    line->base_nsec = atomic_load_explicit(&share->frontend.line_base_nsec, memory_order_relaxed);
    line->base_frames =
        atomic_load_explicit(&share->frontend.line_base_frames, memory_order_relaxed);
    line->nsec_per_frame =
        atomic_load_explicit(&share->frontend.line_nsec_per_frame, memory_order_relaxed);
    line->taken_frames =
        atomic_load_explicit(&share->frontend.line_taken_frames, memory_order_relaxed);
    /* acquire fence, pairs with put's: a field of a newer line brings the newer number */
    atomic_thread_fence(memory_order_acquire);
    return !(number & 1) &&
           number == atomic_load_explicit(&share->frontend.line_number, memory_order_relaxed);
}

/* The frame at the device at `nsec`. */
static inline double xpa_pcm_line_at(const struct xpa_pcm_line *line, uint64_t nsec) {
    if (line->nsec_per_frame <= 0)
        return line->base_frames;
    return line->base_frames + (double)(int64_t)(nsec - line->base_nsec) / line->nsec_per_frame;
}

/* What the program may no longer change (playback), or may read (capture): ALSA's hardware pointer.
 * Playback: what the host has taken, as far as frames have been passed to it. */
static inline uint64_t xpa_pcm_hw_frames(bool capture, const struct xpa_pcm_line *line,
                                         uint64_t passed_frames, uint64_t nsec) {
    if (capture)
        return passed_frames;
    double taken = xpa_pcm_line_at(line, nsec) + line->taken_frames;
    if (!(taken > 0))
        return 0;
    return taken < (double)passed_frames ? (uint64_t)taken : passed_frames;
}

#endif

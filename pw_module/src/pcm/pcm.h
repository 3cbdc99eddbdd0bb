/* pcm/pcm.h - one open PCM, as the frontend's data loop has it; the model is in pcm/share.h.
 *
 * The stream (front/) counts frames on the position's scale, which may move; the program counts
 * from its prepare. What ties them together is that `passed_frames` is the stream's newest frame.
 */
#ifndef XPA_PCM_PCM_H
#define XPA_PCM_PCM_H

#include "front/front.h"
#include "pcm/gain.h"
#include "pcm/share.h"

struct xpa_pcm {
    /* Set before the data loop knows it, and the same ever after. */
    struct xpa_plane *plane;
    uint32_t id;
    int direction;
    uint32_t frame_bytes, buffer_frames;
    int fds[3]; /* XPA_PCM_*_FD */
    struct xpa_pcm_share *share;
    uint64_t share_bytes;
    struct xpa_source kick_source, timer_source;

    struct xpa_pcm_gain gain; /* Python's thread sets it, the data loop reads it */

    /* The rest is the data loop's. */
    struct xpa_front *front; /* NULL: it is gone */
    bool bound;
    bool lost; /* what the program has mapped leads nowhere any more */
    uint32_t epoch;
    enum xpa_pcm_state state;
    bool draining, was_starved;
    bool updating, again;
    uint64_t drain_until_nsec;
    uint64_t passed_frames;
    uint64_t armed_nsec;
    struct xpa_pcm_line line;
};

/* Everything that follows from what program and stream say now. */
void xpa_pcm_update(struct xpa_pcm *p, uint64_t now_nsec);
/* The stream is stopped, and the program hears that it is over. */
void xpa_pcm_lose(struct xpa_pcm *p);

#endif

/* pcm/flow.c - frames and time between a program and its stream, on the data loop; see pcm/pcm.h.
 *
 * Playback: the program is told that frames are gone when the host may have taken them: when what
 * is heard has come as near to them as the host's need. So it may keep its buffer short, and hears
 * the true delay all the same. Capture: frames are copied to it as they can be read.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "pcm/pcm.h"

/* A backend that stops to send positions is not waited for longer than this, after what is left. */
static const uint64_t LINGER_NSEC = 200000000;

/* A timer that came too soon tries again after this, not at once. */
static const uint64_t SETTLE_NSEC = 50000;

/* Frames of the program must be here so long before the host takes them. */
static uint32_t hand_over_frames(const struct xpa_front *f) { return f->stream.config.rate / 1000; }

static bool usable(const struct xpa_pcm *p) {
    const struct xpa_front *f = p->front;
    return f && !f->link.broken && f->stream.open && f->stream.frame_bytes == p->frame_bytes &&
           f->direction == p->direction;
}

static bool captures(const struct xpa_pcm *p) { return p->direction == XPA_CAPTURE; }

static void signal_program(const struct xpa_pcm *p) {
    uint64_t one = 1;
    ssize_t written = write(p->fds[XPA_PCM_WAKE_FD], &one, sizeof one);
    (void)written; /* EAGAIN: it is readable already */
}

static void set_state(struct xpa_pcm *p, enum xpa_pcm_state state) {
    p->state = state;
    atomic_store_explicit(&p->share->frontend.state, xpa_pcm_word(p->epoch, state),
                          memory_order_release);
    signal_program(p);
}

static void set_passed(struct xpa_pcm *p, uint64_t frames) {
    p->passed_frames = frames;
    atomic_store_explicit(&p->share->frontend.passed_frames, xpa_pcm_word(p->epoch, frames),
                          memory_order_release);
}

static void arm(struct xpa_pcm *p, uint64_t nsec) {
    if (nsec == p->armed_nsec)
        return;
    p->armed_nsec = nsec;
    xpa_timer_set(p->timer_source.fd, nsec);
}

/* The state is set first: what stopping brings may come back here. */
static void halt(struct xpa_pcm *p, enum xpa_pcm_state state) {
    bool ran = p->state == XPA_PCM_RUNNING, same = p->state == state;
    p->state = state;
    p->draining = false;
    arm(p, 0);
    if (ran && usable(p))
        xpa_front_end(p->front);
    if (!same)
        set_state(p, state);
}

void xpa_pcm_lose(struct xpa_pcm *p) {
    if (p->lost)
        return;
    p->lost = true;
    halt(p, XPA_PCM_STOPPED);
    atomic_store_explicit(&p->share->frontend.lost, 1, memory_order_release);
    signal_program(p);
}

/* What the program has written or read in this epoch; one that says what cannot be loses its PCM.
 */
static uint64_t appl_frames(struct xpa_pcm *p) {
    uint64_t word = atomic_load_explicit(&p->share->program.appl_frames, memory_order_acquire);
    if (xpa_pcm_epoch(word) != p->epoch)
        return captures(p) ? 0 : p->passed_frames; /* it is about to begin a new one */
    uint64_t frames = xpa_pcm_value(word);
    uint64_t ahead = captures(p) ? p->passed_frames - frames : frames - p->passed_frames;
    if (ahead <= p->buffer_frames)
        return frames;
    xpa_pcm_lose(p);
    return p->passed_frames;
}

/* The samples from `frame` on, and how many of `frames` lie there in a row. */
static uint8_t *samples(const struct xpa_pcm *p, uint64_t frame, uint32_t *frames) {
    uint32_t offset = (uint32_t)(frame % p->buffer_frames), left = p->buffer_frames - offset;
    *frames = *frames < left ? *frames : left;
    return (uint8_t *)p->share + XPA_PCM_SAMPLES + (size_t)offset * p->frame_bytes;
}

/* --- playback --- */

/* A frame that was not heard is still in the buffer, whatever the backend has copied: as with a
 * hardware buffer, one that is written a lap later would replace it. */
static uint32_t unheard_room(const struct xpa_front *f) {
    const struct xpa_front_stream *s = &f->stream;
    uint64_t unheard = s->written_frames - s->position_frames;
    return unheard < s->config.buffer_frames ? s->config.buffer_frames - (uint32_t)unheard : 0;
}

enum { CHUNK_BYTES = 4096 }; /* of frames on which the volume is made; more than one has */

/* `from` is the program's, which may write it again if it starts anew: so it is left as it is. */
static void put(struct xpa_pcm *p, const uint8_t *from, uint32_t frames) {
    _Alignas(8) uint8_t chunk[CHUNK_BYTES];
    uint32_t most = CHUNK_BYTES / p->frame_bytes;
    if (!xpa_pcm_gain_needed(&p->gain) || most == 0) {
        xpa_front_put(p->front, from, frames);
        return;
    }
    while (frames > 0) {
        uint32_t n = frames < most ? frames : most;
        memcpy(chunk, from, (size_t)n * p->frame_bytes);
        xpa_pcm_gain_apply(&p->gain, &p->front->stream.config, chunk, n);
        xpa_front_put(p->front, chunk, n);
        from += (size_t)n * p->frame_bytes;
        frames -= n;
    }
}

static void pass_on(struct xpa_pcm *p) {
    struct xpa_front *f = p->front;
    uint64_t written = appl_frames(p);
    for (bool urged = false; usable(p) && !p->lost && p->passed_frames < written;) {
        uint32_t room = xpa_front_room(f), frames = (uint32_t)(written - p->passed_frames);
        if (unheard_room(f) == 0)
            return; /* a position makes some */
        if (room == 0 && urged)
            return; /* an answer wakes us */
        if (room == 0) {
            xpa_front_urge(f);
            urged = true;
            continue;
        }
        frames = frames < room ? frames : room;
        frames = frames < unheard_room(f) ? frames : unheard_room(f);
        const uint8_t *from = samples(p, p->passed_frames, &frames);
        put(p, from, frames);
        set_passed(p, p->passed_frames + frames);
    }
}

/* The host's need as far as it is known: what positions say, or what it answered to a query. */
static double taken_frames(const struct xpa_front *f) {
    double host = f->stream.host_frames_max > 0 ? ceil(f->stream.host_frames_max)
                                                : (double)f->lead.asked_frames;
    return host + hand_over_frames(f);
}

/* A program that has written little when it starts gets the time to write more: what the host takes
 * before it can know that it must, is silence. */
static uint32_t silence_frames(struct xpa_pcm *p) {
    const struct xpa_front *f = p->front;
    const struct xpa_config *c = &f->stream.config;
    uint64_t queued = appl_frames(p) - p->passed_frames;
    uint32_t late = 2 * hand_over_frames(f) + c->rate / 200;
    uint64_t wanted = (uint64_t)taken_frames(f) + c->period_frames + 1 + late;
    return wanted > queued ? (uint32_t)(wanted - queued) : 0;
}

static void begin(struct xpa_pcm *p) {
    struct xpa_front *f = p->front;
    if (!usable(p) || f->stream.stopping)
        return; /* the answer to STOP comes back here */
    xpa_front_prepare(f);
    if (!captures(p)) {
        xpa_front_silence(f, silence_frames(p));
        pass_on(p);
    }
    if (p->lost)
        return;
    p->was_starved = false;
    set_state(p, XPA_PCM_RUNNING);
    xpa_front_begin(f);
}

static void begin_drain(struct xpa_pcm *p, uint64_t now_nsec) {
    const struct xpa_front_stream *s = &p->front->stream;
    uint64_t left = s->written_frames - s->position_frames + appl_frames(p) - p->passed_frames +
                    s->config.period_frames;
    p->draining = true;
    p->drain_until_nsec = now_nsec + left * 1000000000 / s->config.rate + LINGER_NSEC;
}

static void play(struct xpa_pcm *p, uint64_t now_nsec) {
    const struct xpa_front_stream *s = &p->front->stream;
    xpa_front_collect(p->front, now_nsec);
    pass_on(p);
    if (!usable(p) || p->state != XPA_PCM_RUNNING)
        return;
    bool all_heard = s->positioned && s->position_frames >= s->written_frames;
    if (p->draining) {
        if (all_heard || now_nsec >= p->drain_until_nsec)
            halt(p, XPA_PCM_DRAINED);
    } else if (s->starved && all_heard) {
        if (!p->was_starved)
            xpa_stats_xrun(&p->front->stats, now_nsec);
        if (!atomic_load_explicit(&p->share->program.goes_on_in_xrun, memory_order_relaxed))
            halt(p, XPA_PCM_XRUN);
    }
    p->was_starved = s->starved;
}

/* --- capture --- */

static void record(struct xpa_pcm *p, uint64_t now_nsec) {
    struct xpa_front *f = p->front;
    xpa_front_collect(f, now_nsec);
    if (usable(p))
        xpa_front_ask(f);
    uint64_t read = appl_frames(p);
    while (usable(p) && !p->lost) {
        uint32_t ready = xpa_front_ready(f);
        uint32_t room = p->buffer_frames - (uint32_t)(p->passed_frames - read);
        uint32_t frames = ready < room ? ready : room;
        if (ready > 0 && room == 0 &&
            !atomic_load_explicit(&p->share->program.goes_on_in_xrun, memory_order_relaxed)) {
            xpa_stats_xrun(&f->stats, now_nsec);
            halt(p, XPA_PCM_XRUN);
        }
        if (frames == 0 || p->state != XPA_PCM_RUNNING)
            return;
        uint8_t *to = samples(p, p->passed_frames, &frames);
        xpa_front_get(f, to, frames);
        xpa_pcm_gain_apply(&p->gain, &f->stream.config, to, frames);
        set_passed(p, p->passed_frames + frames);
    }
}

/* --- time --- */

static double newest_frame(const struct xpa_pcm *p) {
    const struct xpa_front_stream *s = &p->front->stream;
    return (double)(captures(p) ? s->read_frames : s->written_frames);
}

/* The program's frame at the stream's `position_frames`; and the inverse. */
static double in_program(const struct xpa_pcm *p, double position_frames) {
    return (double)p->passed_frames - (newest_frame(p) - position_frames);
}

static double in_stream(const struct xpa_pcm *p, double frames) {
    return newest_frame(p) - ((double)p->passed_frames - frames);
}

static struct xpa_pcm_line line_now(const struct xpa_pcm *p, uint64_t now_nsec) {
    struct xpa_pcm_line line = {.epoch = p->epoch, .base_nsec = now_nsec};
    const struct xpa_front *f = p->front;
    if (p->state != XPA_PCM_RUNNING || !usable(p))
        return line;
    line.taken_frames = captures(p) ? 0 : taken_frames(f);
    if (!f->stream.positioned || !xpa_front_time_ready(f)) {
        line.base_frames = in_program(p, (double)f->stream.base_frames);
        line.taken_frames = 0; /* the first position says what the host has taken */
        return line;
    }
    if (f->stream.starved) {
        line.base_frames = in_program(p, (double)f->stream.position_frames);
        return line;
    }
    double age = captures(p) ? f->stream.host_frames : 0;
    line.base_frames = in_program(p, xpa_front_position_at(f, now_nsec) + age);
    line.nsec_per_frame = xpa_front_nsec_per_frame(f);
    return line;
}

static void tell(struct xpa_pcm *p, uint64_t now_nsec) {
    struct xpa_front *f = p->front;
    p->line = line_now(p, now_nsec);
    xpa_pcm_line_put(p->share, &p->line);
    if (p->state != XPA_PCM_RUNNING || !usable(p))
        return;
    double delay = (double)appl_frames(p) - xpa_pcm_line_at(&p->line, now_nsec);
    delay = captures(p) ? -delay : delay;
    f->stats.cycles++;
    f->stats.delay_frames = (int64_t)(f->stream.written_frames - f->stream.position_frames);
    f->stats.lead_frames = (uint64_t)p->line.taken_frames;
    f->stats.true_frames = delay;
    f->stats.published_frames = (uint64_t)lround(fmax(delay, 0));
}

/* Wakes the program if it can go on, or sees to it that somebody looks when it can. */
static void wake(struct xpa_pcm *p, uint64_t now_nsec) {
    uint64_t appl = appl_frames(p), at = p->draining ? p->drain_until_nsec : 0;
    if (p->lost || p->state != XPA_PCM_RUNNING) {
        arm(p, 0);
        return;
    }
    uint64_t avail_min = atomic_load_explicit(&p->share->program.avail_min, memory_order_relaxed);
    uint64_t hw = xpa_pcm_hw_frames(captures(p), &p->line, p->passed_frames, now_nsec);
    uint64_t room = captures(p) ? 0 : p->buffer_frames;
    if (hw + room >= appl + avail_min) {
        signal_program(p);
    } else if (!captures(p) && p->line.nsec_per_frame > 0 && !p->draining) {
        double wanted = (double)(appl + avail_min) - (double)room;
        if (wanted <= (double)p->passed_frames) /* else frames must be passed on first */
            at = xpa_front_time_at(p->front, in_stream(p, wanted - p->line.taken_frames + 1));
    }
    arm(p, at == 0 || at > now_nsec + SETTLE_NSEC ? at : now_nsec + SETTLE_NSEC);
}

/* --- together --- */

static void follow(struct xpa_pcm *p, uint64_t now_nsec) {
    uint64_t word = atomic_load_explicit(&p->share->program.ask, memory_order_acquire);
    uint64_t ask = xpa_pcm_value(word);
    if (xpa_pcm_epoch(word) != p->epoch) {
        halt(p, XPA_PCM_STOPPED);
        p->epoch = xpa_pcm_epoch(word);
        set_passed(p, 0);
        set_state(p, XPA_PCM_STOPPED);
    }
    if (ask == XPA_PCM_ASK_STOP) {
        halt(p, XPA_PCM_STOPPED);
        return;
    }
    if (p->state == XPA_PCM_STOPPED && ask == XPA_PCM_ASK_DRAIN && appl_frames(p) == 0)
        set_state(p, XPA_PCM_DRAINED);
    else if (p->state == XPA_PCM_STOPPED)
        begin(p);
    if (p->state != XPA_PCM_RUNNING || ask != XPA_PCM_ASK_DRAIN || p->draining || !usable(p))
        return;
    if (captures(p))
        halt(p, XPA_PCM_DRAINED); /* what was captured so far can still be read */
    else
        begin_drain(p, now_nsec);
}

static void look(struct xpa_pcm *p, uint64_t now_nsec) {
    follow(p, now_nsec);
    if (p->state == XPA_PCM_RUNNING && usable(p))
        captures(p) ? record(p, now_nsec) : play(p, now_nsec);
}

void xpa_pcm_update(struct xpa_pcm *p, uint64_t now_nsec) {
    p->again = true;
    if (p->updating)
        return; /* what we do has brought this about: we look once more */
    p->updating = true;
    while (p->again && !p->lost) {
        p->again = false;
        if (usable(p))
            look(p, now_nsec);
        else
            xpa_pcm_lose(p);
    }
    p->updating = false;
    if (p->lost)
        return;
    tell(p, now_nsec);
    wake(p, now_nsec);
}

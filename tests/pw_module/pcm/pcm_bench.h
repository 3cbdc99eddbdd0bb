/* A program with PCMs on both halves joined (../halves/pair_bench.h): it does what the ALSA plugin
 * does with the shared memory, and is woken by nothing but its eventfd. */
#ifndef XPA_PCM_BENCH_H
#define XPA_PCM_BENCH_H

#include <unistd.h>

#include "../halves/pair_bench.h"
#include "pcm/pcm.h"

struct program {
    struct pair *pair;
    struct end *end;
    struct xpa_pcm *pcm;
    struct xpa_pcm_share *share;
    uint32_t period_frames, epoch;
    bool capture, silent; /* silent: it writes nothing more */
    uint64_t appl;
    uint64_t wakes, xruns, hw;
    int32_t last; /* capture: the newest sample that was not silent */
    uint64_t lost_frames, heard_frames;
    bool check_delay;
    double worst_frames;
};

static struct program program_new(struct pair *pair, struct end *end, uint32_t period_frames,
                                  uint32_t buffer_frames) {
    bool capture = end == &pair->capture;
    struct program g = {.pair = pair, .end = end, .period_frames = period_frames};
    g.capture = capture;
    g.pcm = xpa_pcm_new(pair->plane, 9, capture ? XPA_CAPTURE : XPA_PLAYBACK, FRAME_BYTES,
                        buffer_frames);
    g.share = g.pcm->share;
    g.share->program.avail_min = period_frames;
    return g;
}

static void program_bind(struct program *g) {
    xpa_pcm_bind(g->pcm, g->end->front);
    sim_settle(g->pair->plane);
}

/* Every frame up to the last one heard: once, in order. How many there were. */
static int32_t program_check_played(struct program *g) {
    struct end *e = &g->pair->play;
    int32_t next = 1;
    drain_tap(e);
    CHECK_EQ(xpa_tap_dropped_bytes(e->tap), 0);
    for (uint64_t i = 0; i < e->logged; i++)
        if (e->log[i]) {
            CHECK(e->log[i] == 2 * next, "host frame %llu holds %d/2, not %d",
                  (unsigned long long)i, e->log[i], next);
            next = e->log[i] / 2 + 1;
        }
    CHECK(next > 1000, "only %d frames were played", next);
    return next - 1;
}

static void program_free(struct program *g) {
    xpa_pcm_unbind(g->pcm);
    sim_settle(g->pair->plane);
    xpa_pcm_free(g->pcm);
    g->pcm = NULL;
}

static void program_kick(struct program *g) {
    uint64_t one = 1;
    CHECK_EQ(write(xpa_pcm_fd(g->pcm, XPA_PCM_KICK_FD), &one, sizeof one), sizeof one);
}

static void program_ask(struct program *g, enum xpa_pcm_ask ask) {
    g->share->program.ask = xpa_pcm_word(g->epoch, ask);
    program_kick(g);
}

static void program_prepare(struct program *g) {
    g->epoch++;
    g->appl = g->hw = 0;
    g->share->program.appl_frames = xpa_pcm_word(g->epoch, 0);
    program_ask(g, XPA_PCM_ASK_STOP);
    sim_settle(g->pair->plane);
}

static enum xpa_pcm_state program_state(const struct program *g) {
    uint64_t word = g->share->frontend.state;
    return xpa_pcm_epoch(word) == g->epoch ? xpa_pcm_value(word) : XPA_PCM_STOPPED;
}

static struct xpa_pcm_line program_line(const struct program *g) {
    struct xpa_pcm_line line;
    CHECK(xpa_pcm_line_get(g->share, &line), "a line is half written");
    return line;
}

static int32_t *program_sample(struct program *g, uint64_t frame) {
    return (int32_t *)((uint8_t *)g->share + XPA_PCM_SAMPLES) + frame % g->pcm->buffer_frames;
}

static uint64_t program_hw(struct program *g) {
    struct xpa_pcm_line line = program_line(g);
    uint64_t passed = g->share->frontend.passed_frames;
    if (xpa_pcm_epoch(passed) != g->epoch || line.epoch != g->epoch)
        return g->hw;
    uint64_t hw = xpa_pcm_hw_frames(g->capture, &line, xpa_pcm_value(passed), sim_now);
    CHECK(g->capture || hw <= g->appl, "taken %llu, written %llu", (unsigned long long)hw,
          (unsigned long long)g->appl);
    g->hw = hw > g->hw ? hw : g->hw;
    return g->hw;
}

/* How far off the told delay is. */
static void program_check_delay(struct program *g) {
    struct xpa_pcm_line line = program_line(g);
    double told = (double)g->appl - xpa_pcm_line_at(&line, sim_now);
    double heard = truth(g->pair);
    double error = told - ((double)g->appl - heard);
    g->worst_frames = fmax(g->worst_frames, fabs(error));
}

static void program_write(struct program *g, uint32_t frames) {
    for (uint32_t i = 0; i < frames; i++)
        *program_sample(g, g->appl + i) = 2 * ++g->end->next;
    g->appl += frames;
    g->share->program.appl_frames = xpa_pcm_word(g->epoch, g->appl);
    if (program_state(g) == XPA_PCM_RUNNING)
        program_kick(g);
}

static void program_play(struct program *g) {
    while (!g->silent && program_hw(g) + g->pcm->buffer_frames >= g->appl + g->period_frames)
        program_write(g, g->period_frames);
}

/* Frames that were heard come back `delay` later, each once and in order; how old they are is what
 * the line says. */
static void program_record(struct program *g) {
    struct pair *p = g->pair;
    double nsec_per_frame = 1e9 / (RATE * (1.0 + p->ppm * 1e-6));
    uint32_t delay_frames = 480;
    uint64_t hw = program_hw(g);
    drain_tap(&p->play);
    struct xpa_pcm_line line = program_line(g);
    for (; g->appl < hw; g->appl++) {
        int32_t sample = *program_sample(g, g->appl);
        if (sample == 0)
            continue;
        g->lost_frames += g->last && sample != g->last + 2;
        g->last = sample;
        g->heard_frames++;
        if (!g->check_delay || g->appl + 1 < hw)
            continue;
        uint64_t host = p->play.logged;
        while (host > 0 && p->play.log[host - 1] != sample)
            host--;
        double heard_nsec = (double)(int64_t)(mark_nsec - sim_now) +
                            ((double)(host - 1) - (double)mark_frames) * nsec_per_frame;
        double age = -heard_nsec / nsec_per_frame - delay_frames;
        double told = xpa_pcm_line_at(&line, sim_now) - (double)g->appl;
        g->worst_frames = fmax(g->worst_frames, fabs(told - age));
    }
    g->share->program.appl_frames = xpa_pcm_word(g->epoch, g->appl);
}

static void program_wake(void *data) {
    struct program *g = data;
    uint64_t count;
    if (!g->pcm || read(xpa_pcm_fd(g->pcm, XPA_PCM_WAKE_FD), &count, sizeof count) < 0)
        return;
    g->wakes++;
    if (program_state(g) == XPA_PCM_XRUN) {
        g->xruns++;
        program_prepare(g);
        program_play(g);
        program_ask(g, XPA_PCM_ASK_START);
    } else if (program_state(g) == XPA_PCM_RUNNING) {
        g->capture ? program_record(g) : program_play(g);
        if (!g->capture && g->check_delay)
            program_check_delay(g);
    }
}

/* Fills its buffer and starts, as snd_pcm_writei() does. */
static void program_start(struct program *g) {
    program_prepare(g);
    if (!g->capture)
        program_play(g);
    program_ask(g, XPA_PCM_ASK_START);
    sim_settle(g->pair->plane);
}

#endif

/* time/margin.c - see time/margin.h. */
#include "time/margin.h"

/* 10 ms at the most, or what is least. */
static const uint32_t MOST_PER_SEC = 100;
static const uint64_t FIRST_WAIT_NSEC = 8000000000, LONGEST_WAIT_NSEC = 600000000000;
/* Half of the margin would not have done if this part of that half was used. */
static const double NEEDED_PART = 0.75;

static uint32_t half(const struct xpa_margin *g) {
    return g->frames / 2 > g->base_frames ? g->frames / 2 : g->base_frames;
}

static void resize(struct xpa_margin *g, uint32_t frames) {
    g->frames = frames;
    g->grown_nsec = frames * 1000000000ull / g->rate;
}

void xpa_margin_open(struct xpa_margin *g, uint32_t rate, uint32_t base_frames) {
    uint32_t grown = (uint32_t)((g->grown_nsec * rate + 500000000) / 1000000000);
    g->rate = rate;
    g->base_frames = base_frames;
    g->frames = grown > base_frames ? grown : base_frames;
}

uint32_t xpa_margin_grow(struct xpa_margin *g, uint64_t now_nsec) {
    uint32_t most = g->rate / MOST_PER_SEC, before = g->frames;
    if (g->halved) {
        g->wait_nsec = 2 * (g->wait_nsec ? g->wait_nsec : FIRST_WAIT_NSEC);
        if (g->wait_nsec > LONGEST_WAIT_NSEC)
            g->wait_nsec = LONGEST_WAIT_NSEC;
    }
    g->halved = false;
    g->needed_nsec = now_nsec;
    if (g->frames < most)
        resize(g, 2 * g->frames < most ? 2 * g->frames : most);
    return g->frames - before;
}

void xpa_margin_used(struct xpa_margin *g, double frames, uint64_t now_nsec) {
    if (frames > NEEDED_PART * half(g))
        g->needed_nsec = now_nsec;
}

uint32_t xpa_margin_ease(struct xpa_margin *g, uint64_t now_nsec) {
    uint64_t wait = g->wait_nsec ? g->wait_nsec : FIRST_WAIT_NSEC;
    if (g->frames <= g->base_frames || now_nsec < g->needed_nsec + wait)
        return 0;
    uint32_t before = g->frames;
    resize(g, half(g));
    g->halved = true;
    g->needed_nsec = now_nsec;
    return before - g->frames;
}

/*
 * The frontend's data plane before a backend that writes what it likes into both pages, at any
 * moment, while a graph plays or records through it.
 *
 * Invariant: nothing outside of the two pages and the open buffer is touched; never more requests
 * are under way than the ring holds; a response is taken once, only for what was published, and
 * answers one transfer at most, so that the frames under way are always those of the transfers
 * that are; no more events are believed than the ring holds; the graph is never promised more
 * frames than the buffer has; and in the end no memory or descriptor is left.
 *
 * One thread plays graph, Python and backend on a simulated clock.
 */
#include <math.h>

#include "front/front.h"
#include "fuzz.h"
#include "wrong_event.h"

static struct world {
    struct xpa_plane *plane;
    struct link *link; /* its channels; the pages are by themselves */
    void *ring_page, *event_page;
    struct xpa_front *front;
    uint8_t *buffer;
    struct xpa_config config;
    uint32_t published, taken;
    /* Python */
    uint32_t notices[9], asked;
    bool asks, open, ended;
    /* a backend that counts right */
    uint32_t answered, events;
    uint64_t position_frames;
} w;

int __wrap_xpa_front_ring_pop(struct xpa_front_ring *r, struct xensnd_resp *out);
int __real_xpa_front_ring_pop(struct xpa_front_ring *r, struct xensnd_resp *out);
bool __wrap_xpa_front_ring_publish(struct xpa_front_ring *r);
bool __real_xpa_front_ring_publish(struct xpa_front_ring *r);
int __wrap_xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out);
int __real_xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out);

int __wrap_xpa_evt_ring_pop(struct xpa_evt_ring *r, struct xensnd_evt *out) {
    uint32_t unread = ((struct xensnd_event_page *)r->page)->in_prod - r->in_cons;
    int got = __real_xpa_evt_ring_pop(r, out);
    HOLDS(got != 1 || unread <= XPA_EVT_RING_SLOTS, "an event of %u that are unread", unread);
    return got;
}

bool __wrap_xpa_front_ring_publish(struct xpa_front_ring *r) {
    w.published = r->req_prod_pvt;
    HOLDS(w.published - w.taken <= XPA_RING_SLOTS, "%u requests", w.published - w.taken);
    return __real_xpa_front_ring_publish(r);
}

int __wrap_xpa_front_ring_pop(struct xpa_front_ring *r, struct xensnd_resp *out) {
    int got = __real_xpa_front_ring_pop(r, out);
    if (got != 1)
        return got;
    HOLDS(r->rsp_cons == ++w.taken, "response %u taken as %u", r->rsp_cons, w.taken);
    HOLDS(w.published - w.taken < XPA_RING_SLOTS, "response %u of %u", w.taken, w.published);
    return got;
}

/* --- Python --- */

static void python(void *data) {
    struct xpa_notice notice;
    (void)data;
    while (xpa_plane_next_notice(w.plane, &notice)) {
        HOLDS(notice.kind < 9, "notice %u", notice.kind);
        w.notices[notice.kind]++;
        if (notice.kind == XPA_NOTICE_RESPONSE) {
            HOLDS(w.asks, "an answer to nothing");
            w.asks = false;
        }
        HOLDS(notice.kind != XPA_NOTICE_BROKEN || w.notices[notice.kind] == 1, "broken twice");
        struct xensnd_evt event;
        memcpy(&event, notice.packet, sizeof event);
        HOLDS(notice.kind != XPA_NOTICE_VOLUME || event.type == XPA_EVT_VOLUME, "event %u",
              event.type);
    }
}

static void python_ask(const struct record *r) {
    struct xensnd_req request = {.operation = XENSND_OP_GET_VOLUME};
    if (w.asks || w.ended) /* one at a time */
        return;
    if ((r->how & 3) == 3) {
        uint8_t data[XPA_CONTROL_BYTES] = {0};
        w.asks = xpa_front_control(w.front, XENSND_OP_SET_VOLUME, data,
                                   1 + r->small % XPA_CONTROL_BYTES) == 0;
        return;
    }
    w.asks = true;
    request.op.rw.length = r->number;
    xpa_front_request(w.front, (const uint8_t *)&request);
}

static void python_open(const struct record *r) {
    struct xpa_config *c = &w.config;
    if (w.open)
        return;
    *c = (struct xpa_config){
        .rate = r->how & 64 ? 8000 : 48000,
        .channels = 1 + (r->how & 1),
        .sample_bytes = 1u << (r->how >> 1 & 3),
        .buffer_frames = 1 + r->small % 900,
    };
    c->period_frames = r->number % (c->buffer_frames + 1);
    c->sample_kind = fuzz_sample_kind(c->sample_bytes, r->how);
    free(w.buffer); /* CLOSE was answered by RELEASED */
    c->buffer = w.buffer = calloc(c->buffer_frames, (size_t)c->channels * c->sample_bytes);
    w.open = xpa_front_open(w.front, c, r->number % c->buffer_frames, 0) == 0;
}

static void python_close(void) {
    if (w.open)
        xpa_front_close(w.front);
    w.open = false;
}

/* --- the backend --- */

/* The next event, of a position near the last one or of any. */
static void position(const struct record *r) {
    struct xensnd_event_page *page = w.event_page;
    uint32_t frame_bytes = w.config.channels * w.config.sample_bytes;
    w.position_frames += r->how & 1 ? r->small : w.config.period_frames;
    xpa_evt_ring_set_filled(&w.front->link.event_ring,
                            r->what & 128 ? r->small : (uint32_t)w.position_frames);
    uint32_t at = page->in_prod;
    XENSND_IN_RING_REF(page, at) = wrong_event(r, w.events++, w.position_frames * frame_bytes);
    page->in_prod = at + 1;
    if (!(r->how & 128))
        xpa_channel_notify(&w.link->events[HOST]);
}

/* The oldest request that is published, in its own slot. */
static void answer(const struct record *r) {
    struct xen_sndif_sring *ring = w.ring_page;
    struct xensnd_req request;
    struct xensnd_resp response;
    if (w.published - w.taken == 0 || w.published - w.answered > XPA_RING_SLOTS)
        w.answered = w.taken;
    if (w.answered == w.published)
        return;
    memcpy(&request, &ring->ring[w.answered % XPA_RING_SLOTS], sizeof request);
    memset(&response, 0, sizeof response);
    response.id = (uint16_t)(request.id + (r->how & 1 ? r->number % 5 - 2 : 0));
    response.operation = r->how & 4 ? r->how : request.operation;
    response.status = r->how & 8 ? (int32_t)r->number : 0;
    memcpy(&ring->ring[w.answered % XPA_RING_SLOTS], &response, sizeof response);
    ring->rsp_prod = ++w.answered;
    if (!(r->how & 128))
        xpa_channel_notify(&w.link->requests[HOST]);
}

static void backend(const struct record *r) {
    struct xen_sndif_sring *ring = w.ring_page;
    switch (r->what % 24) {
    case 6:
        fuzz_poke(w.ring_page, r->small, r->number);
        break;
    case 7:
        fuzz_poke(w.event_page, r->small, r->number);
        break;
    case 8:
        ring->rsp_prod += r->number;
        xpa_channel_notify(&w.link->requests[HOST]);
        break;
    case 9:
        ((struct xensnd_event_page *)w.event_page)->in_prod += r->number;
        xpa_channel_notify(&w.link->events[HOST]);
        break;
    case 10:
        xpa_channel_notify(r->how & 1 ? &w.link->events[HOST] : &w.link->requests[HOST]);
        break;
    default:
        if (r->what % 2)
            position(r);
        else
            answer(r);
    }
}

/* --- the graph, and the rest of Python --- */

static void graph_start(const struct record *r) {
    struct xpa_front *f = w.front;
    if (!f->stream.open || f->stream.started || f->stream.stopping || f->link.broken)
        return;
    xpa_front_prepare(f);
    if (f->direction == XPA_PLAYBACK)
        xpa_front_silence(f, r->number);
    xpa_front_begin(f);
}

/* Whether positions wake us is chosen anew at each step of the graph; they are read at any. */
static void graph_listens(const struct record *r) {
    struct xpa_front *f = w.front;
    if (!f->stream.open || f->link.broken)
        return;
    xpa_front_let_poll(f, !(r->how & 16), sim_now);
    if (r->how & 8)
        xpa_front_hear(f, sim_now);
    if (f->link.polls || r->how & 4)
        xpa_front_poll(f, sim_now);
}

static void graph_cycle(const struct record *r) {
    struct xpa_front *f = w.front;
    xpa_front_collect(f, sim_now);
    graph_listens(r);
    uint32_t most = f->direction == XPA_PLAYBACK ? xpa_front_room(f) : 0;
    if (f->direction == XPA_CAPTURE) {
        if (f->stream.open && !f->link.broken)
            xpa_front_ask(f);
        most = xpa_front_ready(f);
    }
    HOLDS(!f->stream.open || most <= w.config.buffer_frames, "%u frames of %u", most,
          w.config.buffer_frames);
    if (!f->stream.open || most == 0)
        return;
    uint32_t frames = r->how & 1 ? most : r->small % (most + 1);
    size_t bytes = (size_t)frames * f->stream.frame_bytes;
    uint8_t *data = calloc(1, bytes + 1);
    if (f->direction == XPA_PLAYBACK)
        xpa_front_put(f, r->how & 2 ? NULL : data, frames);
    else
        xpa_front_get(f, data, frames);
    free(data);
}

static void graph_times(const struct record *r) {
    struct xpa_front *f = w.front;
    if (!f->stream.open || !xpa_front_time_ready(f))
        return;
    uint64_t at = xpa_front_time_at(f, (double)f->stream.position_frames + r->small);
    double frames = xpa_front_position_at(f, sim_now + r->number);
    HOLDS(isfinite(frames) && isfinite(xpa_front_ppm(f)), "no number");
    HOLDS(xpa_front_nsec_per_frame(f) > 0, "frames at once, at %llu", (unsigned long long)at);
    (void)xpa_front_time_locked(f);
}

/* A while in which graph and backend do all as they should, so that its clock is believed. */
static void play(const struct record *r) {
    const struct xpa_front_stream *s = &w.front->stream;
    struct record nothing = {0}, whole = {0, 1, 0, 0};
    python_open(r);
    sim_settle(w.plane);
    graph_start(&nothing);
    for (int i = 0; i < r->how % 32 && s->open && !w.ended; i++) {
        uint32_t frames = w.config.period_frames ? w.config.period_frames : 1;
        struct record heard = {0, 0, 0, 1};
        graph_cycle(&whole);
        for (int k = 0; k < XPA_RING_SLOTS && w.answered != w.published; k++)
            answer(&nothing);
        sim_run(w.plane, frames * SIM_SEC / w.config.rate);
        fuzz_count(true);
        position(&heard);
        sim_settle(w.plane);
    }
    struct xpa_peer_clock *peer = w.front->link.peer;
    if (r->how & 64 && s->open && xpa_front_time_locked(w.front)) /* after some seconds of that */
        peer->rests_until_nsec = sim_now + (peer->rest_nsec = 8 * SIM_SEC);
}

static void others(const struct record *r) {
    struct xpa_front *f = w.front;
    switch (r->what % 24) {
    case 11:
    case 12:
        graph_cycle(r);
        break;
    case 13:
        play(r);
        break;
    case 14:
        graph_start(r);
        break;
    case 15:
        xpa_front_end(f);
        break;
    case 16:
        graph_times(r);
        break;
    case 17:
    case 18:
        sim_run(w.plane, r->number % (r->how & 1 ? 20 * SIM_MSEC : 1 + r->small));
        break;
    case 19:
        sim_run(w.plane, r->how == 0 ? 4 * SIM_SEC : 300 * SIM_MSEC);
        break;
    case 20:
        if (!w.ended)
            xpa_front_check(f);
        break;
    case 21:
        python_ask(r);
        break;
    case 22:
        if (r->how & 128)
            xpa_front_urge(f);
        else if (r->how & 32)
            python_close();
        else
            python_open(r);
        break;
    case 23:
        if (r->how == 0 && !w.ended) {
            w.ended = true;
            xpa_front_detach(f);
        }
    }
}

/* --- a world for each input --- */

static void begin(const struct record *first) {
    memset(&w, 0, sizeof w);
    sim_reset();
    sim_now = 1000 * SIM_SEC;
    w.plane = xpa_plane_new();
    w.link = link_new();
    w.ring_page = fuzz_page();
    w.event_page = fuzz_page();
    w.front =
        xpa_front_new(w.plane, 3, first->how >> 7, w.ring_page, w.event_page,
                      w.link->requests[GUEST], w.link->events[GUEST], (first->how & 32) != 0, 8);
    sim_add_poll(python, NULL);
    xpa_front_hear_volumes(w.front);
    xpa_front_attach(w.front);
    python_open(first);
    sim_settle(w.plane);
}

static void end(void) {
    if (!w.ended)
        xpa_front_detach(w.front);
    sim_settle(w.plane);
    HOLDS(w.notices[XPA_NOTICE_DETACHED] == 1, "detached %u times", w.notices[XPA_NOTICE_DETACHED]);
    HOLDS(xpa_plane_take_lost_notices(w.plane) == 0, "a notice was lost");
    xpa_front_free(w.front);
    xpa_plane_free(w.plane);
    link_free(w.link);
    free(w.ring_page);
    free(w.event_page);
    free(w.buffer);
    HOLDS(kernel_open_files() == 0, "a descriptor is left");
}

static void check_transfers(void) {
    const struct xpa_front *f = w.front;
    uint32_t under_way = f->link.transfers_end - f->link.transfers_begin;
    uint64_t frames = 0;
    uint32_t awaited = 0;
    HOLDS(under_way <= XPA_TRANSFERS, "%u transfers", under_way);
    for (uint32_t i = f->link.transfers_begin; i != f->link.transfers_end; i++) {
        const struct xpa_transfer *t = &f->link.transfers[i % XPA_TRANSFERS];
        frames += t->frames;
        awaited += !t->answered && (t->timed || t->operation == XENSND_OP_TRIGGER);
    }
    HOLDS(awaited == f->link.awaited, "%u answers are awaited, %u counted", awaited,
          f->link.awaited);
    HOLDS(frames == f->link.pending_frames, "%llu frames under way, %llu counted",
          (unsigned long long)frames, (unsigned long long)f->link.pending_frames);
    HOLDS(!w.config.buffer_frames || frames <= 32ull * 900, "%llu frames under way",
          (unsigned long long)frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t count = size / sizeof(struct record), after = 0;
    struct record r = {0};
    memcpy(&r, data, count ? sizeof r : 0);
    begin(&r);
    for (size_t i = 1; i < count && after < MOST_RECORDS_AFTER; i++) {
        memcpy(&r, data + i * sizeof r, sizeof r);
        if (r.what % 24 < 11)
            backend(&r);
        else
            others(&r);
        sim_settle(w.plane);
        after += !fuzz_count(!w.front->link.broken && !w.ended);
        check_transfers();
    }
    end();
    return 0;
}

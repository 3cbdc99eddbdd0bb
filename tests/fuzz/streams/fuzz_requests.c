/*
 * The backend's data plane before a guest that writes what it likes into both pages, at any moment.
 *
 * Invariant: nothing outside of the two pages and the open buffer is touched; each request that was
 * there is taken once and answered once, in order and under its own id, however the guest moves the
 * indices or rewrites slots meanwhile; events never fill more slots than the guest gave back; what
 * the guest's requests cost stays within its budget; and in the end no memory, descriptor or buffer
 * is left.
 *
 * One thread plays guest, Python and host on a simulated clock.
 */
#include "requests_model.h"
#include "xen/volume_ext.h"

/* --- Python --- */

static uint32_t frame_bytes(const struct xpa_config *c) { return c->channels * c->sample_bytes; }

/* OPEN with the numbers that the guest sent, as far as Python lets them through; the number of
 * channels is also checked in C. */
static int python_open(const struct xensnd_req *request) {
    const struct xensnd_open_req *o = &request->op.open;
    struct xpa_config c = {
        .rate = o->pcm_rate % 768000 + 1,
        .channels = o->pcm_channels % 8 ? 1 + o->pcm_channels % 2 : o->pcm_channels,
        .sample_bytes = 1u << o->pcm_format % 4,
    };
    /* few pages at most, for what clears them is most of the time */
    c.buffer_frames = 1 + o->buffer_sz % (c.channels > 2 ? 60 : 600);
    c.period_frames = o->period_sz % (c.buffer_frames + 1);
    c.sample_kind = fuzz_sample_kind(c.sample_bytes, o->pcm_format >> 2);
    while (c.rate > 1 && c.rate / 4 * frame_bytes(&c) > 1u << 15)
        c.rate /= 2; /* what max-store-bytes of the policy is for; more is time to clear it */
    if (w.open) {    /* Python closes the old one first */
        xpa_back_close(w.back);
        w.open = false;
    }
    if (w.buffers_end - w.buffers_begin >= 60)
        return -ENOMEM;
    uint8_t *buffer = malloc((size_t)c.buffer_frames * (frame_bytes(&c) ? frame_bytes(&c) : 1));
    memset(buffer, 0x11, (size_t)c.buffer_frames * frame_bytes(&c));
    c.buffer = buffer;
    int result = xpa_back_open(w.back, &c);
    HOLDS((result == -EINVAL) == (c.channels == 0 || c.channels > XPA_MAX_CHANNELS),
          "%u channels: %d", c.channels, result);
    if (result < 0) {
        free(buffer);
        return result;
    }
    w.buffers[w.buffers_end++ % 64] = buffer;
    w.open = true;
    w.config = c;
    return 0;
}

/* What the host made of the volume. */
static void python_tell_volume(const struct record *r) {
    struct xensnd_evt event = {.type = XPA_EVT_VOLUME};
    struct xpa_volume_ext ext = {.changed = r->how >> 2 & 3, .channels = 2, .volumes = {-1, -2}};
    memcpy(&event.op, &ext, sizeof ext);
    if (!w.ended)
        xpa_back_tell_volume(w.back, (const uint8_t *)&event);
}

static void python_answer(const struct xensnd_req *request) {
    struct xensnd_resp response;
    memset(&response, 0, sizeof response);
    response.id = request->id;
    response.operation = request->operation;
    if (request->operation == XENSND_OP_OPEN) {
        response.status = python_open(request);
    } else if (request->operation == XENSND_OP_CLOSE) {
        if (w.open)
            xpa_back_close(w.back);
        w.open = false;
    } else {
        response.status = -EOPNOTSUPP;
    }
    xpa_back_respond(w.back, (const uint8_t *)&response);
}

static void python(void *data) {
    struct xpa_notice notice;
    (void)data;
    while (!w.asleep && xpa_plane_next_notice(w.plane, &notice)) {
        HOLDS(notice.kind < 8, "notice %u", notice.kind);
        w.notices[notice.kind]++;
        if (notice.kind == XPA_NOTICE_REQUEST) {
            struct xensnd_req request;
            memcpy(&request, notice.packet, sizeof request);
            HOLDS(w.notices[XPA_NOTICE_REQUEST] <= w.slow, "a request was passed up twice");
            python_answer(&request);
        }
        if (notice.kind == XPA_NOTICE_RELEASED)
            free(w.buffers[w.buffers_begin++ % 64]);
        HOLDS(notice.kind != XPA_NOTICE_BROKEN || w.notices[notice.kind] == 1, "broken twice");
    }
}

/* --- the guest --- */

static void guest_push(const struct record *r) {
    const struct xpa_back_stream *s = &w.back->stream;
    struct xensnd_req request;
    memset(&request, 0, sizeof request);
    memcpy(&request.op, r, sizeof *r); /* what is no transfer or OPEN */
    request.id = (uint16_t)(w.guest_prod + r->small);
    request.operation =
        r->how % 16 < 4 ? XENSND_OP_WRITE + (s->open && w.direction ? -1 : 0) : r->how % 16 - 4;
    bool transfer = request.operation == XENSND_OP_READ || request.operation == XENSND_OP_WRITE;
    if (transfer) {
        request.op.rw.offset = r->number;
        request.op.rw.length = r->small;
        if (r->how & 0x40) {
            request.op.rw.offset = r->small;
            request.op.rw.length = r->number;
        }
        if (s->open && !(r->how & 0x80)) { /* mostly what can be done, up to just too much */
            uint32_t buffer = s->config.buffer_frames;
            request.op.rw.offset = r->number % (buffer + 1) * s->frame_bytes;
            request.op.rw.length = r->small % (buffer + 2) * s->frame_bytes;
            if (r->how & 0x20) /* or so long that its end comes round to 0 */
                request.op.rw.length = 0 - request.op.rw.length;
        }
    } else if (request.operation == XENSND_OP_TRIGGER) {
        request.op.trigger.type = (uint8_t)(r->number % 5);
    } else if (request.operation == XENSND_OP_OPEN) {
        request.op.open = (struct xensnd_open_req){.pcm_rate = r->number,
                                                   .pcm_format = (uint8_t)r->small,
                                                   .pcm_channels = (uint8_t)(r->small >> 8),
                                                   .buffer_sz = r->number >> 3,
                                                   .period_sz = r->small};
    }
    guest_publish(&request);
    xpa_channel_notify(&w.link->requests[GUEST]);
}

static void guest(const struct record *r) {
    struct xen_sndif_sring *ring = w.ring_page;
    struct xensnd_event_page *events = w.event_page;
    switch (r->what % 24) {
    case 8:
        fuzz_poke(w.ring_page, r->small, r->number);
        break;
    case 9:
        fuzz_poke(w.event_page, r->small, r->number);
        break;
    case 10: /* a jump, and the guest counts on from there */
        ring->req_prod += r->number;
        w.guest_prod = ring->req_prod;
        break;
    case 11: /* all are read, or nearly as many unread as there may be */
        events->in_cons = events->in_prod - (r->how & 1 ? 0 : 60 + r->number % 6);
        if (r->how & 2)
            events->in_cons = r->number;
        xpa_channel_notify(&w.link->events[GUEST]);
        break;
    case 12:
        w.is_meanwhile = (r->how & 1) != 0;
        w.meanwhile = *r;
        w.refills = r->how & 1 ? 0 : r->number % 1000;
        break;
    case 13:
        xpa_channel_notify(r->how & 1 ? &w.link->events[GUEST] : &w.link->requests[GUEST]);
        break;
    default: /* one that counts right again: else nothing would follow its first jump */
        if (w.guest_prod - w.answered > XPA_RING_SLOTS)
            w.guest_prod = w.taken;
        if (w.guest_prod - w.answered < XPA_RING_SLOTS)
            guest_push(r);
    }
}

/* --- the host, and the rest of Python --- */

static void host_cycle(const struct record *r) {
    struct xpa_back *b = w.back;
    uint32_t frames = r->small % 700;
    xpa_back_collect(b, sim_now);
    if (!b->stream.open || !b->link.attached)
        return;
    uint8_t *data = malloc((size_t)frames * b->stream.frame_bytes + 1);
    memset(data, 0x22, (size_t)frames * b->stream.frame_bytes);
    if (w.direction == XPA_CAPTURE) {
        xpa_back_push(b, data, frames, r->number % 200000000);
    } else if (r->how % 8 == 0) {
        xpa_back_hold(b, frames);
    } else {
        uint32_t got = xpa_back_pull(b, data, frames);
        HOLDS(got <= frames, "%u frames of %u", got, frames);
    }
    free(data);
    uint64_t before = b->stream.host_frames - frames;
    bool heard = w.direction == XPA_PLAYBACK || r->how & 8;
    xpa_back_mark(b, sim_now + r->number % 50000000, heard ? before : b->stream.host_frames);
}

/* A while in which guest and host do all as they should; without it no position would ever be
 * believed, and no event sent. */
static void play(const struct record *r) {
    const struct xpa_back_stream *s = &w.back->stream;
    struct record open = {0, XENSND_OP_OPEN + 4, (uint16_t)(r->small | 1), r->number};
    struct record start = {0, XENSND_OP_TRIGGER + 4, 0, XENSND_OP_TRIGGER_START};
    if (!s->open)
        guest(&open);
    sim_settle(w.plane);
    if (s->open && !s->running)
        guest(&start);
    for (int i = 0; i < r->how % 32 && s->open && w.back->link.attached; i++) {
        uint32_t frames = 1 + s->config.buffer_frames / 4;
        struct record move = {0, 0, (uint16_t)frames, s->next_offset_frames};
        struct record cycle = {0, 1, (uint16_t)frames, 0};
        guest(&move);
        sim_run(w.plane, frames * SIM_SEC / s->config.rate);
        fuzz_count(true);
        host_cycle(&cycle);
        sim_settle(w.plane);
    }
}

static void others(const struct record *r) {
    switch (r->what % 24) {
    case 14:
        host_cycle(r);
        break;
    case 15:
        play(r);
        break;
    case 16:
    case 17:
        sim_run(w.plane, r->number % (r->how & 1 ? 20 * SIM_MSEC : 1 + r->small));
        break;
    case 18:
        sim_run(w.plane, r->how == 0 ? 2 * SIM_SEC : 200 * SIM_MSEC);
        break;
    case 19:
        w.asleep = r->how & 1;
        break;
    case 20:
        atomic_store(&w.back->shared.host_wakes, r->how & 1);
        if (r->how & 2)
            python_tell_volume(r);
        break;
    case 21:
        xpa_back_missed(w.back, w.open ? r->small : 0);
        break;
    case 22:
        xpa_back_inject_faults(w.back, r->number % 5000000, r->small, r->how * 100000);
        break;
    case 23:
        if (r->how == 0 && !w.ended) {
            w.ended = true;
            xpa_back_detach(w.back);
        }
    }
}

/* --- a world for each input --- */

static void begin(const struct record *first) {
    memset(&w, 0, sizeof w);
    sim_reset();
    sim_now = 1000 * SIM_SEC;
    w.begin_nsec = sim_now;
    w.plane = xpa_plane_new();
    w.link = link_new();
    w.ring_page = fuzz_page();
    w.event_page = fuzz_page();
    w.direction = first->how & 1;
    for (int i = 0; i < 64 && first->how & 8; i++) /* what an earlier frontend left there */
        fuzz_poke(first->how & 16 ? w.ring_page : w.event_page, first->small + i, first->number);
    w.back = xpa_back_new(w.plane, 7, w.direction, w.ring_page, w.event_page,
                          w.link->requests[HOST], w.link->events[HOST], (first->how & 2) != 0);
    sim_add_poll(python, NULL);
    if (first->how & 4)
        xpa_back_watch(w.back);
    if (first->how & 32)
        xpa_back_tell_volumes(w.back);
    xpa_back_attach(w.back);
    sim_settle(w.plane);
}

static void end(void) {
    w.asleep = false;
    sim_settle(w.plane);
    if (!w.ended)
        xpa_back_detach(w.back);
    sim_settle(w.plane);
    HOLDS(w.notices[XPA_NOTICE_DETACHED] == 1, "detached %u times", w.notices[XPA_NOTICE_DETACHED]);
    HOLDS(w.back->stats.transfers == w.transfers, "%llu transfers of %llu",
          (unsigned long long)w.back->stats.transfers, (unsigned long long)w.transfers);
    HOLDS(xpa_plane_take_lost_notices(w.plane) == 0, "a notice was lost");
    HOLDS(w.buffers_end - w.buffers_begin == (w.open ? 1u : 0u), "%u buffers are still lent",
          w.buffers_end - w.buffers_begin);
    while (w.buffers_begin != w.buffers_end) /* DETACHED gives the last one back */
        free(w.buffers[w.buffers_begin++ % 64]);
    xpa_back_free(w.back);
    xpa_plane_free(w.plane);
    link_free(w.link);
    free(w.ring_page);
    free(w.event_page);
    HOLDS(kernel_open_files() == 0, "a descriptor is left");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t count = size / sizeof(struct record), after = 0;
    struct record r = {0};
    memcpy(&r, data, count ? sizeof r : 0);
    begin(&r);
    for (size_t i = 1; i < count && after < MOST_RECORDS_AFTER; i++) {
        memcpy(&r, data + i * sizeof r, sizeof r);
        uint32_t before = w.back->link.event_ring.in_prod;
        if (r.what % 24 < 14)
            guest(&r);
        else
            others(&r);
        sim_settle(w.plane);
        after += !fuzz_count(w.back->link.attached);
        uint32_t unread =
            w.back->link.event_ring.in_prod - ((struct xensnd_event_page *)w.event_page)->in_cons;
        HOLDS(w.back->link.event_ring.in_prod == before || unread <= XPA_EVT_RING_SLOTS,
              "%u events unread", unread);
        HOLDS(w.back->link.ring.rsp_prod_pvt == w.answered, "answers do not add up");
    }
    end();
    return 0;
}

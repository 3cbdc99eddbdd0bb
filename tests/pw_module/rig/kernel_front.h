/*
 * Linux's frontend as far as positions go: what the driver does with CUR_POS (by reading its
 * source: sound/xen/xen_snd_front_evtchnl.c, xen_snd_front_alsa.c) and what ALSA's core makes of
 * the driver's pointer (sound/core/pcm_lib.c, pcm_native.c). In our own words.
 *
 * The driver: (1) a period has elapsed when the frames since the last one are *more* than a period;
 * (2) an event counts only if its id is the driver's own counter, which counts every slot; (3) its
 * pointer lives modulo the buffer, moves by differences of positions (unsigned, so a step back
 * wraps) and is cleared by OPEN's hw_params, not by prepare.
 *
 * The counter of (2) is never reset up to Linux 7.1, and every event is looked at when it comes.
 * Since 7.2, stream_clear() (open, hw_params, hw_free) sets it to 0 and skips the slots that were
 * not looked at, which happens only between a successful prepare and hw_free. A third frontend,
 * which is not Linux's, looks at no id at all.
 *
 * ALSA: counts from 0 again at prepare; takes a pointer that is smaller than before for a lap.
 */
#ifndef KERNEL_FRONT_H
#define KERNEL_FRONT_H

#include "stream_rig.h"

enum kernel_ids { SINCE_CONNECTION, SINCE_OPEN, NOT_LOOKED_AT };
static const char *const KERNEL_NAMES[] = {"Linux 7.1", "Linux 7.2", "no ids"};

enum kernel_state { KERNEL_SETUP, KERNEL_PREPARED, KERNEL_RUNNING, KERNEL_DRAINING, KERNEL_XRUN };

struct kernel_front {
    struct rig *rig;
    uint64_t buffer, period;
    /* the driver */
    enum kernel_ids ids;
    bool connected; /* events are looked at */
    uint16_t event_counter;
    uint64_t backend_frame, since_period, pointer;
    uint64_t slots, positions; /* looked at, and what was believed of them */
    uint64_t elapsed;
    /* ALSA */
    enum kernel_state state;
    uint64_t hw_base, hw_ptr, appl_ptr;
    uint64_t xruns;
    /* the application: writes `left` frames more as there is room, then drains */
    int32_t next_frame;
    uint64_t left;
    bool drain;
    uint64_t wakeups;
};

static inline uint64_t kernel_avail(const struct kernel_front *k) {
    return k->hw_ptr + k->buffer - k->appl_ptr;
}

static inline void kernel_stop(struct kernel_front *k, enum kernel_state state) {
    bool running = k->state == KERNEL_RUNNING || k->state == KERNEL_DRAINING;
    k->state = state; /* before the answer: the stream is locked over the trigger */
    if (running)
        CHECK_EQ(rig_trigger(k->rig, XENSND_OP_TRIGGER_STOP), 0);
}

/* snd_pcm_update_hw_ptr */
static inline void kernel_update(struct kernel_front *k) {
    if (k->state != KERNEL_RUNNING && k->state != KERNEL_DRAINING)
        return;
    if (k->hw_base + k->pointer < k->hw_ptr)
        k->hw_base += k->buffer;
    k->hw_ptr = k->hw_base + k->pointer;
    if (kernel_avail(k) < k->buffer)
        return;
    if (k->state == KERNEL_DRAINING) {
        kernel_stop(k, KERNEL_SETUP);
    } else {
        k->xruns++;
        kernel_stop(k, KERNEL_XRUN);
    }
}

static inline void kernel_application(struct kernel_front *k);

static inline void kernel_position(struct kernel_front *k, uint64_t bytes) {
    uint64_t frame = bytes / RIG_FRAME_BYTES, step = frame - k->backend_frame;
    k->backend_frame = frame;
    k->pointer = (k->pointer + step) % k->buffer;
    k->since_period += step;
    if (k->since_period <= k->period)
        return;
    k->since_period %= k->period;
    k->elapsed++;
    kernel_update(k);
}

static inline bool kernel_believes(struct kernel_front *k, const struct xensnd_evt *event) {
    bool counted = event->id == k->event_counter++;
    k->slots++;
    if ((k->ids != NOT_LOOKED_AT && !counted) || event->type != XENSND_EVT_CUR_POS)
        return false;
    k->positions++;
    return true;
}

static inline void kernel_interrupt(void *data) {
    struct kernel_front *k = data;
    struct xensnd_evt event;
    uint64_t before = k->elapsed;
    if (k->rig->hand_polled || !k->connected)
        return;
    while (rig_event(k->rig, &event))
        if (kernel_believes(k, &event))
            kernel_position(k, event.op.cur_pos.position);
    /* snd_pcm_period_elapsed wakes nobody while the stream does not run */
    if (k->elapsed != before && (k->state == KERNEL_RUNNING || k->state == KERNEL_DRAINING)) {
        k->wakeups++;
        kernel_application(k);
    }
}

static inline void kernel_write(struct kernel_front *k, uint64_t frames) {
    CHECK_EQ(
        rig_write(k->rig, (uint32_t)(k->appl_ptr % k->buffer), k->next_frame, (uint32_t)frames), 0);
    k->next_frame += (int32_t)frames;
    k->appl_ptr += frames;
    k->left -= frames;
}

static inline void kernel_start(struct kernel_front *k) {
    CHECK_EQ(rig_trigger(k->rig, XENSND_OP_TRIGGER_START), 0);
    k->state = KERNEL_RUNNING;
}

/* The guest is suspended: snd_pcm_suspend_all(). The driver knows no resume, so the application
 * prepares the stream anew, and for that the driver sends nothing. */
static inline void kernel_suspend(struct kernel_front *k) {
    k->state = KERNEL_SETUP;
    CHECK_EQ(rig_trigger(k->rig, XENSND_OP_TRIGGER_PAUSE), 0);
}

/* A blocking writer with the usual thresholds, then snd_pcm_drain(). */
static inline void kernel_application(struct kernel_front *k) {
    if (k->state == KERNEL_PREPARED || k->state == KERNEL_RUNNING) {
        uint64_t room = kernel_avail(k) < k->buffer ? kernel_avail(k) : k->buffer;
        uint64_t n = room < k->left ? room : k->left;
        if (n > 0)
            kernel_write(k, n);
        if (k->state == KERNEL_PREPARED && (k->appl_ptr >= k->buffer || k->left == 0))
            kernel_start(k);
        if (k->left == 0 && k->drain && k->state == KERNEL_RUNNING) {
            k->state = KERNEL_DRAINING;
            kernel_update(k);
        }
    }
}

static inline void kernel_prepare(struct kernel_front *k) {
    k->hw_base = k->hw_ptr = k->appl_ptr = 0;
    k->state = KERNEL_PREPARED;
}

static inline void kernel_stream_clear(struct kernel_front *k) {
    struct xensnd_event_page *page = (void *)&k->rig->link->event_page;
    k->backend_frame = k->since_period = k->pointer = 0;
    if (k->ids != SINCE_OPEN)
        return;
    k->connected = false;
    k->event_counter = 0;
    page->in_cons = page->in_prod;
}

/* hw_params and the first prepare. */
static inline void kernel_open(struct kernel_front *k) {
    kernel_stream_clear(k);
    CHECK_EQ(rig_op(k->rig, XENSND_OP_OPEN), 0);
    k->connected = true;
    kernel_prepare(k);
}

static inline void kernel_hw_free(struct kernel_front *k) {
    CHECK_EQ(rig_op(k->rig, XENSND_OP_CLOSE), 0);
    kernel_stream_clear(k);
    k->state = KERNEL_SETUP;
}

static inline void kernel_play(struct kernel_front *k, uint64_t frames, bool drain) {
    k->left = frames;
    k->drain = drain;
    kernel_application(k);
}

/* Which kernel the next scenarios meet, and how many events its connection has seen before. */
static enum kernel_ids kernel_ids;
static uint32_t kernel_past;

static inline void kernel_live_a_past(struct kernel_front *k) {
    struct xensnd_event_page *page = (void *)&k->rig->link->event_page;
    page->in_cons = page->in_prod = k->rig->back->link.event_ring.in_prod = kernel_past;
    k->rig->back->link.event_id = (uint16_t)kernel_past;
    k->event_counter = k->ids == SINCE_CONNECTION ? (uint16_t)kernel_past : 0;
}

/* Each position was believed, whatever else lay in the slots. */
static inline void kernel_check_positions(const struct kernel_front *k) {
    const struct xpa_back *b = k->rig->back;
    uint16_t taken = (uint16_t)(b->link.event_id - (uint16_t)kernel_past);
    CHECK_EQ(k->slots & UINT16_MAX, taken);
    CHECK_EQ(k->positions, k->ids == NOT_LOOKED_AT ? k->slots : b->stats.events);
}

static inline void kernel_init(struct kernel_front *k, struct rig *rig) {
    *k = (struct kernel_front){.rig = rig,
                               .ids = kernel_ids,
                               .connected = kernel_ids != SINCE_OPEN,
                               .buffer = rig->buffer_frames,
                               .period = rig->period_frames,
                               .next_frame = 1};
    kernel_live_a_past(k);
    sim_add_poll(kernel_interrupt, k);
}

#endif

/* relay/relay.c - see relay/relay.h. */
#include "relay/relay.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/silence.h"

enum { MESSAGE_MARK = 1, MESSAGE_SHIFT = 2, MESSAGE_FRAMES = 3 };
enum { MESSAGES = 256 };

static void wake(int fd) {
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is readable already */
}

static void drain(int fd) {
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got;
}

/* relaxed: of a count that only the caller's thread writes */
static uint64_t own(const _Atomic uint64_t *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* acquire, pairs with publish(): what was done to the frames before is done */
static uint64_t other(const _Atomic uint64_t *count) {
    return atomic_load_explicit(count, memory_order_acquire);
}

/* release, pairs with other(): frames are whole before they are counted as put, and read before
 * they are counted as taken */
static void publish(_Atomic uint64_t *count, uint64_t value) {
    atomic_store_explicit(count, value, memory_order_release);
}

static uint8_t *slot(const struct xpa_relay *r, uint64_t frame) {
    return r->ring + (size_t)(frame % r->room_frames) * r->frame_bytes;
}

/* Frames from `frame` on that lie together in the ring, `frames` at the most. */
static uint32_t run(const struct xpa_relay *r, uint64_t frame, uint32_t frames) {
    uint32_t left = r->room_frames - (uint32_t)(frame % r->room_frames);
    return frames < left ? frames : left;
}

static bool silent(struct xpa_relay *r) {
    /* relaxed: stands for itself */
    return atomic_load_explicit(&r->shared.silent, memory_order_relaxed);
}

/* --- the device's thread --- */

void xpa_relay_ask(struct xpa_relay *r, uint32_t frames) {
    uint32_t room = r->room_frames - xpa_relay_pending(r);
    publish(&r->shared.asked_frames,
            own(&r->shared.asked_frames) + (frames < room ? frames : room));
    wake(r->wake_fd);
}

uint32_t xpa_relay_pending(const struct xpa_relay *r) {
    return (uint32_t)(own(&r->shared.asked_frames) - own(&r->shared.taken_frames));
}

uint32_t xpa_relay_ready(const struct xpa_relay *r) {
    return (uint32_t)(other(&r->shared.put_frames) - own(&r->shared.taken_frames));
}

void xpa_relay_take(struct xpa_relay *r, void *target, uint32_t frames) {
    uint64_t taken = own(&r->shared.taken_frames);
    uint32_t first = run(r, taken, frames);
    memcpy(target, slot(r, taken), (size_t)first * r->frame_bytes);
    memcpy((uint8_t *)target + (size_t)first * r->frame_bytes, r->ring,
           (size_t)(frames - first) * r->frame_bytes);
    publish(&r->shared.taken_frames, taken + frames);
}

void xpa_relay_clear_given(const struct xpa_relay *r) { drain(r->given_fd); }

static bool tell(struct xpa_relay *r, const struct xpa_relay_message *message) {
    bool told = xpa_queue_push(&r->shared.messages, message);
    wake(r->wake_fd);
    return told;
}

bool xpa_relay_put(struct xpa_relay *r, const void *source, uint32_t frames, uint64_t nsec) {
    uint64_t put = own(&r->shared.put_frames);
    if (frames > r->room_frames - (put - other(&r->shared.taken_frames)))
        return false;
    uint32_t first = run(r, put, frames);
    memcpy(slot(r, put), source, (size_t)first * r->frame_bytes);
    memcpy(r->ring, (const uint8_t *)source + (size_t)first * r->frame_bytes,
           (size_t)(frames - first) * r->frame_bytes);
    struct xpa_relay_message message = {.kind = MESSAGE_FRAMES, .frames = frames, .nsec = nsec};
    if (!tell(r, &message)) /* its push is the release that the frames need */
        return false;
    publish(&r->shared.put_frames, put + frames);
    return true;
}

uint64_t xpa_relay_count(const struct xpa_relay *r) {
    return own(r->direction == XPA_PLAYBACK ? &r->shared.taken_frames : &r->shared.put_frames);
}

void xpa_relay_mark(struct xpa_relay *r, uint64_t nsec, uint64_t position) {
    tell(r, &(struct xpa_relay_message){.kind = MESSAGE_MARK, .nsec = nsec, .position = position});
}

void xpa_relay_shift(struct xpa_relay *r) {
    tell(r, &(struct xpa_relay_message){.kind = MESSAGE_SHIFT});
}

/* --- the data loop --- */

static void push_run(struct xpa_relay *r, uint8_t *at, uint32_t frames, uint64_t age_nsec) {
    if (silent(r))
        xpa_fill_silence(&r->back->stream.config, at, frames);
    xpa_back_push(r->back, at, frames, age_nsec);
}

static void take_captured(struct xpa_relay *r, uint32_t frames, uint64_t nsec, uint64_t now_nsec) {
    uint64_t taken = own(&r->shared.taken_frames);
    uint64_t age_nsec = now_nsec > nsec ? now_nsec - nsec : 0;
    uint32_t first = run(r, taken, frames), rest = frames - first;
    if (r->back->stream.open) {
        push_run(r, slot(r, taken), first, age_nsec + (uint64_t)rest * 1000000000 / r->rate);
        if (rest > 0)
            push_run(r, r->ring, rest, age_nsec);
    }
    publish(&r->shared.taken_frames, taken + frames);
}

static void hear(struct xpa_relay *r, uint64_t now_nsec) {
    struct xpa_relay_message message;
    while (xpa_queue_pop(&r->shared.messages, &message)) {
        if (message.kind == MESSAGE_FRAMES)
            take_captured(r, message.frames, message.nsec, now_nsec);
        else if (!r->back->stream.open)
            continue;
        else if (message.kind == MESSAGE_SHIFT)
            xpa_clock_shift(&r->back->stream.clock);
        else
            xpa_back_mark(r->back, message.nsec, r->loop.base_frames + message.position);
    }
}

static void give(struct xpa_relay *r, uint64_t now_nsec) {
    struct xpa_back *b = r->back;
    uint64_t put = own(&r->shared.put_frames);
    uint32_t wanted = (uint32_t)(other(&r->shared.asked_frames) - put);
    if (wanted == 0 || !b->stream.open)
        return;
    xpa_back_collect(b, now_nsec);
    while (wanted >
           0) { /* once, or twice around the ring's end: xpa_relay_ask() has seen to room */
        uint32_t frames = run(r, put, wanted);
        xpa_back_pull(b, slot(r, put), frames);
        if (silent(r))
            xpa_fill_silence(&b->stream.config, slot(r, put), frames);
        put += frames;
        wanted -= frames;
    }
    publish(&r->shared.put_frames, put);
    wake(r->given_fd);
}

static void on_wake(struct xpa_source *source, uint32_t events) {
    struct xpa_relay *r = source->data;
    (void)events;
    drain(source->fd);
    uint64_t now_nsec = xpa_now_nsec();
    hear(r, now_nsec);
    if (r->direction == XPA_PLAYBACK)
        give(r, now_nsec);
}

static void do_connect(const struct xpa_command *command) {
    struct xpa_relay *r = command->object;
    r->loop.base_frames = r->back->stream.host_frames;
    if (xpa_loop_add(&r->back->plane->loop, &r->source) == 0)
        xpa_clock_shift(&r->back->stream.clock);
}

static void do_disconnect(const struct xpa_command *command) {
    struct xpa_relay *r = command->object;
    xpa_loop_remove(&r->back->plane->loop, &r->source);
}

/* --- Python's thread --- */

static int command(struct xpa_relay *r, void (*func)(const struct xpa_command *)) {
    return xpa_plane_command(r->back->plane, &(struct xpa_command){.func = func, .object = r});
}

int xpa_relay_connect(struct xpa_relay *r) {
    atomic_store(&r->back->shared.host_wakes, true);
    return command(r, do_connect);
}

int xpa_relay_disconnect(struct xpa_relay *r) {
    atomic_store(&r->back->shared.host_wakes, false);
    return command(r, do_disconnect);
}

void xpa_relay_silence(struct xpa_relay *r, int silent) {
    atomic_store_explicit(&r->shared.silent, silent != 0, memory_order_relaxed);
}

struct xpa_relay *xpa_relay_new(struct xpa_back *back, int direction, uint32_t frame_bytes,
                                uint32_t rate, uint32_t room_frames) {
    struct xpa_relay *r = xpa_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->back = back;
    r->direction = direction;
    r->frame_bytes = frame_bytes;
    r->rate = rate;
    r->room_frames = room_frames;
    r->ring = xpa_calloc(room_frames, frame_bytes);
    r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->given_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->source = (struct xpa_source){r->wake_fd, on_wake, r};
    void *messages = xpa_calloc(MESSAGES, sizeof(struct xpa_relay_message));
    if (!r->ring || r->wake_fd < 0 || r->given_fd < 0 || !messages) {
        free(messages);
        xpa_relay_free(r);
        return NULL;
    }
    xpa_queue_init(&r->shared.messages, messages, MESSAGES, sizeof(struct xpa_relay_message));
    return r;
}

void xpa_relay_free(struct xpa_relay *r) {
    if (!r)
        return;
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    if (r->given_fd >= 0)
        close(r->given_fd);
    free(r->ring);
    free(r->shared.messages.mem);
    free(r);
}

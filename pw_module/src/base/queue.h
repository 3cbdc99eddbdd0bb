/*
 * A single-producer single-consumer queue of fixed-size messages: commands down to the data
 * thread, notices up from it. Lock-free and wait-free, no allocation: the caller gives the memory.
 *
 * Threads: push from exactly one thread, pop from exactly one thread. A full queue refuses the
 * message (the producer decides what that means; the data thread never waits). Waking the other
 * side is the caller's affair (an eventfd).
 */
#ifndef XPA_BASE_QUEUE_H
#define XPA_BASE_QUEUE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "the data thread waits for no lock");

struct xpa_queue {
    unsigned char *mem;
    uint32_t capacity; /* messages, a power of two */
    uint32_t message_bytes;
    char pad0[48];         /* the two indices are on cache lines of their own: each is */
    _Atomic uint32_t tail; /* written by one thread only. tail: pushed messages, head: popped. */
    char pad1[60];         /* Both run freely and wrap; tail - head is the fill. */
    _Atomic uint32_t head;
    char pad2[60];
};

/* mem holds capacity * message_bytes bytes and outlives the queue. 0, or -EINVAL when capacity is
 * not a power of two or message_bytes is 0. */
static inline int xpa_queue_init(struct xpa_queue *q, void *mem, uint32_t capacity,
                                 uint32_t message_bytes) {
    if (capacity == 0 || (capacity & (capacity - 1)) != 0 || message_bytes == 0)
        return -EINVAL;
    q->mem = mem;
    q->capacity = capacity;
    q->message_bytes = message_bytes;
    atomic_init(&q->tail, 0);
    atomic_init(&q->head, 0);
    return 0;
}

static inline void *xpa_queue_slot(const struct xpa_queue *q, uint32_t index) {
    return q->mem + (size_t)(index & (q->capacity - 1)) * q->message_bytes;
}

/* Producer: copy message_bytes bytes in. false: full, nothing was done. */
static inline bool xpa_queue_push(struct xpa_queue *q, const void *m) {
    /* relaxed: only this thread writes tail */
    uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    /* acquire, pairs with pop's release: the consumer has finished reading the slot we reuse */
    uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);

    if (tail - head >= q->capacity)
        return false;
    memcpy(xpa_queue_slot(q, tail), m, q->message_bytes);
    /* release, pairs with pop's acquire: whoever sees the new tail sees the message */
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
    return true;
}

/* Consumer: copy the oldest message out. false: empty. */
static inline bool xpa_queue_pop(struct xpa_queue *q, void *m) {
    /* relaxed: only this thread writes head */
    uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    /* acquire, pairs with push's release: the message is whole before we copy it */
    uint32_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);

    if (tail == head)
        return false;
    memcpy(m, xpa_queue_slot(q, head), q->message_bytes);
    /* release, pairs with push's acquire: our reads of the slot are done before the producer may
     * overwrite it */
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return true;
}

/* Either side: messages waiting; exact only while the other side is quiet. */
static inline uint32_t xpa_queue_fill(struct xpa_queue *q) {
    /* acquire, pairs with pop's release, and head before tail: whoever popped that far had seen a
     * tail as far, so ours is no older and the difference never negative */
    uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);

    return atomic_load_explicit(&q->tail, memory_order_acquire) - head;
}

#endif

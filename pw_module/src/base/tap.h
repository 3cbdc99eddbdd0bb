/* base/tap.h - a byte ring from the data loop to Python, for recording what a host device was
 * given.
 *
 * One producer (data loop, xpa_tap_push), one consumer (Python, xpa_tap_read). When the consumer
 * is too slow the newest bytes are dropped and counted, whole calls at a time.
 */
#ifndef XPA_BASE_TAP_H
#define XPA_BASE_TAP_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "abi/abi.h"

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the data loop waits for no lock");

struct xpa_tap {
    uint8_t *bytes;
    uint64_t capacity_bytes;
    _Atomic uint64_t head, tail, dropped_bytes;
};

static inline void xpa_tap_push(struct xpa_tap *tap, const void *data, uint64_t length_bytes) {
    /* relaxed: only this thread writes head */
    uint64_t head = atomic_load_explicit(&tap->head, memory_order_relaxed);
    /* acquire, pairs with pull's release: the consumer has finished reading what we overwrite */
    uint64_t tail = atomic_load_explicit(&tap->tail, memory_order_acquire);
    if (length_bytes > tap->capacity_bytes - (head - tail)) {
        atomic_fetch_add_explicit(&tap->dropped_bytes, length_bytes, memory_order_relaxed);
        return;
    }
    uint64_t at = head % tap->capacity_bytes;
    uint64_t first =
        tap->capacity_bytes - at < length_bytes ? tap->capacity_bytes - at : length_bytes;
    memcpy(tap->bytes + at, data, first);
    memcpy(tap->bytes, (const uint8_t *)data + first, length_bytes - first);
    /* release, pairs with pull's acquire: the bytes are there before their count */
    atomic_store_explicit(&tap->head, head + length_bytes, memory_order_release);
}

static inline uint64_t xpa_tap_pull(struct xpa_tap *tap, void *data, uint64_t room_bytes) {
    /* relaxed: only this thread writes tail */
    uint64_t tail = atomic_load_explicit(&tap->tail, memory_order_relaxed);
    /* acquire, pairs with push's release: the bytes are whole before we copy them */
    uint64_t head = atomic_load_explicit(&tap->head, memory_order_acquire);
    uint64_t n = head - tail < room_bytes ? head - tail : room_bytes;
    uint64_t at = tail % tap->capacity_bytes;
    uint64_t first = tap->capacity_bytes - at < n ? tap->capacity_bytes - at : n;
    memcpy(data, tap->bytes + at, first);
    memcpy((uint8_t *)data + first, tap->bytes, n - first);
    /* release, pairs with push's acquire: our reads are done before they may be overwritten */
    atomic_store_explicit(&tap->tail, tail + n, memory_order_release);
    return n;
}

#endif

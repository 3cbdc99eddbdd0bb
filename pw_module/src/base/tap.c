/* base/tap.c - Python's side of base/tap.h. */
#include "base/tap.h"

#include <stdlib.h>

#include "base/memory.h"

struct xpa_tap *xpa_tap_new(uint64_t capacity_bytes) {
    struct xpa_tap *tap = xpa_calloc(1, sizeof *tap);
    if (!tap)
        return NULL;
    tap->capacity_bytes = capacity_bytes;
    tap->bytes = xpa_calloc(capacity_bytes, 1);
    if (!tap->bytes) {
        free(tap);
        return NULL;
    }
    return tap;
}

uint64_t xpa_tap_read(struct xpa_tap *tap, uint8_t *data, uint64_t room_bytes) {
    return xpa_tap_pull(tap, data, room_bytes);
}

uint64_t xpa_tap_dropped_bytes(struct xpa_tap *tap) {
    return atomic_load_explicit(&tap->dropped_bytes, memory_order_relaxed);
}

void xpa_tap_free(struct xpa_tap *tap) {
    if (!tap)
        return;
    free(tap->bytes);
    free(tap);
}

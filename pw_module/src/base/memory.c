/* base/memory.c - see base/memory.h. */
#include "base/memory.h"

#include <stdlib.h>

/* The smallest page of any machine: where pages are larger, some are touched more than once. */
enum { TOUCH_BYTES = 4096 };

void *xpa_calloc(size_t count, size_t item_bytes) {
    volatile char *memory = calloc(count, item_bytes);
    if (!memory || count == 0 || item_bytes == 0)
        return (void *)memory;
    size_t bytes = count * item_bytes;
    for (size_t i = 0; i < bytes; i += TOUCH_BYTES)
        memory[i] = 0;
    memory[bytes - 1] = 0; /* it need not begin where a page does */
    return (void *)memory;
}

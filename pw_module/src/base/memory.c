/* base/memory.c - see base/memory.h. */
#include "base/memory.h"

#include <malloc.h>
#include <stdlib.h>

/* The smallest page of any machine: where pages are larger, some are touched more than once. */
enum { TOUCH_BYTES = 4096 };

/* glibc's own first limit: from here on memory is mapped, and unmapped when it is freed. */
enum { MAPPED_BYTES = 128 * 1024 };

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

/* PipeWire's converters allocate 4 to 16 MiB a stream and touch little of it. Once such memory was
 * freed, glibc raises its limit above that size (mallopt(3), M_MMAP_THRESHOLD), takes the next from
 * its heap, and calloc() writes all of it: each stream that came later would cost those megabytes.
 * To set the limit keeps it where it is. */
void xpa_memory_give_back(void) {
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
#endif
}

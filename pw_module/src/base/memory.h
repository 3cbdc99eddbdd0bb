/* base/memory.h - memory whose first use does not stop the data loop.
 *
 * The kernel gives a page when it is first touched, which may take long and may even wait for a
 * disk. Whatever the data loop uses is made here, by Python's thread, and touched before the data
 * loop hears of it.
 */
#ifndef XPA_BASE_MEMORY_H
#define XPA_BASE_MEMORY_H

#include <stddef.h>

/* As calloc(), and every page is there; free() it. */
void *xpa_calloc(size_t count, size_t item_bytes);

/* For the whole process: large memory goes back to the system when it is freed, whatever was freed
 * before. */
void xpa_memory_give_back(void);

#endif

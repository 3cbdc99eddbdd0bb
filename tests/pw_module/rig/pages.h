/* Memory that looks like shared pages: aligned, 4096 bytes, full of old data before use. */
#ifndef PAGES_H
#define PAGES_H

#include <stdint.h>
#include <string.h>

#define TEST_PAGE_BYTES 4096

union test_page {
    _Alignas(TEST_PAGE_BYTES) uint8_t bytes[TEST_PAGE_BYTES];
    uint32_t words[TEST_PAGE_BYTES / 4];
};

/* The first byte (of both pages) that differs, or -1. */
static inline int pages_differ(const union test_page *a, const union test_page *b) {
    if (memcmp(a, b, sizeof *a) == 0)
        return -1;
    for (int i = 0; i < TEST_PAGE_BYTES; i++)
        if (a->bytes[i] != b->bytes[i])
            return i;
    return -1;
}

#endif

/*
 * What the fuzzers in C share. An input is a list of records of 8 bytes: what is done, and three
 * arguments. Any bytes are a list of records, so nothing that the fuzzer makes is refused, and the
 * mutator works on whole records: it moves, repeats, removes and changes what a peer does.
 *
 * A broken invariant aborts; libFuzzer then writes the input to a file that repeats it.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "random.h"
#include "stream_sim.h"

struct record {
    uint8_t what, how;
    uint16_t small;
    uint32_t number;
};
_Static_assert(sizeof(struct record) == 8, "a record");

enum { MOST_RECORDS = 256, MOST_RECORDS_AFTER = 8 }; /* after a stream's end */

#define HOLDS(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s: ", __FILE__, __LINE__, #condition);         \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* --- how much was done, for the closing figures --- */

extern uint64_t fuzz_operations;
uint64_t fuzz_operations;

/* An operation counts while there is a stream to do it to. */
static inline bool fuzz_count(bool alive) {
    fuzz_operations += alive;
    return alive;
}

static void fuzz_report(void) {
    fprintf(stderr, "operations: %llu\n", (unsigned long long)fuzz_operations);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    atexit(fuzz_report);
    return 0;
}

/* --- memory that is shared with a peer; each page by itself, so that its ends are watched --- */

static inline void *fuzz_page(void) {
    void *page = aligned_alloc(TEST_PAGE_BYTES, TEST_PAGE_BYTES);
    memset(page, 0, TEST_PAGE_BYTES);
    return page;
}

static inline void fuzz_poke(void *page, uint32_t word, uint32_t value) {
    ((uint32_t *)page)[word % (TEST_PAGE_BYTES / 4)] = value;
}

/* Of the width that the stream's samples have: floats are looked at. */
static inline uint32_t fuzz_sample_kind(uint32_t sample_bytes, uint32_t choice) {
    static const uint32_t narrow[] = {XPA_SAMPLE_S32, XPA_SAMPLE_F32, XPA_SAMPLE_F32_SWAPPED};
    static const uint32_t wide[] = {XPA_SAMPLE_F64, XPA_SAMPLE_F64_SWAPPED};
    if (sample_bytes == 8)
        return wide[choice % 2];
    return sample_bytes == 4 ? narrow[choice % 3] : XPA_SAMPLE_OPAQUE;
}

/* --- mutation --- */

/* Numbers at which rings and buffers end. */
static inline uint32_t fuzz_edge(uint64_t *random) {
    static const uint32_t edges[] = {0, 1, 4, 31, 32, 33, 62, 63, 64, 0x7fffffff, 0x80000000};
    uint32_t edge = edges[random_below(random, sizeof edges / sizeof *edges)];
    switch (random_below(random, 4)) {
    case 0:
        return edge;
    case 1:
        return 0 - edge;
    case 2:
        return random_below(random, 2000);
    default:
        return (uint32_t)random_u64(random) >> random_below(random, 32);
    }
}

static inline struct record fuzz_record(uint64_t *random) {
    return (struct record){(uint8_t)random_below(random, 24), (uint8_t)random_u64(random),
                           (uint16_t)fuzz_edge(random), fuzz_edge(random)};
}

static inline void fuzz_change(struct record *r, uint64_t *random) {
    switch (random_below(random, 4)) {
    case 0:
        r->what = (uint8_t)random_below(random, 24);
        break;
    case 1:
        r->how = (uint8_t)random_u64(random);
        break;
    case 2:
        r->small = (uint16_t)fuzz_edge(random);
        break;
    default:
        r->number = fuzz_edge(random);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    struct record records[MOST_RECORDS];
    uint64_t random = seed;
    size_t most =
        max_size / sizeof *records < MOST_RECORDS ? max_size / sizeof *records : MOST_RECORDS;
    uint32_t choice = random_below(&random, 8);
    if (choice == 0) /* with what libFuzzer knows: its dictionary of compared values */
        size = LLVMFuzzerMutate(data, size, max_size);
    size_t count = size / sizeof *records < most ? size / sizeof *records : most;
    memcpy(records, data, count * sizeof *records);
    for (uint32_t times = 1 + random_below(&random, 3); choice && times > 0; times--) {
        uint32_t at = random_below(&random, (uint32_t)count + 1);
        uint32_t some = 1 + random_below(&random, 8);
        if (choice < 4 && count < most) { /* one more */
            memmove(records + at + 1, records + at, (count - at) * sizeof *records);
            records[at] = fuzz_record(&random);
            count++;
        } else if (choice == 4 && at + some <= count) { /* some less */
            memmove(records + at, records + at + some, (count - at - some) * sizeof *records);
            count -= some;
        } else if (choice == 5 && at + some <= count && count + some <= most) { /* some again */
            memmove(records + at + some, records + at, (count - at) * sizeof *records);
            count += some;
        } else if (at < count) {
            fuzz_change(&records[at], &random);
        }
    }
    memcpy(data, records, count * sizeof *records);
    return count * sizeof *records;
}

#endif

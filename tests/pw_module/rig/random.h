/* Seeded pseudo-random numbers (splitmix64): every run of a test sees the same ones. */
#ifndef RANDOM_H
#define RANDOM_H

#include <math.h>
#include <stdint.h>

static inline uint64_t random_u64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* 0 .. below - 1 */
static inline uint32_t random_below(uint64_t *state, uint32_t below) {
    return (uint32_t)((random_u64(state) >> 32) * below >> 32);
}

/* [0, 1) */
static inline double random_unit(uint64_t *state) {
    return (double)(random_u64(state) >> 11) * 0x1p-53;
}

/* Exponential with this mean. */
static inline double random_exponential(uint64_t *state, double mean) {
    return -mean * log(1.0 - random_unit(state));
}

#endif

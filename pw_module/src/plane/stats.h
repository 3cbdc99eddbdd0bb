/* plane/stats.h - a stream's figures: the data loop writes them, Python's thread copies them.
 *
 * Each is atomic by itself; together they are of no one moment. So the copy's loads are relaxed:
 * each finds what was there when the figure was last heard of, or something newer. Heard of it is
 * through the notices' queue, whose release and acquire put the figures that were written before a
 * notice before the copy that is made for it; xpa_front_stats() says what holds where a notice is
 * left out. A plain `=` or `++` on them orders more than anybody needs.
 */
#ifndef XPA_PLANE_STATS_H
#define XPA_PLANE_STATS_H

#include <stdatomic.h>

#include "abi/abi.h"

/* Those of struct xpa_stats (abi/native.cdef.h), where they are explained. */
#define XPA_STATS(FIELD)                                                                           \
    FIELD(uint64_t, written_frames)                                                                \
    FIELD(uint64_t, position_frames)                                                               \
    FIELD(uint64_t, transfers)                                                                     \
    FIELD(uint64_t, events)                                                                        \
    FIELD(uint64_t, events_skipped)                                                                \
    FIELD(uint64_t, xruns)                                                                         \
    FIELD(uint64_t, last_xrun_nsec)                                                                \
    FIELD(uint64_t, silence_frames)                                                                \
    FIELD(uint64_t, cycles)                                                                        \
    FIELD(uint64_t, deferred)                                                                      \
    FIELD(uint64_t, resyncs)                                                                       \
    FIELD(uint64_t, dropped_frames)                                                                \
    FIELD(uint64_t, held_cycles)                                                                   \
    FIELD(int64_t, delay_frames)                                                                   \
    FIELD(uint64_t, lead_frames)                                                                   \
    FIELD(uint64_t, published_frames)                                                              \
    FIELD(double, true_frames)                                                                     \
    FIELD(uint64_t, quantum_frames)                                                                \
    FIELD(uint64_t, quantum_rate)                                                                  \
    FIELD(uint64_t, callback_nsec)                                                                 \
    FIELD(double, ppm)                                                                             \
    FIELD(double, host_delay_frames)                                                               \
    FIELD(double, host_delay_max_frames)                                                           \
    FIELD(uint64_t, transport_nsec)                                                                \
    FIELD(uint64_t, jitter_nsec)                                                                   \
    FIELD(uint64_t, rests)                                                                         \
    FIELD(uint32_t, running)                                                                       \
    FIELD(uint32_t, driving)

#define XPA_LIVE_FIELD(type, name) _Atomic type name;
#define XPA_SUM_FIELD(type, name) +sizeof(type)
#define XPA_COPY_FIELD(type, name)                                                                 \
    copy->name = atomic_load_explicit(&live->name, memory_order_relaxed);

struct xpa_live_stats {
    XPA_STATS(XPA_LIVE_FIELD)
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the data loop waits for no lock");
_Static_assert(sizeof(struct xpa_stats) == 0 XPA_STATS(XPA_SUM_FIELD), "no figure is left out");

static inline void xpa_stats_copy(struct xpa_live_stats *live, struct xpa_stats *copy) {
    XPA_STATS(XPA_COPY_FIELD)
}

/* Somebody's data came too late. */
static inline void xpa_stats_xrun(struct xpa_live_stats *live, uint64_t now_nsec) {
    live->xruns++;
    live->last_xrun_nsec = now_nsec;
}

#endif

/* What a backend stream takes from the system: descriptors are given back whatever fails, and the
 * data loop finds all memory in place. Linux tells both: /proc/self/fd, and mincore() of what the
 * allocator got from mmap(), as it does for anything so large. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "back/back.h"
#include "check.h"
#include "descriptors.h"
#include "stream_link.h"

/* At most `more` descriptors than now can be opened. They are numbered from the lowest free one. */
static void leave_room(int more) {
    struct rlimit limit;
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = more < 0 ? limit.rlim_max : (rlim_t)(next + more);
    setrlimit(RLIMIT_NOFILE, &limit);
}

static uint64_t absent_pages(const void *memory, uint64_t bytes) {
    static unsigned char there[1 << 16];
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), absent = 0;
    uintptr_t begin = (uintptr_t)memory / page * page;
    uint64_t pages = ((uintptr_t)memory + bytes - begin + page - 1) / page;
    CHECK(pages < sizeof there, "%d pages", (int)pages);
    CHECK_EQ(mincore((void *)begin, pages * page, there), 0);
    for (uint64_t i = 0; i < pages; i++)
        absent += !(there[i] & 1);
    return absent;
}

static struct xpa_back *stream(struct xpa_plane *plane, struct link *link, int direction) {
    return xpa_back_new(plane, 1, direction, &link->ring_page, &link->event_page,
                        link->requests[HOST], link->events[HOST], 0);
}

static void test_a_stream_that_cannot_be_made_keeps_no_descriptor(void) {
    struct xpa_plane *plane = xpa_plane_new();
    struct link *link = link_new();
    int before = open_descriptors(), made = 0;
    for (int room = 0; room < 4; room++) {
        leave_room(room);
        struct xpa_back *back = stream(plane, link, XPA_PLAYBACK);
        made += back != NULL;
        xpa_back_free(back);
        leave_room(-1);
        CHECK(open_descriptors() == before, "%d descriptors more with room for %d",
              open_descriptors() - before, room);
    }
    CHECK_EQ(made, 2); /* it needs two */
    xpa_plane_free(plane);
    link_free(link);
}

static void test_what_the_data_loop_uses_is_in_memory(void) {
    struct xpa_plane *plane = xpa_plane_new();
    struct link *link = link_new();
    struct xpa_tap *tap = xpa_tap_new(1 << 22);
    CHECK_EQ(absent_pages(tap->bytes, tap->capacity_bytes), 0);
    CHECK_EQ(absent_pages(plane->shared.notices.mem, (uint64_t)plane->shared.notices.capacity *
                                                         plane->shared.notices.message_bytes),
             0);
    for (int direction = XPA_PLAYBACK; direction <= XPA_CAPTURE; direction++) {
        struct xpa_config config = {.rate = 192000,
                                    .channels = 8,
                                    .sample_bytes = 8,
                                    .buffer_frames = 65536,
                                    .period_frames = 16384};
        struct xpa_back *back = stream(plane, link, direction);
        CHECK_EQ(absent_pages(back, sizeof *back), 0);
        CHECK_EQ(xpa_back_open(back, &config), 0);
        xpa_loop_dispatch(&plane->loop);
        CHECK(back->stream.open, "it is not open");
        CHECK_EQ(absent_pages(back->stream.store,
                              (uint64_t)back->stream.store_frames * back->stream.frame_bytes),
                 0);
        xpa_back_free(back);
    }
    xpa_tap_free(tap);
    xpa_plane_free(plane);
    link_free(link);
}

int main(void) {
    test_a_stream_that_cannot_be_made_keeps_no_descriptor();
    test_what_the_data_loop_uses_is_in_memory();
    return check_close();
}

/*
 * A guest's node whose positions wake nobody, before a backend that lies: about what its host
 * takes, what is in the buffer, its clock, its flags, or that says nothing at all.
 */
#include "poll_world.h"

/* Whatever a backend writes where it says what the host takes, and that it may be polled. */
static void test_a_hostile_backend_is_bounded(int direction) {
    uint64_t seed = 5;
    struct world *w = world_polled(direction, 256);
    struct xensnd_event_page *page = (void *)&w->link->event_page;
    uint64_t cycles = w->cycles, fires = fired(w->node.timer_source.fd);
    for (int i = 0; i < 5000; i++) {
        for (uint32_t slot = 0; slot < XPA_EVT_RING_SLOTS; slot++) {
            uint32_t *words = (uint32_t *)(void *)&XENSND_IN_RING_REF(page, slot);
            words[4] = words[5] = (uint32_t)random_u64(&seed); /* host_frames, host_frames_max */
            words[9] = (uint32_t)random_u64(&seed);
            page->reserved[8 + slot % 4] = (uint8_t)random_u64(&seed); /* filled */
        }
        sim_run(w->plane, SIM_MSEC);
    }
    CHECK(w->cycles - cycles < 5ull * RATE / 256 + 50, "%d cycles", (int)(w->cycles - cycles));
    CHECK(fired(w->node.timer_source.fd) - fires < 8ull * RATE / 256, "it spins");
    world_free(w);
}

/* It says that its host takes for ever at once, and then nothing more: the graph is woken again by
 * events, which do not come, and stands. */
static void test_a_silent_backend_stops_the_graph(int direction) {
    struct world *w = world_polled(direction, 256);
    xpa_vdev_disconnect(w->vdev, w->back);
    sim_run(w->plane, 6 * SIM_MSEC); /* what it has put by then is read */
    CHECK(w->front->link.polls, "so soon");
    w->front->stream.host_frames_max = 1e9;
    sim_run(w->plane, 500 * SIM_MSEC);
    CHECK(!w->front->link.polls, "nobody will wake it");
    uint64_t cycles = w->cycles, fires = fired(w->node.timer_source.fd);
    sim_run(w->plane, SIM_SEC);
    CHECK_EQ(w->cycles, cycles);
    CHECK(fired(w->node.timer_source.fd) - fires < 50, "it looks in vain");
    world_free(w);
}

/* It tells positions, and puts no frames into the buffer: they are asked for, as ever. */
static uint32_t stuck;

static void stick(void *data) {
    struct world *w = data;
    if (stuck)
        w->link->event_page.words[4] = stuck;
}

static void test_frames_that_are_not_put_are_asked_for(void) {
    struct world *w = world_polled(XPA_CAPTURE, 256);
    stuck = w->link->event_page.words[4];
    sim_add_poll(stick, w);
    sim_run(w->plane, 50 * SIM_MSEC);
    CHECK(!w->front->link.polls, "it waits for frames that nobody puts");
    uint64_t handed = w->handed, xruns = w->front->stats.xruns;
    w->silent = 0;
    sim_run(w->plane, 2 * SIM_SEC);
    CHECK(w->handed - handed + 512 > 2 * RATE, "%d frames", (int)(w->handed - handed));
    CHECK_EQ(w->front->stats.xruns, xruns);
    CHECK_EQ(w->silent, 0);
    sim_run(w->plane, 20 * SIM_SEC); /* again and again */
    CHECK(w->handed - handed > 21 * RATE, "%d frames", (int)(w->handed - handed));
    stuck = 0;
    world_free(w);
}

int main(void) {
    test_a_hostile_backend_is_bounded(XPA_PLAYBACK);
    test_a_hostile_backend_is_bounded(XPA_CAPTURE);
    test_a_silent_backend_stops_the_graph(XPA_PLAYBACK);
    test_a_silent_backend_stops_the_graph(XPA_CAPTURE);
    test_frames_that_are_not_put_are_asked_for();
    return check_close();
}

/* A guest's node is made and freed, before a PipeWire that refuses at every step, and while the
 * plane's commands of it still wait. */

#include "descriptors.h"
#include "node/node.h"
#include "pipewire_sim.h"
#include "stream_sim.h"

int pw_stream_trigger_process(struct pw_stream *stream) { return stream != NULL; }
struct pw_buffer *pw_stream_dequeue_buffer(struct pw_stream *stream) {
    return (void)stream, NULL;
}
void xpa_pw_watch_links(struct xpa_pw *pw) { (void)pw; }
void xpa_pw_unwatch_links(struct xpa_pw *pw) { (void)pw; }
void xpa_pw_end_leaving(struct xpa_pw *pw) { (void)pw; }

static const struct xpa_pw_offer OFFER = {
    1, 1, 1, {XENSND_PCM_FORMAT_S16_LE}, {48000}, {2},
};

static struct xpa_pw_node *node_of(struct xpa_pw *pw, int direction) {
    return xpa_pw_node_new(pw, pw->plane, 1, direction, NULL, NULL, 0, &OFFER);
}

static struct xpa_pw_node *node_new(struct xpa_pw *pw) { return node_of(pw, XPA_PLAYBACK); }

/* The sanitizer looks for memory that was lost. */
static void test_a_node_that_is_refused_keeps_nothing(void) {
    struct xpa_plane *plane = xpa_plane_new();
    int before = open_descriptors();
    for (int step = 0; step < 4; step++) {
        struct xpa_pw pw = sim_pw_new(plane);
        spa_list_init(&pw.loop.nodes);
        sim_pw.no_properties = step == 0;
        sim_pw.no_stream = step == 1;
        sim_pw.connected = step == 2 ? -EINVAL : 0;
        struct xpa_pw_node *node = node_new(&pw);
        CHECK((node != NULL) == (step == 3), "step %d", step);
        sim_settle(plane);
        xpa_pw_node_free(node);
        CHECK(spa_list_is_empty(&pw.loop.nodes), "it is among the nodes after step %d", step);
        CHECK(open_descriptors() == before, "%d descriptors more after step %d",
              open_descriptors() - before, step);
    }
    xpa_plane_free(plane);
}

/* Commands and PipeWire's calls reach the data loop by different ways: a command that is carried
 * out after the freeing finds no node. */
static void test_a_node_can_be_freed_while_its_commands_wait(void) {
    struct xpa_plane *plane = xpa_plane_new();
    struct link *link = link_new();
    struct xpa_pw pw = sim_pw_new(plane);
    spa_list_init(&pw.loop.nodes);
    struct xpa_front *front =
        xpa_front_new(plane, 3, XPA_PLAYBACK, &link->ring_page, &link->event_page,
                      link->requests[GUEST], link->events[GUEST], 0, 0);
    struct xpa_pw_node *node = node_new(&pw);
    xpa_pw_node_bind(node, front);
    xpa_pw_node_free(node);
    sim_settle(plane);
    CHECK(spa_list_is_empty(&pw.loop.nodes), "it is among the nodes");
    CHECK(!front->graph.on_change, "the stream tells a node that is gone");
    xpa_front_free(front);
    xpa_plane_free(plane);
    link_free(link);
}

/* While PipeWire has not taken back the one of the cycle before, as newer ones do not. */
static void test_a_source_has_a_buffer_to_fill(void) {
    static const struct {
        const char *version;
        int buffers;
    } EACH[] = {{"0.3.65", 0}, {"1.0.5", 0}, {"1.1.81", 2}, {"1.4.2", 2}, {"1.6.9", 2}};
    const char *usual = sim_pw_version;
    for (size_t i = 0; i < SPA_N_ELEMENTS(EACH); i++) {
        sim_pw_version = EACH[i].version;
        struct xpa_plane *plane = xpa_plane_new();
        struct xpa_pw pw = sim_pw_new(plane);
        spa_list_init(&pw.loop.nodes);
        struct xpa_pw_node *node = node_of(&pw, XPA_CAPTURE);
        CHECK(sim_pw.buffers == EACH[i].buffers, "with %s a source asks for %d buffers",
              EACH[i].version, sim_pw.buffers);
        sim_settle(plane);
        xpa_pw_node_free(node);
        xpa_plane_free(plane);
    }
    sim_pw_version = usual;
}

/* Each format has room for the positions of 64 channels. */
static void test_more_channels_than_positions_are_refused(void) {
    struct xpa_plane *plane = xpa_plane_new();
    for (uint32_t channels = 63; channels <= 255; channels += channels < 66 ? 1 : 63) {
        struct xpa_pw pw = sim_pw_new(plane);
        spa_list_init(&pw.loop.nodes);
        struct xpa_pw_offer offer = OFFER;
        offer.channels_count = 2;
        offer.channels[1] = channels;
        struct xpa_pw_node *node =
            xpa_pw_node_new(&pw, plane, 1, XPA_PLAYBACK, NULL, NULL, 0, &offer);
        CHECK((node != NULL) == (channels <= 64), "%u channels", channels);
        sim_settle(plane);
        xpa_pw_node_free(node);
    }
    xpa_plane_free(plane);
}

/* As PipeWire tells it; what the silence of each is, tests/bridge/engine compares. */
static void test_a_format_comes_with_its_silence(void) {
    struct xpa_plane *plane = xpa_plane_new();
    struct xpa_pw pw = sim_pw_new(plane);
    spa_list_init(&pw.loop.nodes);
    struct xpa_pw_node *node = node_new(&pw);
    uint8_t memory[256];
    struct spa_pod_builder builder = SPA_POD_BUILDER_INIT(memory, sizeof memory);
    struct spa_audio_info_raw info =
        SPA_AUDIO_INFO_RAW_INIT(.format = SPA_AUDIO_FORMAT_U16_LE, .rate = 48000, .channels = 2);
    const struct spa_pod *format = spa_format_audio_raw_build(&builder, SPA_PARAM_Format, &info);
    sim_settle(plane);
    spa_hook_list_call(&sim_pw.streams, struct pw_stream_events, param_changed, 0, SPA_PARAM_Format,
                       format);
    CHECK_EQ(node->state.format.format, XENSND_PCM_FORMAT_U16_LE);
    CHECK_EQ(node->state.format.frame_bytes, 4);
    CHECK_EQ(node->state.format.silence[0], 0);
    CHECK_EQ(node->state.format.silence[1], 0x80);
    xpa_pw_node_free(node);
    free(pw.locked.events);
    xpa_plane_free(plane);
}

static void do_nothing(const struct xpa_command *command) { (void)command; }

/* Then it could never wake: better none. */
static void test_a_node_whose_commands_find_no_room_is_refused(void) {
    struct xpa_plane *plane = xpa_plane_new();
    struct xpa_pw pw = sim_pw_new(plane);
    spa_list_init(&pw.loop.nodes);
    int before = open_descriptors();
    struct xpa_command nothing = {.func = do_nothing};
    while (xpa_queue_push(&plane->shared.commands, &nothing)) {
    }
    CHECK(!node_new(&pw), "it was made");
    CHECK_EQ(open_descriptors(), before);
    xpa_plane_free(plane);
}

int main(void) {
    test_a_node_that_is_refused_keeps_nothing();
    test_a_node_can_be_freed_while_its_commands_wait();
    test_a_source_has_a_buffer_to_fill();
    test_a_node_whose_commands_find_no_room_is_refused();
    test_more_channels_than_positions_are_refused();
    test_a_format_comes_with_its_silence();
    return check_close();
}

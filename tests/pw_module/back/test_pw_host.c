/* A guest's stream in the host's graph: cycles that its driver does not wait for. PipeWire's data
 * loop polls in this thread; other threads that wait for it run its hooks, too. */
#include <pthread.h>

#include "pipewire_sim.h"
#include "stream_rig.h"

#include <spa/param/props.h>

enum { QUANTUM = 100, BUFFER = 1000, PERIOD = 250 };

struct host {
    struct rig *rig;
    struct xpa_pw pw;
    struct xpa_pw_host *node;
    struct spa_io_position position;
    struct pw_buffer outer;
    struct spa_buffer inner;
    struct spa_data data;
    struct spa_chunk chunk;
    int32_t samples[QUANTUM];
    uint32_t given; /* buffers */
};

static struct host *host; /* there is one; pw_stream's functions find it here */

int pw_stream_get_time_n(struct pw_stream *stream, struct pw_time *time, size_t size) {
    (void)stream, (void)time, (void)size;
    return -EIO; /* positions are tested elsewhere */
}

struct pw_buffer *pw_stream_dequeue_buffer(struct pw_stream *stream) {
    (void)stream;
    return &host->outer;
}

int pw_stream_queue_buffer(struct pw_stream *stream, struct pw_buffer *buffer) {
    (void)stream, (void)buffer;
    host->given++;
    return 0;
}

int pw_stream_set_active(struct pw_stream *stream, bool active) {
    (void)stream, (void)active;
    return 0;
}

static uint32_t controls_set;
static float volume_set;

int pw_stream_set_control(struct pw_stream *stream, uint32_t id, uint32_t n_values, float *values,
                          ...) {
    (void)stream, (void)id, (void)n_values;
    controls_set++;
    volume_set = values[0];
    return 0;
}

void xpa_pw_watch_links(struct xpa_pw *pw) { (void)pw; }
void xpa_pw_unwatch_links(struct xpa_pw *pw) { (void)pw; }
void xpa_pw_end_leaving(struct xpa_pw *pw) { (void)pw; }

static void process(void) {
    spa_hook_list_call_simple(&sim_pw.streams, struct pw_stream_events, process, 0);
}

/* The loop is about to wait. */
static void poll_begins(void) {
    spa_hook_list_call_simple(&sim_pw.hooks, struct spa_loop_control_hooks, before, 0);
}

static void *poll_in_thread(void *arg) {
    poll_begins();
    return arg;
}

/* What pw_loop_invoke() does to the thread that waits for it. */
static void somebody_waits_for_the_loop(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, poll_in_thread, NULL);
    pthread_join(thread, NULL);
}

static void driver_begins_a_cycle(void) {
    struct spa_io_clock *clock = &host->position.clock;
    clock->position += clock->duration;
    clock->nsec = sim_now;
    clock->next_nsec = sim_now + QUANTUM * SIM_SEC / RIG_RATE;
}

static void host_new(void) {
    struct host *h = host = calloc(1, sizeof *h);
    h->rig = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    CHECK_EQ(rig_op(h->rig, XENSND_OP_OPEN), 0);
    h->pw = sim_pw_new(h->rig->plane);
    h->node = xpa_pw_host_new(&h->pw, h->rig->back, 1, XPA_PLAYBACK, XENSND_PCM_FORMAT_S32_LE,
                              RIG_RATE, 1, RIG_FRAME_BYTES, NULL, NULL, 0);
    h->data =
        (struct spa_data){.data = h->samples, .maxsize = sizeof h->samples, .chunk = &h->chunk};
    h->inner = (struct spa_buffer){.n_datas = 1, .datas = &h->data};
    h->outer.buffer = &h->inner;
    h->position.clock.duration = QUANTUM;
    h->position.clock.rate = SPA_FRACTION(1, RIG_RATE);
    h->position.clock.nsec = sim_now;
    spa_hook_list_call_simple(&sim_pw.streams, struct pw_stream_events, io_changed, 0,
                              SPA_IO_Position, &h->position, sizeof h->position);
    CHECK_EQ(rig_write(h->rig, 0, 1, BUFFER), 0);
    CHECK_EQ(rig_trigger(h->rig, XENSND_OP_TRIGGER_START), NO_ANSWER); /* until the host runs */
}

static void host_free(void) {
    xpa_pw_host_free(host->node);
    rig_free(host->rig);
    free(host->pw.locked.events);
    free(host);
}

/* The driver goes on before we have finished: what this cycle gave is heard in the next one, and
 * whatever we gave there would replace it. */
static void test_an_overtaken_cycle_costs_no_frame(bool meanwhile) {
    host_new();
    driver_begins_a_cycle();
    process();
    CHECK_EQ(host->samples[0], 1);
    CHECK_EQ(host->given, 1);
    if (meanwhile)
        somebody_waits_for_the_loop();
    driver_begins_a_cycle();
    poll_begins(); /* only now our part of the first cycle is over */
    process();
    CHECK_EQ(host->rig->back->stats.held_cycles, 1);
    CHECK_EQ(host->rig->back->stats.silence_frames, QUANTUM);
    CHECK_EQ(host->given, 1);
    poll_begins();
    driver_begins_a_cycle();
    process();
    CHECK_EQ(host->samples[0], QUANTUM + 1);
    CHECK_EQ(host->rig->back->stream.host_frames, 3 * QUANTUM);
    host_free();
}

/* We have finished after the driver's next cycle was due, and the driver only waits for a
 * processor: it will begin before the sink has looked at what we gave. A driver that does not say
 * when it goes on is believed to be in time. */
static void test_a_cycle_that_ends_after_the_next_was_due_costs_no_frame(bool told) {
    host_new();
    driver_begins_a_cycle();
    if (!told)
        host->position.clock.next_nsec = 0;
    process();
    sim_now += QUANTUM * SIM_SEC / RIG_RATE + SIM_MSEC;
    poll_begins();
    driver_begins_a_cycle();
    process();
    CHECK_EQ(host->rig->back->stats.held_cycles, told);
    CHECK_EQ(host->given, told ? 1 : 2);
    poll_begins();
    driver_begins_a_cycle();
    process();
    CHECK_EQ(host->samples[0], (told ? 1 : 2) * QUANTUM + 1);
    host_free();
}

static void test_who_waits_for_the_loop_overtakes_nothing(void) {
    host_new();
    for (int i = 0; i < 5; i++) {
        driver_begins_a_cycle();
        process();
        CHECK_EQ(host->samples[0], i * QUANTUM + 1);
        poll_begins();
        driver_begins_a_cycle();
        somebody_waits_for_the_loop();
        host->position.clock.position -= QUANTUM; /* the same cycle: it only began */
    }
    CHECK_EQ(host->rig->back->stats.held_cycles, 0);
    host_free();
}

/* The host's format has room for the positions of 64 channels. */
static void test_more_channels_than_positions_are_refused(void) {
    static const struct {
        uint32_t channels;
        bool made;
    } CASES[] = {{0, false}, {1, true}, {64, true}, {65, false}, {255, false}};
    struct rig *rig = rig_new(XPA_PLAYBACK, BUFFER, PERIOD, 0);
    struct xpa_pw pw = sim_pw_new(rig->plane);
    for (size_t i = 0; i < SPA_N_ELEMENTS(CASES); i++) {
        uint32_t channels = CASES[i].channels;
        struct xpa_config config = {.rate = RIG_RATE,
                                    .channels = channels,
                                    .sample_bytes = 1,
                                    .buffer_frames = BUFFER,
                                    .period_frames = PERIOD};
        struct xpa_pw_host *node =
            xpa_pw_host_new(&pw, rig->back, 1, XPA_PLAYBACK, XENSND_PCM_FORMAT_U8, RIG_RATE,
                            channels, 1, NULL, NULL, 0);
        CHECK((node != NULL) == CASES[i].made, "%u channels", channels);
        xpa_pw_host_free(node);
        CHECK_EQ(xpa_back_open(rig->back, &config), CASES[i].made ? 0 : -EINVAL);
        sim_settle(rig->plane);
    }
    rig_free(rig);
}

static void volume_is(float value) {
    struct pw_stream_control control = {.values = &value, .n_values = 1};
    spa_hook_list_call_simple(&sim_pw.streams, struct pw_stream_events, control_info, 0,
                              SPA_PROP_channelVolumes, &control);
}

static uint32_t volume_events(void) {
    struct xpa_pw_event event;
    uint32_t count = 0;
    while (xpa_pw_next_event(&host->pw, &event))
        count += event.kind == XPA_PW_EVENT_VOLUME;
    return count;
}

/* A stream is at 100 % until it has controls: that is nobody's wish. */
static void test_a_volume_waits_until_it_can_be_set(void) {
    const float half = 0.5f, quarter = 0.25f;
    host_new();
    controls_set = 0;
    CHECK_EQ(xpa_pw_host_set_volumes(host->node, &half, 1, 0), 0);
    CHECK_EQ(controls_set, 0);
    volume_is(1.0f);
    CHECK_EQ(controls_set, 1);
    CHECK(volume_set == half, "%f was set", volume_set);
    CHECK_EQ(volume_events(), 0);
    CHECK_EQ(xpa_pw_host_set_volumes(host->node, &quarter, 1, 0), 0);
    CHECK(volume_set == quarter, "%f was set", volume_set);
    volume_is(0.75f);
    CHECK_EQ(volume_events(), 1);
    float found = 0;
    int mute = 1;
    CHECK_EQ(xpa_pw_host_volumes(host->node, &found, 1, &mute), 1);
    CHECK(found == 0.75f && !mute, "%f, %d", found, mute);
    host_free();
}

int main(void) {
    test_a_volume_waits_until_it_can_be_set();
    test_more_channels_than_positions_are_refused();
    test_an_overtaken_cycle_costs_no_frame(false);
    test_an_overtaken_cycle_costs_no_frame(true);
    test_a_cycle_that_ends_after_the_next_was_due_costs_no_frame(true);
    test_a_cycle_that_ends_after_the_next_was_due_costs_no_frame(false);
    test_who_waits_for_the_loop_overtakes_nothing();
    return check_close();
}

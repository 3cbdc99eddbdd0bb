/*
 * When the backend's frames are, by our clock (front/time.c, time/peer_clock.h), on simulated
 * clocks: the backend's machine counts from elsewhere and a little faster, its device drifts, and
 * every event is late. What the frontend thinks is compared with the truth.
 */
#include <math.h>

#include "check.h"
#include "random.h"
#include "front/front.h"

enum { RATE = 48000 };
static const double WAY_SEC = 20e-6;

struct world {
    struct xpa_peer_clock peer;
    struct xpa_front play, capture;
    uint64_t random;
    double device_ppm, drift_ppm; /* of the device and of our clock, by the backend's */
    double late_msec;
    uint64_t their_start_nsec, our_start_nsec;
    double arrived_sec;
    uint32_t period_frames;
};

static void world_init(struct world *w, bool says_when) {
    *w = (struct world){.random = 7,
                        .period_frames = 512,
                        .device_ppm = 200,
                        .late_msec = 0.5,
                        .their_start_nsec = says_when ? 987654321000000ull : 0,
                        .our_start_nsec = 1234567890123ull};
    xpa_peer_clock_begin(&w->peer);
    for (int i = 0; i < 16; i++)
        xpa_transport_add(&w->peer.transport, (uint64_t)(2e9 * WAY_SEC));
    struct xpa_front *both[] = {&w->play, &w->capture};
    for (int i = 0; i < 2; i++) {
        both[i]->stream.config =
            (struct xpa_config){.rate = RATE, .period_frames = w->period_frames};
        both[i]->link.peer = &w->peer;
        both[i]->direction = i == 0 ? XPA_PLAYBACK : XPA_CAPTURE;
        xpa_front_time_init(both[i], false);
    }
}

/* All in seconds of the backend's clock from the start on. */
static uint64_t theirs(const struct world *w, double sec) {
    return w->their_start_nsec + (uint64_t)llround(sec * 1e9);
}

static uint64_t ours(const struct world *w, double sec) {
    return w->our_start_nsec + (uint64_t)llround(sec * (1 + w->drift_ppm * 1e-6) * 1e9);
}

static double true_frames(const struct world *w, double sec) {
    return sec * RATE * (1 + w->device_ppm * 1e-6);
}

/* An event of `frames`, sent 10 us after they were heard, arrives; and wakes us, or is found. */
static void event_found(struct world *w, struct xpa_front *f, uint64_t frames, double late_sec,
                        bool woken) {
    double heard = (double)frames / (RATE * (1 + w->device_ppm * 1e-6));
    double arrives = fmax(heard + 10e-6 + WAY_SEC + late_sec, w->arrived_sec);
    uint64_t sent = w->their_start_nsec ? theirs(w, heard + 10e-6) : 0;
    w->arrived_sec = arrives;
    xpa_front_time_sent(f, sent, ours(w, arrives), woken);
    xpa_front_time_mark(f, frames, 10000, sent, ours(w, arrives));
}

static void event(struct world *w, struct xpa_front *f, uint64_t frames, double late_sec) {
    event_found(w, f, frames, late_sec, true);
}

static double late(struct world *w) {
    return fmin(random_exponential(&w->random, w->late_msec), 4 * w->late_msec) * 1e-3;
}

struct figures {
    double worst_frames, worst_apart_frames, worst_step_frames, ppm;
};

/* Events of both streams, each as late as it happens; figures from `settled_sec` on. */
static struct figures run(struct world *w, double from_sec, double settled_sec, double until_sec) {
    struct figures found = {0};
    double before = 0;
    for (uint64_t n = (uint64_t)(from_sec * RATE / w->period_frames) + 1;; n++) {
        double sec = (double)(n * w->period_frames) / RATE;
        if (sec > until_sec)
            break;
        event(w, &w->play, n * w->period_frames + 1, late(w));
        event(w, &w->capture, n * w->period_frames + 101, late(w));
        uint64_t now = ours(w, sec + 0.01);
        double error = xpa_front_position_at(&w->play, now) - true_frames(w, sec + 0.01);
        double other = xpa_front_position_at(&w->capture, now) - true_frames(w, sec + 0.01);
        if (sec > settled_sec) {
            found.worst_frames = fmax(found.worst_frames, fabs(error));
            found.worst_apart_frames = fmax(found.worst_apart_frames, fabs(error - other));
            found.worst_step_frames = fmax(found.worst_step_frames, fabs(error - before));
            int64_t back =
                (int64_t)(xpa_front_time_at(&w->play, xpa_front_position_at(&w->play, now)) - now);
            CHECK(back >= -20 && back <= 20, "there and back: %ld ns", (long)back);
        }
        before = error;
    }
    found.ppm = xpa_front_ppm(&w->play);
    return found;
}

static void test_late_events_that_say_when_they_were_sent(void) {
    const double drifts[] = {0, 10, -30};
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_init(&w, true);
        w.drift_ppm = drifts[i];
        struct figures f = run(&w, 0, 2, 10);
        CHECK(f.worst_frames < 2, "off by %f frames at %g ppm", f.worst_frames, drifts[i]);
        /* no correction is a leap: it takes a second */
        CHECK(f.worst_step_frames < 0.1, "stepped by %f frames", f.worst_step_frames);
        /* sink and source of a card agree, though each has events of its own that are late */
        CHECK(f.worst_apart_frames < 0.01, "apart by %f frames", f.worst_apart_frames);
        f = run(&w, 10, 30, 60);
        CHECK(f.worst_frames < 0.5, "off by %f frames", f.worst_frames);
        double true_ppm = ((1 + w.device_ppm * 1e-6) / (1 + w.drift_ppm * 1e-6) - 1) * 1e6;
        CHECK(fabs(f.ppm - true_ppm) < 0.5, "%f ppm instead of %f", f.ppm, true_ppm);
    }
}

/* To know the clocks, events need to wake us for a while only, every so often, and of one stream;
 * others are found, up to a cycle later. */
static void test_few_events_need_to_wake_us(void) {
    const double drifts[] = {0, 10, -30};
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_init(&w, true);
        w.drift_ppm = drifts[i];
        uint32_t woken[2] = {0}, events = 0, before = 0;
        for (uint64_t n = 1; n < 400ull * RATE / w.period_frames; n++) {
            double sec = (double)(n * w.period_frames) / RATE;
            uint64_t now = ours(&w, sec);
            struct xpa_front *both[] = {&w.play, &w.capture};
            for (int j = 0; j < 2; j++) {
                bool wakes = xpa_peer_clock_listens(&w.peer, both[j], now);
                double late_sec = wakes ? late(&w) : 0.01 * (double)random_below(&w.random, 2);
                event_found(&w, both[j], n * w.period_frames + 1 + 100 * (uint64_t)j, late_sec,
                            wakes);
                woken[j] += wakes;
            }
            events++;
            if (sec < 4)
                before = woken[0];
            if (sec < 30)
                continue;
            now = ours(&w, sec + 0.02);
            double error = xpa_front_position_at(&w.play, now) - true_frames(&w, sec + 0.02);
            CHECK(fabs(error) < 1, "off by %f frames at %g s and %g ppm", error, sec, drifts[i]);
        }
        CHECK(before > 300 && woken[1] > 300, "%u, %u: not at first", before, woken[1]);
        CHECK((woken[0] + woken[1] - before) < events / 12, "%u and %u of %u", woken[0], woken[1],
              events);
        CHECK(woken[0] + woken[1] > before + events / 30, "%u in 400 s", woken[0] + woken[1]);
    }
}

/* What should be there is not: they wake us again, at once. Another stream takes over. */
static void test_a_clock_that_is_doubted_is_learnt_anew(void) {
    struct world w;
    world_init(&w, true);
    uint64_t n = 1;
    for (; n < 6ull * RATE / w.period_frames; n++)
        event(&w, &w.play, n * w.period_frames + 1, 1e-5);
    uint64_t now = ours(&w, 6);
    CHECK(!xpa_peer_clock_listens(&w.peer, &w.play, now), "it is not known after 6 s");
    xpa_peer_clock_doubt(&w.peer);
    CHECK(xpa_peer_clock_listens(&w.peer, &w.play, now), "nobody listens");
    CHECK(!xpa_peer_clock_listens(&w.peer, &w.capture, now), "both listen");
    xpa_peer_clock_leave(&w.peer, &w.play);
    CHECK(xpa_peer_clock_listens(&w.peer, &w.capture, now), "the other one does not");
    CHECK(!xpa_peer_clock_listens(&w.peer, &w.play, now), "both listen");
    /* what was heard before a second doubt does not count */
    double sec = 6;
    for (int marks = 0; marks < 100; marks++, n++, sec += (double)w.period_frames / RATE)
        event(&w, &w.capture, n * w.period_frames + 1, 1e-5);
    xpa_peer_clock_doubt(&w.peer);
    for (; sec < 10; n++, sec += (double)w.period_frames / RATE) {
        bool listens = xpa_peer_clock_listens(&w.peer, &w.capture, ours(&w, sec));
        CHECK(fabs(sec - 9.32) < 0.05 || listens == (sec < 9.32), "%d at %f s", listens, sec);
        event(&w, &w.capture, n * w.period_frames + 1, 1e-5);
    }
}

/* Events that come seldom: seconds are not enough, some marks are needed too. */
static void test_a_clock_is_not_known_by_a_few_marks(void) {
    struct world w;
    world_init(&w, true);
    int marks = 0;
    for (uint64_t n = 1; xpa_peer_clock_listens(&w.peer, &w.play, ours(&w, (double)n));
         n++, marks++)
        event(&w, &w.play, n * RATE + 1, 1e-5);
    CHECK_EQ(marks, 16);
}

/* The domain is another one now: nothing is known of it. */
static void test_a_new_backend_is_listened_to(void) {
    struct world w;
    world_init(&w, true);
    w.peer.streams = 0;
    struct xpa_peer_clock *peer = xpa_peer_clock_join(&w.peer, 1, 3);
    for (uint64_t n = 1; n < 6ull * RATE / w.period_frames; n++)
        event(&w, &w.play, n * w.period_frames + 1, 1e-5);
    CHECK(!xpa_peer_clock_listens(peer, &w.play, ours(&w, 6)), "it is not known");
    peer->streams = 0;
    peer = xpa_peer_clock_join(&w.peer, 1, 4);
    CHECK(xpa_peer_clock_listens(peer, &w.play, ours(&w, 6)), "it is known");
    CHECK(xpa_peer_clock_listens(peer, &w.capture, ours(&w, 6)), "one stream brings its marks");
}

/* Without it the earliest events count, of each stream for itself. */
static void test_events_that_do_not_say(void) {
    struct world w;
    world_init(&w, false);
    CHECK(!w.play.stream.timed, "in the backend's time");
    struct figures f = run(&w, 0, 5, 20);
    CHECK(f.worst_frames < 3, "off by %f frames", f.worst_frames);
    CHECK(f.worst_apart_frames > 0.01, "apart by %f frames only", f.worst_apart_frames);
}

/* At 64 frames most are later than a period. */
static void test_very_late_events(void) {
    const uint32_t periods[] = {64, 512};
    for (int i = 0; i < 2; i++) {
        struct world w;
        world_init(&w, true);
        w.late_msec = 2;
        w.period_frames = periods[i];
        struct figures f = run(&w, 0, 10, 30);
        CHECK(f.worst_frames < 8, "off by %f frames", f.worst_frames);
        CHECK(f.worst_apart_frames < 0.01, "apart by %f frames", f.worst_apart_frames);
    }
}

/* A new stream finds the clocks known: its second event is enough. */
static void test_a_later_stream_is_there_at_once(void) {
    struct world w;
    world_init(&w, true);
    run(&w, 0, 5, 20);
    xpa_front_time_init(&w.play, false);
    uint64_t n = 20 * RATE / w.period_frames + 5;
    for (int i = 0; i < 3; i++)
        event(&w, &w.play, (n + i) * w.period_frames, 1.5e-3);
    double sec = (double)((n + 4) * w.period_frames) / RATE;
    double error = xpa_front_position_at(&w.play, ours(&w, sec)) - true_frames(&w, sec);
    CHECK(fabs(error) < 1, "off by %f frames", error);
}

/* Our domain was suspended: our clock stood still, the backend's did not. */
static void test_a_suspended_guest_goes_on(void) {
    struct world w;
    world_init(&w, true);
    run(&w, 0, 5, 10);
    w.our_start_nsec -= 40000000000;
    struct figures f = run(&w, 50, 53, 60);
    CHECK(w.play.stream.timed, "no longer in the backend's time");
    CHECK(f.worst_frames < 2, "off by %f frames", f.worst_frames);
}

/* The bytes are the backend's: whatever stands there, time goes on near the events. */
static void test_garbage_in_the_bytes(void) {
    struct world w;
    world_init(&w, true);
    run(&w, 0, 5, 10);
    for (uint64_t n = 10 * RATE / w.period_frames; n < 20 * RATE / w.period_frames; n++) {
        double sec = (double)(n * w.period_frames) / (RATE * (1 + w.device_ppm * 1e-6));
        uint64_t sent = random_u64(&w.random) >> random_below(&w.random, 64);
        uint64_t now = ours(&w, sec + 50e-6);
        xpa_front_time_sent(&w.play, sent, now, true);
        xpa_front_time_mark(&w.play, n * w.period_frames, 10000, sent, now);
        double error = xpa_front_position_at(&w.play, now) - (double)(n * w.period_frames);
        CHECK(fabs(error) < 200, "off by %f frames after %llu", error, (unsigned long long)sent);
    }
}

/* An event of captured `frames`, which can be read `held_frames` after the microphone had them. */
static void captured(struct world *w, uint64_t frames, uint32_t held_frames) {
    double rate = RATE * (1 + w->device_ppm * 1e-6);
    double readable = (double)frames / rate + (double)held_frames / RATE;
    uint64_t sent = w->their_start_nsec ? theirs(w, readable + 10e-6) : 0;
    uint64_t now = ours(w, readable + 10e-6 + WAY_SEC);
    w->capture.stream.host_frames = held_frames;
    xpa_front_time_sent(&w->capture, sent, now, true);
    xpa_front_time_mark(&w->capture, frames, 10000, sent, now);
}

/* The host needs longer from now on, or not so long any more: captured frames can be read so much
 * later or earlier at once, and no clock has to learn it. */
static void test_the_age_of_captured_frames_steps(void) {
    const uint32_t held[] = {100, 134, 500, 2000, 100};
    for (int says_when = 0; says_when < 2; says_when++) {
        struct world w;
        world_init(&w, says_when);
        double allowed = says_when ? 0.5 : 3;
        for (uint64_t n = 1; n < 30ull * RATE / w.period_frames; n++) {
            uint64_t frames = n * w.period_frames;
            uint32_t now_held = held[frames / (6ull * RATE)];
            captured(&w, frames, now_held);
            if (frames < 5ull * RATE)
                continue;
            double sec = (double)frames / RATE + 0.05;
            double readable = true_frames(&w, sec) - now_held * (1 + w.device_ppm * 1e-6);
            double error = xpa_front_position_at(&w.capture, ours(&w, sec)) - readable;
            CHECK(fabs(error) < allowed, "off by %f frames at %f s", error, sec);
            double at = (double)(int64_t)(xpa_front_time_at(&w.capture, readable) - ours(&w, sec));
            CHECK(fabs(at) < allowed * 1e9 / RATE, "off by %f ns at %f s", at, sec);
        }
    }
}

/* An exponential, cut at four times its mean, deviates by 0.92 of that; what all are late by, and
 * the drift of the clocks, are none of it. */
static void test_jitter_is_how_unevenly_events_arrive(void) {
    for (int says_when = 0; says_when < 2; says_when++) {
        struct world w;
        world_init(&w, says_when);
        w.late_msec = 0.2;
        w.drift_ppm = 20;
        run(&w, 0, 30, 30);
        double usec = (double)w.play.stats.jitter_nsec / 1e3;
        CHECK(fabs(usec - 184) < 40, "%f us", usec);
        w.late_msec = 0;
        run(&w, 30, 60, 60);
        usec = (double)w.play.stats.jitter_nsec / 1e3;
        CHECK(usec < 10, "%f us though all take the same way", usec);
    }
}

/* Streams of one backend share what they learn; of two, never: their clocks have nothing in common.
 */
static void test_each_backend_has_its_own_clock(void) {
    struct xpa_peer_clock peers[2] = {0};
    struct xpa_peer_clock *first = xpa_peer_clock_join(peers, 2, 0),
                          *second = xpa_peer_clock_join(peers, 2, 8);
    CHECK(first && second && first != second, "shared by two backends");
    xpa_peer_clock_mark(first, 1000000, 5000000);
    CHECK(xpa_peer_clock_join(peers, 2, 0) == first, "not shared by two streams");
    CHECK(xpa_clock_ready(&first->clock), "the second stream forgot what the first had learnt");
    CHECK(!xpa_peer_clock_join(peers, 2, 16), "there were two only");
    first->streams -= 2;
    CHECK(xpa_peer_clock_join(peers, 2, 16) == first, "not used again");
    CHECK(!xpa_clock_ready(&first->clock), "another backend's clock was kept");
}

int main(void) {
    test_each_backend_has_its_own_clock();
    test_late_events_that_say_when_they_were_sent();
    test_few_events_need_to_wake_us();
    test_a_clock_that_is_doubted_is_learnt_anew();
    test_a_clock_is_not_known_by_a_few_marks();
    test_a_new_backend_is_listened_to();
    test_events_that_do_not_say();
    test_very_late_events();
    test_a_later_stream_is_there_at_once();
    test_a_suspended_guest_goes_on();
    test_garbage_in_the_bytes();
    test_the_age_of_captured_frames_steps();
    test_jitter_is_how_unevenly_events_arrive();
    return check_close();
}

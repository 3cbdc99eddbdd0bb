/* front/front.h - the frontend half of one sndif stream, on the data loop.
 *
 * In order; each uses only those before it:
 * time.c      when a frame is, by our clock
 * position.c  what positions mean, and which to believe
 * requests.c  the request ring: requests out, answers in
 * control.c   volume and mute, through the buffer that holds the samples
 * data.c      frames into and out of the buffer that the backend shares
 * rest.c      how much of the data loop's time the backend may take
 * poll.c      whether positions wake us, or are read in a cycle
 * life.c      attached, started, stopped, broken; what wakes it
 * commands.c  open, closed: what Python asks of it
 *
 * All counts are guest frames on the position's scale: `written` was handed to the backend,
 * `position` was heard, so written - position is the delay, always. The graph side (node/node.c)
 * decides when frames move; this side knows nothing of PipeWire.
 */
#ifndef XPA_FRONT_FRONT_H
#define XPA_FRONT_FRONT_H

#include "base/budget.h"
#include "base/jitter.h"
#include "time/clock.h"
#include "time/margin.h"
#include "plane/plane.h"
#include "plane/stats.h"
#include "xen/ring.h"
#include "xen/sndif.h"

enum xpa_front_change {
    XPA_FRONT_OPENED,   /* a buffer is there: the stream may be started */
    XPA_FRONT_CLOSED,   /* no buffer any more */
    XPA_FRONT_POSITION, /* a new position arrived */
    XPA_FRONT_ANSWER,   /* the backend answered transfers */
    XPA_FRONT_GONE,     /* the stream must not be used any more */
};

/* A request that the backend has not answered yet. */
struct xpa_transfer {
    uint16_t id;
    uint8_t operation, trigger;
    bool answered;
    bool timed; /* its answer is waited for, to time the way */
    uint32_t frames;
    uint64_t sent_nsec;
};

enum { XPA_TRANSFERS = 32 /* slots of the request ring */ };

/* No event is older than this when it is queued: more is a backend's mistake. */
enum { XPA_MAX_AGE_NSEC = 100000000 };

/* What is open. */
struct xpa_front_stream {
    bool open, started;
    bool stopping;          /* STOP is not answered: where the next start begins is not known yet */
    bool positioned;        /* a position came since the start */
    bool starved;           /* the backend ran out of our frames */
    bool ran_out;           /* ... or had, until it went on; the graph side takes note */
    uint32_t odd_positions; /* in a row that cannot be true: after some the backend means it */
    struct xpa_config config;
    uint32_t frame_bytes;
    uint64_t base_frames;     /* position at which the next start begins */
    uint64_t written_frames;  /* playback: handed over; capture: READ requested */
    uint64_t read_frames;     /* capture: passed on to the graph */
    uint64_t position_frames; /* newest */
    uint64_t event_nsec;      /* when it arrived; at first: when the stream was started */
    double slack_frames;      /* how far it may still run ahead of our own time */
    double host_frames, host_frames_max; /* from the extension; 0 without */
    struct xpa_clock clock;
    bool timed;               /* the clock runs in the backend's time, not in ours */
    bool may_poll;            /* the backend's last event says so */
    struct xpa_jitter jitter; /* of the events' arrival */
};

struct xpa_front {
    /* Set before the data loop knows the stream, and the same ever after: for any thread. */
    struct xpa_plane *plane;
    uint32_t id;
    int direction;
    bool position_ext;
    bool volume_ext; /* Python's until it attaches */
    uint32_t backend_id;
    struct xpa_channel request_channel, event_channel;
    struct xpa_source request_source, event_source, rest_source;
    int rest_fd; /* a timer: the end of a rest */

    /* The connection to the backend; data loop. */
    struct {
        struct xpa_front_ring ring;
        struct xpa_evt_ring event_ring;
        bool attached, broken;
        bool polls; /* positions do not wake us: we have told the backend so */
        uint16_t next_id, slow_id;
        bool slow_pending;
        struct xpa_transfer transfers[XPA_TRANSFERS];
        uint32_t transfers_begin, transfers_end;
        uint32_t awaited;            /* of those: triggers and timed ones, whose answers wake us */
        uint64_t pending_frames;     /* of those: what is not answered yet */
        uint64_t timed_nsec;         /* when a transfer was last timed */
        struct xpa_peer_clock *peer; /* in the plane, or, if all there are taken, our own */
        struct xpa_peer_clock own_peer;
        struct xpa_budget *budget; /* the backend's, or our own */
        struct xpa_budget own_budget;
        uint64_t rests_until_nsec; /* 0: it does not rest */
    } link;

    /* How far ahead frames are written (node/lead.h); data loop. */
    struct {
        uint32_t frames;           /* wanted ahead of the position when a cycle starts */
        uint32_t asked_frames;     /* as opened with, and what our margin is more since */
        uint32_t least_frames;     /* playback: whatever the host needs; 0: nobody chose it */
        double offset_frames;      /* a follower's distance is so much more than wanted */
        double resampler_frames;   /* PipeWire's resampler on this node holds so much */
        struct xpa_margin margin;  /* the part of it that is ours, beside the host's need */
        uint32_t published_frames; /* latency as last reported to Python */
        uint32_t ticket;           /* the notice that says so */
        bool unread;
    } lead;

    /* Also the data loop's. */
    struct xpa_front_stream stream;

    /* A volume or mute on its way to the backend, see control.c; also the data loop's. */
    struct {
        bool waiting;           /* for the end of a cycle */
        uint32_t offset_frames; /* where in the buffer it lies until it is answered, */
        uint32_t frames;        /* and how long it is there; 0: none is under way */
        uint16_t id;
    } control;

    /* The newest volume event, if Python has not read the notice of the one before; also the data
     * loop's. */
    struct {
        bool due, unread;
        uint32_t ticket;
        struct xensnd_evt event;
    } volume;

    /* Whom it tells of changes; also the data loop's. */
    struct {
        void (*on_change)(void *data, enum xpa_front_change change, uint64_t now_nsec);
        void *data;
    } graph;

    /* What Python's thread and the data loop both touch. */
    struct {
        atomic_bool control_taken; /* by the data loop, until it was sent or given up */
        uint8_t control_operation;
        uint32_t control_bytes;
        uint8_t control[XPA_CONTROL_BYTES];
    } shared;

    struct xpa_live_stats stats; /* the data loop writes, Python's thread reads */
};

/* --- for the graph side, on the data loop --- */

/* Reads answers without waiting for their notification. */
void xpa_front_collect(struct xpa_front *f, uint64_t now_nsec);
/* Reads positions that nobody told us of, and finds what was captured; says nothing to the graph
 * side, but if the stream ends. */
void xpa_front_poll(struct xpa_front *f, uint64_t now_nsec);
/* From now on positions need not wake us; they do not where the backend can do without, and as long
 * as its clock is known. Or they do: what is there by then is polled. */
void xpa_front_let_poll(struct xpa_front *f, bool may, uint64_t now_nsec);
/* What should be there by now is not: positions wake us, and for a while. */
void xpa_front_hear(struct xpa_front *f, uint64_t now_nsec);
/* For what was sent an answer is needed now: notifies, and is woken by it. */
void xpa_front_urge(struct xpa_front *f);
/* Frames count from where the backend's position will start. Playback puts its first frames
 * between prepare and begin. */
void xpa_front_prepare(struct xpa_front *f);
void xpa_front_begin(struct xpa_front *f);
void xpa_front_end(struct xpa_front *f);

/* Playback: frames that can be put now. */
uint32_t xpa_front_room(const struct xpa_front *f);
/* Playback: hands `frames` <= room to the backend; source NULL: silence. */
void xpa_front_put(struct xpa_front *f, const void *source, uint32_t frames);
/* Playback: as much of it as there is room for. */
void xpa_front_silence(struct xpa_front *f, uint64_t frames);
/* Capture: asks for everything up to the newest position. */
void xpa_front_ask(struct xpa_front *f);
/* Capture: frames that can be got now. */
uint32_t xpa_front_ready(const struct xpa_front *f);
void xpa_front_get(struct xpa_front *f, void *target, uint32_t frames);

/* When a frame is heard (capture: may be read), nsec of our clock; and the inverse. Only after a
 * first position: see ready. */
uint64_t xpa_front_time_at(const struct xpa_front *f, double position_frames);
double xpa_front_position_at(const struct xpa_front *f, uint64_t nsec);
double xpa_front_nsec_per_frame(const struct xpa_front *f);
double xpa_front_ppm(const struct xpa_front *f);
bool xpa_front_time_ready(const struct xpa_front *f);
/* Some eight positions are in. */
bool xpa_front_time_locked(const struct xpa_front *f);

/* --- between the files --- */

void xpa_front_time_init(struct xpa_front *f, bool timed);
/* The next position may be anything: a start, a skip. */
void xpa_front_expect_jump(struct xpa_front *f);
/* An event arrived that says so. 0: it does not say. `woken`: it arrived just now. */
void xpa_front_time_sent(struct xpa_front *f, uint64_t their_nsec, uint64_t now_nsec, bool woken);
void xpa_front_time_mark(struct xpa_front *f, uint64_t position, uint64_t age_nsec,
                         uint64_t their_nsec, uint64_t now_nsec);

/* Below, int < 0 is the errno for which the stream is to be ended. */

/* poll.c, of what the graph side calls poll, let_poll and hear. */
int xpa_front_look(struct xpa_front *f, uint64_t now_nsec);
int xpa_front_choose(struct xpa_front *f, bool may, uint64_t now_nsec);
int xpa_front_listen(struct xpa_front *f, uint64_t now_nsec);
/* Capture: takes note of what the backend has put into the buffer unasked. */
void xpa_front_find(struct xpa_front *f);
/* `woken`: the newest has just arrived; else it may have been there for a while. */
int xpa_front_read_events(struct xpa_front *f, uint64_t now_nsec, bool woken);
/* A volume event that waited for Python to read the last one. */
void xpa_front_pass_volume(struct xpa_front *f);

/* A channel has woken us. False: the backend rests now, and its channels are looked at later. */
bool xpa_front_may_wake(struct xpa_front *f, uint64_t now_nsec);
/* So many events came together. */
void xpa_front_charge_events(struct xpa_front *f, uint32_t events, uint64_t now_nsec);
/* The rest is over. */
int xpa_front_wake(struct xpa_front *f);

/* Takes in all answers; 1: STOP's was among them. */
int xpa_front_answers(struct xpa_front *f, uint64_t now_nsec);
int xpa_front_send_trigger(struct xpa_front *f, uint8_t type);
/* Python's request: one at a time; its answer becomes a notice. */
int xpa_front_send_request(struct xpa_front *f, struct xensnd_req *request);
/* For what was sent an answer is needed now; true: there are answers already. */
bool xpa_front_hurry(struct xpa_front *f);
bool xpa_front_transfer(struct xpa_front *f, uint8_t operation, uint32_t offset_bytes,
                        uint32_t length_bytes, uint32_t frames);
void xpa_front_flush(struct xpa_front *f);
uint32_t xpa_front_slots(const struct xpa_front *f);

/* Behind a cycle's frames, or if there are no cycles: a volume or mute that waits is sent now. */
void xpa_front_send_control(struct xpa_front *f);
/* How far from `offset_frames` on, around the buffer's end, no volume lies; UINT32_MAX: none does.
 */
uint32_t xpa_front_clear_frames(const struct xpa_front *f, uint32_t offset_frames);

/* life.c */
/* The stream is ended: the peer broke the protocol, or went away. */
void xpa_front_break(struct xpa_front *f, int reason);
/* Tells whoever drives the stream. */
void xpa_front_changed(struct xpa_front *f, enum xpa_front_change what, uint64_t now_nsec);
/* It is open no more. */
void xpa_front_release(struct xpa_front *f);

#endif

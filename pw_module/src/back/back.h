/* back/back.h - the backend half of one sndif stream, on the data loop.
 *
 * In order; each uses only those before it:
 * fault_injection.c  lateness on purpose, for experiments
 * position.c         what the guest's position is now, and when to tell it
 * volume.c           what the host made of the guest's volume
 * data.c             frames: guest -> host (pull), host -> guest (push)
 * state.c            stopped, running, paused: what triggers change
 * requests.c         the request ring: what the guest asks
 * host_start.c       START is answered when the host runs
 * life.c             attached, open, closed, broken; what wakes it; Python's commands
 * vdev.c             host devices without hardware
 *
 * Frames are counted three ways. Guest frames: what the guest delivered or may read; positions in
 * events are these. Host frames: what the host device was given or gave, silence included; the
 * host's clock counts these. The timeline (time/timeline.h) maps one to the other.
 *
 * The guest's buffer is copied at WRITE into a private FIFO and filled at READ from a private
 * history: nothing that the guest does to its pages later can matter.
 */
#ifndef XPA_BACK_BACK_H
#define XPA_BACK_BACK_H

#include "time/clock.h"
#include "plane/plane.h"
#include "plane/stats.h"
#include "xen/ring.h"
#include "xen/sndif.h"
#include "base/budget.h"
#include "base/jitter.h"
#include "base/tap.h"
#include "time/timeline.h"

/* Lateness made on purpose, see back/fault_injection.c. */
struct xpa_fault_injection {
    int timer_fd; /* made with the stream */
    uint64_t jitter_nsec, stall_nsec, stall_every_nsec;
    uint64_t due_nsec, random;
    struct xpa_source source;
    bool added;
};

/* What an OPEN begins, and the next one begins anew. */
struct xpa_back_stream {
    bool open, running, paused;
    struct xpa_config config;
    uint32_t frame_bytes;
    uint8_t *store; /* FIFO (playback) or history (capture) */
    uint32_t store_frames;
    uint64_t written_frames; /* end of the data in the store */
    uint64_t taken_frames;   /* playback: the host took everything before this; capture: START */
    uint64_t late_frames;    /* playback: rewound past what the host took; as many come too late */
    uint64_t
        stopped_frames;   /* capture: where STOP found the position, the end of what READ gives */
    uint64_t host_frames; /* host frames exchanged since open */
    double ahead_frames;  /* of the host's count before the guest's, at the last position sent */
    bool ahead_known;
    uint64_t reported_frames;
    uint64_t next_event_frames;
    uint32_t next_offset_frames; /* where the next WRITE is expected in the guest's buffer */
    uint64_t filled_frames;      /* capture: the guest's buffer holds all before this, unasked */
    bool fills;
    uint16_t first_event_id; /* what link.event_id was at OPEN */
    struct xpa_timeline timeline;
    struct xpa_clock clock;     /* host frames heard (or that reached the microphone) */
    struct xpa_jitter jitter;   /* of the host's marks */
    uint64_t hold_nsec;         /* capture: how far the position stays behind the microphone */
    uint32_t hold_frames;       /* the same */
    uint64_t delay_window_nsec; /* start of the window of host_delay_max */
    double delay_window_max;
    uint64_t host_seen_nsec; /* the host's last mark; 0: none */
};

struct xpa_back {
    /* Set before the data loop knows the stream, and the same ever after: for any thread. */
    struct xpa_plane *plane;
    uint32_t id;
    int direction;
    bool position_ext;
    bool volume_ext; /* Python's until it attaches */
    void *ring_page, *event_page;
    struct xpa_channel request_channel, event_channel;
    struct xpa_source request_source, event_source, timer_source;
    int timer_fd;

    /* The connection to the frontend; data loop. */
    struct {
        struct xpa_back_ring ring;
        struct xpa_evt_ring event_ring;
        bool attached, broken;
        bool watches; /* the frontend's byte is to stay set (liveness extension); Python's until
                         it attaches */
        bool waiting; /* Python is answering a slow request: later ones wait for their turn */
        bool holding; /* `held`, a TRIGGER, waits until Python has read the notice of the last */
        bool trigger_unread;
        uint32_t trigger_ticket;
        struct xensnd_req held;
        bool starting; /* `held` is a START that was carried out: its answer waits for the host */
        uint64_t start_until_nsec; /* 0: nobody has looked yet whether the host runs */
        uint64_t armed_nsec;       /* the timer */
        uint16_t event_id;         /* of the next event slot, counted since it was attached */
        struct xpa_budget *budget; /* the guest's, or our own */
        struct xpa_budget own_budget;
        uint64_t rests_until_nsec; /* it has asked for too much; 0: no */
    } link;

    /* Also the data loop's. */
    struct xpa_back_stream stream;
    struct {
        bool due; /* `event` is to be sent */
        struct xensnd_evt event;
    } volume;
    struct xpa_fault_injection faults;
    struct xpa_tap *tap;

    /* What Python's thread and the data loop both touch. */
    struct {
        /* the host's device may have to be opened before it runs; stands for itself */
        _Atomic bool host_wakes;
        /* To be freed by Python's thread. Both take it by an exchange, which brings that the other
         * is done with it. */
        _Atomic(uint8_t *) retired_store;
    } shared;
    struct xpa_live_stats stats; /* the data loop writes, Python's thread reads */
};

/* --- for host outputs, on the data loop --- */

/* Carries out what the guest has queued: call just before taking. */
void xpa_back_collect(struct xpa_back *b, uint64_t now_nsec);

/* Fills `frames` frames for the host: guest data, then silence. Returns the guest frames. */
uint32_t xpa_back_pull(struct xpa_back *b, void *target, uint32_t frames);

/* A cycle that nobody will hear is given nothing: the guest's frames stay for the next one, and so
 * many of silence are heard. */
void xpa_back_hold(struct xpa_back *b, uint32_t frames);

/* The host went on by `frames` without asking us. */
void xpa_back_missed(struct xpa_back *b, uint32_t frames);

/* The host's device is playing host frame `host_frames` (playback), or host frames before it have
 * reached the microphone (capture), at `nsec`. */
void xpa_back_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames);

/* `frames` captured frames; `latency_nsec`: age of the newest when they were handed over. */
void xpa_back_push(struct xpa_back *b, const void *source, uint32_t frames, uint64_t latency_nsec);

/* --- between the files --- */

/* Below, int is 0, or a negative errno for which the stream is to be ended. */

/* fault_injection.c */
bool xpa_back_has_faults(const struct xpa_back *b);
void xpa_back_notify_position(struct xpa_back *b, uint64_t now_nsec);
void xpa_back_end_faults(struct xpa_back *b);

/* position.c */
double xpa_back_heard_host_frames(const struct xpa_back *b, uint64_t now_nsec);
double xpa_back_position(struct xpa_back *b, uint64_t now_nsec);
/* Sets the timer for whatever comes next. */
void xpa_back_schedule(struct xpa_back *b, uint64_t now_nsec);
void xpa_back_next_boundary(struct xpa_back *b);
/* The host is there, by its clock. */
void xpa_back_host_mark(struct xpa_back *b, uint64_t nsec, uint64_t host_frames, uint64_t now_nsec);
/* Sends the position if an event is due, and sets the timer for the next. */
int xpa_back_tell_position(struct xpa_back *b, uint64_t now_nsec);
/* The frontend looks at the event page by itself, as it may; that changes at any moment. */
bool xpa_back_polled(const struct xpa_back *b);
int xpa_back_send_position(struct xpa_back *b, uint64_t position_frames, uint64_t age_nsec,
                           uint64_t now_nsec);

/* One event slot with the next number; 0, -ENOSPC, -EPROTO. */
int xpa_back_put_event(struct xpa_back *b, const struct xensnd_evt *event);

/* volume.c */
/* What the frontend is to be told, now or when there is room. */
int xpa_back_set_volume(struct xpa_back *b, const struct xensnd_evt *event);
/* If there is anything: sends it. */
int xpa_back_send_volume(struct xpa_back *b);

/* data.c; the status to answer with */
int xpa_back_write(struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes);
int xpa_back_read(struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes);
/* Capture: what the host has given since is put into the guest's buffer, or from now on is not. */
void xpa_back_fill(struct xpa_back *b, bool fills, uint64_t now_nsec);
/* Such a WRITE means that the guest starts from the beginning and told nobody. */
bool xpa_back_prepared_anew(const struct xpa_back *b, uint32_t offset_bytes, uint32_t length_bytes);

/* state.c */
/* The guest starts or stops the stream: Python tells the host's output. */
void xpa_back_tell_host(struct xpa_back *b, bool running);
int xpa_back_stop(struct xpa_back *b);
/* `status`: what the guest is answered. */
int xpa_back_trigger(struct xpa_back *b, uint8_t type, int *status);

/* requests.c */
/* Carries out what the guest has queued, as far as its budget goes. */
int xpa_back_serve(struct xpa_back *b, uint64_t now_nsec);
/* What woke us counts as well. False: nothing is left, and nothing of the guest's wakes us until
 * the timer does. */
bool xpa_back_may_wake(struct xpa_back *b, uint64_t now_nsec);
int xpa_back_answer(struct xpa_back *b, const struct xensnd_req *request, int status);
/* Python's answer to the request that the ring rests for. */
int xpa_back_pass_answer(struct xpa_back *b, const struct xensnd_resp *response);

/* host_start.c, of a START that waits. 1: answered, the ring may go on */
int xpa_back_answer_start(struct xpa_back *b, uint64_t now_nsec);

#endif

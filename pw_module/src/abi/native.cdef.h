/* abi/native.cdef.h - what Python sees of the data plane; plain declarations, read by C and by
 * cffi.
 *
 * Threads: every function here is called from Python's main thread. A function that changes a
 * stream queues a command; the data loop carries it out and answers with a notice. What Python
 * lends (pages, channels, buffers) stays lent until the notice that gives it back.
 */

enum { XPA_PLAYBACK = 0, XPA_CAPTURE = 1 };

/* How samples are encoded, as far as anything is done with them: the gain of the loopback, and the
 * bounds of floats (base/silence.h). Swapped: the other byte order. */
enum {
    XPA_SAMPLE_OPAQUE = 0,
    XPA_SAMPLE_S16 = 1,
    XPA_SAMPLE_S32 = 2,
    XPA_SAMPLE_F32 = 3,
    XPA_SAMPLE_F32_SWAPPED = 4,
    XPA_SAMPLE_F64 = 5,
    XPA_SAMPLE_F64_SWAPPED = 6,
};

/* What a stream may have: as many channels as PipeWire has positions for. */
enum { XPA_MAX_CHANNELS = 64 };

enum {
    XPA_NOTICE_REQUEST = 1,  /* backend: a request that Python must answer; packet holds it */
    XPA_NOTICE_RESPONSE = 2, /* frontend: the answer to Python's request; packet holds it.
                                code -EAGAIN: it was not sent, see xpa_front_control() */
    XPA_NOTICE_TRIGGER = 3,  /* backend: code 1 started, 0 stopped: (de)activate the host side */
    XPA_NOTICE_RELEASED = 4, /* buffer given to xpa_*_open is no longer used */
    XPA_NOTICE_DETACHED = 5, /* the stream's pages and channels are no longer used */
    XPA_NOTICE_BROKEN = 6,   /* the peer broke the protocol or went away; code: negative errno */
    XPA_NOTICE_LATENCY = 7,  /* frontend: published_frames changed */
    XPA_NOTICE_VOLUME = 8,   /* frontend: the host changed the volume; packet: the event */
};

/* The most that a volume or mute takes in the buffer: four bytes for each of so many channels. */
enum { XPA_CONTROL_BYTES = 256 };

struct xpa_notice {
    uint32_t kind;
    uint32_t stream_id;
    int32_t code;
    uint32_t reserved;
    uint8_t packet[64];
};

/* One sndif stream configuration, already checked by Python. */
struct xpa_config {
    uint32_t format; /* sndif's number */
    uint32_t rate;
    uint32_t channels;
    uint32_t sample_bytes;
    uint32_t sample_kind;
    uint8_t silence[8];
    uint32_t buffer_frames;
    uint32_t period_frames; /* 0: no position events */
    void *buffer;           /* shared pages, contiguous here */
};

/* Figures of a stream, as they were when they were copied: each by itself. */
struct xpa_stats {
    uint64_t written_frames;  /* playback: by the guest; capture: by the host */
    uint64_t position_frames; /* as last reported (backend) or received (frontend) */
    uint64_t transfers;       /* WRITE and READ requests */
    uint64_t events;
    uint64_t events_skipped; /* the event page was full */
    uint64_t xruns;          /* times that silence was inserted because data came too late */
    uint64_t last_xrun_nsec; /* when the last one was, CLOCK_MONOTONIC; 0: there was none */
    uint64_t silence_frames;
    uint64_t cycles;   /* graph cycles driven or followed, or host cycles */
    uint64_t deferred; /* cycles held back because the one before was not finished */
    uint64_t resyncs;  /* a follower's distance was set anew */
    uint64_t dropped_frames;
    uint64_t held_cycles;      /* host cycles come to too late: given silence, guest data kept */
    int64_t delay_frames;      /* written - heard */
    uint64_t lead_frames;      /* frontend: written ahead of the position when a cycle starts */
    uint64_t published_frames; /* frontend: the delay that applications are told */
    double true_frames;        /* frontend: the delay that the last cycle really had */
    uint64_t quantum_frames;
    uint64_t quantum_rate;
    uint64_t callback_nsec; /* thread CPU time of the last audio callback */
    double ppm;             /* the peer's (frontend) or host's (backend) clock against ours */
    double host_delay_frames;
    double host_delay_max_frames;
    uint64_t transport_nsec; /* frontend: an event's way to us, estimated */
    uint64_t jitter_nsec;    /* how unevenly events arrive (frontend), or the host's cycles do */
    uint64_t rests; /* times that the peer had to wait, having asked for too much at once */
    uint32_t running;
    uint32_t driving;
};

/* What a peer has cost and not paid off yet: times until which it is in debt, see base/budget.h.
 * Zeroed by Python, then the data loop's; all streams of a peer share one. */
struct xpa_budget {
    uint64_t work_due_nsec, slow_due_nsec;
};

struct xpa_plane;
struct xpa_front;
struct xpa_back;
struct xpa_vdev;
struct xpa_tap;

struct xpa_plane *xpa_plane_new(void);
int xpa_plane_start_thread(struct xpa_plane *plane);
void xpa_plane_free(struct xpa_plane *plane);
int xpa_plane_notice_fd(struct xpa_plane *plane);
void xpa_plane_clear_notice_fd(struct xpa_plane *plane);
/* How many there was no room for since this was last asked. */
uint32_t xpa_plane_take_lost_notices(struct xpa_plane *plane);
int xpa_plane_next_notice(struct xpa_plane *plane, struct xpa_notice *notice);

/* Backend half of one stream. `position_ext`: the frontend understands the position extension. */
struct xpa_back *xpa_back_new(struct xpa_plane *plane, uint32_t stream_id, int direction,
                              void *ring_page, void *event_page, struct xpa_channel requests,
                              struct xpa_channel events, int position_ext);
void xpa_back_free(struct xpa_back *back);
/* Before attach: lent until DETACHED. Without it the stream has a budget of its own. */
void xpa_back_share_budget(struct xpa_back *back, struct xpa_budget *budget);
/* Before attach: the frontend keeps the first reserved byte of the event page set for as long as
 * it lives. If it is set at attach, and then cleared: XPA_NOTICE_BROKEN with -ENOTCONN. */
void xpa_back_watch(struct xpa_back *back);
/* Before attach: the frontend understands the volume extension. */
void xpa_back_tell_volumes(struct xpa_back *back);
int xpa_back_attach(struct xpa_back *back);
int xpa_back_detach(struct xpa_back *back);
int xpa_back_open(struct xpa_back *back, const struct xpa_config *config);
int xpa_back_close(struct xpa_back *back);
int xpa_back_respond(struct xpa_back *back, const uint8_t *response);
/* An event of the volume extension, 64 bytes; its id is filled in. Nothing without the extension.
 */
int xpa_back_tell_volume(struct xpa_back *back, const uint8_t *event);
void xpa_back_stats(struct xpa_back *back, struct xpa_stats *copy);

/* Frontend half of one stream. */
struct xpa_front *xpa_front_new(struct xpa_plane *plane, uint32_t stream_id, int direction,
                                void *ring_page, void *event_page, struct xpa_channel requests,
                                struct xpa_channel events, int position_ext, uint32_t backend_id);
void xpa_front_free(struct xpa_front *front);
/* As xpa_back_share_budget(): the backend's, for all its streams. */
void xpa_front_share_budget(struct xpa_front *front, struct xpa_budget *budget);
/* As xpa_back_tell_volumes(): XPA_NOTICE_VOLUME, once until the last one was read. */
void xpa_front_hear_volumes(struct xpa_front *front);
int xpa_front_attach(struct xpa_front *front);
int xpa_front_detach(struct xpa_front *front);
/* The part of a lead that is not the host's need: how late a cycle may be at first. */
uint32_t xpa_front_margin_frames(uint32_t rate, uint32_t period_frames, int direction);
/* least_lead_frames: the lead of a playback stream is never less, however little the host needs. */
int xpa_front_open(struct xpa_front *front, const struct xpa_config *config, uint32_t lead_frames,
                   uint32_t least_lead_frames);
int xpa_front_close(struct xpa_front *front);
int xpa_front_request(struct xpa_front *front, const uint8_t *request);
/* SET_VOLUME, MUTE or UNMUTE of a stream that is open, through a place in its buffer in which no
 * samples are: behind the next cycle's frames while it runs, else at once. As xpa_front_request(),
 * one at a time; without such a place the notice says -EAGAIN. -EBUSY: the last one has not gone.
 */
int xpa_front_control(struct xpa_front *front, uint8_t operation, const uint8_t *data,
                      uint32_t length_bytes);
int xpa_front_check(struct xpa_front *front);
void xpa_front_stats(struct xpa_front *front, struct xpa_stats *copy);

/* A host device without hardware: null (plays into nothing) or loopback (returns what it plays). It
 * holds 4 quanta and its delay as history, and a quantum, in frames of this size. */
enum { XPA_VDEV_FRAME_BYTES = 256 };

struct xpa_vdev *xpa_vdev_new(struct xpa_plane *plane, uint32_t rate, uint32_t quantum_frames,
                              double ppm, int loopback, uint32_t delay_frames, double gain);
int xpa_vdev_connect(struct xpa_vdev *vdev, struct xpa_back *back);
int xpa_vdev_disconnect(struct xpa_vdev *vdev, struct xpa_back *back);
void xpa_vdev_free(struct xpa_vdev *vdev);

/* For experiments: events reach the guest late, by an exponential `jitter_nsec` on average (at most
 * four times that), and by up to `stall_nsec` once every `stall_every_nsec`. */
int xpa_back_inject_faults(struct xpa_back *back, uint64_t jitter_nsec, uint64_t stall_nsec,
                           uint64_t stall_every_nsec);
int xpa_back_set_tap(struct xpa_back *back, struct xpa_tap *tap);

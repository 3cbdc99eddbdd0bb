/* abi/pcm.cdef.h - a guest's stream as the PCM of another program; as native.cdef.h.
 *
 * The data loop keeps the rings and the clock. The program has a memory file with the control words
 * of pcm/share.h and its samples, and an eventfd each way; src/ioplug is its end of them. What the
 * two processes say beside that goes over a socket of whole messages (SOCK_SEQPACKET): a question,
 * and its answer, with the three descriptors if it is that to an OPEN.
 */

enum { XPA_PCM_VERSION = 1, XPA_PCM_RATES = 16 };

enum {
    XPA_PCM_SPACE = 1, /* what may be opened */
    XPA_PCM_OPEN = 2,  /* also in place of what is open */
    XPA_PCM_CLOSE = 3,
};

struct xpa_pcm_question {
    uint32_t version, ask;
    uint32_t card, device; /* as XenStore numbers them */
    int32_t stream;        /* of the device; -1: its first one of this direction */
    uint32_t direction;    /* XPA_PLAYBACK, XPA_CAPTURE */
    uint32_t format;       /* sndif's number; from here on: of OPEN */
    uint32_t rate, channels;
    uint32_t period_frames, buffer_frames;
};

struct xpa_pcm_answer {
    uint32_t version;
    int32_t status;   /* 0 or a negative errno */
    uint32_t formats; /* a bit each, by sndif's numbers; from here on: of SPACE */
    uint32_t rate_min, rate_max, rate_count, rates[XPA_PCM_RATES]; /* rate_count 0: any between */
    uint32_t channels_min, channels_max;
    uint32_t period_frames_min, buffer_bytes_max;
    uint64_t share_bytes; /* of OPEN: the memory file's */
};

struct xpa_pcm;

/* Makes the memory file and the eventfds, all of them ours until xpa_pcm_free(). NULL and errno. */
struct xpa_pcm *xpa_pcm_new(struct xpa_plane *plane, uint32_t id, int direction,
                            uint32_t frame_bytes, uint32_t buffer_frames);
/* After XPA_NOTICE_DETACHED, or if it was never bound. */
void xpa_pcm_free(struct xpa_pcm *pcm);
/* `front` is open: its frames are the program's from now on, until it closes or xpa_pcm_unbind(),
 * which ends with XPA_NOTICE_DETACHED under the PCM's id. */
int xpa_pcm_bind(struct xpa_pcm *pcm, struct xpa_front *front);
int xpa_pcm_unbind(struct xpa_pcm *pcm);

/* What is left of the volumes to be made here, amplitudes; at any time. */
void xpa_pcm_set_gain(struct xpa_pcm *pcm, const float *linear, uint32_t count);

enum { XPA_PCM_SHARE_FD = 0, XPA_PCM_KICK_FD = 1, XPA_PCM_WAKE_FD = 2 };

int xpa_pcm_fd(const struct xpa_pcm *pcm, int which);
uint64_t xpa_pcm_share_bytes(const struct xpa_pcm *pcm);

/* --- the volumes of a guest's card as the controls of another program --- */

/* On the same socket, in connections of their own: a question and its answer, or after a WATCH an
 * event for each control that changes, and no more questions. */
enum { XPA_CTL_READ = 16, XPA_CTL_WRITE = 17, XPA_CTL_WATCH = 18 };

enum { XPA_CTL_VOLUME = 0, XPA_CTL_MUTE = 1, XPA_CTL_KINDS = 2 };

/* A volume is a number of steps: none is silence, LOUDEST are 0 dB, and each is STEP_CDB hundredths
 * of a dB. */
enum { XPA_CTL_STREAMS = 64, XPA_CTL_CHANNELS = 16, XPA_CTL_LOUDEST = 600, XPA_CTL_STEP_CDB = 10 };

struct xpa_ctl_question {
    uint32_t version, ask;
    uint32_t card;                    /* as XenStore numbers it */
    uint32_t stream, kind;            /* of WRITE, from here on: by its place in the answers */
    int32_t values[XPA_CTL_CHANNELS]; /* a volume a channel, or one mute */
};

struct xpa_ctl_stream {
    uint32_t direction; /* XPA_PLAYBACK, XPA_CAPTURE */
    uint32_t channels;
    int32_t muted;
    int32_t volumes[XPA_CTL_CHANNELS];
};

struct xpa_ctl_answer {
    uint32_t version;
    int32_t status; /* 0 or a negative errno; from here on: of READ */
    uint32_t stream_count;
    char name[32], long_name[80]; /* the card's */
    struct xpa_ctl_stream streams[XPA_CTL_STREAMS];
};

struct xpa_ctl_event {
    uint32_t version;
    uint32_t stream, kind;
};

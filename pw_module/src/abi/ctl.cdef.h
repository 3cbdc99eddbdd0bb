/* abi/ctl.cdef.h - the volumes of a guest's card as the controls of another program; as
 * native.cdef.h. On the socket of pcm.cdef.h, in connections of their own: a question and its
 * answer, or after a WATCH an event for each control that changes, and no more questions.
 */

/* Beside those of a PCM, which begin with the same two words. */
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

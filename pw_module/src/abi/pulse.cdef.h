/* abi/pulse.cdef.h - a host's PulseAudio, for the backend's streams; see pulse/pulse.h. Python's
 * main thread calls all of it. */

enum {
    XPA_PULSE_EVENT_UP = 1,     /* the server answers */
    XPA_PULSE_EVENT_LOST = 2,   /* it is gone, or was never there; text: why */
    XPA_PULSE_EVENT_STREAM = 3, /* id: code 1 it is there, 0 it is not; text: why */
    XPA_PULSE_EVENT_VOLUME = 4, /* id: its volume or mute has changed */
};

struct xpa_pulse_event {
    uint32_t kind;
    uint32_t id;
    int32_t code;
    char text[116];
};

/* What the server's streams are like at most: PulseAudio has 32 channels of 4 bytes. */
enum { XPA_PULSE_FRAME_BYTES = 128 };

struct xpa_pulse;
struct xpa_pulse_stream;

/* NULL: libpulse is there; else why not. */
const char *xpa_pulse_missing(void);
int xpa_pulse_supports_format(uint32_t sndif_format);

struct xpa_pulse *xpa_pulse_new(void);
/* Ends with an event, UP or LOST. */
int xpa_pulse_connect(struct xpa_pulse *pulse);
/* After its streams are freed. */
void xpa_pulse_disconnect(struct xpa_pulse *pulse);
void xpa_pulse_free(struct xpa_pulse *pulse);
int xpa_pulse_fd(struct xpa_pulse *pulse);
void xpa_pulse_clear_fd(struct xpa_pulse *pulse);
int xpa_pulse_next_event(struct xpa_pulse *pulse, struct xpa_pulse_event *event);

/* One stream of one guest. `device`: of the host's policy, or NULL for the server's default;
 * `quantum_frames`: a quarter of what waits to be played, or what is captured at once. NULL with
 * errno, EINVAL where PulseAudio has no such format. */
struct xpa_pulse_stream *xpa_pulse_stream_new(struct xpa_pulse *pulse, struct xpa_relay *relay,
                                              uint32_t id, uint32_t sndif_format, uint32_t rate,
                                              uint32_t channels, uint32_t quantum_frames,
                                              const char *device, const char *const *keys,
                                              const char *const *values, uint32_t count);
void xpa_pulse_stream_set_active(struct xpa_pulse_stream *stream, int active);
/* Linear, one a channel; from now on, or from when the server knows the stream. */
int xpa_pulse_stream_set_volumes(struct xpa_pulse_stream *stream, const float *volumes,
                                 uint32_t count, int mute);
/* How many channels there are; 0: not known yet. */
uint32_t xpa_pulse_stream_volumes(struct xpa_pulse_stream *stream, float *volumes, uint32_t room,
                                  int *mute);
void xpa_pulse_stream_free(struct xpa_pulse_stream *stream);

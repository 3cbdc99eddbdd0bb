/* abi/alsa.cdef.h - a sound device of the host by alsa-lib alone, for one stream of the backend;
 * see alsa/alsa.h. Python's main thread calls all of it. */

enum { XPA_ALSA_OPENS = 0, XPA_ALSA_RUNS = 1, XPA_ALSA_ENDED = 2 };

/* Of the most channels that a stream may have, as float64. */
enum { XPA_ALSA_FRAME_BYTES = 512 };

struct xpa_alsa_stream;

/* NULL: libasound is there; else why not. */
const char *xpa_alsa_missing(void);
int xpa_alsa_supports_format(uint32_t sndif_format);

/* Opens the device, in a thread of its own, and plays or captures until it is freed or something
 * goes wrong. `device`: of the host's policy; `quantum_frames`: of the device's period, as near as
 * it comes, and the buffer has four. */
struct xpa_alsa_stream *xpa_alsa_stream_new(struct xpa_relay *relay, const char *device,
                                            uint32_t sndif_format, uint32_t rate, uint32_t channels,
                                            uint32_t quantum_frames);
/* Readable when the state has changed. */
int xpa_alsa_stream_fd(struct xpa_alsa_stream *stream);
/* `why`, if it has ended: `room` bytes at the most. */
int xpa_alsa_stream_state(struct xpa_alsa_stream *stream, char *why, uint32_t room);
void xpa_alsa_stream_free(struct xpa_alsa_stream *stream);

/* abi/relay.cdef.h - frames between the data loop and a device's own thread, see relay/relay.h. */

struct xpa_relay;

/* `room_frames`: the most that wait in it. Lent to whoever plays or captures until that is freed,
 * and to the data loop from connect until the RELEASED or DETACHED notice after disconnect. */
struct xpa_relay *xpa_relay_new(struct xpa_back *back, int direction, uint32_t frame_bytes,
                                uint32_t rate, uint32_t room_frames);
int xpa_relay_connect(struct xpa_relay *relay);
int xpa_relay_disconnect(struct xpa_relay *relay);
/* What is played, or captured, is silence from now on, or no longer. */
void xpa_relay_silence(struct xpa_relay *relay, int silent);
void xpa_relay_free(struct xpa_relay *relay);

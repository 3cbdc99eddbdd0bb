/* abi/tap.cdef.h - records what a backend's playback stream gave its host, or a capture stream got
 * from it; plain declarations, read by C and by cffi. See base/tap.h.
 */

struct xpa_tap;

struct xpa_tap *xpa_tap_new(uint64_t capacity_bytes);
/* How much was read. */
uint64_t xpa_tap_read(struct xpa_tap *tap, uint8_t *data, uint64_t room_bytes);
uint64_t xpa_tap_dropped_bytes(struct xpa_tap *tap);
void xpa_tap_free(struct xpa_tap *tap);

/* pulse/library.h - libpulse, opened when somebody wants it: a host without it runs everything
 * else.
 *
 * By dlopen(), and not as a second extension that is linked with it: that one would need the relay
 * and the backend's half, which are in this one and show no symbols. Types are the compiler's, of
 * the library's own headers.
 */
#ifndef XPA_PULSE_LIBRARY_H
#define XPA_PULSE_LIBRARY_H

#include <pulse/pulseaudio.h>

#define XPA_PULSE_CALLS(CALL)                                                                      \
    CALL(channel_map_init_auto)                                                                    \
    CALL(context_connect)                                                                          \
    CALL(context_disconnect)                                                                       \
    CALL(context_errno)                                                                            \
    CALL(context_get_sink_input_info)                                                              \
    CALL(context_get_source_output_info)                                                           \
    CALL(context_get_state)                                                                        \
    CALL(context_new)                                                                              \
    CALL(context_set_sink_input_mute)                                                              \
    CALL(context_set_sink_input_volume)                                                            \
    CALL(context_set_source_output_mute)                                                           \
    CALL(context_set_source_output_volume)                                                         \
    CALL(context_set_state_callback)                                                               \
    CALL(context_set_subscribe_callback)                                                           \
    CALL(context_subscribe)                                                                        \
    CALL(context_unref)                                                                            \
    CALL(cvolume_equal)                                                                            \
    CALL(operation_cancel)                                                                         \
    CALL(operation_unref)                                                                          \
    CALL(proplist_free)                                                                            \
    CALL(proplist_new)                                                                             \
    CALL(proplist_sets)                                                                            \
    CALL(sample_spec_valid)                                                                        \
    CALL(stream_begin_write)                                                                       \
    CALL(stream_connect_playback)                                                                  \
    CALL(stream_connect_record)                                                                    \
    CALL(stream_cork)                                                                              \
    CALL(stream_disconnect)                                                                        \
    CALL(stream_drop)                                                                              \
    CALL(stream_get_index)                                                                         \
    CALL(stream_get_state)                                                                         \
    CALL(stream_get_timing_info)                                                                   \
    CALL(stream_new_with_proplist)                                                                 \
    CALL(stream_peek)                                                                              \
    CALL(stream_readable_size)                                                                     \
    CALL(stream_set_moved_callback)                                                                \
    CALL(stream_set_read_callback)                                                                 \
    CALL(stream_set_started_callback)                                                              \
    CALL(stream_set_state_callback)                                                                \
    CALL(stream_set_underflow_callback)                                                            \
    CALL(stream_set_write_callback)                                                                \
    CALL(stream_unref)                                                                             \
    CALL(stream_update_timing_info)                                                                \
    CALL(stream_writable_size)                                                                     \
    CALL(stream_write)                                                                             \
    CALL(strerror)                                                                                 \
    CALL(sw_volume_from_linear)                                                                    \
    CALL(sw_volume_to_linear)                                                                      \
    CALL(threaded_mainloop_free)                                                                   \
    CALL(threaded_mainloop_get_api)                                                                \
    CALL(threaded_mainloop_lock)                                                                   \
    CALL(threaded_mainloop_new)                                                                    \
    CALL(threaded_mainloop_start)                                                                  \
    CALL(threaded_mainloop_stop)                                                                   \
    CALL(threaded_mainloop_unlock)

#define XPA_PULSE_FIELD(name) __typeof__(&pa_##name) name;

struct xpa_pulse_library {
    XPA_PULSE_CALLS(XPA_PULSE_FIELD)
};

/* libpulse's functions; NULL: it is not there, and `why` says so in words. Stays open. Python's
 * thread. */
const struct xpa_pulse_library *xpa_pulse_library(const char **why);

#endif

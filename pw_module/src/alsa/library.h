/* alsa/library.h - alsa-lib, opened when somebody wants it: a host without it runs everything else.
 * Why by dlopen(): pulse/library.h.
 */
#ifndef XPA_ALSA_LIBRARY_H
#define XPA_ALSA_LIBRARY_H

#include <alsa/asoundlib.h>

#define XPA_ALSA_CALLS(CALL)                                                                       \
    CALL(lib_error_set_handler)                                                                    \
    CALL(pcm_avail_update)                                                                         \
    CALL(pcm_close)                                                                                \
    CALL(pcm_drop)                                                                                 \
    CALL(pcm_hw_params)                                                                            \
    CALL(pcm_hw_params_any)                                                                        \
    CALL(pcm_hw_params_free)                                                                       \
    CALL(pcm_hw_params_get_buffer_size)                                                            \
    CALL(pcm_hw_params_get_period_size)                                                            \
    CALL(pcm_hw_params_malloc)                                                                     \
    CALL(pcm_hw_params_set_access)                                                                 \
    CALL(pcm_hw_params_set_buffer_size_near)                                                       \
    CALL(pcm_hw_params_set_channels)                                                               \
    CALL(pcm_hw_params_set_format)                                                                 \
    CALL(pcm_hw_params_set_period_size_near)                                                       \
    CALL(pcm_hw_params_set_rate)                                                                   \
    CALL(pcm_open)                                                                                 \
    CALL(pcm_poll_descriptors)                                                                     \
    CALL(pcm_poll_descriptors_count)                                                               \
    CALL(pcm_poll_descriptors_revents)                                                             \
    CALL(pcm_prepare)                                                                              \
    CALL(pcm_readi)                                                                                \
    CALL(pcm_resume)                                                                               \
    CALL(pcm_start)                                                                                \
    CALL(pcm_state)                                                                                \
    CALL(pcm_status)                                                                               \
    CALL(pcm_status_free)                                                                          \
    CALL(pcm_status_get_delay)                                                                     \
    CALL(pcm_status_get_htstamp)                                                                   \
    CALL(pcm_status_get_state)                                                                     \
    CALL(pcm_status_malloc)                                                                        \
    CALL(pcm_sw_params)                                                                            \
    CALL(pcm_sw_params_current)                                                                    \
    CALL(pcm_sw_params_free)                                                                       \
    CALL(pcm_sw_params_malloc)                                                                     \
    CALL(pcm_sw_params_set_avail_min)                                                              \
    CALL(pcm_sw_params_set_start_threshold)                                                        \
    CALL(pcm_sw_params_set_tstamp_mode)                                                            \
    CALL(pcm_sw_params_set_tstamp_type)                                                            \
    CALL(pcm_writei)                                                                               \
    CALL(strerror)

#define XPA_ALSA_FIELD(name) __typeof__(&snd_##name) name;

struct xpa_alsa_library {
    XPA_ALSA_CALLS(XPA_ALSA_FIELD)
};

/* alsa-lib's functions; NULL: it is not there, and `why` says so in words. Stays open. Python's
 * thread. */
const struct xpa_alsa_library *xpa_alsa_library(const char **why);

#endif

/* pulse/server.c - the connection to a PulseAudio server, see pulse.h. */
#include "pulse/pulse.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"

static void on_event(pa_context *context, pa_subscription_event_type_t type, uint32_t index,
                     void *data) {
    (void)context;
    if ((type & PA_SUBSCRIPTION_EVENT_TYPE_MASK) != PA_SUBSCRIPTION_EVENT_CHANGE)
        return;
    bool capture =
        (type & PA_SUBSCRIPTION_EVENT_FACILITY_MASK) == PA_SUBSCRIPTION_EVENT_SOURCE_OUTPUT;
    xpa_pulse_volume_changed(data, capture, index);
}

static void on_state(pa_context *context, void *data) {
    struct xpa_pulse *pulse = data;
    const struct xpa_pulse_library *pa = pulse->pa;
    pa_context_state_t state = pa->context_get_state(context);
    if (state == PA_CONTEXT_READY) {
        (void)xpa_loop_make_realtime(pthread_self());
        pa->context_set_subscribe_callback(context, on_event, pulse);
        xpa_pulse_no_answer(pulse, pa->context_subscribe(context,
                                                         PA_SUBSCRIPTION_MASK_SINK_INPUT |
                                                             PA_SUBSCRIPTION_MASK_SOURCE_OUTPUT,
                                                         NULL, NULL));
        xpa_pulse_post(pulse, XPA_PULSE_EVENT_UP, 0, 0, NULL);
    } else if (state == PA_CONTEXT_FAILED || state == PA_CONTEXT_TERMINATED) {
        xpa_pulse_post(pulse, XPA_PULSE_EVENT_LOST, 0, 0, pa->strerror(pa->context_errno(context)));
    }
}

struct xpa_pulse *xpa_pulse_new(void) {
    const char *why;
    const struct xpa_pulse_library *pa = xpa_pulse_library(&why);
    struct xpa_pulse *pulse = pa ? xpa_calloc(1, sizeof *pulse) : NULL;
    if (!pulse)
        return NULL;
    pulse->pa = pa;
    pulse->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pulse->thread = pa->threaded_mainloop_new();
    if (pulse->event_fd < 0 || !pulse->thread || pa->threaded_mainloop_start(pulse->thread) < 0) {
        xpa_pulse_free(pulse);
        return NULL;
    }
    pulse->api = pa->threaded_mainloop_get_api(pulse->thread);
    return pulse;
}

int xpa_pulse_connect(struct xpa_pulse *pulse) {
    const struct xpa_pulse_library *pa = pulse->pa;
    XPA_PULSE_LOCKED(pulse);
    if (pulse->locked.context)
        return 0;
    pulse->locked.context = pa->context_new(pulse->api, "Xen PV Audio");
    if (!pulse->locked.context)
        return -ENOMEM;
    pa->context_set_state_callback(pulse->locked.context, on_state, pulse);
    /* Whoever runs the server starts it: a second one would be in its way. */
    if (pa->context_connect(pulse->locked.context, NULL, PA_CONTEXT_NOAUTOSPAWN, NULL) < 0 &&
        pa->context_get_state(pulse->locked.context) != PA_CONTEXT_FAILED)
        xpa_pulse_post(pulse, XPA_PULSE_EVENT_LOST, 0, 0,
                       pa->strerror(pa->context_errno(pulse->locked.context)));
    return 0;
}

void xpa_pulse_disconnect(struct xpa_pulse *pulse) {
    const struct xpa_pulse_library *pa = pulse->pa;
    XPA_PULSE_LOCKED(pulse);
    if (!pulse->locked.context)
        return;
    pa->context_set_state_callback(pulse->locked.context, NULL, NULL);
    pa->context_set_subscribe_callback(pulse->locked.context, NULL, NULL);
    pa->context_disconnect(pulse->locked.context);
    pa->context_unref(pulse->locked.context);
    pulse->locked.context = NULL;
    pulse->locked.event_count = 0;
}

void xpa_pulse_free(struct xpa_pulse *pulse) {
    if (!pulse)
        return;
    if (pulse->api)
        xpa_pulse_disconnect(pulse);
    if (pulse->thread) {
        pulse->pa->threaded_mainloop_stop(pulse->thread);
        pulse->pa->threaded_mainloop_free(pulse->thread);
    }
    if (pulse->event_fd >= 0)
        close(pulse->event_fd);
    free(pulse);
}

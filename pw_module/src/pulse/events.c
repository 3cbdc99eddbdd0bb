/* pulse/events.c - what libpulse's thread has to say, in a list until Python takes it; see pulse.h.
 */
#include "pulse/pulse.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Python takes events at each turn of its loop, and there are few kinds: of one stream, what it is
 * and its volume. What finds no room all the same is lost, and asked again by who waits for it. */
void xpa_pulse_post(struct xpa_pulse *pulse, uint32_t kind, uint32_t id, int32_t code,
                    const char *text) {
    struct xpa_pulse_event event = {.kind = kind, .id = id, .code = code};
    if (text)
        snprintf(event.text, sizeof event.text, "%s", text);
    for (uint32_t i = 0; i < pulse->locked.event_count; i++)
        if (memcmp(&pulse->locked.events[i], &event, sizeof event) == 0 &&
            kind == XPA_PULSE_EVENT_VOLUME)
            return;
    if (pulse->locked.event_count == XPA_PULSE_EVENTS)
        return;
    pulse->locked.events[pulse->locked.event_count++] = event;
    uint64_t one = 1;
    ssize_t written = write(pulse->event_fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is readable already */
}

int xpa_pulse_next_event(struct xpa_pulse *pulse, struct xpa_pulse_event *event) {
    XPA_PULSE_LOCKED(pulse);
    if (pulse->locked.event_count == 0)
        return 0;
    struct xpa_pulse_event *events = pulse->locked.events;
    *event = events[0];
    memmove(&events[0], &events[1], --pulse->locked.event_count * sizeof *events);
    return 1;
}

void xpa_pulse_forget(struct xpa_pulse *pulse, uint32_t id) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pulse->locked.event_count; i++)
        if (pulse->locked.events[i].id != id)
            pulse->locked.events[kept++] = pulse->locked.events[i];
    pulse->locked.event_count = kept;
}

int xpa_pulse_fd(struct xpa_pulse *pulse) { return pulse->event_fd; }

void xpa_pulse_clear_fd(struct xpa_pulse *pulse) {
    uint64_t count;
    ssize_t got = read(pulse->event_fd, &count, sizeof count);
    (void)got;
}

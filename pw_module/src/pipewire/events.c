/* pipewire/events.c - what PipeWire's main loop has to say, in a list until Python takes it. With
 * the lock, all of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipewire/core.h"

void xpa_pw_post(struct xpa_pw *pw, uint32_t kind, uint32_t id, int32_t a0, int32_t a1, int32_t a2,
                 const char *text) {
    if (pw->locked.event_count == pw->locked.event_room) {
        uint32_t room = pw->locked.event_room ? 2 * pw->locked.event_room : 64;
        struct xpa_pw_event *more = realloc(pw->locked.events, room * sizeof *more);
        if (!more)
            return;
        pw->locked.events = more;
        pw->locked.event_room = room;
    }
    struct xpa_pw_event *event = &pw->locked.events[pw->locked.event_count++];
    *event = (struct xpa_pw_event){.kind = kind, .id = id, .a = {a0, a1, a2}};
    if (text)
        snprintf(event->text, sizeof event->text, "%s", text);
    uint64_t one = 1;
    ssize_t written = write(pw->event_fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is readable already */
}

int xpa_pw_next_event(struct xpa_pw *pw, struct xpa_pw_event *event) {
    XPA_PW_LOCKED(pw);
    if (pw->locked.event_count == 0)
        return 0;
    *event = pw->locked.events[0];
    memmove(&pw->locked.events[0], &pw->locked.events[1], --pw->locked.event_count * sizeof *event);
    return 1;
}

void xpa_pw_forget(struct xpa_pw *pw, uint32_t id) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pw->locked.event_count; i++)
        if (pw->locked.events[i].id != id)
            pw->locked.events[kept++] = pw->locked.events[i];
    pw->locked.event_count = kept;
}

/* pcm/pcm.c - an open PCM's life; see pcm/pcm.h.
 *
 * Python's thread makes and frees it; from bind to the DETACHED notice the data loop has it. The
 * memory file is sealed: the program cannot cut it short, which would kill us at the next access.
 */
#define _GNU_SOURCE
#include "pcm/pcm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

static void on_change(void *data, enum xpa_front_change change, uint64_t now_nsec) {
    struct xpa_pcm *p = data;
    if (change == XPA_FRONT_GONE)
        p->front = NULL;
    xpa_pcm_update(p, now_nsec); /* one that is closed or gone is lost to the program */
}

static void on_kick(struct xpa_source *source, uint32_t events) {
    uint64_t count;
    ssize_t got = read(source->fd, &count, sizeof count);
    (void)events, (void)got;
    xpa_pcm_update(source->data, xpa_now_nsec());
}

static void on_timer(struct xpa_source *source, uint32_t events) {
    struct xpa_pcm *p = source->data;
    (void)events;
    xpa_timer_ack(source->fd);
    p->armed_nsec = 0;
    xpa_pcm_update(p, xpa_now_nsec());
}

static void do_bind(const struct xpa_command *command) {
    struct xpa_pcm *p = command->object;
    struct xpa_front *f = command->arg.pointer;
    p->front = f;
    p->bound = xpa_loop_add(&p->plane->loop, &p->kick_source) == 0 &&
               xpa_loop_add(&p->plane->loop, &p->timer_source) == 0;
    f->graph.on_change = on_change;
    f->graph.data = p;
    if (!p->bound)
        xpa_pcm_lose(p);
    xpa_pcm_update(p, xpa_now_nsec());
}

static void do_unbind(const struct xpa_command *command) {
    struct xpa_pcm *p = command->object;
    xpa_pcm_lose(p);
    xpa_loop_remove(&p->plane->loop, &p->kick_source);
    xpa_loop_remove(&p->plane->loop, &p->timer_source);
    if (p->front && p->front->graph.data == p) {
        p->front->graph.on_change = NULL;
        p->front->graph.data = NULL;
    }
    p->front = NULL;
    xpa_plane_notify(p->plane, XPA_NOTICE_DETACHED, p->id, 0, NULL);
}

int xpa_pcm_bind(struct xpa_pcm *p, struct xpa_front *front) {
    struct xpa_command command = {.func = do_bind, .object = p, .arg.pointer = front};
    return xpa_plane_command(p->plane, &command);
}

int xpa_pcm_unbind(struct xpa_pcm *p) {
    struct xpa_command command = {.func = do_unbind, .object = p};
    return xpa_plane_command(p->plane, &command);
}

/* 0 or -1 and errno. */
static int make_share(struct xpa_pcm *p) {
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    int fd = memfd_create("xen-pv-audio-pcm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    p->fds[XPA_PCM_SHARE_FD] = fd;
    if (fd < 0 || ftruncate(fd, (off_t)p->share_bytes) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)
        return -1;
    /* populated: the data loop must not meet page faults */
    void *share =
        mmap(NULL, p->share_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (share == MAP_FAILED)
        return -1;
    p->share = share;
    return 0;
}

static int make_events(struct xpa_pcm *p) {
    for (int which = XPA_PCM_KICK_FD; which <= XPA_PCM_WAKE_FD; which++) {
        p->fds[which] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (p->fds[which] < 0)
            return -1;
    }
    int timer_fd = xpa_timer_create();
    p->timer_source = (struct xpa_source){timer_fd, on_timer, p};
    p->kick_source = (struct xpa_source){p->fds[XPA_PCM_KICK_FD], on_kick, p};
    errno = timer_fd < 0 ? -timer_fd : 0;
    return timer_fd < 0 ? -1 : 0;
}

struct xpa_pcm *xpa_pcm_new(struct xpa_plane *plane, uint32_t id, int direction,
                            uint32_t frame_bytes, uint32_t buffer_frames) {
    struct xpa_pcm *p = xpa_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->plane = plane;
    p->id = id;
    p->direction = direction;
    p->frame_bytes = frame_bytes;
    p->buffer_frames = buffer_frames;
    p->share_bytes = XPA_PCM_SAMPLES + (uint64_t)buffer_frames * frame_bytes;
    p->fds[0] = p->fds[1] = p->fds[2] = p->timer_source.fd = -1;
    if (make_share(p) == 0 && make_events(p) == 0)
        return p;
    int error = errno;
    xpa_pcm_free(p);
    errno = error;
    return NULL;
}

void xpa_pcm_free(struct xpa_pcm *p) {
    if (!p)
        return;
    if (p->share)
        munmap(p->share, p->share_bytes);
    for (int which = 0; which < 3; which++)
        if (p->fds[which] >= 0)
            close(p->fds[which]);
    if (p->timer_source.fd >= 0)
        close(p->timer_source.fd);
    free(p);
}

void xpa_pcm_set_gain(struct xpa_pcm *p, const float *linear, uint32_t count) {
    xpa_pcm_gain_set(&p->gain, linear, count);
}

int xpa_pcm_fd(const struct xpa_pcm *p, int which) { return p->fds[which]; }

uint64_t xpa_pcm_share_bytes(const struct xpa_pcm *p) { return p->share_bytes; }

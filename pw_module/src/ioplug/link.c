/* ioplug/link.c - see ioplug/link.h. */
#define _GNU_SOURCE
#include "ioplug/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS = 3 };

static const char NAME[] = "xen-pv-audio-alsa.sock";
static const char SYSTEM[] = "/run/xen-pv-audio-frontend"; /* RuntimeDirectory= of its unit */

void xpa_link_init(struct xpa_link *link, const char *path) {
    const char *environment = secure_getenv("XEN_PV_AUDIO_ALSA_SOCKET");
    const char *own = secure_getenv("XDG_RUNTIME_DIR");
    memset(link, 0, sizeof *link);
    link->socket = link->kick_fd = link->wake_fd = -1;
    if (!path)
        path = environment;
    if (path) {
        snprintf(link->path, sizeof link->path, "%s", path);
        return;
    }
    const char *places[] = {own, geteuid() == 0 ? "/run" : NULL, SYSTEM};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!places[i])
            continue;
        snprintf(link->path, sizeof link->path, "%s/%s", places[i], NAME);
        if (access(link->path, F_OK) == 0)
            return;
    }
}

/* In the place of an old descriptor, if there is one. */
static void keep(int *place, int fd) {
    if (*place < 0) {
        *place = fd;
        return;
    }
    (void)dup3(fd, *place, O_CLOEXEC); /* no descriptor is needed for it */
    close(fd);
}

int xpa_link_connect(struct xpa_link *link) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = XPA_LINK_ANSWER_MSEC / 1000};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", link->path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    keep(&link->socket, fd);
    return 0;
}

/* The descriptors that came are ours, and we may be given none but these three. */
static int receive(struct xpa_link *link, struct xpa_pcm_answer *answer, int fds[FDS]) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(FDS * sizeof(int))];
    } control;
    struct iovec vector = {answer, sizeof *answer};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got;
    do
        got = recvmsg(link->socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    int count = 0;
    struct cmsghdr *found = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (found && found->cmsg_type == SCM_RIGHTS) {
        count = (int)((found->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(found), (size_t)count * sizeof(int));
    }
    if (got == sizeof *answer && answer->version == XPA_PCM_VERSION && (count == FDS || count == 0))
        return count;
    for (int i = 0; i < count; i++)
        close(fds[i]);
    return got == 0 ? -ENODEV : -EPROTO;
}

static int map(struct xpa_link *link, const struct xpa_pcm_answer *answer, int fds[FDS]) {
    struct stat file;
    void *share = MAP_FAILED;
    xpa_link_unmap(link);
    if (answer->share_bytes > XPA_PCM_SAMPLES && fstat(fds[XPA_PCM_SHARE_FD], &file) == 0 &&
        (uint64_t)file.st_size == answer->share_bytes)
        share = mmap(NULL, answer->share_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                     fds[XPA_PCM_SHARE_FD], 0);
    close(fds[XPA_PCM_SHARE_FD]);
    keep(&link->kick_fd, fds[XPA_PCM_KICK_FD]);
    keep(&link->wake_fd, fds[XPA_PCM_WAKE_FD]);
    if (share == MAP_FAILED)
        return -ENOMEM;
    link->share = share;
    link->share_bytes = answer->share_bytes;
    return 0;
}

int xpa_link_ask(struct xpa_link *link, const struct xpa_pcm_question *question,
                 struct xpa_pcm_answer *answer) {
    int fds[FDS];
    ssize_t sent = send(link->socket, question, sizeof *question, MSG_NOSIGNAL);
    if (sent != (ssize_t)sizeof *question)
        return sent < 0 && errno == EPIPE ? -ENODEV : -EIO;
    int got = receive(link, answer, fds);
    if (got == FDS)
        return map(link, answer, fds);
    return got < 0 ? got : answer->status;
}

/* The frontend says nothing that was not asked for: what can be read without a question is the end.
 */
bool xpa_link_lost(const struct xpa_link *link) {
    char byte;
    if (link->share && atomic_load_explicit(&link->share->frontend.lost, memory_order_acquire) != 0)
        return true;
    ssize_t got = recv(link->socket, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EINTR);
}

void xpa_link_kick(const struct xpa_link *link) {
    uint64_t one = 1;
    ssize_t written = write(link->kick_fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is woken already */
}

void xpa_link_set_awake(const struct xpa_link *link, bool awake) {
    uint64_t count = 1;
    ssize_t done = awake ? write(link->wake_fd, &count, sizeof count)
                         : read(link->wake_fd, &count, sizeof count);
    (void)done; /* EAGAIN: it is so already */
}

void xpa_link_unmap(struct xpa_link *link) {
    if (link->share)
        munmap(link->share, link->share_bytes);
    link->share = NULL;
}

void xpa_link_close(struct xpa_link *link) {
    xpa_link_unmap(link);
    int *fds[] = {&link->socket, &link->kick_fd, &link->wake_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/*
 * The ALSA plugin in a program, by alsa-lib itself, on a frontend that is played here: each frame
 * that it says it has captured is given once and in order, however the program reads.
 *
 *     test_ioplug SOCKET        ALSA_CONFIG_PATH names a file with pcm.mapped and pcm.converted
 */
#define _GNU_SOURCE
#include <alsa/asoundlib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/abi.h"
#include "check.h"
#include "pcm/share.h"
#include "random.h"

enum { RATE = 48000, S32_LE = 10 };

/* --- the frontend --- */

static struct xpa_pcm_share *_Atomic opened;
static uint32_t buffer_frames;

static void answer(int connection, const struct xpa_pcm_question *question) {
    struct xpa_pcm_answer said = {.version = XPA_PCM_VERSION,
                                  .formats = 1u << S32_LE,
                                  .rate_min = RATE,
                                  .rate_max = RATE,
                                  .channels_min = 1,
                                  .channels_max = 1,
                                  .period_frames_min = 64,
                                  .buffer_bytes_max = 1 << 20};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    struct iovec vector = {&said, sizeof said};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (question->ask == XPA_PCM_OPEN) {
        buffer_frames = question->buffer_frames;
        said.share_bytes = XPA_PCM_SAMPLES + (uint64_t)buffer_frames * sizeof(int32_t);
        int fds[] = {memfd_create("share", 0), eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
        CHECK_EQ(ftruncate(fds[0], (off_t)said.share_bytes), 0);
        opened = mmap(NULL, said.share_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){CMSG_LEN(sizeof fds), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    }
    CHECK_EQ(sendmsg(connection, &message, 0), sizeof said);
}

static void *serve(void *data) {
    int listener = *(int *)data;
    struct xpa_pcm_question question;
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        while (recv(connection, &question, sizeof question, 0) == sizeof question)
            answer(connection, &question);
        close(connection);
    }
    return NULL;
}

static void listen_at(const char *path) {
    static int listener;
    pthread_t thread;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(listener, 8), 0);
    CHECK_EQ(pthread_create(&thread, NULL, serve, &listener), 0);
}

/* The device has captured all frames before `frames`; a frame is its number. */
static void capture_until(uint64_t from, uint64_t frames) {
    struct xpa_pcm_share *share = opened;
    uint32_t epoch = xpa_pcm_epoch(share->program.ask);
    int32_t *samples = (int32_t *)((uint8_t *)share + XPA_PCM_SAMPLES);
    for (uint64_t i = from; i < frames; i++)
        samples[i % buffer_frames] = (int32_t)i << 16;
    share->frontend.state = xpa_pcm_word(epoch, XPA_PCM_RUNNING);
    share->frontend.passed_frames = xpa_pcm_word(epoch, frames);
}

/* --- the program --- */

static snd_pcm_t *open_pcm(const char *name, bool mapped, snd_pcm_format_t format) {
    snd_pcm_t *pcm;
    snd_pcm_hw_params_t *hw;
    snd_pcm_uframes_t buffer = 2000;
    snd_pcm_access_t access =
        mapped ? SND_PCM_ACCESS_MMAP_INTERLEAVED : SND_PCM_ACCESS_RW_INTERLEAVED;
    CHECK_EQ(snd_pcm_open(&pcm, name, SND_PCM_STREAM_CAPTURE, SND_PCM_NONBLOCK), 0);
    snd_pcm_hw_params_alloca(&hw);
    CHECK(snd_pcm_hw_params_any(pcm, hw) >= 0, "nothing is offered");
    CHECK_EQ(snd_pcm_hw_params_set_access(pcm, hw, access), 0);
    CHECK_EQ(snd_pcm_hw_params_set_format(pcm, hw, format), 0);
    CHECK_EQ(snd_pcm_hw_params_set_channels(pcm, hw, 1), 0);
    CHECK_EQ(snd_pcm_hw_params_set_rate(pcm, hw, RATE, 0), 0);
    CHECK_EQ(snd_pcm_hw_params_set_period_size(pcm, hw, 480, 0), 0);
    CHECK_EQ(snd_pcm_hw_params_set_buffer_size_near(pcm, hw, &buffer), 0);
    CHECK_EQ(snd_pcm_hw_params(pcm, hw), 0);
    CHECK_EQ(snd_pcm_start(pcm), 0);
    return pcm;
}

/* Reads fewer frames than there are, and more come meanwhile. */
static void test_each_frame_is_read_once(const char *name, bool mapped, snd_pcm_format_t format) {
    static union {
        int16_t s16[4096];
        int32_t s32[4096];
    } got;
    snd_pcm_t *pcm = open_pcm(name, mapped, format);
    uint64_t seed = 7, captured = 0, read = 0;
    for (int round = 0; round < 300 && read < INT16_MAX - 4096; round++) {
        uint64_t most = read + buffer_frames - captured;
        uint64_t more = round % 3 == 0 ? most : random_below(&seed, (uint32_t)most + 1);
        capture_until(captured, captured + more);
        captured += more;
        snd_pcm_sframes_t there = snd_pcm_avail_update(pcm);
        CHECK_EQ(there, captured - read);
        snd_pcm_uframes_t wanted = random_below(&seed, (uint32_t)there + 1);
        if (wanted == 0)
            continue;
        more = random_below(&seed, 14);
        more = more < read + buffer_frames - captured ? more : 0;
        capture_until(captured, captured + more);
        captured += more;
        snd_pcm_sframes_t n =
            mapped ? snd_pcm_mmap_readi(pcm, &got, wanted) : snd_pcm_readi(pcm, &got, wanted);
        CHECK_EQ(n, wanted);
        for (snd_pcm_sframes_t i = 0; i < n; i++) {
            int32_t frame = format == SND_PCM_FORMAT_S16_LE ? got.s16[i] : got.s32[i] >> 16;
            CHECK(frame == (int32_t)(read + (uint64_t)i), "%s: frame %llu is %d", name,
                  (unsigned long long)(read + (uint64_t)i), frame);
        }
        read += (uint64_t)n;
    }
    CHECK(read > 10 * 2000, "%s: %llu frames were read", name, (unsigned long long)read);
    snd_pcm_close(pcm);
}

int main(int count, char **words) {
    CHECK_EQ(count, 2);
    listen_at(words[1]);
    test_each_frame_is_read_once("mapped", false, SND_PCM_FORMAT_S32_LE);
    test_each_frame_is_read_once("mapped", true, SND_PCM_FORMAT_S32_LE);
    test_each_frame_is_read_once("converted", false, SND_PCM_FORMAT_S16_LE);
    return check_close();
}

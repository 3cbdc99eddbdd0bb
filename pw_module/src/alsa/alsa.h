/* alsa/alsa.h - one guest's stream on a device of the host's, by alsa-lib alone.
 *
 * In order; each uses only those before it:
 * library.c  alsa-lib, opened when it is needed
 * device.c   a device that is open and set up, and when what is heard
 * stream.c   the thread that plays and captures, and its end
 *
 * Each stream has a thread of its own, for opening a device and writing to it may wait for hardware
 * or for another program. Nothing here runs on the data loop.
 */
#ifndef XPA_ALSA_ALSA_H
#define XPA_ALSA_ALSA_H

#include <stdbool.h>
#include <stdint.h>

#include "alsa/library.h"
#include "relay/relay.h"

enum { XPA_ALSA_WHY = 160, XPA_ALSA_DEVICE = 128 };

struct xpa_alsa_device {
    const struct xpa_alsa_library *snd;
    snd_pcm_t *pcm;
    snd_pcm_status_t *status;
    int direction;
    uint32_t rate;
    snd_pcm_uframes_t period_frames, buffer_frames;
};

struct xpa_alsa_wish {
    char name[XPA_ALSA_DEVICE];
    uint32_t sndif_format, rate, channels, quantum_frames;
};

/* The device's thread. 0, or a negative errno and words in `why`; after it, close() all the same.
 */
int xpa_alsa_device_open(struct xpa_alsa_device *d, const struct xpa_alsa_wish *wish,
                         char why[XPA_ALSA_WHY]);
void xpa_alsa_device_close(struct xpa_alsa_device *d);

/* At `nsec`, the frame that is written next had `delay_frames` before it until it is heard
 * (playback), or so many had reached the microphone since the one that is read next (capture).
 * False: it does not run. */
bool xpa_alsa_device_time(struct xpa_alsa_device *d, uint64_t *nsec, int64_t *delay_frames);

/* After an error of a call: it is ready to be filled again, and 0, or it is not. */
int xpa_alsa_device_recover(struct xpa_alsa_device *d, int error);

#endif

/* pipewire/library.c - see pipewire/library.h. */
#include "pipewire/library.h"

#include <stdio.h>

#include <pipewire/pipewire.h>

#include "abi/abi.h"

int xpa_pw_version(void) {
    int major = 0, minor = 0, micro = 0;
    sscanf(pw_get_library_version(), "%d.%d.%d", &major, &minor, &micro);
    return major * 1000000 + minor * 1000 + micro;
}

const char *xpa_pw_library_version(void) { return pw_get_library_version(); }

/* pulse/library.c - see pulse/library.h. */
#include "pulse/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "abi/abi.h"

static const char NAME[] = "libpulse.so.0";

#define NAME_OF(name) {"pa_" #name, offsetof(struct xpa_pulse_library, name)},

static const struct {
    const char *name;
    size_t offset;
} CALLS[] = {XPA_PULSE_CALLS(NAME_OF)};

static bool resolve(void *handle, struct xpa_pulse_library *library, const char **why) {
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        void *call = dlsym(handle, CALLS[i].name);
        if (!call) {
            *why = "libpulse.so.0 is too old";
            return false;
        }
        memcpy((char *)library + CALLS[i].offset, &call, sizeof call);
    }
    return true;
}

const struct xpa_pulse_library *xpa_pulse_library(const char **why) {
    static struct xpa_pulse_library library;
    static bool there;
    if (there)
        return &library;
    void *handle = dlopen(NAME, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        *why = "libpulse.so.0 is not installed";
        return NULL;
    }
    there = resolve(handle, &library, why); /* never closed: it has threads, and keeps state */
    return there ? &library : NULL;
}

const char *xpa_pulse_missing(void) {
    const char *why = NULL;
    return xpa_pulse_library(&why) ? NULL : why;
}

/* alsa/library.c - see alsa/library.h. */
#include "alsa/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "abi/abi.h"

#define NAME_OF(name) {"snd_" #name, offsetof(struct xpa_alsa_library, name)},

static const struct {
    const char *name;
    size_t offset;
} CALLS[] = {XPA_ALSA_CALLS(NAME_OF)};

/* alsa-lib prints what it refuses to standard error; we say it in a line of our own. */
static void say_nothing(const char *file, int line, const char *function, int error,
                        const char *format, ...) {
    (void)file, (void)line, (void)function, (void)error, (void)format;
}

static bool resolve(void *handle, struct xpa_alsa_library *library, const char **why) {
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        void *call = dlsym(handle, CALLS[i].name);
        if (!call) {
            *why = "libasound.so.2 is too old";
            return false;
        }
        memcpy((char *)library + CALLS[i].offset, &call, sizeof call);
    }
    library->lib_error_set_handler(say_nothing);
    return true;
}

const struct xpa_alsa_library *xpa_alsa_library(const char **why) {
    static struct xpa_alsa_library library;
    static bool there;
    if (there)
        return &library;
    /* its plugins look for its symbols: where everybody finds them */
    void *handle = dlopen("libasound.so.2", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) {
        *why = "libasound.so.2 is not installed";
        return NULL;
    }
    there = resolve(handle, &library, why); /* never closed: it keeps its configuration */
    return there ? &library : NULL;
}

const char *xpa_alsa_missing(void) {
    const char *why = NULL;
    return xpa_alsa_library(&why) ? NULL : why;
}

/* pipewire/library.h - which libpipewire this process runs with; any thread. */
#ifndef XPA_PIPEWIRE_LIBRARY_H
#define XPA_PIPEWIRE_LIBRARY_H

/* A version as 1'000'000 * major + 1000 * minor + micro. */
int xpa_pw_version(void);

#endif

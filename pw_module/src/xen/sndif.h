/* xen/sndif.h - Xen's sound interface with the headers that it needs before it. */
#ifndef XPA_XEN_SNDIF_H
#define XPA_XEN_SNDIF_H

#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>

#include <xen/io/sndif.h>

#endif

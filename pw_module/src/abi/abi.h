/* abi/abi.h - all that Python sees of C, in the order in which it must be declared.
 *
 * The .cdef.h files are plain declarations, for cffi reads them too, and so have no guards of their
 * own: everything includes this file instead. build_native.py takes their order from here.
 */
#ifndef XPA_ABI_H
#define XPA_ABI_H

#include <stdint.h>

#include "abi/privilege.cdef.h"
#include "abi/xen_io.cdef.h"
#include "abi/tap.cdef.h"
#include "abi/native.cdef.h"
#include "abi/relay.cdef.h"
#include "abi/pulse.cdef.h"
#include "abi/alsa.cdef.h"
#include "abi/pcm.cdef.h"
#include "abi/pw.cdef.h"
#include "abi/card.cdef.h"

#endif

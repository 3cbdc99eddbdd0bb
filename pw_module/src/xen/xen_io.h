/* xen/xen_io.h - the only C that talks to Xen's devices, and their stand-ins in the simulation.
 *
 * The data plane knows two calls of it, xpa_channel_notify() and xpa_channel_ack(); the rest serves
 * bridge/xenpvaudio/xen. Nothing here includes Xen's public headers (libxen-dev): they clash with
 * the kernel's <xen/gntdev.h> and <xen/evtchn.h>, which this part is compiled from.
 */
#ifndef XPA_XEN_XEN_IO_H
#define XPA_XEN_XEN_IO_H

#include "abi/abi.h"

#endif

/* base/privilege.c - what neither half needs is given up before anything of a peer's is looked at.
 *
 * A half that runs as root needs what belongs to root: Xen's devices, XenStore's socket, its own
 * files. That is root as the owner, and no capability. One stays if it is there: CAP_SYS_NICE lets
 * the data loop be real-time where no rtkit runs, also on a later connection to PipeWire.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/abi.h"

/* In the kernel's headers since Linux 6.3. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

enum { KEPT = 1u << CAP_SYS_NICE };

/* For programs that we would start, of which there are none: no set-user-id, nothing from the
 * bounding set. That needs CAP_SETPCAP; who is without it has nothing to give up there either. */
static int bind_children(void) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EPERM)
                break;
            return -errno;
        }
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : 0;
}

/* No memory that is written and then run: cffi's API mode, our only one, has no use for it. */
static int refuse_new_code(void) {
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0 || errno == EINVAL)
        return 0;                       /* EINVAL: before Linux 6.3, or not for this processor */
    return errno == EPERM ? 0 : -errno; /* EPERM: it was set already, in another way */
}

int xpa_drop_privileges(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    int result = bind_children();
    if (result == 0)
        result = refuse_new_code();
    if (result < 0)
        return result;
    if (syscall(SYS_capget, &header, sets) < 0)
        return -errno;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t kept = i == 0 ? sets[i].permitted & KEPT : 0;
        sets[i] = (struct __user_cap_data_struct){.effective = kept, .permitted = kept};
    }
    return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

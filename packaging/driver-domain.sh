#!/bin/sh
# Makes this domain a driver domain for sound: USER's PipeWire plays for other guests from the next
# boot on, with nobody logged in.
#   driver-domain.sh USER
# As root, in the domain or in a root that will be its image, with xen-pv-audio-backend installed.
# Running it again changes nothing. What dom0 has to say: packaging/doc/driver-domain.md.
set -eu

say() {
    echo "driver-domain.sh: $*" >&2
}
refuse() {
    say "$1"
    exit "$2"
}

[ $# = 1 ] || refuse "which user's PipeWire is to play? driver-domain.sh USER" 2
user=$1
[ "$(id -u)" = 0 ] || refuse "run this as root" 2
id "$user" >/dev/null 2>&1 || refuse "there is no user $user" 2
[ "$user" != root ] || refuse "root is no user for this: PipeWire belongs to another" 2
if ! command -v xen-pv-audio >/dev/null || ! getent group xen-audio >/dev/null; then
    refuse "the program or its group is missing: install xen-pv-audio-backend" 3
fi
if [ -e /proc/xen/capabilities ] && grep -q control_d /proc/xen/capabilities; then
    refuse "this is domain 0: install the backend there, and nothing of this" 2
fi

# xen-audio for Xen's devices; audio for the card, which nobody sits at.
usermod --append --groups xen-audio,audio "$user"

# The user's services start at the boot.
if [ -d /run/systemd/system ]; then
    loginctl enable-linger "$user"
else # an image: the same by hand
    mkdir -p /var/lib/systemd/linger
    : > "/var/lib/systemd/linger/$user"
fi

policy=/etc/xen-pv-audio/backend.toml
if [ ! -e "$policy" ]; then
    mkdir -p "${policy%/*}"
    cat > "$policy" <<'POLICY'
# A driver domain may not read the names and UUIDs of guests: what they may have is said for all of
# them, or for a domain's number ([domid.5]). All keys: man xen-pv-audio.
[unnamed]
microphone = false
POLICY
elif ! grep -q '^[[:space:]]*\[\(unnamed\|domid\.\)' "$policy"; then
    say "$policy has no [unnamed]: guests whose name cannot be read here are refused"
fi

say "done; it holds from the next boot on, and 'xen-pv-audio doctor backend' looks at it then"

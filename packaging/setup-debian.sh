#!/bin/sh
# Installs the Debian packages that are missing, and nothing when none is (then it takes milliseconds).
#   packaging/setup-debian.sh [build|demo|test|packages]
# Default: demo. demo and test include those before them; packages includes build.
# Ends with 3, and one line to copy, where packages are missing and this user may not install them.
set -eu

build='ca-certificates gcc libasound2-dev libc6-dev libpipewire-0.3-dev libpulse-dev libxen-dev
       linux-libc-dev pkg-config python3 python3-dev python3-venv'
demo='dbus-daemon libspa-0.2-modules pipewire pipewire-bin pipewire-pulse pulseaudio-utils
      wireplumber'
# The sanitizers' libraries (libasan, libtsan, libubsan) come with gcc; libFuzzer with clang only.
# A desktop that can be asked: an X server, a notification daemon, and the program that talks to it.
# A compiler for arm64, its C library, and what runs the result here; no foreign architecture in apt.
test='alsa-utils clang clang-format cpio dunst gcc-aarch64-linux-gnu libasound2-dev libc6-dev-arm64-cross
      libclang-rt-dev libnotify-bin pipewire-alsa pipewire-jack qemu-user rpm strace systemd xvfb'
packages='build-essential debhelper dh-python fakeroot libasound2-dev lintian pybuild-plugin-pyproject
          python3-cffi python3-setuptools python3-shtab python3-wheel'

case ${1:-demo} in
build) wanted=$build ;;
demo) wanted="$build $demo" ;;
test) wanted="$build $demo $test" ;;
packages) wanted="$build $packages" ;;
*)
    echo "setup-debian.sh: unknown set '$1': build, demo, test or packages" >&2
    exit 2
    ;;
esac
wanted=$(echo $wanted)

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup-debian.sh: not a Debian system; install by hand what these hold: $wanted" >&2
    exit 0
fi

# Another package may stand in (pkgconf provides pkg-config), so "Provides" counts too.
missing=$(
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' | awk -v wanted="$wanted" '
        $1 == "installed" { gsub(/\([^)]*\)|,/, ""); for (i = 2; i <= NF; i++) have[$i] = 1 }
        END { n = split(wanted, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) printf " %s", w[i] }'
)
[ -n "$missing" ] || exit 0

# Another apt may be at work, such as the nightly upgrade: it is waited for.
install="apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300$missing"
if [ "$(id -u)" != 0 ]; then
    echo "setup-debian.sh: packages are missing, run: sudo apt-get update && sudo $install" >&2
    exit 3
fi
echo "setup-debian.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# Everything apt prints goes to stderr: the caller's stdout may be JSON.
apt-get update -q >&2
$install -q -o Dpkg::Options::=--force-confold >&2

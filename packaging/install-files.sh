#!/bin/sh
# Installs what is no Python, for the recipes of other systems: what the Debian packages' lists name.
#   packaging/install-files.sh DESTDIR alsa|common|frontend|backend...
# PYTHON: with shtab it also makes the completion. BINDIR: where the program is (/usr/bin).
# alsa: its plugins are moved from below BUILT (DESTDIR) to ALSA_PLUGINS (usr/lib/alsa-lib), where
# this system's alsa-lib looks.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ $# -lt 2 ]; then
    echo "install-files.sh: which of alsa, common, frontend, backend? DESTDIR PLACE..." >&2
    exit 2
fi
root=$1
shift

# FILE-OR-FOLDER TARGET
put() {
    mkdir -p "$root/$2"
    cp -R "$1" "$root/$2/"
    find "$root/$2/${1##*/}" -type f -exec chmod 644 {} +
}

for place; do
    list=packaging/debian/xen-pv-audio-$place.install
    if [ ! -e "$list" ]; then
        echo "install-files.sh: $place is none of alsa, common, frontend, backend" >&2
        exit 2
    fi
    while read -r source target; do
        case $source in
        packaging/*) put "$source" "$target" ;;
        esac
    done < "$list"
    case $place in
    common)
        put packaging/man/xen-pv-audio.1 usr/share/man/man1
        for document in README.md SECURITY.md packaging/doc packaging/systemd/no-user-namespaces.conf \
            packaging/pipewire/system-wide; do
            put "$document" usr/share/doc/xen-pv-audio
        done
        if "$python" -c 'import shtab' 2>/dev/null; then
            shells=$root/usr/share
            mkdir -p "$shells/bash-completion/completions" "$shells/zsh/site-functions"
            PYTHONPATH=bridge "$python" packaging/completion.py bash \
                > "$shells/bash-completion/completions/xen-pv-audio"
            PYTHONPATH=bridge "$python" packaging/completion.py zsh \
                > "$shells/zsh/site-functions/_xen-pv-audio"
        fi
        ;;
    alsa)
        plugins=$root/${ALSA_PLUGINS:-usr/lib/alsa-lib}
        mkdir -p "$plugins"
        find "${BUILT:-$root}" -name 'libasound_module_*_xenpv.so' ! -path "$plugins/*" \
            -exec mv {} "$plugins/" \;
        ;;
    frontend)
        put packaging/systemd/system/xen-pv-audio-frontend.service usr/lib/systemd/system
        ;;
    backend)
        for unit in xenstore backend; do
            put "packaging/systemd/system/xen-pv-audio-$unit.service" usr/lib/systemd/system
        done
        while read -r examples; do
            for example in $examples; do # where it is a pattern
                put "$example" usr/share/doc/xen-pv-audio/examples
            done
        done < packaging/debian/xen-pv-audio-backend.examples
        chmod 755 "$root/usr/share/doc/xen-pv-audio/examples/driver-domain.sh"
        ;;
    esac
done
# Another copy of the program, in /usr/local, is not meant.
for unit in "$root"/usr/lib/systemd/*/*.service; do
    [ ! -e "$unit" ] ||
        sed -i "s|^ExecStart=xen-pv-audio |ExecStart=${BINDIR:-/usr/bin}/xen-pv-audio |" "$unit"
done

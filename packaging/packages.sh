#!/bin/sh
# Builds the Debian packages into dist/, and has lintian look at them: any error or warning fails.
#   packaging/packages.sh [LIST]     LIST: the files of the tree, one a line, where there is no git
# Built is a copy of the tree, of what git tracks and of what is new and not ignored, for Debian's
# tools want packaging/debian at its top.
set -eu

cd "$(dirname "$0")/.."
work=.cache/packages
rm -rf "$work"
mkdir -p "$work/tree" dist
if [ $# -gt 0 ]; then
    cat "$1"
else
    git ls-files --cached --others --exclude-standard
fi | while IFS= read -r name; do
    [ ! -f "$name" ] || printf '%s\n' "$name"
done > "$work/files"
tar --create --files-from="$work/files" --file=- | tar --extract --directory="$work/tree" --file=-
mv "$work/tree/packaging/debian" "$work/tree/debian"
cd "$work/tree"

# Debian's own Python and its modules, whatever else this machine has.
unset PYTHONPATH PYTHONHOME MAKEFLAGS MFLAGS MAKELEVEL
PATH=/usr/sbin:/usr/bin:/sbin:/bin
if ! dpkg-buildpackage --build=binary --no-sign > ../log 2>&1; then
    tail -n 40 ../log >&2
    echo "packages.sh: dpkg-buildpackage failed, see $work/log" >&2
    exit 1
fi
if ! lintian --fail-on error,warning ../*.changes > ../lintian 2>&1; then
    cat ../lintian >&2
    exit 1
fi
cd ../../..
rm -f dist/xen-pv-audio-*.deb
mv "$work"/*.deb dist/
for deb in dist/xen-pv-audio-*.deb; do
    echo "$deb $(stat -c %s "$deb") bytes"
done

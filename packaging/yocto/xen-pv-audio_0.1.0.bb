# Not run here. For a layer of your own beside meta-python, meta-multimedia (pipewire, wireplumber)
# and meta-virtualization (xen-tools, whose headers are used). pyxs has no recipe that we know of: it
# is a Python package without compiled parts (inherit pypi setuptools3).
#
#   git archive --prefix=xen-pv-audio-0.1.0/ -o xen-pv-audio-0.1.0.tar.gz HEAD     beside this file
SUMMARY = "Sound for Xen guests through PipeWire, with the true delay"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=196869b4e869ad54f658764b68fc5d3b"

SRC_URI = "file://xen-pv-audio-${PV}.tar.gz"
FILESEXTRAPATHS:prepend := "${THISDIR}:"

inherit python_setuptools_build_meta pkgconfig systemd useradd features_check
REQUIRED_DISTRO_FEATURES = "systemd xen"

DEPENDS += "alsa-lib pipewire pulseaudio xen-tools python3-cffi-native"

do_install:append() {
    ALSA_PLUGINS=${libdir}/alsa-lib ${S}/packaging/install-files.sh ${D} \
        alsa common frontend backend
}

# The program with what both places need; a guest's image takes -frontend, the host's -backend. A
# guest without PipeWire takes -alsa, and instead of -frontend what of it is wanted.
PACKAGES =+ "${PN}-alsa ${PN}-frontend ${PN}-backend"
RDEPENDS:${PN} += "python3-asyncio python3-cffi python3-core python3-fcntl python3-json \
    python3-logging python3-mmap python3-netclient python3-pyxs python3-threading"
RDEPENDS:${PN}-alsa = "${PN}"
RDEPENDS:${PN}-frontend = "${PN} pipewire wireplumber"
RDEPENDS:${PN}-backend = "${PN} pipewire wireplumber"

FILES:${PN}-alsa = "${libdir}/alsa-lib ${datadir}/alsa ${datadir}/xen-pv-audio"
FILES:${PN} += "${nonarch_libdir}/modules-load.d ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/udev ${datadir}/bash-completion ${datadir}/zsh"
FILES:${PN}-frontend = "${nonarch_libdir}/modprobe.d ${datadir}/pipewire \
    ${systemd_user_unitdir}/xen-pv-audio-frontend.service \
    ${systemd_system_unitdir}/xen-pv-audio-frontend.service \
    ${nonarch_libdir}/systemd/system-preset/90-xen-pv-audio-frontend.preset \
    ${nonarch_libdir}/systemd/user-preset/90-xen-pv-audio-frontend.preset"
FILES:${PN}-backend = "${systemd_system_unitdir}/xen-pv-audio-xenstore.service \
    ${systemd_user_unitdir}/xen-pv-audio-backend.service \
    ${systemd_system_unitdir}/xen-pv-audio-backend.service \
    ${nonarch_libdir}/systemd/system-preset/90-xen-pv-audio-backend.preset \
    ${nonarch_libdir}/systemd/user-preset/90-xen-pv-audio-backend.preset \
    ${docdir}/xen-pv-audio/examples"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system xen-audio"

# Is for dom0; where there is no xenstored it does nothing.
SYSTEMD_PACKAGES = "${PN}-backend"
SYSTEMD_SERVICE:${PN}-backend = "xen-pv-audio-xenstore.service"

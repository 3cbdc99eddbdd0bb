"""Event channels on real Xen, and the object that both implementations give for one end.

Each channel has a /dev/xen/evtchn of its own, so its descriptor carries exactly one port and can go
into C's epoll set, and is restricted to the one domain at the other end: before it is bound to a
port of that domain, but after it offers one, for a restricted descriptor may offer none
(drivers/xen/evtchn.c, IOCTL_EVTCHN_BIND_UNBOUND_PORT). Bound and closed in the control plane's
thread; once C has the channel, only C notifies and acknowledges.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from xenpvaudio.errors import LocalProtocolError, PeerGoneError
from xenpvaudio.xen.api import Channel, channel_error
from xenpvaudio.xen.native import check, native
from xenpvaudio.xen.pages import Registry

from .gnttab import open_device


class ChannelEnd:
    """api.Channel: owns `fd`, and calls `on_close` once when it has closed it."""

    def __init__(
        self, fd: int, port: int, kind: int, on_close: Callable[[ChannelEnd], None]
    ) -> None:
        ffi, self._lib = native()
        self._channel = ffi.new("struct xpa_channel *", {"fd": fd, "port": port, "kind": kind})
        self._on_close = on_close

    def __repr__(self) -> str:
        return f"event channel {self.port}"

    @property
    def port(self) -> int:
        return int(self._channel.port)

    @property
    def fd(self) -> int:
        if self._channel.fd < 0:
            raise LocalProtocolError(f"{self!r}: used after close")
        return int(self._channel.fd)

    @property
    def kind(self) -> int:
        return int(self._channel.kind)

    def notify(self) -> None:
        self.fd  # noqa: B018 - refuses use after close
        result = self._lib.xpa_channel_notify(self._channel)
        if result not in (-errno.EAGAIN, -errno.ECONNREFUSED):
            check(result)

    def ack(self) -> int:
        self.fd  # noqa: B018
        return check(self._lib.xpa_channel_ack(self._channel))

    def close(self) -> None:
        if self._channel.fd >= 0:
            os.close(self._channel.fd)  # the kernel unbinds the port with its last user
            self._channel.fd = -1
            self._on_close(self)


class XenEventChannels:
    """api.EventChannels by ioctls."""

    def __init__(self) -> None:
        self._live = Registry()

    def bind_unbound(self, peer_domid: int) -> Channel:
        lib = native()[1]
        fd = open_device("evtchn", lib.xpa_evtchn_open())
        try:
            port = check(lib.xpa_evtchn_bind_unbound(fd, peer_domid))
            check(lib.xpa_evtchn_restrict(fd, peer_domid))
        except OSError as error:
            os.close(fd)
            raise channel_error(error, peer_domid) from error
        return self._channel(fd, port)

    def bind_interdomain(self, peer_domid: int, port: int) -> Channel:
        lib = native()[1]
        fd = open_device("evtchn", lib.xpa_evtchn_open())
        try:
            check(lib.xpa_evtchn_restrict(fd, peer_domid))
            local = check(lib.xpa_evtchn_bind_interdomain(fd, peer_domid, port))
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EINVAL, errno.ESRCH, errno.ENOENT, errno.EPERM):
                raise PeerGoneError(
                    f"domain {peer_domid} offers no event channel {port} to this domain"
                ) from error
            raise channel_error(error, peer_domid) from error
        return self._channel(fd, local)

    def assert_cleaned_up(self) -> None:
        self._live.assert_empty("event channels")

    def close(self) -> None:
        self._live.close_all()

    def _channel(self, fd: int, port: int) -> ChannelEnd:
        channel = ChannelEnd(fd, port, native()[1].XPA_CHANNEL_XEN, self._live.discard)
        self._live.add(channel)
        return channel

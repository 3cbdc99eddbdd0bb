"""errors.py: one line for people, one exit status a kind."""

from __future__ import annotations

from xenpvaudio import errors


def test_error_is_one_line_with_its_hint() -> None:
    error = errors.ConfigError('vsnd/0/0/type = "x":\n  no stream type', hint="use p or c")
    assert str(error) == 'vsnd/0/0/type = "x": no stream type; use p or c'


def test_error_without_hint_is_its_message() -> None:
    assert str(errors.PeerGoneError("domain 3 vanished")) == "domain 3 vanished"


def test_exit_status_tells_wrong_usage_from_missing_parts() -> None:
    assert errors.XenPvAudioError("x").exit_status == 1
    assert errors.PeerProtocolError("x").exit_status == 1
    assert errors.ConfigError("x").exit_status == 2
    assert errors.UnavailableError("x").exit_status == 3


def test_protocol_errors_say_whose_fault_it_is() -> None:
    assert issubclass(errors.PeerProtocolError, errors.ProtocolError)
    assert issubclass(errors.LocalProtocolError, errors.ProtocolError)
    assert not issubclass(errors.PeerProtocolError, errors.LocalProtocolError)
    assert not issubclass(errors.PeerGoneError, errors.ProtocolError)

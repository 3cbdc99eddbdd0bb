"""What the data plane fills in for a format is what sndif's codes call silence."""

from __future__ import annotations

import pytest

from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio_native import ffi, lib, pipewire

GRAPH = [number for number in PcmFormat if pipewire.supports_format(number)]


@pytest.mark.parametrize("number", GRAPH, ids=lambda number: number.name.lower())
def test_a_format_of_the_graph_has_its_own_silence(number: PcmFormat) -> None:
    sample = ffi.new("uint8_t[8]", b"\xff" * 8)
    lib.xpa_pw_silence(number, sample)
    assert bytes(sample) == number.silence.ljust(8, b"\0")


def test_the_graph_has_formats_whose_silence_is_not_zero() -> None:
    assert {PcmFormat.U8, PcmFormat.U16_LE, PcmFormat.MU_LAW, PcmFormat.A_LAW} <= set(GRAPH)

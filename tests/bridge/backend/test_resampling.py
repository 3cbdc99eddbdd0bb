"""What a rate costs in PipeWire's resampler, and that no guest can choose one that costs much."""

from __future__ import annotations

import pytest

from xenpvaudio.backend.open_pace import OpenPace
from xenpvaudio.backend.outputs import PipewireOutput, VirtualOutput
from xenpvaudio.backend.policy import check_resampler
from xenpvaudio.backend.resampling import as_opens, resampler_bytes
from xenpvaudio.config import DomainPolicy, OutputSpec
from xenpvaudio.errors import ConfigError

POLICY = DomainPolicy()
LIMIT = POLICY.max_resampler_bytes
USUAL = (
    *(8000, 11025, 12000, 16000, 18900, 22050, 24000, 32000, 37800, 44100, 47952, 48000, 48048),
    *(50000, 64000, 88200, 96000, 176400, 192000, 352800, 384000, 705600, 768000),
)
# What audioconvert/resample-native.c makes of them.
KNOWN = {
    191999: 49_152_000,  # 224 taps and 48000 phases, to 48000 Hz
    767999: 196_608_000,  # 64 taps and 767999 phases, from 48000 Hz
    524288: 33_554_688,  # 672 taps and 11025 phases, to 44100 Hz
}


@pytest.mark.parametrize("rate", USUAL)
def test_usual_rates_cost_little(rate: int) -> None:
    check_resampler(rate, POLICY)
    assert resampler_bytes(rate) < LIMIT / 3
    assert as_opens(rate, LIMIT) <= 5


@pytest.mark.parametrize(("rate", "size"), KNOWN.items())
def test_odd_rates_are_refused_in_one_line_that_names_the_key(rate: int, size: int) -> None:
    assert resampler_bytes(rate) == size
    with pytest.raises(ConfigError) as caught:
        check_resampler(rate, POLICY)
    words = [f"sample rate {rate}", str(size), str(LIMIT), "raise max-resampler-bytes"]
    assert all(word in str(caught.value) for word in words), str(caught.value)
    check_resampler(rate, DomainPolicy(max_resampler_bytes=size))


def test_every_rate_has_a_number() -> None:
    for rate in range(1, 768001, 997):
        assert resampler_bytes(rate) > 0


def test_an_open_at_a_rate_that_is_much_work_counts_as_several() -> None:
    output = PipewireOutput(None, POLICY)  # type: ignore[arg-type]
    assert output.as_opens(48000) == 1
    assert output.as_opens(5512) == as_opens(5512, LIMIT) == 11
    assert [output.as_opens(rate) for rate in (0, 767999, 768001, 2**32 - 1)] == [1] * 4
    virtual = VirtualOutput(None, OutputSpec("null"), POLICY)  # type: ignore[arg-type]
    assert virtual.as_opens(5512) == 1
    virtual.check(767999)
    pace = OpenPace()
    opens = 0
    while pace.wait_sec(0.0, output.as_opens(5512)) == 0:
        opens += 1
    assert opens == POLICY.max_opens_burst // 11


def test_what_an_output_says_of_its_memory_has_the_resampler_in_it() -> None:
    output = PipewireOutput(None, POLICY)  # type: ignore[arg-type]
    assert output.memory_bytes(768000) == resampler_bytes(768000) > 1 << 20

"""card.py: reading and writing the vsnd subtree, the header's own example included."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.errors import ConfigError, LocalProtocolError
from xenpvaudio.sndif.card import (
    DEFAULT_BUFFER_BYTES,
    DEFAULT_RATES,
    Card,
    HostRequest,
    PcmDevice,
    StreamConfig,
    parse_card,
    parse_unique_id,
    to_nodes,
)
from xenpvaudio.sndif.codes import Direction, PcmFormat
from xenpvaudio.sndif.config_space import Interval

SNDIF_H = Path("/usr/include/xen/io/sndif.h").read_text()

# Rates that Linux's frontend knows (PCM rates of snd_xen_front).
LINUX_RATES = (
    5512, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 64000, 96000, 176400, 192000,
)  # fmt: skip


def tree(**changes: str | None) -> dict[str, str]:
    """A small card; a change's name has "__" for "/" and "_" for "-"; None removes the node."""
    nodes = {
        "short-name": "Card",
        "sample-rates": "44100,48000",
        "sample-formats": "s16_le,s32_le",
        "channels-max": "4",
        "buffer-size": "65536",
        "0/name": "Dev",
        "0/0/type": "p",
        "0/0/unique-id": "pulse",
        "0/1/type": "c",
    }
    for name, value in changes.items():
        node = name.lstrip("n").replace("__", "/").replace("_", "-")
        if value is None:
            del nodes[node]
        else:
            nodes[node] = value
    return nodes


def header_example() -> dict[str, str]:
    listed = re.findall(r'/local/domain/1/device/vsnd/0/(\S+) = "(.*)"', SNDIF_H)
    nodes = dict(listed)
    assert len(nodes) == len(listed) == 40
    return nodes


def test_the_headers_example_is_parsed_verbatim() -> None:
    card = parse_card(header_example())
    assert (card.short_name, card.long_name) == ("Card short name", "Card long name")
    assert [device.name for device in card.devices] == ["General analog", "HDMI-0", "SPDIF"]
    all_rates = (8000, 32000, 44100, 48000, 96000)
    s8, u8 = PcmFormat.S8, PcmFormat.U8
    all_formats = (s8, u8, PcmFormat.S16_LE, PcmFormat.S16_BE)
    play, capture = Direction.PLAYBACK, Direction.CAPTURE
    size_bytes = 262144
    assert list(card.streams) == [
        StreamConfig(0, 0, play, "0", (s8, u8), all_rates, Interval(1, 5), size_bytes),
        StreamConfig(0, 1, capture, "1", all_formats, all_rates, Interval(1, 2), size_bytes),
        StreamConfig(
            1, 0, capture, "2", all_formats, (8000, 32000, 44100), Interval(1, 2), size_bytes
        ),
        StreamConfig(2, 0, play, "3", all_formats, all_rates, Interval(1, 2), size_bytes),
    ]


def test_unset_values_are_linux_frontends_defaults() -> None:
    """U8 and S16_LE, 5512 to 48000 Hz, 1 to 2 channels, a buffer of up to 64 KiB."""
    (stream,) = parse_card({"0/0/type": "p"}).streams
    assert stream.formats == (PcmFormat.U8, PcmFormat.S16_LE)
    assert stream.rates == Interval(5512, 48000)
    assert stream.channels == Interval(1, 2)
    assert stream.buffer_bytes == 65536


def test_values_inherit_card_to_device_to_stream() -> None:
    nodes = tree(n0__sample_rates="48000", n0__1__channels_max="1", n0__1__buffer_size="4096")
    play, capture = parse_card(nodes).streams
    assert play.rates == capture.rates == (48000,)
    assert (play.channels, capture.channels) == (Interval(1, 4), Interval(1, 1))
    assert (play.buffer_bytes, capture.buffer_bytes) == (65536, 4096)


def test_a_default_that_nobody_wrote_binds_no_lower_level() -> None:
    nodes = {"0/0/type": "p", "0/0/channels-max": "8", "0/0/sample-rates": "192000"}
    nodes |= {"0/0/sample-formats": "float_le", "0/0/buffer-size": "1048576"}
    (stream,) = parse_card(nodes).streams
    assert stream.channels == Interval(1, 8)
    assert stream.rates == (192000,)


def test_buffer_size_may_grow_because_the_subset_rule_does_not_name_it() -> None:
    play, capture = parse_card(tree(n0__0__buffer_size="131072")).streams
    assert (play.buffer_bytes, capture.buffer_bytes) == (131072, 65536)


def test_lists_need_no_order_and_duplicates_vanish() -> None:
    nodes = tree(sample_rates="48000,8000,48000", sample_formats="s32_le,u8,s32_le")
    play, _ = parse_card(nodes).streams
    assert play.rates == (8000, 48000)
    assert play.formats == (PcmFormat.U8, PcmFormat.S32_LE)


def test_rates_of_linux_frontend_and_others_are_read() -> None:
    listed = ",".join(map(str, LINUX_RATES))
    play, _ = parse_card(tree(sample_rates=listed)).streams
    assert play.rates == LINUX_RATES
    play, _ = parse_card(tree(sample_rates="88200")).streams
    assert play.rates == (88200,)


def test_libxl_float_names_are_read_and_the_headers_written() -> None:
    card = parse_card(tree(sample_formats="f32_le,f64_le,float_be"))
    assert next(card.streams).formats == (PcmFormat.F32_LE, PcmFormat.F32_BE, PcmFormat.F64_LE)
    assert to_nodes(card)["sample-formats"] == "float_le,float_be,float64_le"


def test_transport_state_and_foreign_nodes_are_ignored() -> None:
    nodes = tree()
    plain = parse_card(nodes)
    nodes |= {"state": "4", "backend": "/local/domain/0/backend/vsnd/1/0", "version": "1"}
    nodes |= {"0/0/ring-ref": "8", "0/0/evt-event-channel": "9", "feature-x": "1", "00/0/type": "?"}
    assert parse_card(nodes) == plain


def test_empty_directory_nodes_count_as_directories() -> None:
    """XenStore lists "0" with an empty value beside what is in it."""
    nodes = tree() | {"": "", "0": "", "0/0": "", "0/1": ""}
    assert parse_card(nodes) == parse_card(tree())


def test_indices_count_until_one_is_missing() -> None:
    nodes = tree() | {"0/3/type": "p", "2/0/type": "p"}
    card = parse_card(nodes)
    assert [stream.path for stream in card.streams] == ["0/0", "0/1"]


def test_sixteen_devices_of_sixteen_streams_are_the_most() -> None:
    nodes = {f"{d}/{s}/type": "p" for d in range(16) for s in range(16)}
    assert len(list(parse_card(nodes).streams)) == 256
    with pytest.raises(ConfigError, match="vsnd has more than 16 PCM devices"):
        parse_card(nodes | {"16/0/type": "p"})
    with pytest.raises(ConfigError, match="vsnd/3 has more than 16 streams"):
        parse_card(nodes | {"3/16/type": "p"})


def test_equal_unique_ids_are_no_mistake() -> None:
    """With snd_be every stream may be "pulse"."""
    card = parse_card(tree(n0__1__unique_id="pulse"))
    assert [stream.unique_id for stream in card.streams] == ["pulse", "pulse"]


# Each mistake: what is changed, and the node and value that the message must name.
MISTAKES = [
    ({"sample_formats": "s16_le,wat"}, 'vsnd/sample-formats = "s16_le,wat"', '"wat"'),
    ({"sample_formats": ""}, 'vsnd/sample-formats = ""', "unknown sample format"),
    ({"sample_formats": "S16_LE"}, 'vsnd/sample-formats = "S16_LE"', '"S16_LE"'),
    ({"sample_formats": "x" * 25}, "vsnd/sample-formats", "unknown sample format"),
    ({"sample_rates": "48000,,44100"}, 'vsnd/sample-rates = "48000,,44100"', "decimal"),
    ({"sample_rates": "48k"}, 'vsnd/sample-rates = "48k"', '"48k" is not a decimal number'),
    ({"sample_rates": "0"}, 'vsnd/sample-rates = "0"', "0 is not in 1..4294967295"),
    ({"sample_rates": "4294967296"}, "vsnd/sample-rates", "not in 1..4294967295"),
    ({"sample_rates": "-48000"}, "vsnd/sample-rates", '"-48000" is not a decimal number'),
    ({"sample_rates": "٤٨٠٠٠"}, "vsnd/sample-rates", "not a decimal number"),
    ({"channels_max": "256"}, 'vsnd/channels-max = "256"', "256 is not in 1..255"),
    ({"channels_max": ""}, 'vsnd/channels-max = ""', "not a decimal number"),
    ({"n0__channels_min": "0"}, 'vsnd/0/channels-min = "0"', "0 is not in 1..255"),
    ({"buffer_size": "0"}, 'vsnd/buffer-size = "0"', "not in 1..4294967295"),
    ({"buffer_size": "64K"}, 'vsnd/buffer-size = "64K"', "decimal"),
    ({"buffer_size": "99999999999999999999"}, "vsnd/buffer-size", "decimal"),
    ({"n0__0__type": "x"}, 'vsnd/0/0/type = "x"', "playback"),
    ({"n0__0__type": "P"}, 'vsnd/0/0/type = "P"', "playback"),
    ({"n0__0__type": None}, "vsnd/0/0/type is missing", '"p" (playback)'),
    ({"short_name": "é" * 17}, "vsnd/short-name", "at most 32 bytes"),
    ({"long_name": "n" * 81}, "vsnd/long-name", "at most 80 bytes"),
    ({"n0__name": "n" * 81}, "vsnd/0/name", "at most 80 bytes"),
    ({"n0__name": "\x1b[31m"}, 'vsnd/0/name = "\\x1b[31m"', "control characters"),
    ({"n0__0__unique_id": "a\nb"}, 'vsnd/0/0/unique-id = "a\\nb"', "control characters"),
    ({"n0__sample_rates": "8000"}, 'vsnd/0/sample-rates = "8000"', "vsnd/sample-rates"),
    ({"n0__0__sample_formats": "u8"}, 'vsnd/0/0/sample-formats = "u8"', "u8 is outside"),
    ({"n0__0__channels_max": "5"}, 'vsnd/0/0/channels-max = "5"', "vsnd/channels-max"),
    ({"n0__channels_min": "5"}, 'vsnd/0/channels-min = "5"', "is more than channels-max 4 of"),
]


@pytest.mark.parametrize(("changes", "node", "problem"), MISTAKES)
def test_each_mistake_is_one_line_naming_node_and_value(
    changes: dict[str, str | None], node: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_card(tree(**changes))
    message = str(caught.value)
    assert node in message
    assert problem in message
    assert message.isprintable()


def test_stream_below_the_lower_bound_of_its_card_is_refused() -> None:
    nodes = tree(channels_min="2", n0__0__channels_min="1")
    with pytest.raises(ConfigError, match=r"0/0/channels-min = \"1\": 1 is outside of .*\"2\""):
        parse_card(nodes)


def test_channels_min_past_the_default_maximum_says_so() -> None:
    with pytest.raises(ConfigError, match="channels-min 3 is more than channels-max 2, the defaul"):
        parse_card({"0/0/type": "p", "channels-min": "3"})


def test_card_without_devices_or_streams_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"has no PCM device; set .*vsnd/0/0/type"):
        parse_card({"short-name": "Empty"}, where="/local/domain/1/device/vsnd")
    with pytest.raises(ConfigError, match="vsnd/1 has no stream; set vsnd/1/0/type"):
        parse_card(tree() | {"1/name": "HDMI"})


def test_message_names_the_directory_it_was_told() -> None:
    with pytest.raises(ConfigError, match=r'^/local/domain/7/device/vsnd/0/0/0/type = "q"'):
        parse_card(tree(n0__0__type="q"), where="/local/domain/7/device/vsnd/0")


def test_a_huge_value_does_not_fill_the_log() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_card(tree(sample_rates="x" * 4000))
    assert len(str(caught.value)) < 300


def _parse_sec(count: int) -> float:
    """Of this process alone, at the best of three."""
    rates = ",".join(map(str, range(1, count + 1)))
    nodes = {"0/0/type": "p", "sample-rates": rates, "0/0/sample-rates": rates}
    took = []
    for _ in range(3):
        began_sec = time.process_time()
        parse_card(nodes)
        took.append(time.process_time() - began_sec)
    return min(took)


def test_a_card_of_ten_times_the_rates_is_not_read_in_a_hundred_times_the_time() -> None:
    assert _parse_sec(20_000) < 30 * _parse_sec(2_000)


def test_shared_values_are_written_once_on_the_card() -> None:
    nodes = to_nodes(parse_card(tree(n0__1__channels_max="1")))
    assert nodes == {
        "short-name": "Card",
        "sample-rates": "44100,48000",
        "sample-formats": "s16_le,s32_le",
        "channels-min": "1",
        "buffer-size": "65536",
        "0/name": "Dev",
        "0/0/type": "p",
        "0/0/unique-id": "pulse",
        "0/0/channels-max": "4",
        "0/1/type": "c",
        "0/1/channels-max": "1",
    }


def test_writer_refuses_what_the_reader_would_not_find() -> None:
    stream = StreamConfig(0, 0, Direction.PLAYBACK)
    with pytest.raises(LocalProtocolError, match="PCM device 1"):
        to_nodes(Card(devices=(PcmDevice(1, "", (replace(stream, device_index=1),)),)))
    with pytest.raises(LocalProtocolError, match="stream 0/1"):
        to_nodes(Card(devices=(PcmDevice(0, "", (replace(stream, index=1),)),)))
    with pytest.raises(LocalProtocolError, match="cannot be written as a list"):
        odd = replace(stream, rates=Interval(8000, 9000))
        to_nodes(Card(devices=(PcmDevice(0, "", (odd,)),)))


names = st.text(st.characters(categories=("L", "N", "P")), max_size=8)


@st.composite
def cards(draw: st.DrawFn) -> Card:
    devices = []
    for number in range(draw(st.integers(1, 3))):
        streams = []
        for index in range(draw(st.integers(1, 3))):
            low = draw(st.integers(1, 255))
            formats = draw(st.sets(st.sampled_from(PcmFormat), min_size=1))
            rates = draw(st.sets(st.integers(1, 2**32 - 1), min_size=1, max_size=4))
            streams.append(
                StreamConfig(
                    number,
                    index,
                    draw(st.sampled_from(Direction)),
                    draw(names),
                    tuple(sorted(formats)),
                    draw(st.just(DEFAULT_RATES) | st.just(tuple(sorted(rates)))),
                    Interval(low, draw(st.integers(low, 255))),
                    draw(st.integers(1, 2**32 - 1) | st.just(DEFAULT_BUFFER_BYTES)),
                )
            )
        devices.append(PcmDevice(number, draw(names), tuple(streams)))
    return Card(draw(names), draw(names), tuple(devices))


@given(cards())
def test_a_written_card_is_read_back_as_it_was(card: Card) -> None:
    assert parse_card(to_nodes(card)) == card


@given(
    st.dictionaries(
        st.sampled_from([*header_example(), "0", "0/0", "0/2/type", "channels-min", "3/0/type"]),
        st.sampled_from(["p", "c", "1", "0", "48000", "s8", "s8,u8", "", "7,8", "x"]) | names,
    )
)
def test_any_guest_written_tree_gives_a_card_or_a_config_error(nodes: dict[str, str]) -> None:
    try:
        card = parse_card(nodes)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert all(stream.channels and stream.formats for stream in card.streams)


@pytest.mark.parametrize(
    ("unique_id", "request_"),
    [
        ("pulse", HostRequest("pulse")),
        ("PULSE", HostRequest("pulse")),
        ("alsa", HostRequest("alsa")),
        ("pulse<sink>media.role:navi", HostRequest("pulse", "sink", "media.role", "navi")),
        ("pulse<>media.role:navi", HostRequest("pulse", "", "media.role", "navi")),
        ("pulse<>:phone", HostRequest("pulse", "", "media.role", "phone")),
        ("pulse<a.b-stereo>", HostRequest("pulse", "a.b-stereo")),
        ("alsa<hw:0;0>", HostRequest("alsa", "hw:0,0")),
        ("alsa<hw:0,0>", HostRequest("alsa", "hw:0,0")),
        ("pulse<s>a:b:c", HostRequest("pulse", "s", "a", "b:c")),
    ],
)
def test_unique_id_in_snd_bes_syntax_is_a_request(unique_id: str, request_: HostRequest) -> None:
    assert parse_unique_id(unique_id) == request_


@pytest.mark.parametrize(
    "unique_id",
    [
        "",
        "0",
        "play0",
        "5f0c3c1e-9d7e-4b7a-8a57-d8a3c1b0e1aa",
        "pulse<sink",
        "pulsar",
        "oss<x>",
        "<sink>",
        "pulse>x<",
        "pulse<s>noproperty",
    ],
)
def test_other_unique_ids_ask_for_nothing(unique_id: str) -> None:
    assert parse_unique_id(unique_id) == HostRequest()

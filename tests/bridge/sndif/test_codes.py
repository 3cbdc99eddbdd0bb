"""codes.py against the text of Xen's headers, which is read here without the compiler."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xenpvaudio.sndif import codes as sndif
from xenpvaudio.sndif.codes import (
    FORMAT_BY_NAME,
    Direction,
    Key,
    Operation,
    PcmFormat,
    Status,
    Trigger,
)
from xenpvaudio.xen import api

SNDIF_H = Path("/usr/include/xen/io/sndif.h").read_text()
ERRNO_H = Path("/usr/include/xen/errno.h").read_text()

NUMBERS = {
    name: int(number)
    for name, number in re.findall(r"^#define XENSND_(\w+)\s+(\d+)", SNDIF_H, re.MULTILINE)
}
STRINGS = dict(re.findall(r'^#define XENSND_(\w+)\s+"(.*)"', SNDIF_H, re.MULTILINE))
FORMATS = {
    name.removeprefix("PCM_FORMAT_"): number
    for name, number in NUMBERS.items()
    if name.startswith("PCM_FORMAT_")
}


def test_operations_and_triggers_are_the_headers() -> None:
    codes = {f"OP_{operation.name}": int(operation) for operation in Operation}
    codes |= {f"OP_TRIGGER_{trigger.name}": int(trigger) for trigger in Trigger}
    assert len(Operation) == 10
    assert codes == {name: n for name, n in NUMBERS.items() if name.startswith("OP_")}
    assert int(sndif.Event.CUR_POS) == NUMBERS["EVT_CUR_POS"]


def test_formats_are_all_25_of_the_header() -> None:
    assert len(PcmFormat) == 25
    assert {fmt.name: int(fmt) for fmt in PcmFormat} == FORMATS


def test_format_names_are_the_headers_strings() -> None:
    for fmt in PcmFormat:
        assert fmt.xenstore_name == STRINGS[f"PCM_FORMAT_{fmt.name}_STR"]
        assert FORMAT_BY_NAME[fmt.xenstore_name] is fmt
        assert len(fmt.xenstore_name) <= sndif.FORMAT_NAME_MAX_LEN


@pytest.mark.parametrize(
    ("libxl", "header"),
    [
        ("f32_le", "float_le"),
        ("f32_be", "float_be"),
        ("f64_le", "float64_le"),
        ("f64_be", "float64_be"),
    ],
)
def test_libxl_float_names_are_read_and_the_headers_written(libxl: str, header: str) -> None:
    assert FORMAT_BY_NAME[libxl] is FORMAT_BY_NAME[header]
    assert FORMAT_BY_NAME[libxl].xenstore_name == header


def test_no_other_format_names_are_read() -> None:
    assert len(FORMAT_BY_NAME) == 25 + 4


def test_xenstore_keys_are_the_headers_fields() -> None:
    fields = {text for name, text in STRINGS.items() if name.startswith("FIELD_")}
    assert {key.value for key in Key} == fields
    assert (Key.RING_REF, Key.EVT_EVENT_CHANNEL) == ("ring-ref", "evt-event-channel")
    assert (Key.VERSIONS, Key.VERSION) == ("versions", "version")
    assert {Direction.PLAYBACK.value, Direction.CAPTURE.value} == {"p", "c"}


def test_statuses_are_minus_the_headers_errnos() -> None:
    public = re.sub(r"#ifdef __XEN__.*?#endif", "", ERRNO_H, flags=re.DOTALL)
    listed = re.findall(r"^XEN_ERRNO\((\w+),\s*(\d+)\)", public, re.MULTILINE)
    expected = {name: -int(number) for name, number in listed} | {"OK": 0}
    assert {name: int(member) for name, member in Status.__members__.items()} == expected


def test_status_name_tolerates_foreign_codes() -> None:
    assert sndif.status_name(-22) == "-XEN_EINVAL"
    assert sndif.status_name(0) == "OK"
    assert sndif.status_name(-4711) == "unknown status -4711"
    assert sndif.status_name(5) == "unknown status 5"


def test_sample_bytes_follow_the_bits_in_the_name() -> None:
    container = {"8": 1, "16": 2, "24": 4, "32": 4, "64": 8}
    for fmt in PcmFormat:
        if found := re.match(r"[SUF](\d+)", fmt.name):
            assert fmt.sample_bytes == container[found[1]], fmt.name
    others = {fmt.name: fmt.sample_bytes for fmt in PcmFormat if not re.match(r"[SUF]\d", fmt.name)}
    assert others == {
        "IEC958_SUBFRAME_LE": 4,
        "IEC958_SUBFRAME_BE": 4,
        "MU_LAW": 1,
        "A_LAW": 1,
        "IMA_ADPCM": None,
        "MPEG": None,
        "GSM": None,
    }


def test_framed_formats_leave_out_the_compressed_ones() -> None:
    unframed = {"IMA_ADPCM", "MPEG", "GSM"}
    framed = {fmt.name for fmt in sndif.formats_in(sndif.FRAMED_FORMATS)}
    assert framed == FORMATS.keys() - unframed


@pytest.mark.parametrize(
    ("name", "size_bytes"),
    [
        ("S16_LE", "0000"),
        ("U8", "80"),
        ("U16_LE", "0080"),
        ("U16_BE", "8000"),
        ("U24_LE", "00008000"),
        ("U24_BE", "00800000"),
        ("U32_LE", "00000080"),
        ("F64_BE", "0000000000000000"),
        ("MU_LAW", "7f"),
        ("A_LAW", "55"),
        ("MPEG", ""),
    ],
)
def test_silence_is_the_middle_of_the_range(name: str, size_bytes: str) -> None:
    assert PcmFormat[name].silence.hex() == size_bytes


def test_masks_name_formats_and_skip_foreign_bits() -> None:
    mask = sndif.formats_mask([PcmFormat.GSM, PcmFormat.S16_LE])
    assert mask == 1 << 24 | 1 << 2
    assert list(sndif.formats_in(mask | 1 << 40)) == [PcmFormat.S16_LE, PcmFormat.GSM]


def test_limits_are_the_headers() -> None:
    assert sndif.PROTOCOL_VERSION == NUMBERS["PROTOCOL_VERSION"] == 2
    assert sndif.PAGE_BYTES == 4096
    assert (sndif.DRIVER_NAME, sndif.LIST_SEPARATOR) == ("vsnd", ",")
    assert NUMBERS["SAMPLE_RATE_MAX_LEN"] == sndif.RATE_MAX_LEN


def test_sndifs_page_is_xens_page() -> None:
    assert sndif.PAGE_BYTES == api.PAGE_BYTES

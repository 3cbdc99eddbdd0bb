"""pw-dump's output, also of a graph that changes while it is read."""

from __future__ import annotations

import pytest

from xenpvaudio.testbed.graph_dump import metadata, named_node, of_kind, parse_dump

NODE = (
    '{"id": %d, "type": "PipeWire:Interface:Node", "info": {"props": {"node.name": "%s"}, '
    '"state": "%s"}}'
)


def test_later_arrays_change_and_remove_what_was_there() -> None:
    text = (
        f"[{NODE % (30, 'sink', 'suspended')}, {NODE % (31, 'client', 'running')},\n"
        '{"id": 0, "type": "PipeWire:Interface:Core", "info": {"props": {}}},'
        '{"id": 7, "type": "PipeWire:Interface:Metadata", "props": {"metadata.name": "settings"},'
        ' "metadata": [{"subject": 0, "key": "clock.rate", "type": "", "value": 48000}]}]\n'
        f"[{NODE % (30, 'sink', 'running')}]\n"
        '[\n  {\n    "id": 31,\n    "info": null\n  }\n]\n'
    )
    objects = parse_dump(text)
    assert [thing["id"] for thing in objects] == [30, 0, 7]
    assert [node["id"] for node in of_kind(objects, "Node")] == [30]
    sink = named_node(objects, "sink")
    assert sink is not None
    assert sink["info"]["state"] == "running"
    assert named_node(objects, "client") is None
    assert metadata(objects, "settings") == {"clock.rate": 48000}
    assert metadata(objects, "default") is None


@pytest.mark.parametrize("text", ["", "  \n", "can't connect: Host is down", '[{"id": 1'])
def test_what_is_no_dump_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_dump(text)

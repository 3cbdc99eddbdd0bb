"""As stream_twins.py: copies of the relay with one rule left out."""

from __future__ import annotations

# (program, file, what is changed, into what). Each text occurs exactly once.
# fmt: off
RELAY_TWINS = {
    "relay_gives_past_its_end": (
        "test_relay", "relay/relay.c", "run(r, put, wanted)", "wanted",
    ),
    "relay_counts_from_the_stream_s_begin": (
        "test_relay", "relay/relay.c", "r->loop.base_frames + message.position",
        "message.position",
    ),
    "relay_asks_for_all_there_is": (
        "test_relay", "relay/relay.c", "(frames < room ? frames : room)", "(frames + 0 * room)",
    ),
    "relay_plays_what_is_silenced": (
        "test_relay", "relay/relay.c",
        "            xpa_fill_silence(&b->stream.config, slot(r, put), frames);",
        "            (void)0;",
    ),
    "relay_hears_what_is_silenced": (
        "test_relay", "relay/relay.c",
        "        xpa_fill_silence(&r->back->stream.config, at, frames);", "        (void)0;",
    ),
    "relay_overwrites_what_waits": (
        "test_relay", "relay/relay.c",
        "frames > r->room_frames - (put - other(&r->shared.taken_frames))",
        "frames > r->room_frames",
    ),
}
# fmt: on

"""Which applications a stream of the card is for, as session managers read it. Pure.

A stream's unique-id may name a role, as in `pulse<car.front>media.role:navi`. The host mixes by it;
here it says which of the card's devices an application with that media.role gets. WirePlumber
compares its words as they are (0.4: scripts/intended-roles.lua, 0.5:
scripts/linking/find-media-role-target.lua), and PipeWire, PulseAudio and cars each have their own
for the same purpose.
"""

from __future__ import annotations

import json

from xenpvaudio.config import ROLES
from xenpvaudio.sndif.card import parse_unique_id

INTENDED_ROLES = "device.intended-roles"

_ALIKE = (
    ("Music", "music"),
    ("Movie", "video", "animation"),
    ("Game", "game"),
    ("Communication", "phone"),
    ("Notification", "event"),
    ("Production", "production"),
    ("Accessibility", "a11y"),
    ("Test", "test"),
    ("Navigation", "navi"),
    ("Emergency", "Alert"),
)
_MULTIMEDIA = ("Multimedia", *_ALIKE[0], *_ALIKE[1], *_ALIKE[2])


def intended_roles(unique_id: str) -> str:
    """The value of device.intended-roles, a list in JSON: 0.5 parses it, and 0.4 looks for the
    words in it, which it takes to be of letters only. Empty for a stream without a role, and for
    one that is none of config.ROLES."""
    request = parse_unique_id(unique_id)
    role = request.prop_value
    if request.prop_name.lower() != "media.role" or role not in ROLES:
        return ""
    groups = (*_ALIKE, _MULTIMEDIA)
    words = next((group for group in groups if role in group), (role,))
    return json.dumps(list(words))

-- The host mixes by role, with WirePlumber 0.4: a phone call pauses music, navigation makes it
-- quieter. For a host that is a mixer for guests, as in a car. Copy it to
-- /etc/wireplumber/policy.lua.d or ~/.config/wireplumber/policy.lua.d and restart WirePlumber.
--
-- A guest's stream has the role that its unique-id asks for and that `roles` in
-- /etc/xen-pv-audio/backend.toml allows. Every stream of the host goes through these endpoints to
-- the default sink; `targets` in backend.toml has no effect beside them.

-- Keys are no roles themselves: 0.4 looks for a key among sinks only, and an application that
-- records with the role Communication would get nothing.
default_policy.policy.roles = {
  ["Playback-Multimedia"] = {
    ["alias"] = { "Multimedia", "Music", "Movie", "Game", "music", "video", "animation", "game" },
    ["priority"] = 25, -- the lowest: also that of streams without a role
    ["action.default"] = "mix",
  },
  ["Playback-Notification"] = {
    ["alias"] = { "Notification", "event" },
    ["priority"] = 30,
    ["action.default"] = "mix",
  },
  ["Playback-Navigation"] = {
    ["alias"] = { "Navigation", "navi" },
    ["priority"] = 50,
    ["action.default"] = "duck",
    ["action.Playback-Navigation"] = "mix",
  },
  ["Playback-Communication"] = {
    ["alias"] = { "Communication", "phone" },
    ["priority"] = 75,
    ["action.default"] = "cork",
    ["action.Playback-Communication"] = "mix",
  },
  ["Playback-Emergency"] = {
    ["alias"] = { "Emergency", "Alert" },
    ["priority"] = 99,
    ["action.default"] = "cork",
    ["action.Playback-Emergency"] = "mix",
  },
  ["Recording"] = {
    ["priority"] = 25,
    ["action.default"] = "mix",
    ["media.class"] = "Audio/Source",
  },
}

default_policy.endpoints = {
  ["role.multimedia"] = {
    ["media.class"] = "Audio/Sink",
    ["role"] = "Playback-Multimedia",
  },
  ["role.notification"] = {
    ["media.class"] = "Audio/Sink",
    ["role"] = "Playback-Notification",
  },
  ["role.navigation"] = {
    ["media.class"] = "Audio/Sink",
    ["role"] = "Playback-Navigation",
  },
  ["role.communication"] = {
    ["media.class"] = "Audio/Sink",
    ["role"] = "Playback-Communication",
  },
  ["role.emergency"] = {
    ["media.class"] = "Audio/Sink",
    ["role"] = "Playback-Emergency",
  },
  ["role.recording"] = {
    ["media.class"] = "Audio/Source",
    ["role"] = "Recording",
  },
}

-- What is left of a stream that is made quieter, linear: 0.3 is 10.5 dB less.
default_policy.policy["duck.level"] = 0.3

"""Outputs, policy files and settings: what is understood, and one clear line for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenpvaudio.config import ROLES, DomainPolicy, OutputSpec, Policy, load_policy, parse_output
from xenpvaudio.errors import ConfigError


def test_an_output_with_every_option() -> None:
    text = "loopback,delay=40ms,gain=-6dB,ppm=-100,quantum=128,jitter=0.5ms,stall=50ms/10s"
    spec = parse_output(text)
    assert spec.kind == "loopback"
    assert spec.gain == pytest.approx(0.5012, abs=1e-4)
    assert (spec.delay_sec, spec.ppm, spec.quantum_frames) == (0.04, -100.0, 128)
    assert (spec.jitter_sec, spec.stall_sec, spec.stall_every_sec) == (0.0005, 0.05, 10.0)


def test_a_sound_device_is_given_to_alsa_as_it_is_written() -> None:
    spec = parse_output("alsa:plughw:CARD=PCH,DEV=0")
    assert spec == OutputSpec("alsa", device="plughw:CARD=PCH,DEV=0")
    assert not spec.virtual
    assert parse_output("pulse") == OutputSpec("pulse")


def test_a_gain_may_be_a_factor() -> None:
    assert parse_output("loopback,gain=0.25").gain == 0.25


@pytest.mark.parametrize(
    "text",
    [
        "speaker",
        "loopback,delay=40",
        "loopback,delay=11s",
        "loopback,gain=loud",
        "loopback,ppm=5000",
        "null,quantum=1",
        "null,jitter=1s",
        "null,stall=50ms",
        "null,stall=10s/50ms",
        "pipewire,delay=1ms",
        "pulse,delay=1ms",
        "pulse:speaker",
        "alsa",
        "alsa:",
        "alsa: hw:0",
        "alsa:hw:\u00fc",
        "alsa:" + "h" * 121,
        "null,unknown=1",
    ],
)
def test_an_output_that_is_not_understood_is_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_output(text)
    assert text.split(",")[0] in str(error.value)


def test_a_missing_default_policy_gives_no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xenpvaudio.config.DEFAULT_POLICY_PATH", Path("does/not/exist"))
    policy = load_policy(None)
    assert policy.of("work") == DomainPolicy()
    assert not policy.of("work").microphone


def test_a_domain_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "backend.toml"
    path.write_text(
        '[default]\noutput = "null"\ntargets = ["speakers"]\n[domain.work]\nmicrophone = true\n'
    )
    policy = load_policy(path)
    assert policy.of("work").microphone and not policy.of("other").microphone
    assert policy.of("work").output == OutputSpec("null")
    assert policy.of("work").allows_target("speakers")
    assert not policy.of("work").allows_target("headphones")


@pytest.mark.parametrize("target", ["backend.toml", "nothing"])
def test_a_default_policy_that_is_there_and_cannot_be_read_is_not_passed_over(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backend.toml"
    path.symlink_to(tmp_path / target)
    monkeypatch.setattr("xenpvaudio.config.DEFAULT_POLICY_PATH", path)
    with pytest.raises(ConfigError, match=r"cannot read .*backend\.toml"):
        load_policy(None)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[default]\nmicrofone = true\n", "microfone"),
        ("[default]\nmicrophone = 1\n", "microphone"),
        ("[default]\nmicrophone = 'asks'\n", 'is true, false or "ask"'),
        ("[default]\nask-microphone = true\n", "ask-microphone is unknown"),
        ("[domain.work]\nmax-streams = 0\n", "domain.work"),
        ('[default]\ntargets = "all"\n', "targets"),
        ('[default]\noutput = "tape"\n', "tape"),
        ("[guest]\n", "guest"),
        ("[domid.one]\n", "domid.one"),
        ("[domid.99999]\n", "domid.99999"),
        ("[uuid.5]\n", "uuid.5"),
        ("[domid]\nmicrophone = true\n", "[domid.NUMBER]"),
        ("[default]\nmax-channels = 65\n", "from 1 to 64"),
        ("[default]\nmax-rate = 0\n", "max-rate"),
        ("not toml at all", "backend.toml"),
    ],
)
def test_a_mistake_in_the_policy_is_named_with_its_file(
    tmp_path: Path, content: str, named: str
) -> None:
    path = tmp_path / "backend.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_policy(path)
    assert "backend.toml" in str(error.value) and named in str(error.value)


@pytest.mark.parametrize(
    ("default", "work", "allowed", "asks"),
    [
        ('"ask"', "", False, True),
        ('"ask"', "microphone = true", True, False),
        ('"ask"', "microphone = false", False, False),
        ("true", 'microphone = "ask"', False, True),
    ],
)
def test_a_microphone_that_is_asked_for_is_denied_until_then(
    tmp_path: Path, default: str, work: str, allowed: bool, asks: bool
) -> None:
    path = tmp_path / "backend.toml"
    path.write_text(f"[default]\nmicrophone = {default}\n[domain.work]\n{work}\n")
    policy = load_policy(path).of("work")
    assert (policy.microphone, policy.ask_microphone) == (allowed, asks)


def test_a_mistake_is_told_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "backend.toml"
    path.write_text(
        "[default]\nmicrophone = true  # microfone = true\n\n"
        '[domain."work"]\n  microfone = true\n[domain.play]\nmax-streams = 0\n'
    )
    with pytest.raises(ConfigError) as error:
        load_policy(path)
    assert f"{path}, line 5: [domain.work] microfone is unknown" in str(error.value)
    assert "did you mean microphone?" in str(error.value)
    path.write_text(path.read_text().replace("microfone = true\n[", "microphone = true\n["))
    with pytest.raises(
        ConfigError, match=r"backend\.toml, line 7: \[domain\.play\] max-streams = 0"
    ):
        load_policy(path)
    path.write_text("[domain]\nplay = { microfone = true }\n")
    with pytest.raises(ConfigError, match=r"backend\.toml: \[domain\.play\] microfone"):
        load_policy(path)


def test_a_policy_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_policy(tmp_path / "nothing.toml")


UUID = "6a9f0c1e-1111-4222-8333-444455556666"


def test_a_domain_is_known_by_uuid_number_or_name_in_that_order(tmp_path: Path) -> None:
    path = tmp_path / "backend.toml"
    path.write_text(
        "[domain.work]\nmax-streams = 1\n[domid.5]\nmax-streams = 2\n"
        f"[uuid.{UUID.upper()}]\nmax-streams = 3\n[unnamed]\nmax-streams = 4\n"
    )
    policy = load_policy(path)
    assert policy.of("work", 5, UUID).max_streams == 3
    assert policy.of("work", 5, None).max_streams == 2
    assert policy.of("work", 6, "other").max_streams == 1
    assert policy.of("play", 6, None).max_streams == 32
    assert policy.of(None, 6, None).max_streams == 4
    assert policy.of(None, 5, None).max_streams == 2
    assert sorted(table.max_streams for table in policy.tables) == [1, 2, 3, 4, 32]


def test_a_change_for_every_domain_reaches_every_table() -> None:
    same = DomainPolicy()
    policy = Policy(same, {"work": same}, {5: same}, {UUID: same}, same)
    changed = policy.changed(lambda table: DomainPolicy(microphone=True))
    assert len(list(changed.tables)) == 5
    assert all(table.microphone for table in changed.tables)


@pytest.mark.parametrize("policy", [Policy(), Policy(domains={"guest1": DomainPolicy()})])
def test_a_domain_without_a_readable_name_never_falls_to_the_default(policy: Policy) -> None:
    with pytest.raises(ConfigError) as error:
        policy.of(None, 7, None)
    assert "name of domain 7" in str(error.value)
    assert "[domid.7]" in str(error.value) and "[unnamed]" in str(error.value)


def test_no_role_is_allowed_that_the_policy_does_not_name() -> None:
    assert not any(DomainPolicy().allows_role(role) for role in (*ROLES, "*", ""))
    assert DomainPolicy(roles=("music",)).allows_role("music")
    assert not DomainPolicy(roles=("music",)).allows_role("Emergency")


@pytest.mark.parametrize("role", ["*", "Emergency ", "emergency!", "a\u001b[31m"])
def test_a_role_that_is_none_is_an_error_that_names_the_roles(tmp_path: Path, role: str) -> None:
    path = tmp_path / "backend.toml"
    text = "".join(f"\\u{ord(char):04x}" for char in role)
    path.write_text(f'[domain.work]\nroles = ["music", "{text}"]\n')
    with pytest.raises(ConfigError) as error:
        load_policy(path)
    assert "is no role; the roles are " + ", ".join(ROLES) in str(error.value)
    assert str(error.value).isprintable()

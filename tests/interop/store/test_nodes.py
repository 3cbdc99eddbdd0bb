"""XenStore: values, paths, permissions, limits."""

from __future__ import annotations

import errno

import pytest

from interop.world import INTRODUCE, World, code
from xenpvaudio.xen.api import (
    AccessError,
    NotFoundError,
    QuotaError,
)

# ---- values and paths ----


@pytest.mark.parametrize(
    "value", ["1", "", "né", "a\nb", "with spaces ", "\udcff\udc80", "nul\0inside", "x" * 4000]
)
def test_value_is_read_back_as_written(world: World, value: str) -> None:
    world.dom0.write("/t/a", value)
    assert world.dom0.read("/t/a") == value


def test_value_too_long_for_a_message_is_refused(world: World) -> None:
    with pytest.raises(QuotaError):
        world.dom0.write("/t/a", "x" * 4097)
    assert not world.dom0.exists("/t/a")


def test_absent_node_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError, match="read /nothing/here"):
        world.dom0.read("/nothing/here")
    assert world.dom0.get("/nothing/here") is None
    assert world.dom0.get("/nothing/here", "x") == "x"
    assert not world.dom0.exists("/nothing/here")


def test_write_makes_parents_with_empty_values(world: World) -> None:
    world.dom0.write("/t/a/b", "1")
    assert world.dom0.read("/t/a") == ""
    assert world.dom0.list("/t") == ["a"]
    assert world.dom0.list("/t/a/b") == []


def test_mkdir_keeps_what_is_there(world: World) -> None:
    world.dom0.write("/t/a", "1")
    world.dom0.mkdir("/t/a")
    assert world.dom0.read("/t/a") == "1"


def test_remove_takes_everything_below(world: World) -> None:
    world.dom0.write("/t/a/b/c", "1")
    world.dom0.remove("/t/a")
    assert not world.dom0.exists("/t/a/b/c")
    assert world.dom0.list("/t") == []


def test_removing_the_absent_is_fine_where_the_parent_is(world: World) -> None:
    world.dom0.mkdir("/t")
    world.dom0.remove("/t/a")
    with pytest.raises(NotFoundError):
        world.dom0.remove("/u/a/b")


def test_root_cannot_be_removed(world: World) -> None:
    assert code(lambda: world.dom0.remove("/")) == errno.EINVAL


@pytest.mark.parametrize("path", ["/t//a", "/t/", "/t/a.b", "/t/a b", "/t/é", "", "/a\0b"])
def test_malformed_path_is_invalid(world: World, path: str) -> None:
    assert code(lambda: world.dom0.write(path, "1")) == errno.EINVAL
    assert code(lambda: world.dom0.read(path)) == errno.EINVAL


@pytest.mark.parametrize(("length", "expected"), [(2048, 0), (2049, errno.EINVAL)])
def test_path_may_be_2048_bytes_long(world: World, length: int, expected: int) -> None:
    path = "/" + "a" * (length - 1)
    guest = world.guest(3)
    assert code(lambda: guest.read(path)) == (expected or errno.EACCES)
    # Xen 4.17 limits everybody, 4.20 only guests
    assert code(lambda: world.dom0.write(path, "1")) == (expected if world.xen_minor < 20 else 0)


def test_home_does_not_count_in_a_path_s_length(world: World) -> None:
    home = "/local/domain/3/data/"
    longest = 2048 - len("data/")
    guest = world.guest(3)
    assert code(lambda: guest.read(home + "a" * longest)) == errno.ENOENT
    assert code(lambda: guest.read(home + "a" * (longest + 1))) == errno.EINVAL
    beyond = errno.EINVAL if world.xen_minor < 20 else 0  # as above
    assert code(lambda: world.dom0.write(home + "a" * longest, "1")) == 0
    assert code(lambda: world.dom0.write(home + "a" * (longest + 1), "1")) == beyond


def test_directory_larger_than_a_message_is_listed(world: World) -> None:
    names = {f"entry-{number:04}-abcdefghij" for number in range(700)}
    for name in names:
        world.dom0.mkdir(f"/big/{name}")
    listed = world.dom0.list("/big")
    assert len(listed) == len(names)
    assert set(listed) == names


def test_relative_path_starts_at_home(world: World) -> None:
    guest = world.guest(3)
    guest.write("data/x", "1")
    assert guest.read("/local/domain/3/data/x") == "1"
    world.dom0.write("y", "2")
    assert world.dom0.read("/local/domain/0/y") == "2"
    assert guest.domain_path(3) == "/local/domain/3"


# ---- permissions ----


def test_permissions_are_kept_and_inherited(world: World) -> None:
    world.guest(3)
    world.dom0.mkdir("/t")
    world.dom0.set_perms("/t", ["n0", "r3"])
    world.dom0.write("/t/a", "1")
    assert world.dom0.get_perms("/t/a") == ["n0", "r3"]


def test_guest_owns_what_it_makes(world: World) -> None:
    guest = world.guest(3)
    world.dom0.mkdir("/t")
    world.dom0.set_perms("/t", ["n0", "b3"])
    guest.write("/t/a/b", "1")
    assert guest.get_perms("/t/a") == ["n3", "b3"]
    assert guest.get_perms("/t/a/b") == ["n3", "b3"]


def test_node_made_by_dom0_belongs_to_its_parent_s_owner(world: World) -> None:
    guest = world.guest(3)
    world.dom0.write("/local/domain/3/data/state", "1")
    assert world.dom0.get_perms("/local/domain/3/data/state") == ["n3"]
    guest.write("data/state", "2")


@pytest.mark.parametrize(
    ("perms", "may_read", "may_write"),
    [
        (["n0"], False, False),
        (["n0", "r3"], True, False),
        (["n0", "w3"], False, True),
        (["n0", "b3"], True, True),
        (["r0"], True, False),
        (["b0", "n3"], False, False),
        (["n3"], True, True),
    ],
)
def test_permission_letters_mean(
    world: World, perms: list[str], may_read: bool, may_write: bool
) -> None:
    guest = world.guest(3)
    world.dom0.write("/t/a", "1")
    world.dom0.set_perms("/t/a", perms)
    assert code(lambda: guest.read("/t/a")) == (0 if may_read else errno.EACCES)
    assert code(lambda: guest.list("/t/a")) == (0 if may_read else errno.EACCES)
    assert code(lambda: guest.write("/t/a", "2")) == (0 if may_write else errno.EACCES)


def test_guest_does_not_learn_what_exists_elsewhere(world: World) -> None:
    guest = world.guest(3)
    world.guest(4)
    world.dom0.write("/secret", "x")
    for path in ("/secret", "/nothing", "/local/domain/4/data/x", "/local/domain/9"):
        with pytest.raises(AccessError):
            guest.read(path)
    with pytest.raises(NotFoundError):
        guest.read("data/nothing")


def test_guest_cannot_give_its_nodes_away(world: World) -> None:
    guest = world.guest(3)
    guest.write("data/x", "1")
    assert code(lambda: guest.set_perms("data/x", ["n0"])) == errno.EPERM
    assert code(lambda: guest.set_perms("data/x", ["n3", "r0"])) == 0
    assert code(lambda: guest.set_perms("/local/domain/3", ["n3"])) == errno.EACCES


@pytest.mark.parametrize("perms", [["x0"], ["n"], ["nx"], ["0"]])
def test_malformed_permissions_are_refused(world: World, perms: list[str]) -> None:
    world.dom0.write("/t/a", "1")
    assert code(lambda: world.dom0.set_perms("/t/a", perms)) == errno.EINVAL


def test_owner_must_exist(world: World) -> None:
    world.dom0.write("/t/a", "1")
    assert code(lambda: world.dom0.set_perms("/t/a", ["n55"])) == errno.ENOENT


def test_guest_cannot_introduce_domains(world: World) -> None:
    guest = world.guest(3)
    assert code(lambda: guest.request(INTRODUCE, "x", b"4\0001\0007\0")) == errno.EACCES


# ---- quotas ----


def test_guest_s_nodes_are_limited_to_1000(world: World) -> None:
    guest = world.guest(3)
    made = 0
    with pytest.raises(QuotaError):
        for made in range(2000):
            guest.write(f"data/{made % 40}/{made // 40}", "v")
    # Its own directory, and 40 more, count too.
    assert made == 1000 - 41
    guest.remove("data/0")
    guest.write("data/room", "v")
    for number in range(1100):
        world.dom0.mkdir(f"/t/{number % 40}/{number}")


def test_guest_s_value_is_limited_to_a_little_under_2048(world: World) -> None:
    guest = world.guest(3)
    guest.write("data/x", "v" * 2000)
    with pytest.raises(QuotaError):
        guest.write("data/x", "v" * 2048)
    assert len(guest.read("data/x")) == 2000
    world.dom0.write("/t/x", "v" * 3000)


def test_guest_s_watches_are_limited(world: World) -> None:
    guest = world.guest(3)
    watches = []
    with pytest.raises(QuotaError):
        for number in range(300):
            watches.append(guest.watch(f"data/{number}", lambda _path: None))
    assert len(watches) == 129
    watches[0].cancel()
    guest.watch("data/again", lambda _path: None)

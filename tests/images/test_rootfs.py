"""Names inside a tree never lead out of it: compared with what the kernel itself says, openat2(2) RESOLVE_IN_ROOT."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.images.rootfs import MAX_LINKS, inside, leads_somewhere, matching

OPENAT2 = 437
RESOLVE_IN_ROOT = 0x10
O_PATH = 0o10000000


class OpenHow(ctypes.Structure):
    """``struct open_how`` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def kernel(tree: Path, name: str, *, follow: bool = True) -> Path:
    """Where the kernel finds a name of a tree. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    how = OpenHow(O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), 0, RESOLVE_IN_ROOT)
    folder = os.open(tree, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = libc.syscall(OPENAT2, folder, os.fsencode(name or "."), ctypes.byref(how), ctypes.sizeof(how))
        number = ctypes.get_errno()
    finally:
        os.close(folder)
    if found < 0:
        raise OSError(number, os.strerror(number))
    try:
        return Path(os.readlink(f"/proc/self/fd/{found}"))
    finally:
        os.close(found)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A merged /usr, links of every kind, and beside it files of the same names: a host that must not be picked up."""
    host = tmp_path / "host"
    for root in (host, host / "tree"):
        (root / "usr/lib").mkdir(parents=True)
        (root / "etc").mkdir()
        (root / "usr/lib/loader.so").write_text(root.name)
        (root / "etc/passwd").write_text(root.name)
    tree = host / "tree"
    for name, target in {
        "lib": "usr/lib",
        "lib64": "/usr/lib",
        "usr/lib/ld.so": "/lib/loader.so",
        "etc/climbing": "../../../../../../etc/passwd",
        "etc/host": f"{host}/etc/passwd",
        "etc/relative": "./passwd",
        "etc/chain": "climbing",
        "etc/folder": "/usr/",
        "etc/dangling": "/usr/lib/nothing",
        "etc/self": "self",
        "etc/one": "two",
        "etc/two": "/etc/one",
        "up": "..",
        "root": "/",
    }.items():
        (tree / name).symlink_to(target)
    return tree


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("lib64/ld.so", "usr/lib/loader.so"),
        ("/lib/ld.so", "usr/lib/loader.so"),
        ("etc/climbing", "etc/passwd"),
        ("etc/relative", "etc/passwd"),
        ("etc/chain", "etc/passwd"),
        ("etc/folder/lib/ld.so", "usr/lib/loader.so"),
        ("etc/folder/../etc/passwd", "etc/passwd"),
        ("../../etc/passwd", "etc/passwd"),
        ("up/up/etc/passwd", "etc/passwd"),
        ("root/root/lib//./ld.so", "usr/lib/loader.so"),
        ("", ""),
        ("/", ""),
    ],
)
def test_every_link_stays_inside(tree: Path, name: str, where: str) -> None:
    assert inside(tree, name) == tree / where == kernel(tree, name)


@pytest.mark.parametrize("name", ["etc/host", "etc/dangling", "new/name", "lib64/new"])
def test_what_is_not_there_is_below_the_tree_all_the_same(tree: Path, name: str) -> None:
    found = inside(tree, name)
    assert found.is_relative_to(tree) and not found.exists()
    assert not leads_somewhere(tree, name)
    with pytest.raises(FileNotFoundError):
        kernel(tree, name)


def test_a_new_name_goes_behind_the_links_on_its_way(tree: Path) -> None:
    assert inside(tree, "lib64/new/file") == tree / "usr/lib/new/file"
    assert inside(tree, "etc/dangling/file") == tree / "usr/lib/nothing/file"


@pytest.mark.parametrize("name", ["etc/climbing", "lib", "etc/self", "root/lib64"])
def test_the_link_itself_can_be_had(tree: Path, name: str) -> None:
    found = inside(tree, name, follow=False)
    assert found.is_symlink()
    assert found == kernel(tree, name, follow=False)


def test_a_slash_at_the_end_asks_for_what_the_link_leads_to(tree: Path) -> None:
    assert inside(tree, "lib/", follow=False) == tree / "usr/lib"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("etc/self", errno.ELOOP),
        ("etc/one", errno.ELOOP),
        ("etc/two/passwd", errno.ELOOP),
        ("etc/passwd/more", errno.ENOTDIR),
        ("etc/passwd/..", errno.ENOTDIR),
        ("nothing/../etc/passwd", errno.ENOENT),
    ],
)
def test_what_leads_nowhere_is_an_error_as_open_has_it(tree: Path, name: str, number: int) -> None:
    for resolve in (inside, kernel):
        with pytest.raises(OSError) as caught:
            resolve(tree, name)
        assert caught.value.errno == number
    assert not leads_somewhere(tree, name)


@pytest.mark.parametrize("links", [MAX_LINKS, MAX_LINKS + 1])
def test_it_follows_as_many_links_as_the_kernel(tree: Path, links: int) -> None:
    for number in range(links):
        (tree / f"link{number}").symlink_to(f"link{number + 1}")
    (tree / f"link{links}").touch()
    for resolve in (inside, kernel):
        if links > MAX_LINKS:
            with pytest.raises(OSError):
                resolve(tree, "link0")
        else:
            assert resolve(tree, "link0") == tree / f"link{links}"


PARTS = st.lists(st.sampled_from(["a", "b", "c", ".", ".."]), max_size=5).map("/".join)


@given(
    links=st.dictionaries(PARTS, st.tuples(st.sampled_from(["", "/"]), PARTS), max_size=4),
    name=PARTS,
    follow=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_it_agrees_with_the_kernel(links: dict[str, tuple[str, str]], name: str, follow: bool) -> None:
    with TemporaryDirectory() as folder:
        tree = Path(folder).resolve()
        (tree / "a/b").mkdir(parents=True)
        (tree / "b").touch()
        for place, (slash, target) in links.items():
            path = tree / os.path.normpath(f"/{place}").lstrip("/")
            if path.parent.is_dir() and not path.parent.is_symlink() and not os.path.lexists(path):
                path.symlink_to(slash + target or ".")
        assert outcome(inside, tree, name, follow) == outcome(kernel, tree, name, follow)


def outcome(resolve: Any, tree: Path, name: str, follow: bool) -> Path | int | None:
    """Where a name leads, or the error it is; a path of something that is not there is one as well."""
    try:
        found: Path = resolve(tree, name, follow=follow)
    except OSError as error:
        return error.errno
    return found if os.path.lexists(found) else errno.ENOENT


def test_a_glob_stays_inside(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "host/usr/lib/only-on-the-host.so").touch()
    (tree / "usr/lib/.hidden.so").touch()
    (tree / "outside").symlink_to(tmp_path / "host/usr/lib")
    assert matching(tree, "lib64/*.so") == ["lib64/.hidden.so", "lib64/ld.so", "lib64/loader.so"]
    assert matching(tree, "outside/*") == []
    assert matching(tree, "l?b/ld.so") == ["lib/ld.so"]
    assert matching(tree, "etc/dangling") == ["etc/dangling"]
    assert matching(tree, "etc/passwd/*") == matching(tree, "no/*") == matching(tree, "no/file") == []


def test_a_glob_passes_over_links_in_a_circle(tree: Path) -> None:
    assert matching(tree, "etc/s*") == ["etc/self"]
    assert matching(tree, "*/passwd") == ["etc/passwd"]
    assert matching(tree, "etc/*/loader.so") == []

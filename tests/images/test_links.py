"""Builders on trees full of links: what is copied, removed and written is the tree's, never this machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.errors import ImageError
from labkit.images import labos, nginx
from labkit.images.build import closure
from labkit.images.build.debian import drop, lay_files, lay_folders, lay_links
from labkit.images.store import digest_tree

LISTED = """\
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fccb7cc5000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007fccb7fc1000)
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder in this machine's place: its files are named as the tree's are, and must stay as they are."""
    host = tmp_path / "host"
    (host / "lib").mkdir(parents=True)
    for name in ("lib/ld.so", "lib/keep", "conf"):
        (host / name).write_text("the host's")
    return host


@pytest.fixture
def tree(tmp_path: Path, host: Path) -> Path:
    """The tree, with a folder that repeats the host's path: there an absolute link leads inside of it."""
    tree = tmp_path / "tree"
    own = tree / host.relative_to("/")
    (own / "lib").mkdir(parents=True)
    (own / "lib/ld.so").write_text("the tree's")
    return tree


def untouched(host: Path) -> bool:
    return {path.name: path.read_text() for path in host.rglob("*") if path.is_file()} == dict.fromkeys(
        ("ld.so", "keep", "conf"), "the host's"
    )


def test_an_image_holds_the_loader_of_its_own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged /usr as Debian has it: the loader is an absolute link, and this machine has one of that very name."""
    assert Path("/lib64/ld-linux-x86-64.so.2").exists()
    tree = tmp_path / "tree"
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    (tree / "usr/lib64").mkdir()
    (tree / "usr/sbin").mkdir()
    for name in ("lib", "lib64", "sbin"):
        (tree / name).symlink_to(f"usr/{name}")
    (tree / "usr/lib64/ld-linux-x86-64.so.2").symlink_to("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    (libraries / "ld-linux-x86-64.so.2").write_text("loader")
    (libraries / "libc.so.6").symlink_to("../../../../../../../lib/x86_64-linux-gnu/libc-2.so")
    (libraries / "libc-2.so").write_text("libc")
    (tree / "usr/sbin/nginx").write_text("nginx")
    monkeypatch.setattr(closure, "in_tree", lambda *_: LISTED)
    root = tmp_path / "root"
    closure.copy_closure(tree, root, 0, programs=["usr/sbin/nginx"], files=["sbin/nginx"])
    held = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}
    assert held == {
        "lib64/ld-linux-x86-64.so.2": "loader",
        "lib/x86_64-linux-gnu/libc.so.6": "libc",
        "usr/sbin/nginx": "nginx",
        "sbin/nginx": "nginx",
    }


@pytest.mark.parametrize("target", ["{host}/lib/keep", "/nothing", "self"])
def test_a_file_that_only_this_machine_has_is_missing(
    tree: Path, host: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tree / "self").symlink_to(target.format(host=host))
    monkeypatch.setattr(closure, "in_tree", lambda *_: "")
    with pytest.raises(ImageError, match="lack /self"):
        closure.copy_closure(tree, tree.parent / "root", 0, programs=[], files=["self"])


@pytest.mark.parametrize("target", ["{host}/lib", "../../../../../../../../../..{host}/lib"])
def test_dropping_stays_inside(tree: Path, host: Path, target: str) -> None:
    (tree / "doc").symlink_to(target.format(host=host))
    drop(tree, ("doc/*", "doc/keep"))
    assert untouched(host)
    assert os.listdir(tree / host.relative_to("/") / "lib") == []


def test_dropping_passes_over_circles(tree: Path) -> None:
    (tree / "one").symlink_to("two")
    (tree / "two").symlink_to("/one")
    drop(tree, ("one/*", "two/file"))
    drop(tree, ("o*", "two"))
    assert not (tree / "one").is_symlink() and not (tree / "two").is_symlink()


@pytest.mark.parametrize("climb", ["", "../../../../../../../../../../.."])
def test_writing_stays_inside(tree: Path, host: Path, climb: str) -> None:
    (tree / "folder").symlink_to(f"{climb}{host}/lib")
    (tree / "conf").symlink_to(f"{climb}{host}/conf")
    lay_files(tree, {"folder/ld.so": b"new", "folder/deep/new": b"new", "conf": b"new"})
    lay_links(tree, {"folder/keep": "ld.so"})
    lay_folders(tree, ["folder/more"])
    own = tree / host.relative_to("/")
    assert untouched(host)
    assert sorted(os.listdir(own / "lib")) == ["deep", "keep", "ld.so", "more"]
    assert (own / "lib/ld.so").read_bytes() == (tree / "conf").read_bytes() == b"new"
    assert not (tree / "conf").is_symlink()


def test_the_busybox_of_the_initramfs_is_the_trees(tree: Path, host: Path) -> None:
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/busybox").symlink_to(f"{host}/lib/ld.so")
    squashfs = tree.parent / "squashfs"
    squashfs.write_bytes(b"hsqs")
    archive = labos.initramfs(labos.recipe(), tree, [], squashfs)
    assert b"the tree's" in archive and b"the host's" not in archive


def test_a_kernel_that_is_missing_is_said(tree: Path, host: Path) -> None:
    (host / "vmlinuz-6.1").write_text("the host's")
    (tree / "boot").symlink_to(host)
    with pytest.raises(ImageError, match="no /boot/vmlinuz"):
        labos._kernel(tree)
    lay_files(tree, {"boot/vmlinuz-6.2": b""})
    assert labos._kernel(tree) == "boot/vmlinuz-6.2"


def test_digest_and_tar_of_a_tree_do_not_depend_on_where_links_lead_here(tree: Path, host: Path) -> None:
    for name, target in {"a": f"{host}/lib", "b": f"{host}/conf", "c": "/nothing", "d": "d"}.items():
        (tree / name).symlink_to(target)
    before = digest_tree(tree)
    nginx.write_tar(tree, tree.parent / "before.tar")
    (host / "lib/ld.so").write_text("changed")
    (host / "conf").unlink()
    (host / "conf").mkdir()
    nginx.write_tar(tree, tree.parent / "after.tar")
    assert digest_tree(tree) == before
    assert (tree.parent / "before.tar").read_bytes() == (tree.parent / "after.tar").read_bytes()
    assert b"the host's" not in (tree.parent / "before.tar").read_bytes()

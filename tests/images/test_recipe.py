"""Recipes: the digest is the identity of an image."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from labkit.boot.artifacts import cpio
from labkit.errors import ImageError
from labkit.images import ganesha, labos, nginx
from labkit.images.build import debian
from labkit.images.build.closure import libraries
from labkit.images.build.debian import drop, lay_files
from labkit.images.build.recipe import Recipe, mode_of, read_list

RECIPE = Recipe(name="toy", variant="extract", packages=("one", "two"), files={"a": b"1", "b": b"2"}, builder=b"code")


@pytest.mark.parametrize(
    "change",
    [
        {"packages": ("one",)},
        {"packages": ("two", "one")},
        {"variant": "essential"},
        {"files": {"a": b"1", "b": b"3"}},
        {"files": {"a": b"1"}},
        {"builder": b"other code"},
        {"excluded": ("/usr/share/doc/*",)},
        {"dropped": ("boot",)},
        {"settings": ("level 19",)},
        {"suite": "bookworm"},
        {"included": ("/usr/lib/firmware/*",)},
        {"components": ("main", "non-free-firmware")},
        {"name": "other"},
    ],
)
def test_every_part_counts(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE, **change).digest != RECIPE.digest  # type: ignore[arg-type]


def test_order_of_files_does_not_count() -> None:
    assert dataclasses.replace(RECIPE, files={"b": b"2", "a": b"1"}).digest == RECIPE.digest


def test_a_file_may_not_pass_for_a_setting() -> None:
    one = dataclasses.replace(RECIPE, excluded=("x",), dropped=())
    other = dataclasses.replace(RECIPE, excluded=(), dropped=("x",))
    assert one.digest != other.digest


@pytest.mark.parametrize("builder", [labos, nginx, ganesha])
def test_the_real_recipes_are_stable_and_name_no_host(builder: object) -> None:
    recipe = builder.recipe()  # type: ignore[attr-defined]
    assert recipe.digest == builder.recipe().digest  # type: ignore[attr-defined]
    assert recipe.suite == "trixie"
    assert not any("://" in setting for setting in (*recipe.packages, *recipe.settings))


def test_the_blade_os_knows_nothing_of_labkit() -> None:
    recipe = labos.recipe()
    assert "initramfs/init" in recipe.files
    assert not [name for name, content in recipe.files.items() if b"labkit" in content]


def test_a_list_has_comments_and_blank_lines() -> None:
    assert read_list(b"# head\n\none\n two # why\n#three\n") == ("one", "two")


def test_the_lists_of_the_blade_os_are_read() -> None:
    recipe = labos.recipe()
    assert "docker.io" in recipe.packages
    assert "/usr/share/man/*" in recipe.excluded
    assert "boot/*" in recipe.dropped
    assert all(not pattern.startswith("/") for pattern in recipe.dropped)


def test_scripts_can_be_run(tmp_path: Path) -> None:
    lay_files(tmp_path, {"usr/bin/tool": b"#!/bin/sh\n", "etc/tool.conf": b"x=1\n"})
    assert stat.S_IMODE((tmp_path / "usr/bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "etc/tool.conf").stat().st_mode) == 0o644
    assert mode_of(labos.recipe().files["initramfs/init"]) == 0o755


def test_a_laid_file_replaces_a_link(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "real").write_text("untouched")
    (tmp_path / "etc/os-release").symlink_to("../real")
    lay_files(tmp_path, {"etc/os-release": b"NAME=labos\n"})
    assert not (tmp_path / "etc/os-release").is_symlink()
    assert (tmp_path / "real").read_text() == "untouched"


def test_drop_takes_files_folders_and_links_and_passes_over_what_is_not_there(tmp_path: Path) -> None:
    for name in ("usr/share/doc/x/readme", "usr/bin/perl5", "usr/bin/keep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "usr/bin/perl").symlink_to("perl5")
    (tmp_path / "usr/bin/docs").symlink_to("../share")
    drop(tmp_path, ("usr/share/doc", "usr/bin/perl*", "usr/bin/docs", "not/there*"))
    assert sorted(os.listdir(tmp_path / "usr/bin")) == ["keep"]
    assert (tmp_path / "usr/share").is_dir()


def test_the_initramfs_holds_what_init_asks_for(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/busybox").write_bytes(b"busybox")
    modules = [tmp_path / "loop.ko", tmp_path / "overlay.ko"]
    for module in modules:
        module.write_bytes(module.name.encode())
    squashfs = tmp_path / "labos.squashfs"
    squashfs.write_bytes(b"hsqs" * 1000)
    archive = labos.initramfs(labos.recipe(), tmp_path, modules, squashfs)
    assert archive == labos.initramfs(labos.recipe(), tmp_path, modules, squashfs)
    entries = {entry.name: entry for entry in cpio.unpack(archive)}
    assert entries["init"].data.startswith(b"#!/bin/busybox sh")
    assert entries["init"].mode & 0o111
    assert entries["modules/order"].data == b"loop.ko\noverlay.ko\n"
    assert entries["modules/overlay.ko"].data == b"overlay.ko"
    assert entries["labos.squashfs"].data == squashfs.read_bytes()
    assert {"bin/busybox", "bin/udhcpc-script", "autologin.conf"} <= entries.keys()


def test_the_tar_of_a_tree_is_the_same_each_time(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        root = tmp_path / name
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        (root / "etc/link").symlink_to("passwd")
        os.utime(root / "etc/passwd", (number, number))
        nginx.write_tar(root, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_libraries_as_the_loader_lists_them() -> None:
    listed = """\
\tlinux-vdso.so.1 (0x00007fccb7fbf000)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007fccb7cc5000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007fccb7fc1000)
"""
    assert libraries(listed) == ["lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libz.so.1"]


def test_a_library_that_is_not_found_is_an_error() -> None:
    with pytest.raises(ImageError, match=r"libz\.so\.1"):
        libraries("\tlibz.so.1 => not found\n")


def test_debians_keys_are_named_since_only_a_debian_trusts_them_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(debian, "run_tool", lambda command, **_: commands.append(command))
    debian.make_tree(RECIPE, tmp_path / "tree", 0, print)
    assert f"--keyring={debian.KEYRING}" in commands[0]
    assert commands[0][-2:] == ["trixie", str(tmp_path / "tree")], "no mirror of this machine's own"
    assert f"debian-archive-keyring  {debian.KEYRING}\n" in (Path(__file__).parents[2] / "lab").read_text()

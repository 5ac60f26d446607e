"""The image cache: whole or not there, one builder at a time, and changes are noticed."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import ImageError, MachineError
from labkit.images import store
from labkit.images.build.recipe import Recipe

RECIPE = Recipe(name="toy", variant="extract", packages=(), files={}, builder=b"")


def quiet(_: str) -> None: ...


def make(folder: Path, lock: int) -> dict[str, Any]:
    (folder / "kernel").write_bytes(b"kernel")
    (folder / "tree/etc").mkdir(parents=True)
    (folder / "tree/etc/conf").write_text("x=1\n")
    (folder / "tree/link").symlink_to("etc/conf")
    return {"packages": {"linux": "6.1"}}


def build(cache: Path, recipe: Recipe = RECIPE) -> Path:
    store.build_image(cache, recipe, make, need_mib=1, progress=quiet)
    return store.folder_of(cache, recipe)


def test_built_once_then_found(tmp_path: Path) -> None:
    assert store.build_image(tmp_path, RECIPE, make, need_mib=1, progress=quiet)
    assert not store.build_image(tmp_path, RECIPE, make, need_mib=1, progress=quiet)
    folder = store.folder_of(tmp_path, RECIPE)
    store.verify(folder)
    assert store.read_manifest(folder)["packages"] == {"linux": "6.1"}
    assert folder.stat().st_mode & 0o777 == 0o755


def test_another_recipe_is_another_image(tmp_path: Path) -> None:
    assert build(tmp_path) != build(tmp_path, dataclasses.replace(RECIPE, packages=("more",)))


@pytest.mark.parametrize("error", [ImageError("no"), KeyboardInterrupt(), RuntimeError("bug")])
def test_a_build_that_stops_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail(folder: Path, lock: int) -> dict[str, Any]:
        make(folder, lock)
        raise error

    with pytest.raises(type(error)):
        store.build_image(tmp_path, RECIPE, fail, need_mib=1, progress=quiet)
    assert list((tmp_path / "toy").iterdir()) == []
    build(tmp_path)


def test_a_full_disk_names_the_folder_the_need_and_the_fix(tmp_path: Path) -> None:
    def fill(folder: Path, lock: int) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ImageError) as caught:
        store.build_image(tmp_path, RECIPE, fill, need_mib=7, progress=quiet)
    assert caught.value.where == str(tmp_path)
    assert "7 MiB" in str(caught.value)
    assert "LABKIT_CACHE" in caught.value.fix
    assert list((tmp_path / "toy").iterdir()) == []


def test_too_little_space_is_said_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="disk is full"):
        store.build_image(tmp_path, RECIPE, make, need_mib=1 << 40, progress=quiet)
    assert not (tmp_path / "toy").exists()


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / "toy" / f"{store.BUILDING}dead"
    dead.mkdir(parents=True)
    (dead / "part").write_bytes(b"half")
    build(tmp_path)
    assert not dead.exists()


def test_two_builds_at_once_build_once(tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()
    told: list[str] = []

    def slow(folder: Path, lock: int) -> dict[str, Any]:
        inside.set()
        assert go_on.wait(10)
        return make(folder, lock)

    def never(folder: Path, lock: int) -> dict[str, Any]:
        raise AssertionError("built twice")

    first = threading.Thread(
        target=store.build_image, args=(tmp_path, RECIPE, slow), kwargs={"need_mib": 1, "progress": quiet}
    )
    first.start()
    assert inside.wait(10)
    found: list[bool] = []
    second = threading.Thread(
        target=lambda: found.append(store.build_image(tmp_path, RECIPE, never, need_mib=1, progress=told.append))
    )
    second.start()
    end = time.monotonic() + 10
    while not told and time.monotonic() < end:
        time.sleep(0.01)
    go_on.set()
    first.join(10)
    second.join(10)
    assert found == [False]
    assert "waiting" in told[0]


def test_a_helper_that_lives_on_keeps_the_lock(tmp_path: Path) -> None:
    with store.locked(tmp_path, quiet) as lock:
        helper = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        told: list[str] = []
        waiting = threading.Thread(target=lambda: build_telling(tmp_path, told))
        waiting.start()
        end = time.monotonic() + 10
        while not told and time.monotonic() < end:
            time.sleep(0.01)
        assert told
        assert not store.is_built(tmp_path, RECIPE)
    finally:
        helper.kill()
        helper.wait()
    waiting.join(10)
    assert store.is_built(tmp_path, RECIPE)


def build_telling(cache: Path, told: list[str]) -> None:
    store.build_image(cache, RECIPE, make, need_mib=1, progress=told.append)


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="LABKIT_CACHE"):
        build(tmp_path / "file")


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    assert store.cache_folder() == tmp_path
    monkeypatch.delenv("LABKIT_CACHE")
    assert store.cache_folder() == Path("/var/cache/labkit")


def change_bytes(folder: Path) -> None:
    (folder / "kernel").write_bytes(b"kernal")


def cut_short(folder: Path) -> None:
    (folder / "kernel").write_bytes(b"kern")


def remove_file(folder: Path) -> None:
    (folder / "kernel").unlink()


def change_tree(folder: Path) -> None:
    (folder / "tree/etc/conf").write_text("x=2\n")


def add_to_tree(folder: Path) -> None:
    (folder / "tree/etc/new").write_text("")


def retarget_link(folder: Path) -> None:
    (folder / "tree/link").unlink()
    (folder / "tree/link").symlink_to("elsewhere")


def change_mode(folder: Path) -> None:
    (folder / "tree/etc/conf").chmod(0o4755)


def break_manifest(folder: Path) -> None:
    (folder / store.MANIFEST).write_text("{")


@pytest.mark.parametrize(
    "damage",
    [change_bytes, cut_short, remove_file, change_tree, add_to_tree, retarget_link, change_mode, break_manifest],
)
def test_damage_is_found_and_the_fix_is_named(tmp_path: Path, damage: Any) -> None:
    folder = build(tmp_path)
    damage(folder)
    with pytest.raises(ImageError) as caught:
        store.verify(folder)
    assert caught.value.where == str(folder)
    assert f"rm -rf {folder}" in caught.value.fix
    assert store.REBUILD in caught.value.fix


@pytest.mark.parametrize("damage", [cut_short, remove_file, break_manifest])
def test_the_quick_check_finds_what_it_can(tmp_path: Path, damage: Any) -> None:
    folder = build(tmp_path)
    store.check_sizes(folder)
    damage(folder)
    with pytest.raises(ImageError):
        store.check_sizes(folder)


def test_an_image_that_was_never_built_says_how(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has not been built"):
        store.verify(tmp_path / "toy/0123")


def test_times_do_not_count(tmp_path: Path) -> None:
    folder = build(tmp_path)
    for path in folder.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    store.verify(folder)


@pytest.mark.netns
def test_a_disk_that_fills_up_while_building(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from labkit.errors import ImageError
from labkit.images import store
from labkit.images.build import tools
from tests.images.test_store import RECIPE
def make(folder, lock):
    tools.run_tool(["dd", "if=/dev/zero", f"of={{folder}}/big", "bs=1M", "count=9"], keep_open=[lock])
try:
    store.build_image(Path({str(tmp_path)!r}), RECIPE, make, need_mib=2, progress=print)
except ImageError as error:
    print(error)
    print("left:", [*Path({str(tmp_path)!r}, "toy").iterdir()])
"""
    mount = f"mount -t tmpfs -o size=4m tmpfs {tmp_path}"
    said = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert f"{tmp_path}: the disk is full: building images needs 2 MiB" in said.stdout, said.stderr
    assert "left: []" in said.stdout

"""An image is tried before it is kept. Needs root, to enter it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import ImageError
from labkit.images import ganesha, labos, nginx, store
from labkit.images.build import trial
from tests.images.test_store import RECIPE, quiet
from tests.rig import elf

pytestmark = pytest.mark.netns


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "a,b:c/tree"
    for name in ("proc", "dev", "run"):
        (tree / name).mkdir(parents=True)
    elf.write(tree / "bin/good", elf.says("version 1\n") + elf.exits(0))
    return tree


def attempt(tree: Path, *command: str) -> None:
    with (tree.parent / "lock").open("w") as lock:
        trial.try_programs("toy", tree, lock.fileno(), [command])


def test_what_answers_is_kept(tree: Path) -> None:
    attempt(tree, "/bin/good", "--version")


def damage_crash(tree: Path) -> None:
    elf.write(tree / "bin/bad", elf.says("*** stack smashing detected ***\n") + elf.CRASH)


def damage_status(tree: Path) -> None:
    elf.write(tree / "bin/bad", elf.says("first\n") + elf.says("no config\n\n") + elf.exits(3))


def damage_silent(tree: Path) -> None:
    elf.write(tree / "bin/bad", elf.exits(1))


def damage_mode(tree: Path) -> None:
    elf.write(tree / "bin/bad", elf.exits(0))
    (tree / "bin/bad").chmod(0o644)


def damage_loader(tree: Path) -> None:
    """A script whose interpreter is on this machine, and not in the image."""
    (tree / "bin/bad").write_text("#!/bin/sh\nexit 0\n")
    (tree / "bin/bad").chmod(0o755)


def damage_link(tree: Path) -> None:
    """A link to a program that is on this machine, and not in the image."""
    (tree / "bin/bad").symlink_to("/bin/true")


def damage_missing(tree: Path) -> None:
    """Nothing there at all."""


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_crash, "139, segmentation fault (signal 11): *** stack smashing detected ***"),
        (damage_status, "ended with 3, the program's own error: no config"),
        (damage_silent, "ended with 1, the program's own error: it said nothing"),
        (damage_mode, "126, its program cannot be executed: "),
        (damage_loader, "127, its program, or one that it runs, was not found: "),
        (damage_link, "127, its program, or one that it runs, was not found: "),
        (damage_missing, "127, its program, or one that it runs, was not found: "),
    ],
)
def test_what_does_not_is_named_with_its_end_and_its_last_line(tree: Path, damage: Any, told: str) -> None:
    damage(tree)
    with pytest.raises(ImageError) as caught:
        attempt(tree, "/bin/bad", "-t")
    assert caught.value.where == "the image toy"
    assert caught.value.what.startswith("/bin/bad -t does not run in the finished image")
    assert told in caught.value.what
    assert caught.value.fix


def test_it_is_not_the_first_process_of_its_namespace(tree: Path) -> None:
    """systemd takes itself for the system's manager there, and says no version."""
    getpid = bytes.fromhex("b827000000 0f05 89c7")  # edi = getpid()
    elf.write(tree / "bin/pid", getpid + bytes.fromhex("b83c000000 0f05"))
    with pytest.raises(ImageError) as caught:
        attempt(tree, "/bin/pid")
    assert "ended with 1," not in caught.value.what


def test_one_that_does_not_end_is_ended(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 0.2)
    elf.write(tree / "bin/bad", b"\xeb\xfe")  # a jump to itself
    with pytest.raises(ImageError, match=r"137, killed \(signal 9\)"):
        attempt(tree, "/bin/bad")


def test_an_image_that_does_not_run_is_not_kept(tmp_path: Path) -> None:
    def make(folder: Path, lock: int) -> dict[str, Any]:
        elf.write(folder / "tree/bin/bad", elf.CRASH)
        for name in ("proc", "dev"):
            (folder / "tree" / name).mkdir()
        trial.try_programs("toy", folder / "tree", lock, [["/bin/bad"]])
        return {}

    with pytest.raises(ImageError, match="segmentation fault"):
        store.build_image(tmp_path, RECIPE, make, need_mib=1, progress=quiet)
    assert list((tmp_path / "toy").iterdir()) == []


def test_trying_leaves_the_image_as_it_is(tree: Path) -> None:
    before = store.digest_tree(tree)
    elf.write(
        tree / "bin/writer",
        bytes.fromhex("488d3d18000000 be41000000 baa4010000 b802000000 0f05") + elf.exits(0) + b"/run/left\0",
    )
    changed = store.digest_tree(tree)
    attempt(tree, "/bin/writer")
    assert before != changed == store.digest_tree(tree)
    assert str(tree.parent) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("builder", [labos, nginx, ganesha])
def test_the_cached_images_answer(builder: Any) -> None:
    """Those of this machine, as they are: what was built by another version of labkit is tried as well."""
    recipe = builder.recipe()
    folder = store.folder_of(store.cache_folder(), recipe)
    assert builder.TRIED
    if store.is_built(store.cache_folder(), recipe) and (folder / store.TREE).is_dir():
        trial.try_programs(recipe.name, folder / store.TREE, os.open(folder, os.O_RDONLY), builder.TRIED)
        assert json.loads((folder / store.MANIFEST).read_text())["tree"] == store.digest_tree(folder / store.TREE)

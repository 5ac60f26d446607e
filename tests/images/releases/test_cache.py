"""The releases that are kept: one flipped byte is found, one is in use, and the way back is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from labkit.errors import ImageError, MachineError, ParameterError
from labkit.images.releases import cache as keeping
from labkit.images.releases.layout import place_of, version_in_use
from labkit.images.releases.where import release_folder
from labkit.images.store import digest_file
from tests.rig.releases import IMAGE, KERNEL, Ring, Server, flatcar

from .conftest import Fetch

OLD, NEW = "4230.2.1", "4459.2.1"


def quiet(_: str) -> None: ...


@pytest.fixture(autouse=True)
def environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(cache))


@pytest.fixture
def two(fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> Path:
    """A cache with two releases, the old one in use."""
    publisher.files = flatcar(ring.good, OLD) | flatcar(ring.good, NEW, latest=False)
    fetch()
    fetch(version=NEW)
    return cache


def flip(path: Path, at: int = 12_345) -> None:
    """One bit in a file that nobody is to write."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("name", [KERNEL, IMAGE])
def test_one_flipped_bit_is_found_and_named(two: Path, name: str) -> None:
    folder = place_of("flatcar", two) / OLD
    keeping.verify(folder)
    flip(folder / name)
    for check in (keeping.verify, keeping.prove):
        with pytest.raises(ImageError, match=f"{name} is not what was proved") as caught:
            check(folder)
        assert caught.value.where == str(folder)
        assert f"rm -rf {folder}" in caught.value.fix


def test_a_file_that_is_cut_or_gone_is_found(two: Path) -> None:
    folder = place_of("flatcar", two) / OLD
    (folder / KERNEL).chmod(0o644)
    os.truncate(folder / KERNEL, 5)
    with pytest.raises(ImageError, match=f"{KERNEL} has 5 bytes, and had 40000"):
        keeping.prove(folder)
    (folder / KERNEL).unlink()
    with pytest.raises(ImageError, match=f"{KERNEL}: No such file"):
        keeping.prove(folder)


def test_a_process_reads_each_file_once_and_again_when_it_changed(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place_of("flatcar", two) / OLD
    read: list[str] = []
    real = digest_file

    def digest(path: Path, algorithm: str) -> str:
        read.append(path.name)
        return real(path, algorithm)

    monkeypatch.setattr(keeping, "digest_file", digest)
    monkeypatch.setattr(keeping, "_seen", {})
    keeping.prove(folder)
    keeping.prove(folder)
    assert sorted(read) == sorted([KERNEL, IMAGE])
    (folder / KERNEL).touch()
    keeping.prove(folder)
    assert read[2:] == [KERNEL]


@pytest.mark.parametrize("content", ["{", "[]", "{}", ""])
def test_a_broken_manifest(two: Path, content: str) -> None:
    folder = place_of("flatcar", two) / OLD
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ImageError, match=r"its manifest\.json cannot be read"):
        keeping.verify(folder)


def test_a_release_that_is_not_there(cache: Path) -> None:
    with pytest.raises(ImageError, match="./lab images fetch flatcar"):
        release_folder("flatcar", None)
    with pytest.raises(ImageError, match="this release is not in the cache"):
        keeping.prove(place_of("flatcar", cache) / OLD)
    assert keeping.kept(cache) == []


def test_using_and_going_back(two: Path) -> None:
    assert keeping.use(keeping.find(NEW, two), two, quiet)
    assert not keeping.use(keeping.find(NEW, two), two, quiet)
    assert release_folder("flatcar", None) == place_of("flatcar", two) / NEW
    assert release_folder("flatcar", OLD) == place_of("flatcar", two) / OLD
    assert [(one.version, one.in_use, one.is_previous) for one in keeping.kept(two)] == [
        (OLD, False, True),
        (NEW, True, False),
    ]
    assert keeping.roll_back("flatcar", two, quiet) == (NEW, OLD)
    assert version_in_use("flatcar", two) == OLD
    assert keeping.roll_back("flatcar", two, quiet) == (OLD, NEW)


def test_a_broken_release_is_not_taken_into_use(two: Path) -> None:
    flip((place_of("flatcar", two) / NEW) / KERNEL)
    with pytest.raises(ImageError, match="is not what was proved"):
        keeping.use(keeping.find(NEW, two), two, quiet)
    assert version_in_use("flatcar", two) == OLD


def test_where_nothing_was_before(two: Path) -> None:
    with pytest.raises(ImageError, match="no release of flatcar was in use before this one"):
        keeping.roll_back("flatcar", two, quiet)


def test_removing(two: Path) -> None:
    with pytest.raises(ParameterError, match=f"flatcar {OLD} is in use"):
        keeping.remove(keeping.find(OLD, two), two, quiet)
    keeping.use(keeping.find(NEW, two), two, quiet)
    keeping.remove(keeping.find(OLD, two), two, quiet)
    assert [one.version for one in keeping.kept(two)] == [NEW]
    with pytest.raises(ImageError, match="was in use before"):
        keeping.roll_back("flatcar", two, quiet)
    with pytest.raises(ParameterError, match=f"no release '{OLD}'(.|\n)*there are: flatcar {NEW}"):
        keeping.find(OLD, two)


def test_versions_are_sorted_as_numbers(two: Path) -> None:
    place = place_of("flatcar", two)
    for version in ("4230.2.10", "4230.2.9"):
        shutil.copytree(place / OLD, place / version)
    assert [one.version for one in keeping.kept(two)] == [OLD, "4230.2.9", "4230.2.10", NEW]


def test_two_systems_may_have_one_version(two: Path) -> None:
    shutil.copytree(place_of("flatcar", two) / OLD, place_of("fedora-coreos", two) / OLD)
    with pytest.raises(ParameterError, match="is a release of flatcar and of fedora-coreos(.|\n)*--os"):
        keeping.find(OLD, two)
    assert keeping.find(OLD, two, "flatcar").os == "flatcar"


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, fetch: Fetch, publisher: Server, ring: Ring, cache: Path
) -> None:
    publisher.files = flatcar(ring.good)
    cache.write_text("")
    with pytest.raises(MachineError, match="LABKIT_CACHE"):
        fetch()


def test_what_was_begun_goes_with_the_next_release(two: Path, fetch: Fetch) -> None:
    place = place_of("flatcar", two)
    (place / ".fetching-1.2.3").mkdir()
    assert keeping.kept(two)
    keeping.use(keeping.find(NEW, two), two, quiet)
    keeping.remove(keeping.find(OLD, two), two, quiet)
    fetch()
    assert not (place / ".fetching-1.2.3").exists()

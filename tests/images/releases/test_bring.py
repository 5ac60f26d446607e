"""Releases from a folder or a tar file, proved as those that are fetched."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.boot.artifacts import cpio
from labkit.errors import ImageError, LabkitError
from labkit.images.releases import cache as keeping
from labkit.images.releases.bring import bring as bring_release
from labkit.images.releases.fetch import Fetched
from labkit.images.releases.publishers import Publisher
from labkit.images.releases.signature import Trust
from tests.rig.releases import IMAGE, KERNEL, Keys, Ring, coreos, flatcar, image, kernel, lay

Bring = Callable[..., Fetched]
VERSION = "43.20251110.3.1"
ROOTFS = f"fedora-coreos-{VERSION}-live-rootfs.x86_64.img"


@pytest.fixture
def bring(cache: Path, ring: Ring) -> Bring:
    def run(source: Path, keys: Keys = ring.good) -> Fetched:
        def trust(system: Publisher) -> Trust:
            return keys.trust(system.title)

        return bring_release(source, trust, cache=cache, progress=lambda _: None)

    return run


def packed(folder: Path, mode: str) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, "release")
    return path


@pytest.mark.parametrize("how", ["folder", "w", "w:gz", "w:xz"])
def test_flatcar(bring: Bring, ring: Ring, tmp_path: Path, cache: Path, how: str) -> None:
    source = lay(flatcar(ring.good), tmp_path / "usb")
    (source / "notes.txt").write_text("not of the release")
    found = bring(source if how == "folder" else packed(source, how))
    assert (found.version, found.is_new, found.in_use) == ("4230.2.1", True, True)
    assert found.folder == cache / "releases/flatcar/4230.2.1"
    assert {path.name for path in found.folder.iterdir()} == {KERNEL, IMAGE, "manifest.json", "signatures"}
    assert [path.name for path in keeping.files_of(found.folder)] == [KERNEL, IMAGE]
    keeping.verify(found.folder)
    assert not bring(source).is_new
    assert [path.name for path in found.folder.parent.glob(".fetching*")] == []


@pytest.mark.parametrize("with_json", [True, False])
def test_fedora_coreos(bring: Bring, ring: Ring, tmp_path: Path, with_json: bool) -> None:
    source = lay(coreos(ring.good), tmp_path / "usb")
    if not with_json:
        for path in source.glob("*.json"):
            path.unlink()
    (source / "other.json").write_text("[]")
    found = bring(source)
    assert found.folder.parent.name == "fedora-coreos"
    assert (found.version, found.is_new) == (VERSION, True)


def test_the_articles_own_files(bring: Bring, ring: Ring, tmp_path: Path) -> None:
    names = {name: name.replace("flatcar", "coreos") for name in (KERNEL, IMAGE)}
    files = {}
    for path, data in flatcar(ring.good, latest=False).items():
        for old, new in names.items():
            path, data = path.replace(old, new), data.replace(old.encode(), new.encode())
        files[path] = data.replace(b"FLATCAR_VERSION=4230.2.1", b"COREOS_VERSION=2512.3.0")
    found = bring(lay(files, tmp_path / "usb"))
    assert found.folder.parent.name == "container-linux"
    assert found.version == "2512.3.0"


def remove(name: str) -> Callable[[Path, Ring], None]:
    return lambda folder, ring: (folder / name).unlink()


def flip(folder: Path, ring: Ring) -> None:
    data = bytearray((folder / IMAGE).read_bytes())
    data[100] ^= 1
    (folder / IMAGE).write_bytes(data)


def flip_without_sums(folder: Path, ring: Ring) -> None:
    flip(folder, ring)
    remove(f"{IMAGE}.DIGESTS")(folder, ring)


def another_build(folder: Path, ring: Ring) -> None:
    """Kernel and root of two builds, each with its own sums and signature."""
    lay(flatcar(ring.good, kernel=kernel("6.6.80-flatcar"), image=image("6.12.9-flatcar")), folder)


def page(folder: Path, ring: Ring) -> None:
    (folder / "version.txt").write_bytes(b"<html>log in</html>")


FLATCAR_DAMAGES: dict[str, tuple[Callable[[Path, Ring], None], str]] = {
    "no kernel": (remove(KERNEL), f"not there: {KERNEL}"),
    "no signature": (remove(f"{KERNEL}.sig"), f"there is no signature of {KERNEL}"),
    "no version.txt": (remove("version.txt"), r"there is no version\.txt"),
    "a flipped bit": (flip, "its SHA-512 is not the one"),
    "a flipped bit and no sums": (flip_without_sums, "is of other bytes"),
    "two builds": (another_build, "not of one build"),
    "a page": (page, "captive portal"),
}


@pytest.mark.parametrize("damage", FLATCAR_DAMAGES)
def test_no_damage_of_flatcar_is_kept(damage: str, bring: Bring, ring: Ring, tmp_path: Path, cache: Path) -> None:
    source = lay(flatcar(ring.good), tmp_path / "usb")
    hurt, said = FLATCAR_DAMAGES[damage]
    hurt(source, ring)
    for given in (source, packed(source, "w")):
        with pytest.raises(ImageError, match=said) as caught:
            bring(given)
        assert caught.value.fix
    assert keeping.kept(cache) == []
    assert list(cache.glob("releases/*/.fetching*")) == []


@pytest.mark.parametrize(("keys", "said"), [("other", "not one of Flatcar's"), ("expired", "has expired since")])
def test_other_keys(bring: Bring, ring: Ring, tmp_path: Path, cache: Path, keys: str, said: str) -> None:
    signer: Keys = getattr(ring, keys)
    source = lay(flatcar(signer), tmp_path / "usb")
    with pytest.raises(ImageError, match=said):
        bring(source, signer if keys == "expired" else ring.good)
    assert keeping.kept(cache) == []


def test_files_of_two_builds(bring: Bring, ring: Ring, tmp_path: Path, cache: Path) -> None:
    source = lay(coreos(ring.good), tmp_path / "usb")
    other = lay(coreos(ring.good, "43.20251027.3.0"), tmp_path / "other")
    for ending in ("", ".sig"):
        (source / f"{ROOTFS}{ending}").unlink()
        name = f"{ROOTFS.replace(VERSION, '43.20251027.3.0')}{ending}"
        (other / name).rename(source / name)
    with pytest.raises(ImageError, match=r"not of one build(.|\n)*rootfs.x86_64.img is of 43.20251027.3.0"):
        bring(source)
    assert keeping.kept(cache) == []


def test_a_root_of_another_build_under_a_new_name(bring: Bring, ring: Ring, tmp_path: Path, cache: Path) -> None:
    source = lay(coreos(ring.good), tmp_path / "usb")
    root = cpio.pack({"root.squashfs": bytes(50), "etc/coreos-live-rootfs": b"43.20251027.3.0\n"})
    (source / ROOTFS).write_bytes(root)
    (source / f"{ROOTFS}.sig").write_bytes(ring.good.sign(root))
    with pytest.raises(ImageError, match="its SHA-256 is not the one"):
        bring(source)
    for path in source.glob("*.json"):
        path.unlink()
    with pytest.raises(ImageError, match=f"not of one build, {VERSION}: {ROOTFS} is of 43.20251027.3.0"):
        bring(source)
    assert keeping.kept(cache) == []


def test_a_part_that_is_missing(bring: Bring, ring: Ring, tmp_path: Path) -> None:
    source = lay(coreos(ring.good), tmp_path / "usb")
    (source / ROOTFS).unlink()
    with pytest.raises(ImageError, match=f"there is no live-rootfs of {VERSION}"):
        bring(source)


def test_what_is_no_release(bring: Bring, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"no tar")
    (tmp_path / "nothing").write_bytes(b"")
    for name, said in (
        ("empty", "no files of a release"),
        ("file", "neither a folder nor a whole tar file"),
        ("nothing", "neither a folder nor a whole tar file"),
        ("missing", "No such file"),
    ):
        with pytest.raises(LabkitError, match=said) as caught:
            bring(tmp_path / name)
        assert caught.value.fix


def test_a_tar_file_that_is_cut_off(bring: Bring, ring: Ring, tmp_path: Path, cache: Path) -> None:
    path = packed(lay(flatcar(ring.good), tmp_path / "usb"), "w")
    whole = path.read_bytes()
    for size in range(0, len(whole) - 10_000, 37_777):
        path.write_bytes(whole[:size])
        with pytest.raises(LabkitError):
            bring(path)
    assert keeping.kept(cache) == []


def test_names_that_climb_out_of_a_tar_file(bring: Bring, ring: Ring, tmp_path: Path) -> None:
    source = lay(flatcar(ring.good), tmp_path / "usb")
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for file in source.iterdir():
            archive.add(file, f"../../{file.name}")
        link = tarfile.TarInfo("release/flatcar_production_pxe.sig")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert bring(path).is_new
    assert not (tmp_path / KERNEL).exists()


def test_where_it_came_from_is_written_down(bring: Bring, ring: Ring, tmp_path: Path) -> None:
    source = lay(flatcar(ring.good), tmp_path / "usb")
    manifest = json.loads((bring(source).folder / "manifest.json").read_text())
    assert manifest["source"] == str(source)
    assert manifest["files"][KERNEL]["signed"]["primary"] == ring.good.primary

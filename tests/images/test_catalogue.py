"""The catalogue, and what `ensure_images` says about a machine, without building anything."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labkit import images
from labkit.boot.loaders import FILES, SIGNED
from labkit.errors import ImageError, MachineError
from labkit.images import ensure, labos, nginx, secure_boot, served, store
from labkit.images.build.recipe import Recipe
from labkit.lab import Blade, Bmc, BootMethod, Chassis, ChassisKind, Flavour, Lab, Network, NetworkKind
from labkit.lab.lab_yaml import parse

BLADE = Blade("blade1", 1, ("52:54:00:00:00:01",), IPv4Address("10.77.0.11"), Bmc("10.77.0.101"))
LAB = Lab(
    "toy",
    Path("/lab.yaml"),
    Network(NetworkKind.VIRTUAL, IPv4Network("10.77.0.0/24"), IPv4Address("10.77.0.1"), IPv4Address("10.77.0.2")),
    Chassis(ChassisKind.VIRTUAL, 3),
    (BLADE,),
)
OLD_LAB = dataclasses.replace(LAB, blades=(dataclasses.replace(BLADE, os=Flavour.CONTAINER_LINUX),))


def quiet(_: str) -> None: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boot loaders on a machine that may have none."""
    (tmp_path / "loader").write_bytes(b"loader")
    for name in FILES:
        monkeypatch.setitem(FILES, name, (str(tmp_path / "loader"), "package"))


@pytest.fixture
def built(cache: Path) -> None:
    """Stand-ins for the built images: small files in their places."""

    def make_labos(folder: Path, lock: int) -> dict[str, Any]:
        (folder / "vmlinuz").write_bytes(b"kernel")
        (folder / "labos.cpio").write_bytes(b"initramfs")
        (folder / "tree").mkdir()
        return {}

    def make_nginx(folder: Path, lock: int) -> dict[str, Any]:
        (folder / "rootfs.tar").write_bytes(b"tar")
        return {}

    store.build_image(cache, labos.recipe(), make_labos, need_mib=1, progress=quiet)
    store.build_image(cache, nginx.recipe(), make_nginx, need_mib=1, progress=quiet)


def test_served_names() -> None:
    loaders = {"pxelinux.0", "lpxelinux.0", "ldlinux.c32", "undionly.kpxe", "ipxe.efi", "snponly.efi"}
    loaders |= {"syslinux.efi", "ldlinux.e64"}
    assert images.catalogue(LAB).keys() == loaders | {"labos/vmlinuz", "labos/labos.cpio"}
    assert images.catalogue(OLD_LAB).keys() == loaders | {
        "coreos/coreos_production_pxe.vmlinuz",
        "coreos/coreos_production_pxe_image.cpio.gz",
    }


def test_who_is_adopted_first_has_a_system_to_boot() -> None:
    assert "labos/vmlinuz" in images.catalogue(parse("blades: []\n", Path("lab.yaml")))


def test_every_place_is_in_the_image_of_today(cache: Path) -> None:
    folder = store.folder_of(cache, labos.recipe())
    assert images.catalogue(LAB)["labos/vmlinuz"] == folder / "vmlinuz"
    assert images.tree() == folder / "tree"
    assert images.nginx_rootfs() == store.folder_of(cache, nginx.recipe()) / "rootfs.tar"


@pytest.mark.usefixtures("loaders", "built")
def test_what_is_there_is_found() -> None:
    said = images.ensure_images(LAB, progress=quiet)
    assert [line.split(":")[0] for line in said] == ["boot loaders", "labos", "nginx"]
    assert all("found" in line for line in said)
    assert images.image_digests(LAB).keys() == {"labos/vmlinuz", "labos/labos.cpio", "rootfs.tar"}
    assert len(images.verify_images(progress=quiet)) == 2


@pytest.mark.usefixtures("loaders")
def test_what_is_built_is_said_before_and_each_step_of_it_once(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """With the lines that mmdebstrap 1.3 writes, of which most tell a person nothing."""

    def make(recipe: Recipe, folder: Path, lock: int, progress: store.Progress) -> dict[str, str]:
        lines = ["finding correct signed-by value", "running apt-get update", "downloading packages with apt"]
        lines += ["extracting archives", "installing essential packages"]
        lines += ["installing remaining packages inside the chroot", "cleaning package lists and apt cache"]
        lines += ["trying its programs"]
        for line in lines:
            progress(f"{recipe.name}: {line}")
        (folder / "file").write_bytes(bytes(1500))
        return {}

    for builder in (labos, nginx):
        monkeypatch.setattr(builder, "make", make)
        monkeypatch.setattr(builder, "NEED_MIB", 1)
    monkeypatch.setattr(ensure, "check_tools", lambda: None)
    said: list[str] = []
    images.ensure_images(LAB, progress=said.append)
    each = r"labos \(the blades' system\), nginx \(the web server\)"
    assert re.fullmatch(rf"2 images are built .*: {each}; .* minutes .*", said[0])
    assert said[1:7] == [
        "  labos: asking Debian's archive for its packages …", "  labos: downloading packages …",
        "  labos: unpacking packages …", "  labos: setting packages up …", "  labos: trying its programs …",
        "✓ labos: built in 0 s, 1.5 kB",
    ]  # fmt: skip
    assert len(said) == 13
    said.clear()
    images.ensure_images(LAB, progress=said.append)
    assert said == [], "what is there is not worth a word"


def test_every_image_says_what_it_is_for() -> None:
    assert ensure.WHAT.keys() == {builder.recipe().name for builder in ensure.ALL}
    assert ensure.MINUTES.keys() == set(range(1, len(ensure.ALL) + 1))


@pytest.mark.usefixtures("loaders", "built")
def test_a_broken_image_is_not_served() -> None:
    images.catalogue(LAB)["labos/labos.cpio"].write_bytes(b"init")
    with pytest.raises(ImageError, match=r"labos\.cpio has 4 bytes"):
        images.ensure_images(LAB, progress=quiet)


@pytest.mark.usefixtures("loaders")
def test_building_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="sudo"):
        images.ensure_images(LAB, progress=quiet)


def test_a_missing_loader_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "pxelinux.0", (str(tmp_path / "none"), "pxelinux"))
    with pytest.raises(MachineError, match=r"pxelinux\.0(.|\n)*apt-get install .*pxelinux"):
        images.ensure_images(LAB, progress=quiet)


SIGNED_LAB = dataclasses.replace(LAB, blades=(BLADE, dataclasses.replace(BLADE, boot=BootMethod.GRUB)))


@pytest.mark.usefixtures("loaders", "built")
def test_signed_loaders_are_unpacked_where_a_blade_boots_by_them(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come out of their packages, and nothing tells a person to install those."""
    assert not {"shimx64.efi", "grubx64.efi"} & images.catalogue(LAB).keys()
    asked: list[Recipe] = []

    def make_tree(recipe: Recipe, tree: Path, lock: int, progress: store.Progress) -> None:
        asked.append(recipe)
        for path, package in SIGNED.values():
            (tree / path).parent.mkdir(parents=True)
            (tree / path).write_text(package)

    monkeypatch.setattr(secure_boot, "make_tree", make_tree)
    monkeypatch.setattr(secure_boot, "NEED_MIB", 1)
    monkeypatch.setattr(ensure, "check_tools", lambda: None)
    images.ensure_images(LAB, progress=quiet)
    assert not asked
    images.ensure_images(SIGNED_LAB, progress=quiet)
    assert [(one.variant, one.packages) for one in asked] == [("extract", ("shim-signed", "grub-efi-amd64-signed"))]
    served_files = images.catalogue(SIGNED_LAB)
    assert served_files["shimx64.efi"].read_text() == "shim-signed"
    assert served_files["grubx64.efi"].read_text() == "grub-efi-amd64-signed"
    assert not (served_files["shimx64.efi"].parent / "tree").exists()
    assert not {"shimx64.efi", "grubx64.efi"} & served.identities(served_files).keys(), "a loader does not run on"
    served_files["grubx64.efi"].write_text("cut")
    with pytest.raises(ImageError, match=r"grubx64\.efi has 3 bytes"):
        images.ensure_images(SIGNED_LAB, progress=quiet)


def test_a_signed_loader_that_is_not_in_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secure_boot, "make_tree", lambda *_: None)
    with pytest.raises(ImageError, match=r"shim-signed holds no usr/lib/shim/shimx64\.efi\.signed"):
        secure_boot.make(secure_boot.recipe(), tmp_path, 0, quiet)


def test_no_set_up_installs_what_changes_a_boot_loader() -> None:
    """Nothing that `./lab` installs may run grub-install or write to the machine's EFI partition."""
    front_door = (Path(images.__file__).parents[2] / "lab").read_text()
    for package in (*(package for _, package in SIGNED.values()), "grub2-common", "grub-efi-amd64", "grub-pc"):
        assert not re.search(rf"^{package} ", front_door, re.MULTILINE)


@pytest.mark.usefixtures("loaders")
def test_container_linux_must_be_brought_along(cache: Path) -> None:
    with pytest.raises(ImageError) as caught:
        images.ensure_images(OLD_LAB, progress=quiet)
    assert caught.value.where == str(cache / "container-linux")
    assert "coreos_production_pxe.vmlinuz and coreos_production_pxe_image.cpio.gz" in caught.value.what
    assert "sha512sum" in caught.value.fix


@pytest.mark.usefixtures("loaders", "built")
def test_container_linux_is_found(cache: Path) -> None:
    (cache / "container-linux").mkdir()
    for name in served.CONTAINER_LINUX:
        (cache / "container-linux" / name).write_bytes(b"image")
    assert f"container-linux: found in {cache}/container-linux" in images.ensure_images(OLD_LAB, progress=quiet)


@pytest.mark.usefixtures("loaders", "built")
def test_container_linux_that_was_imported_is_proved_before_it_is_served(cache: Path) -> None:
    folder = cache / "releases/container-linux/2512.3.0"
    folder.mkdir(parents=True)
    files = {}
    for name in served.CONTAINER_LINUX:
        (folder / name).write_bytes(b"image")
        files[name] = {"size": 5, "sha512": hashlib.sha512(b"image").hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    (folder.parent / "current").write_text("2512.3.0\n")
    assert f"container-linux: found in {folder}" in images.ensure_images(OLD_LAB, progress=quiet)
    (folder / served.CONTAINER_LINUX[1]).write_bytes(b"imagf")
    with pytest.raises(ImageError, match=f"{served.CONTAINER_LINUX[1]} is not what was proved"):
        images.ensure_images(OLD_LAB, progress=quiet)


@pytest.mark.usefixtures("built")
def test_pruning_keeps_what_is_current(cache: Path) -> None:
    old = cache / "labos" / "0123456789abcdef"
    old.mkdir()
    (cache / "container-linux").mkdir()
    assert images.old_images() == [old] and old.is_dir()
    assert images.prune_images(progress=quiet) == [old]
    assert not old.exists() and images.old_images() == []
    assert images.tree().is_dir()
    assert (cache / "container-linux").is_dir()
    assert len(images.verify_images(progress=quiet)) == 2


def test_what_tells_one_version_of_a_system_from_another(cache: Path, tmp_path: Path) -> None:
    built, put = tmp_path / "built", tmp_path / "put"
    for folder in (built, put):
        folder.mkdir()
    (built / "vmlinuz").write_bytes(b"kernel")
    store.write_manifest(built, labos.recipe(), {})
    (put / "coreos.vmlinuz").write_bytes(b"1")
    catalogue = {
        "labos/vmlinuz": built / "vmlinuz", "coreos/coreos.vmlinuz": put / "coreos.vmlinuz",
        "coreos/missing": put / "missing", "pxelinux.0": built / "vmlinuz",
    }  # fmt: skip
    found = images.identities(catalogue)
    assert set(found) == {"labos/vmlinuz", "coreos/coreos.vmlinuz"}
    assert found["labos/vmlinuz"] == store.digest_file(built / "vmlinuz")
    (put / "coreos.vmlinuz").write_bytes(b"12")
    again = images.identities(catalogue)
    assert again["coreos/coreos.vmlinuz"] != found["coreos/coreos.vmlinuz"]
    assert again["labos/vmlinuz"] == found["labos/vmlinuz"]

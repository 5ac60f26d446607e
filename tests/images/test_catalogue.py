"""The catalogue, and what `ensure_images` says about a machine, without building anything."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labkit import images
from labkit.boot.loaders import FILES
from labkit.errors import ImageError, MachineError
from labkit.images import labos, nginx, served, store
from labkit.lab import Blade, Bmc, Chassis, ChassisKind, Flavour, Lab, Network, NetworkKind

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


@pytest.mark.usefixtures("built")
def test_pruning_keeps_what_is_current(cache: Path) -> None:
    old = cache / "labos" / "0123456789abcdef"
    old.mkdir()
    (cache / "container-linux").mkdir()
    assert images.prune_images(progress=quiet) == [old]
    assert images.tree().is_dir()
    assert (cache / "container-linux").is_dir()
    assert len(images.verify_images(progress=quiet)) == 2

"""Folders that programs facing the network, or blades, write into: links in them lead nowhere outside."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit.boot import ImageFile, Rendered
from labkit.cli import explain
from labkit.servers.parts import storage
from labkit.swarm.registry import link_files
from labkit.swarm.registry.contents import read_contents
from labkit.swarm.services import volume_demo

DIGEST = hashlib.sha256(b"manifest").hexdigest()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    host = tmp_path / "host"
    (host / "folder").mkdir(parents=True)
    (host / "file").write_text("the host's")
    (host / "folder/link").write_text("the host's")
    return host


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A registry's data with one whole image."""
    data = tmp_path / "registry"
    blob = data / link_files.ROOT / "blobs/sha256" / DIGEST[:2] / DIGEST
    blob.mkdir(parents=True)
    (blob / "data").write_bytes(b"manifest")
    for name in (f"revisions/sha256/{DIGEST}", "tags/1/current"):
        place = data / link_files.ROOT / "repositories/app/_manifests" / name
        place.mkdir(parents=True)
        (place / "link").write_text(f"sha256:{DIGEST}")
    return data


def untouched(host: Path) -> bool:
    return {path.read_text() for path in (host / "file", host / "folder/link")} == {"the host's"}


def plant(data: Path, place: str, target: Path) -> None:
    path = data / link_files.ROOT / "repositories/app" / place
    if path.is_file():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("below", ["file", "folder", "folder/link", "nothing"])
@pytest.mark.parametrize(
    "place",
    [
        f"_manifests/revisions/sha256/{DIGEST}/link",
        f"_manifests/revisions/sha256/{'0' * 64}",
        f"_manifests/revisions/sha256/{'0' * 64}/link",
        "_manifests/tags/2",
        "_manifests/tags/2/current",
        "_manifests/tags/2/current/link",
        f"_layers/sha256/{DIGEST}",
        f"_layers/sha256/{DIGEST}/link",
        "_layers/sha256",
        "more/_manifests",
    ],
)
def test_mending_a_registry_writes_and_removes_nothing_else(data: Path, host: Path, place: str, below: str) -> None:
    plant(data, place, host / below)
    list(read_contents(data))
    try:
        link_files.mend(data)
    except OSError as error:
        assert str(error.filename).startswith(str(data))
    assert untouched(host)
    assert sorted(path.name for path in host.rglob("*")) == ["file", "folder", "link"]


def test_a_shelf_tells_nothing_of_this_machines_files(data: Path, host: Path) -> None:
    (host / "file").write_text(f"sha256:{DIGEST}")
    plant(data, "_manifests/tags/secret/current/link", host / "file")
    [manifest] = read_contents(data)
    assert manifest.tags == ("1",)


def test_the_size_of_a_folder_is_that_of_its_own_files(data: Path, host: Path) -> None:
    before = storage.size_of(data)
    plant(data, "big", host / "file")
    plant(data, "dir", host)
    plant(data, "self", Path("self"))
    assert storage.size_of(data) == before > 0


def test_the_page_is_a_new_file_whatever_a_blade_left_in_its_place(tmp_path: Path, host: Path) -> None:
    running: Any = SimpleNamespace(
        lab=SimpleNamespace(storage=SimpleNamespace(folder=tmp_path)), state=SimpleNamespace(path=tmp_path)
    )
    for name in (volume_demo.FILE, f".{volume_demo.FILE}"):
        (tmp_path / name).symlink_to(host / "file")
    page = volume_demo.put_page(running, "hello")
    assert page.read_text() == "hello\n" and not page.is_symlink()
    assert page.stat().st_mode & 0o777 == 0o644
    assert untouched(host)


def test_a_tree_for_a_tftp_server_replaces_links_to_loaders(
    tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On many a TFTP server the loaders are links to what their packages installed."""
    loader = tmp_path / "loader"
    loader.write_bytes(b"loader")
    monkeypatch.setattr("labkit.images.catalogue", lambda _: {"pxelinux.0": loader})
    folder = tmp_path / "tftp"
    folder.mkdir()
    (folder / "pxelinux.0").symlink_to(host / "file")
    (folder / "default").symlink_to("/nothing")
    (folder / "pxelinux.cfg").symlink_to(host / "folder")
    files = {
        "pxelinux.0": ImageFile("pxelinux.0"),
        "default": Rendered(b"default"),
        "pxelinux.cfg/link": Rendered(b"config"),
    }
    assert explain._write_tree(folder, files, None) == 0
    assert untouched(host)
    assert (folder / "pxelinux.0").read_bytes() == b"loader"
    assert (folder / "default").read_bytes() == b"default"

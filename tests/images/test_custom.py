"""A system of a person's own: its files are looked at before a lab starts, and shown to the boot server."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit import images
from labkit.boot.loaders import FILES
from labkit.errors import ImageError
from labkit.images import ensure
from labkit.lab import Lab, lab_yaml
from tests.rig.known import causes


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """One with a loader that is there and nothing to build."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ensure, "builders", lambda lab: ())
    for name in ("loader", "linux", "initrd.gz"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / name).chmod(0o644)
    for name in FILES:
        monkeypatch.setitem(FILES, name, (str(tmp_path / "loader"), "package"))
    text = "blades: [{name: a}, {name: b, os: custom, custom: {kernel: linux, initrds: [initrd.gz]}}]\n"
    return lab_yaml.parse(text, tmp_path / "lab.yaml")


def test_its_files_are_served_and_shown(lab: Lab, tmp_path: Path) -> None:
    catalogue = images.catalogue(lab)
    files = {"custom/b/kernel/linux": tmp_path / "linux", "custom/b/initrd/initrd.gz": tmp_path / "initrd.gz"}
    assert {name: path for name, path in catalogue.items() if name.startswith("custom/")} == files
    assert images.shown_to_servers(lab) == (tmp_path / "cache", *files.values())
    assert images.ensure_images(lab, progress=print)[1:] == [f"custom: b boots {tmp_path}/linux, {tmp_path}/initrd.gz"]


def test_a_file_that_went_is_said(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "linux").unlink()
    with pytest.raises(ImageError, match="linux, which b boots, is gone: No such file") as caught:
        images.ensure_images(lab, progress=print)
    assert caught.value.where == str(tmp_path / "linux") and "custom of b" in caught.value.fix


def test_a_file_that_the_boot_server_may_not_read_is_said(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "initrd.gz").chmod(0o640)
    with causes("own-file-closed") as caught:
        images.ensure_images(lab, progress=print)
    assert caught.value.fix == f"chmod a+r {tmp_path}/initrd.gz"

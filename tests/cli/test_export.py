"""``./lab export``, as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cli import commands

LAB = "boot: ipxe\nblades:\n  - name: red1\n"


@pytest.fixture
def lab(tmp_path: Path) -> list[str]:
    (tmp_path / "lab.yaml").write_text(LAB)
    return ["--lab", str(tmp_path / "lab.yaml"), "--state", str(tmp_path / ".lab")]


def test_one_file_is_printed_or_written(lab: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main([*lab, "export", "dnsmasq", "--files", "/srv/boot"]) == 0
    text = capsys.readouterr().out
    assert 'tftp-root="/srv/boot"\n' in text and "--every-firmware --tree /srv/boot/red1\n" in text
    to = tmp_path / "some" / "where"
    assert commands.main([*lab, "export", "dnsmasq", "--files", "/srv/boot", "--to", str(to)]) == 0
    [file] = to.iterdir()
    assert file.read_text() == text and capsys.readouterr().out == f"{file}\n"


def test_a_lab_without_a_blade_has_nothing_to_export(
    lab: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab.yaml").write_text("blades: []\n")
    assert commands.main([*lab, "export", "dnsmasq"]) == 2
    said = capsys.readouterr()
    assert "the lab has no blade yet" in said.err and said.out == ""


def test_matchbox_is_a_folder(lab: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main([*lab, "export", "matchbox"]) == 2
    assert "./lab export matchbox --to FOLDER" in capsys.readouterr().err
    assert commands.main([*lab, "export", "matchbox", "--to", str(tmp_path / "m")]) == 0
    assert (tmp_path / "m/profiles/red1.json").read_text().count("/assets/red1/labos/") == 3


def test_a_folder_holds_the_loaders_of_every_firmware(lab: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main([*lab, "explain", "red1", "--every-firmware"]) == 2
    assert "--tree FOLDER" in capsys.readouterr().err

"""A lab file put back on disk: whole or not at all, as its owner's, and never over somebody else's change."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from labkit.errors import FileError, LabFileError
from labkit.lab.lab_yaml import adopt, rewrite

TEXT = "blades:\n  - name: a # first\n"
MAC = "52:54:00:12:34:56"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def changed(file: rewrite.LabFile) -> adopt.Source:
    return adopt.adopt(file.source, (MAC,), name="b")


def test_it_is_replaced_with_its_mode_and_nothing_else_is_left(path: Path) -> None:
    file = rewrite.open_lab(path)
    before = path.stat()
    file.write(changed(file))
    after = path.stat()
    assert path.read_text() == f'{TEXT}  - name: b\n    slot: 2\n    macs: ["{MAC}"]\n'
    assert stat.S_IMODE(after.st_mode) == 0o640 and after.st_ino != before.st_ino
    assert [one.name for one in path.parent.iterdir()] == ["lab.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody")
def test_it_stays_its_owners(path: Path) -> None:
    os.chown(path, 12345, 54321)
    file = rewrite.open_lab(path)
    file.write(changed(file))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "there/lab.yaml"
    link.symlink_to("../lab.yaml")
    file = rewrite.open_lab(link)
    file.write(changed(file))
    assert link.is_symlink() and path.read_text() == link.read_text() != TEXT
    assert [one.name for one in link.parent.iterdir()] == ["lab.yaml"]


@pytest.mark.parametrize("step", ["replace", "fsync", "fchmod"])
def test_a_crash_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    file = rewrite.open_lab(path)
    new = changed(file)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, step, crash)
        with pytest.raises(KeyboardInterrupt):
            file.write(new)
    assert path.read_text() == TEXT
    assert [one.name for one in path.parent.iterdir()] == ["lab.yaml"]


def test_what_the_system_says_is_ours_with_a_fix(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rewrite.open_lab(path)
    monkeypatch.setattr(os, "replace", lambda *_, **__: Path("/nowhere/at/all").stat())
    with pytest.raises(FileError) as caught:
        file.write(changed(file))
    assert caught.value.fix and path.read_text() == TEXT


def test_somebody_elses_change_is_not_lost(path: Path) -> None:
    file = rewrite.open_lab(path)
    path.write_text(f"{TEXT}# mine\n")
    with pytest.raises(FileError, match="changed by somebody else") as caught:
        file.write(changed(file))
    assert caught.value.fix == "do the same again"
    assert path.read_text() == f"{TEXT}# mine\n"
    assert [one.name for one in path.parent.iterdir()] == ["lab.yaml"]


def test_what_a_killed_one_has_left_is_no_obstacle(path: Path) -> None:
    path.with_name(f".lab.yaml.{os.getpid()}").symlink_to("/nowhere")
    file = rewrite.open_lab(path)
    file.write(changed(file))
    assert [one.name for one in path.parent.iterdir()] == ["lab.yaml"]


def test_a_byte_order_mark_and_ends_of_lines_stay(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    file = rewrite.open_lab(path)
    file.write(changed(file))
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfblades:\r\n") and data.count(b"\n") == data.count(b"\r\n") == 5


def test_a_diff_says_what_would_change(path: Path) -> None:
    path.write_text("blades: [{name: a}]")
    file = rewrite.open_lab(path)
    told = file.diff(changed(file))
    assert told.splitlines()[3:] == [
        "-blades: [{name: a}]",
        "\\ No newline at end of file",
        f'+blades: [{{name: a}}, {{name: b, slot: 2, macs: ["{MAC}"]}}]',
        "\\ No newline at end of file",
    ]
    assert file.diff(file.source) == "" and path.read_text() == "blades: [{name: a}]"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"blades: [", b"- 1", b"blades: 3", b"&a [*a]"])
def test_what_is_no_lab_is_not_opened(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(LabFileError):
        rewrite.open_lab(path)

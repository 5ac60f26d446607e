"""What a backup of the swarm's state is, and what is not taken for one; no engine needed."""

from __future__ import annotations

import io
import socket
import tarfile
from pathlib import Path

import pytest

from labkit.errors import SwarmError
from labkit.lab.secret import Secret
from labkit.swarm.recovery import backup


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An engine's data folder with a swarm in it, and the engine's sockets as it leaves them."""
    folder = tmp_path / "docker"
    (folder / "swarm/raft/wal").mkdir(parents=True)
    (folder / "swarm/certificates").mkdir()
    (folder / "swarm/docker-state.json").write_text("{}")
    (folder / "swarm/raft/wal/0.wal").write_bytes(bytes(1 << 20))
    (folder / "swarm/certificates/key").write_text("secret")
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(folder / "swarm/control.sock"))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_saved_is_put_back(data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "swarm.tar.gz"
    assert 0 < backup.save(data, archive) < 1 << 16  # a log is mostly empty
    before = files(data)
    (data / "swarm/docker-state.json").write_text("changed")
    backup.restore(archive, data, tmp_path / "no.sock")
    assert {name: body for name, body in files(data).items() if name.startswith("swarm/")} == before
    assert (data / "swarm.before/docker-state.json").read_text() == "changed"
    assert {path.stat().st_mode & 0o077 for path in (data / "swarm").rglob("*")} == {0}
    assert sorted(path.name for path in data.iterdir()) == ["swarm", "swarm.before"]
    backup.restore(archive, tmp_path / "elsewhere", tmp_path / "no.sock")
    assert files(tmp_path / "elsewhere") == before


def test_the_key_of_a_locked_swarm_is_in_its_backup(data: Path, tmp_path: Path) -> None:
    archive, keys = tmp_path / "swarm.tar.gz", (Secret("SWMKEY-1-b"), Secret("SWMKEY-1-a"))
    assert not backup.is_locked(data)
    (data / "swarm/certificates/swarm-node.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert backup.is_locked(data)
    backup.save(data, archive, keys)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert backup.restore(archive, data, tmp_path / "no.sock") == keys
    assert not [body for body in files(data).values() if b"SWMKEY" in body], "a key does not lie beside what it opens"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(entry("swarm/docker-state.json"), io.BytesIO())
        tar.addfile(entry(backup.KEYS, tarfile.SYMTYPE))
    with pytest.raises(SwarmError, match="no backup of a swarm"):
        backup.restore(archive, data, tmp_path / "no.sock")


def entry(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, "/etc/passwd"
    return made


@pytest.mark.parametrize(
    "more",
    [[], [entry("etc/passwd")], [entry("swarm/../../x")], [entry("/swarm/x")], [entry("swarm/x", tarfile.SYMTYPE)],
     [entry("swarm/x", tarfile.LNKTYPE)], [entry("swarm/x", tarfile.CHRTYPE)]],
)  # fmt: skip
def test_what_is_no_backup_changes_nothing(data: Path, tmp_path: Path, more: list[tarfile.TarInfo]) -> None:
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for one in [entry("swarm/docker-state.json")] * bool(more) + more:
            tar.addfile(one, io.BytesIO())
    before = files(data)
    with pytest.raises(SwarmError, match="this is no backup of a swarm"):
        backup.restore(archive, data, tmp_path / "no.sock")
    assert files(data) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "docker"]


def test_a_swarm_that_never_rests_is_not_saved_half(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "BETWEEN_S", 0.0)
    count = iter(range(1000))
    monkeypatch.setattr(backup, "_signature", lambda folder: next(count))
    with pytest.raises(SwarmError, match="the swarm changes all the time"):
        backup.save(data, tmp_path / "swarm.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docker"]


def test_what_cannot_be_read_or_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SwarmError, match="no swarm state here"):
        backup.save(tmp_path, tmp_path / "x")
    with pytest.raises(SwarmError, match="cannot be written"):
        backup.save(data, tmp_path / "nowhere" / "x")
    with pytest.raises(SwarmError, match="cannot be put back"):
        backup.restore(tmp_path / "missing", data, tmp_path / "no.sock")

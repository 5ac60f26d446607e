"""The files of a swarm while it gets a new certificate: a copy first, and nothing that is cut off loses it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from labkit.errors import SwarmError
from labkit.swarm.recovery import renew


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An engine's data folder with a swarm in it, and a socket as the engine leaves it."""
    folder = tmp_path / "docker"
    (folder / "swarm/raft").mkdir(parents=True)
    (folder / "swarm/docker-state.json").write_text("note")
    (folder / "swarm/raft/log").write_text("services")
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(folder / "swarm/control.sock"))
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_comes_first_and_the_rest_stays(data: Path) -> None:
    copy = renew.set_aside(data)
    assert files(copy) == {"docker-state.json": "note", "raft/log": "services"}
    assert copy.stat().st_mode & 0o077 == 0 and not (copy / "control.sock").exists()
    assert files(data / "swarm") == {renew.ASIDE: "note", "raft/log": "services"}


def test_what_was_cut_off_is_undone_and_what_was_done_is_not(data: Path) -> None:
    assert not renew.put_back(data)
    renew.set_aside(data)
    assert renew.put_back(data) and not renew.put_back(data)
    assert files(data / "swarm") == {"docker-state.json": "note", "raft/log": "services"}
    (data / "swarm/docker-state.json").rename(data / "swarm" / renew.ASIDE)
    (data / "swarm/docker-state.json").write_text("new")  # the engine has taken its swarm up
    assert not renew.put_back(data)
    assert files(data / "swarm") == {"docker-state.json": "new", "raft/log": "services"}
    renew.carried_through(data)
    assert (data / "swarm/docker-state.json").read_text() == "new"


def test_where_there_is_no_swarm_nothing_is_changed(tmp_path: Path) -> None:
    with pytest.raises(SwarmError, match="cannot be copied"):
        renew.set_aside(tmp_path)
    assert list(tmp_path.iterdir()) == [] and not renew.put_back(tmp_path)

"""A real lab's engine, this machine's own: stopped and started by systemd, and as it was when something fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import SwarmError
from labkit.servers.controller import own_engine
from labkit.swarm.recovery import renew


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An engine's data with a swarm in it."""
    folder = tmp_path / "docker"
    (folder / "swarm").mkdir(parents=True)
    (folder / "swarm" / renew.NOTE).write_text("note")
    return folder


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that only writes down what it was asked, in this file."""
    programs, said = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    (programs / "systemctl").write_text(f'#!/bin/sh\necho "$1" >> {said}\n')
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return said


def test_who_may_not_is_told_what_to_run(data: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SwarmError, match="needs root, and systemd") as told:
        own_engine.renew_swarm(data, data / "no.sock", advertise="10.0.40.2")
    assert told.value.fix.startswith("sudo ./lab swarm recover --yes") and "--force-new-cluster" in told.value.fix
    assert "--advertise-addr 10.0.40.2 --listen-addr 10.0.40.2:2377" in told.value.fix
    with pytest.raises(SwarmError, match="another address needs root") as told:
        own_engine.add_address("eth1", "10.0.40.9")
    assert "ip address add 10.0.40.9/32 dev eth1" in told.value.fix
    assert not calls.exists() and (data / "swarm" / renew.NOTE).exists()


@pytest.mark.netns
def test_an_engine_that_does_not_come_back_finds_its_swarm(
    data: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_engine, "START_S", 0.0)
    with pytest.raises(SwarmError, match="no Docker engine listens"):
        own_engine.renew_swarm(data, data / "no.sock", advertise="10.0.40.2")
    assert calls.read_text().split() == ["stop", "start", "stop", "start"]
    assert [path.name for path in (data / "swarm").iterdir()] == [renew.NOTE]
    assert len(list(data.glob("swarm.2*/docker-state.json"))) == 1


@pytest.mark.netns
def test_where_there_is_no_swarm_the_engine_is_started_again(tmp_path: Path, calls: Path) -> None:
    with pytest.raises(SwarmError, match="cannot be copied"):
        own_engine.renew_swarm(tmp_path / "nothing", tmp_path / "no.sock", advertise="10.0.40.2")
    assert calls.read_text().split() == ["stop", "start"]

"""The programs of others that a lab runs, as they are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.lab.state import State
from labkit.servers.parts.bundled import engine_command


@pytest.mark.parametrize("mirror", ["", "10.77.0.254:5001"])
def test_the_engines_logs_are_limited(tmp_path: Path, mirror: str) -> None:
    state = State(tmp_path / "state")
    state.make()
    state.ca.parent.mkdir(parents=True, exist_ok=True)
    state.ca.write_text("-----BEGIN CERTIFICATE-----\n")
    command = engine_command(tmp_path, state, registry="10.77.0.1:5000", mirror=mirror).command
    assert command[0] == "/usr/sbin/dockerd"
    assert "--host=unix:///run/docker.sock" in command, "where stacks that speak with a manager bind it"
    assert {"--log-opt=max-size=8m", "--log-opt=max-file=2"} <= set(command)
    assert ("--registry-mirror" in command) == bool(mirror)

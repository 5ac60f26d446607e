"""The fleet as a lab that can be rolled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.swarm import cluster
from tests.rig.fleet import Fleet
from tests.swarm.roll.fleet_lab import LAB, FleetLab


@pytest.fixture
def running(swarm: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetLab]:
    state = State(tmp_path / "s")
    state.make()
    names = [machine.name for machine in swarm.blades]
    made = FleetLab(swarm, lab_yaml.parse(LAB, tmp_path / "lab.yaml"), state, dict.fromkeys(names, "v0"))
    made.boots = {m.name: {"id": m.boot, "version": "v0", "begun": 0.0} for m in swarm.blades}
    monkeypatch.setattr(rpc, "call", made.answer)
    yield made
    with made.engine() as client:
        print(*cluster.nodes(client), sep="\n")  # seen where the test fails
    for thread in made.threads:
        thread.join()
    for machine in swarm.blades:  # what did not come back comes back for whoever is next
        machine.power_cut()

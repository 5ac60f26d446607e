"""A lab that is up gains a blade and loses it, and not one of its parts is started anew for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.events import Blades
from labkit.servers.client import ensure_blades
from labkit.swarm import cluster
from tests.rig.front_door import new_lab

pytestmark = pytest.mark.soak
MAC = "00:00:5e:00:53:42"


def test_a_blade_is_adopted_boots_joins_and_is_forgotten(tmp_path: Path) -> None:
    text = "# mine\nboot: ipxe\nnetwork: {subnet: 10.87.0.0/24}\nblades: [{name: blade1}]\n"
    with new_lab(tmp_path, text) as door:
        assert door("up").returncode == 0
        before = door.connect().status()["parts"]
        told = door("adopt", MAC)
        assert told.returncode == 0 and "The lab that is up knows blade2 now." in told.stdout, told.stdout + told.stderr
        running = door.connect()
        blade = running.lab.blade("blade2")
        assert blade.macs == (MAC,) and running.power_state(blade) == "off"
        with running.engine() as engine:
            cluster.ensure_swarm_of(engine, running.lab)
            ensure_blades(running, [blade], until="joined", timeout_s=900)
            assert "blade2" in [node.hostname for node in cluster.nodes(engine)]
        told = door("forget", "blade2")
        assert "What is on in the slot of blade2 stays on" in told.stdout, told.stdout + told.stderr
        assert door("power", "on", "blade2").returncode == 2
        told = door("adopt", MAC)
        assert "knows blade2 now" in told.stdout and "which is off" not in told.stdout, "it is the machine that is on"
        running = door.connect()
        assert running.power_state(running.lab.blade("blade2")) == "on"
        running.power(running.lab.blade("blade2"), "off")
        assert "stays on" not in door("forget", "blade2").stdout
        assert running.status()["parts"] == before
        told_of = [([*event.added], [*event.removed]) for event in running.events() if isinstance(event, Blades)]
        assert told_of == [(["blade2"], []), ([], ["blade2"])] * 2
        assert (tmp_path / "lab.yaml").read_text() == text

"""A roll over real engines: services go on, a blade that does not come back stops it, and the next goes on."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from labkit.images.releases import cache, layout
from labkit.lab import SwarmRules, lab_yaml
from labkit.servers import roll as shell
from labkit.servers.client import RunningLab
from labkit.servers.roll_back import take_back
from labkit.swarm import cluster
from labkit.swarm.engine import engine
from labkit.swarm.roll.survey import survey
from labkit.swarm.roll.turns import Phase
from labkit.swarm.services.all_services import look_at_all, start_anew
from labkit.swarm.services.deploy import ensure_service, look, watch
from tests.rig.fleet import join, until
from tests.swarm.roll.fleet_lab import LAB, FleetLab, roll, web_spec
from tests.swarm.roll.world import phases

pytestmark = pytest.mark.engine(minutes=6)


@pytest.mark.parametrize("parallel", [1, 2])
def test_services_go_on_and_every_blade_runs_the_newest(running: FleetLab, web: str, parallel: int) -> None:
    with running.engine() as client:
        ensure_service(client, web_spec(web, 3))
        watch(client, "web", 60)
        fewest, done = [3], threading.Event()

        def count() -> None:
            with running.engine() as own:
                while not done.wait(0.2):
                    fewest.append(look(own, "web").running)

        counting = threading.Thread(target=count)
        counting.start()
        over = roll(running, parallel)
        done.set()
        counting.join()
        assert phases(over) == [Phase.DONE] * 3, over.stopped
        assert {boot["version"] for boot in running.boots.values()} == {"v1"}
        assert min(fewest) >= 1, "one of three at least was there at every moment"
        nodes = [node for node in cluster.nodes(client) if node.blade]
        assert len(nodes) == 3 and all(node.ready for node in nodes), "no ghost"
        again = roll(running, parallel)
        assert again.turns == () and again.over
        shell.spread(cast(RunningLab, running), print)
        held = look(client, "web").places.values()
        assert len(held) == 3 and len(set(held)) >= 2, "swarm places each where fewest are at that moment"


def test_a_blade_that_does_not_come_back_takes_no_other_along(running: FleetLab, web: str) -> None:
    running.lab = replace(running.lab, swarm=SwarmRules(roll_blade_s=45.0))
    running.lost = frozenset({"blade1"})
    with running.engine() as client:
        ensure_service(client, web_spec(web, 2))
        watch(client, "web", 60)
        over = roll(running)
        assert phases(over) == [Phase.FAILED, Phase.WAITING, Phase.WAITING]
        assert over.stopped.startswith("blade1: it is not in the swarm")
        assert watch(client, "web", 30).running == 2
        running.lost = frozenset()
        running.lab = replace(running.lab, swarm=SwarmRules(roll_blade_s=90.0))
        join(running.fleet, running.fleet.blade("blade1"))  # a person mended it
        until(lambda: all(node.ready for node in cluster.nodes(client)))
        over = roll(running)
        assert [turn.blade for turn in over.turns] == ["blade2", "blade3"] and not over.stopped


def test_a_broken_release_takes_one_blade_which_goes_back(
    running: FleetLab, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = layout.place_of("flatcar", tmp_path)
    for name, version in ((layout.CURRENT, "v1"), (layout.PREVIOUS, "v0")):
        (place / version).mkdir(parents=True)
        (place / name).write_text(version)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "prove", lambda folder: None)  # these are empty
    running.broken = "v1"
    running.lab = lab_yaml.parse(f"os: flatcar\n{LAB.replace('90 s', '45 s')}", tmp_path / "lab.yaml")
    lab, names = cast(RunningLab, running), [blade.name for blade in running.lab.blades]
    with running.engine() as client:
        ensure_service(client, web_spec(web, 2))
        watch(client, "web", 60)
        found = survey(names, shell.Looker(lab).look(names), dict.fromkeys(names, "v1"), {})
        over, seen = list(shell.carry_out(lab, found.roll(limit_s=45), lambda told: None))[-1]
        assert phases(over) == [Phase.FAILED, Phase.WAITING, Phase.WAITING]
        over = replace(over, limit_s=90)
        said = take_back(lab, found, over, seen, lambda told: print(told.blade, told.step, told.detail))
        assert said.startswith("blade1 runs what it ran before: flatcar v0 is in use again")
        nodes = [node for node in cluster.nodes(client) if node.blade]
        assert len(nodes) == 3 and all(node.ready for node in nodes), "no ghost"
        assert watch(client, "web", 30).running == 2 and {boot["version"] for boot in running.boots.values()} == {"v0"}


def test_starting_anew_goes_by_the_rules_of_the_service(running: FleetLab, web: str) -> None:
    with running.engine() as client:
        ensure_service(client, web_spec(web, 2))
        before = watch(client, "web", 60)
        start_anew(client, before.id)
        after = watch(client, "web", 60)
        assert (after.running, after.content) == (2, before.content)
        with engine(running.fleet.controller.sock) as other:
            found = look_at_all(other)
        assert found.reasons() == {"web": ""} and found.states["web"].running == 2
        assert replace(found.states["web"], reason="") == replace(
            after, reason="", action="", places=dict(after.places)
        )

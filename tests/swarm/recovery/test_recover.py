"""Swarms that do not answer, brought back on real engines with every service: no leader, a backup, a certificate."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from labkit.errors import SwarmError
from labkit.lab import lab_yaml
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine, read_local_swarm
from labkit.swarm.membership import managers
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.membership.quorum import Quorum
from labkit.swarm.recovery import backup, certificate, renew
from labkit.swarm.recovery.recover import explain, recover, take_up
from labkit.swarm.services.deploy import ensure_service, watch
from labkit.swarm.services.spec import ServiceSpec
from tests.rig.expired import expire
from tests.rig.fleet import Fleet, Machine, until
from tests.rig.known import causes

pytestmark = pytest.mark.engine(minutes=3)

LAB = "name: test\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"
DAY_S = 86400


def never() -> Path:
    raise AssertionError("no certificate has run out")


def services(machine: Machine) -> list[str]:
    with engine(machine.sock) as client:
        return sorted(raw["Spec"]["Name"] for raw in api(client).services())


def leaderless(swarm: Fleet, tmp_path: Path, web: str) -> None:
    """A service, two diskless managers beside the controller, and all three are cut."""
    (tmp_path / "lab.yaml").write_text(LAB)
    with engine(swarm.controller.sock, timeout_s=60) as client:
        managers.ensure_managers(client, lab_yaml.load(tmp_path / "lab.yaml"), ["blade1", "blade2"])
        ensure_service(client, ServiceSpec(name="web", image=web, replicas=1))
        watch(client, "web", 60)
    for machine in (swarm.controller, *swarm.blades[:2]):
        machine.power_cut()


def forget_managers(swarm: Fleet, tmp_path: Path) -> None:
    with engine(swarm.controller.sock, timeout_s=60) as client:
        managers.ensure_managers(client, lab_yaml.load(tmp_path / "lab.yaml"), [])


def test_after_the_controller_restarted_alone(swarm: Fleet, tmp_path: Path, web: str) -> None:
    leaderless(swarm, tmp_path, web)
    controller = swarm.controller
    controller.on()
    with engine(controller.sock) as client:
        found = read_local_swarm(client, advertise=controller.address)
    assert found.state is LocalState.LEADERLESS and "./lab swarm recover --yes" in explain(found)
    began = time.monotonic()
    assert recover(controller.sock, advertise=controller.address, renew=never) == Quorum(1, 1)
    assert time.monotonic() - began < 30
    assert services(controller) == ["web"]
    with engine(controller.sock, timeout_s=60) as client:
        assert set(watch(client, "web", 120).places.values()) <= {"blade3"}
    forget_managers(swarm, tmp_path)


def test_after_a_backup_was_put_back(swarm: Fleet, tmp_path: Path, web: str) -> None:
    controller, archive = swarm.controller, tmp_path / "swarm.tar.gz"
    (tmp_path / "lab.yaml").write_text(LAB)
    with engine(controller.sock, timeout_s=60) as client:
        managers.ensure_managers(client, lab_yaml.load(tmp_path / "lab.yaml"), ["blade1", "blade2"])
        ensure_service(client, ServiceSpec(name="web", image=web, replicas=1))
        backup.save(controller.data, archive)
    for machine in (controller, *swarm.blades[:2]):
        machine.power_cut()
    shutil.rmtree(controller.data / "swarm")
    backup.restore(archive, controller.data, controller.sock)
    controller.on()
    assert recover(controller.sock, advertise=controller.address, renew=never) == Quorum(1, 1)
    assert services(controller) == ["web"]
    forget_managers(swarm, tmp_path)


def with_expired_certificate(fleet: Fleet, tmp_path: Path, web: str) -> Machine:
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock) as client:
        cluster.ensure_swarm(client, advertise=machine.address, drained=False)
        ensure_service(client, ServiceSpec(name="kept", image=web, replicas=1))
    expire(machine, tmp_path / "ca")
    machine.on()
    return machine


def test_after_the_certificate_has_run_out(fleet: Fleet, tmp_path: Path, web: str) -> None:
    machine = with_expired_certificate(fleet, tmp_path, web)

    def anew() -> Path:
        machine.power_cut()
        copy = renew.set_aside(machine.data)
        machine.on()
        take_up(machine.sock, advertise=machine.address, copy=copy)
        renew.carried_through(machine.data)
        return copy

    with engine(machine.sock) as client, causes("swarm-expired") as told:
        cluster.ensure_swarm(client, advertise=machine.address)
    assert "./lab swarm recover" in told.value.fix and "leave" not in str(told.value)
    lines: list[str] = []
    assert recover(machine.sock, advertise=machine.address, renew=anew, progress=lines.append) == Quorum(1, 1)
    assert services(machine) == ["kept"] and str(machine.data / "swarm.") in lines[-1]

    def lasts_long() -> bool:
        ends = fleet.inside(lambda: certificate.served_until(machine.address), machine.net)
        return ends is not None and ends > time.time() + 700 * DAY_S

    until(lasts_long, 60)
    machine.power_cut()
    machine.on()
    with engine(machine.sock) as client:
        until(lambda: read_local_swarm(client, advertise=machine.address).state is LocalState.ALONE)
    assert services(machine) == ["kept"]
    machine.power_cut()


def test_a_renewal_that_was_cut_off_leaves_the_swarm_known(fleet: Fleet, tmp_path: Path, web: str) -> None:
    machine = with_expired_certificate(fleet, tmp_path, web)
    machine.power_cut()
    renew.set_aside(machine.data)
    assert renew.put_back(machine.data)
    machine.on()
    with engine(machine.sock) as client:
        assert read_local_swarm(client).state is LocalState.EXPIRED
    machine.power_cut()


def test_what_recover_does_not_touch(swarm: Fleet, fleet: Fleet) -> None:
    controller = swarm.controller
    with pytest.raises(SwarmError, match="nothing to recover"):
        recover(controller.sock, advertise=controller.address, renew=never)
    with causes("swarm-elsewhere"):
        recover(controller.sock, advertise="10.99.77.200", renew=never)
    with causes("other-swarm"):
        recover(swarm.blade("blade1").sock, advertise=swarm.blade("blade1").address, renew=never)
    assert len(cluster_nodes(controller)) == 4


def cluster_nodes(machine: Machine) -> list[str]:
    with engine(machine.sock) as client:
        return [node.id for node in cluster.nodes(client)]

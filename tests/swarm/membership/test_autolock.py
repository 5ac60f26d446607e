"""A swarm that is locked with a key: the key is kept, engines that were started anew get it, and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from labkit import events
from labkit.cli.swarm import lock
from labkit.errors import ControlError, FileError, SwarmError
from labkit.lab import Lab, Role, lab_yaml
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.servers import client
from labkit.servers.controller.lock_keeper import LockKeeper
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine, read_local_swarm
from labkit.swarm.membership import autolock, managers
from labkit.swarm.membership.autolock import KeptKeys
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.recovery import backup
from labkit.swarm.recovery.recover import recover
from labkit.swarm.swarmd import SwarmDaemon
from tests.rig.fleet import Fleet, Machine, ensure_joined, until
from tests.rig.known import causes

LAB = "name: test\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\nswarm: {autolock: true}\n"
ONE, TWO = Secret("SWMKEY-1-aaaa"), Secret("SWMKEY-1-bbbb/+")


def test_keys_are_kept_the_newest_first_for_their_owner_alone(tmp_path: Path) -> None:
    keys = KeptKeys(tmp_path / "swarm-unlock")
    assert keys.read() == ()
    keys.add(ONE)
    keys.add(TWO)
    keys.add(TWO)
    assert keys.read() == (TWO, ONE) and keys.path.stat().st_mode & 0o777 == 0o600
    keys.add(*(Secret(f"SWMKEY-1-{number}") for number in range(9)))
    assert len(keys.read()) == autolock.KEPT
    keys.path.write_bytes(b"\xffhalf a file\nSWMKEY-1-aaaa\n")
    assert keys.read() == (ONE,)
    with pytest.raises(FileError, match="nowhere"):
        KeptKeys(tmp_path / "nowhere/swarm-unlock").add(ONE)


@pytest.mark.parametrize(
    ("has", "wanted", "kept", "words", "fix"),
    [
        (False, None, False, "", ""),
        (False, False, False, "", ""),
        (False, True, False, "autolock: true, and the swarm is not locked with a key", "./lab swarm autolock --yes"),
        (True, False, True, "autolock: false, and the swarm is locked with a key", "./lab swarm autolock --yes"),
        (True, True, True, "which the lab keeps", ""),
        (True, True, False, "the lab does not keep it yet", "./lab up"),
        (True, None, False, "a key that the lab does not keep", ""),
    ],
)
def test_what_is_said_of_a_lock(has: bool, wanted: bool | None, kept: bool, words: str, fix: str) -> None:
    said, helps = autolock.judge(has, wanted, kept=kept)
    assert words in said and bool(words) == bool(said) and fix in helps and bool(fix) == bool(helps)


class Kept:
    """A lab with ``autolock: true``, its state, and the part of its supervisor that keeps the key."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        (folder / "lab.yaml").write_text(LAB)
        self.lab: Lab = lab_yaml.load(folder / "lab.yaml")
        self.state = State(folder / "state")
        self.state.make()
        self.state.docker.symlink_to(machine.sock)
        self.keys, self.machine = KeptKeys(self.state.unlock_keys), machine
        self.told: list[events.Event] = []
        self._keeper = LockKeeper(self.lab, self.state, self.told.append)

    def look(self) -> LocalState:
        asyncio.run(self._keeper.look())
        with engine(self.machine.sock) as docker:
            return read_local_swarm(docker).state

    def started_anew(self) -> None:
        """The machine lost its power and is back; its engine waits for the key, and says what helps."""
        encrypted = self.machine.data / backup.NODE_KEY
        until(lambda: "ENCRYPTED" in encrypted.read_text())
        self.machine.power_cut()
        self.machine.on()
        with engine(self.machine.sock) as docker, causes("swarm-locked") as told:
            cluster.ensure_swarm(docker, advertise=self.machine.address)
        assert "./lab up unlocks it" in told.value.fix and "leave" not in str(told.value)

    def is_newest(self) -> bool:
        with engine(self.machine.sock) as docker:
            return autolock.read_key(docker) == self.keys.read()[0]


@pytest.fixture
def alone(fleet: Fleet, tmp_path: Path) -> Iterator[Kept]:
    """A blade's engine with a swarm of its own, made as the lab file says."""
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    kept = Kept(tmp_path, machine)
    with engine(machine.sock) as docker:
        state = cluster.ensure_swarm(docker, advertise=machine.address, locked=kept.lab.swarm.autolock)
        assert autolock.is_on(docker) and not state.lock
        api(docker).create_config("kept", b"whole")
    assert kept.look() is LocalState.ALONE and kept.is_newest()
    yield kept
    machine.power_cut()


def configs(machine: Machine) -> list[str]:
    with engine(machine.sock) as docker:
        return [one["Spec"]["Name"] for one in api(docker).configs()]


@pytest.mark.engine
def test_an_engine_that_was_started_anew_is_unlocked(alone: Kept) -> None:
    alone.started_anew()
    assert alone.look() is LocalState.ALONE and configs(alone.machine) == ["kept"]
    with engine(alone.machine.sock) as docker:
        autolock.rotate(docker)
    assert not alone.is_newest()
    alone.look()
    assert alone.is_newest() and len(alone.keys.read()) == 2
    alone.started_anew()
    assert alone.look() is LocalState.ALONE and not alone.told


@pytest.mark.engine
def test_without_the_key_it_is_said_once_and_any_way_of_unlocking_helps(alone: Kept) -> None:
    (key,) = alone.keys.read()
    alone.keys.path.write_text("SWMKEY-1-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n")
    alone.started_anew()
    assert [alone.look(), alone.look()] == [LocalState.LOCKED] * 2
    (told,) = alone.told
    assert isinstance(told, events.Trouble) and "none of the 1 kept keys opens it" in told.detail
    assert "./lab docker swarm unlock" in told.fix and "SWMKEY" not in str(vars(told))
    with engine(alone.machine.sock) as docker:  # as Docker's own client does
        api(docker).unlock_swarm(key.reveal())
    assert alone.look() is LocalState.ALONE and alone.is_newest() and configs(alone.machine) == ["kept"]


@pytest.mark.engine
def test_one_that_is_there_is_changed_by_its_switch_alone(alone: Kept) -> None:
    with engine(alone.machine.sock) as docker:
        assert autolock.switch(docker, False) and not autolock.switch(docker, False)
        state = cluster.ensure_swarm(docker, advertise=alone.machine.address, locked=True)
        assert not autolock.is_on(docker) and "the swarm is not locked with a key: ./lab swarm autolock" in str(state)
        assert autolock.read_key(docker) is None
        with pytest.raises(SwarmError, match="not locked with a key"):
            autolock.rotate(docker)
        assert autolock.switch(docker, True)
        state = cluster.ensure_swarm(docker, advertise=alone.machine.address, locked=False)
        assert "the swarm is locked with a key: ./lab swarm autolock" in str(state)
        assert autolock.is_on(docker)
    alone.look()
    assert alone.is_newest()


@pytest.mark.engine
def test_the_verbs_change_it_after_a_yes_and_show_the_key_alone(
    alone: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "connect", lambda *_: client.RunningLab(alone.lab, alone.state))
    given = Namespace(lab=None, state=None, yes=False, rotate=False)
    (key,) = alone.keys.read()
    assert lock.set_lock(given) == 0 and "which the lab keeps" in capsys.readouterr().out
    with engine(alone.machine.sock) as docker:
        autolock.switch(docker, False)
    assert lock.set_lock(given) == 1 and "nothing was changed: ./lab swarm autolock --yes" in capsys.readouterr().out
    given.yes = True
    assert lock.set_lock(given) == 0 and alone.is_newest()
    told = capsys.readouterr().out
    assert "which the lab keeps" in told and "SWMKEY" not in told
    given.rotate = True
    assert lock.show_key(given) == 0 and alone.is_newest() and alone.keys.read()[0] != key
    assert capsys.readouterr().out == f"{alone.keys.read()[0].reveal()}\n"


@pytest.mark.engine
def test_a_copy_of_the_state_has_its_key(alone: Kept, tmp_path: Path) -> None:
    archive, machine = tmp_path / "swarm.tar.gz", alone.machine
    until(lambda: backup.is_locked(machine.data))
    backup.save(machine.data, archive, alone.keys.read())
    assert archive.stat().st_mode & 0o777 == 0o600
    machine.power_cut()
    shutil.rmtree(machine.data / "swarm")
    alone.keys.path.unlink()
    alone.keys.add(*backup.restore(archive, machine.data, machine.sock))
    assert backup.is_locked(machine.data) and not list(machine.data.glob("**/*unlock*"))
    machine.on()
    assert alone.look() is LocalState.ALONE and configs(machine) == ["kept"]


@pytest.mark.engine
def test_docker_makes_no_new_cluster_of_a_locked_swarm(alone: Kept) -> None:
    """What `recover` is kept from: the engine would take itself for one without a swarm."""
    machine = alone.machine
    until(lambda: backup.is_locked(machine.data))
    with engine(machine.sock) as docker:
        with pytest.raises(SwarmError):
            managers.force_alone(docker, advertise=machine.address)
        assert read_local_swarm(docker).state is LocalState.NONE
    alone.started_anew()
    assert alone.look() is LocalState.ALONE and configs(machine) == ["kept"]


@pytest.mark.engine
@pytest.mark.soak  # a minute: the engine takes half of it to miss its fellow managers
def test_managers_on_blades_are_unlocked_and_a_lost_majority_is_not_forced(swarm: Fleet, tmp_path: Path) -> None:
    controller, blades = swarm.controller, swarm.blades[:2]
    kept = Kept(tmp_path, controller)
    with engine(controller.sock) as docker:
        autolock.switch(docker, True)
        managers.ensure_managers(docker, kept.lab, [])
    kept.look()
    for machine in blades:
        ensure_joined(swarm, machine, Role.MANAGER)

    async def unlock(desk: SwarmDaemon, machine: Machine) -> None:
        answer = await desk.unlock({"blade": machine.name, "boot": machine.boot})
        with suppress(SwarmError), engine(machine.sock, timeout_s=5) as docker:  # without the others it waits for them
            api(docker).unlock_swarm(answer["body"])

    async def life() -> None:
        desk = SwarmDaemon(kept.lab, controller.sock, kept.told.append)
        await desk.rounds.look()
        with pytest.raises(ControlError, match="manages nothing"):
            await desk.unlock({"blade": "blade3", "boot": swarm.blade("blade3").boot})
        anew(blades[:1])
        await unlock(desk, blades[0])
        until(lambda: state(blades[0]) is LocalState.SHARED, 60)
        anew(blades)
        until(lambda: state(controller) is LocalState.LEADERLESS, 60)
        is_locked = partial(backup.is_locked, controller.data)
        with pytest.raises(SwarmError, match="makes no new cluster of one that is"):
            recover(controller.sock, advertise=controller.address, renew=never, is_locked=is_locked)
        for machine in blades:
            await unlock(desk, machine)
        until(lambda: state(controller) is LocalState.SHARED, 60)

    asyncio.run(life())
    with engine(controller.sock) as docker:
        chosen = managers.ensure_managers(docker, kept.lab, ["blade1"])
        assert managers.LOCKED in str(chosen)
        managers.ensure_managers(docker, kept.lab, [])
        autolock.switch(docker, False)


def anew(machines: Sequence[Machine]) -> None:
    """Their engines start anew, with what is in the blades' memory, and wait for the key."""
    for machine in machines:
        until(partial(backup.is_locked, machine.data))
    for machine in machines:
        machine.power_cut()
    for machine in machines:
        machine.on()
        assert state(machine) is LocalState.LOCKED


def state(machine: Machine) -> LocalState:
    with engine(machine.sock) as docker:
        return read_local_swarm(docker).state


def never() -> Path:
    raise AssertionError("no certificate has run out")

"""The doctor's visit: every probe, in the right place, with what could not be looked at noted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

from labkit.diagnosis.doctor import dhcp_servers, probe
from labkit.diagnosis.doctor.facts import Answer, Facts, Interface, Place, SeenSwarm
from labkit.diagnosis.doctor.network import reached_ports
from labkit.diagnosis.doctor.probe import NotLooked
from labkit.errors import ControlError, DeniedError
from labkit.events.kept_inventories import told_mib
from labkit.images.store import cache_folder
from labkit.lab import ChassisKind, Lab, NetworkKind
from labkit.lab.process import control, rpc
from labkit.lab.state import State
from labkit.machines.host import memory, systemd, unit, uplink
from labkit.machines.host.sandbox import User, of_python, spawn
from labkit.machines.host.unit import AtBoot

T = TypeVar("T")
ASK_S = 20.0

Progress = Callable[[str], None]
SeeSwarm = Callable[[Lab, State], SeenSwarm]
"""How to look at the swarm of an engine that answers: `labkit.servers.controller.seen_swarm.see_swarm`. It may raise
NotLooked."""


async def ask_dhcp(interface: str, user: User) -> list[dict[str, Any]]:
    """On the supervisor's side: ask in a process that may send raw frames and nothing else. Raises ControlError."""
    sandbox = of_python("labkit.diagnosis.doctor.dhcp_servers", interface, user=user, capabilities=("net_raw",))
    process = await spawn(sandbox, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    said, errors = await process.communicate()
    if process.returncode:
        raise ControlError(f"{interface} cannot be asked: {errors.decode(errors='replace').strip()[-200:]}")
    return [json.loads(line) for line in said.splitlines()]


def look(lab: Lab, state: State, progress: Progress, see_swarm: SeeSwarm) -> Facts:
    """All the facts. Takes some seconds: images are read whole, and servers are given time to answer."""
    not_looked: dict[str, str] = {}

    def attempt(name: str, find: Callable[[], T], otherwise: T) -> T:
        progress(f"looking at {name}")
        try:
            return find()
        except (NotLooked, OSError, ValueError, subprocess.SubprocessError) as error:
            not_looked[name] = str(error)
            return otherwise

    status: dict[str, Any] | None = None
    is_up, silent = True, ""
    try:
        status = control.status(state, ask=True)
        is_up = status is not None
    except DeniedError as error:
        not_looked["lab"] = f"{error.what}: {error.fix}"
    except ControlError as error:
        silent = error.what
    is_virtual = lab.network.kind is NetworkKind.VIRTUAL
    none: dict[str, Interface] = {}
    nowhere: Place | None = None
    cards = attempt("interface", probe.interfaces, none)
    found = attempt("network", lambda: uplink.look(lab.network), uplink.Found())
    silent_engine = attempt("engine", lambda: _engine(lab, state, is_up), "")
    no_swarm: SeenSwarm | None = None
    no_unit: AtBoot | None = None
    has_engine = not silent_engine and "engine" not in not_looked
    return Facts(
        is_up=is_up,
        silent=silent,
        interface=cards.get(lab.network.interface),
        interfaces=tuple(name for name in cards if name != "lo"),
        holders=attempt("ports", probe.holders, ()),
        blocked=attempt("firewall", lambda: probe.blocked(lab, state), ()) if reached_ports(lab) else (),
        overlap=attempt("subnet", lambda: probe.overlap(lab, state), "") if is_virtual else "",
        way_in=attempt("way in", lambda: probe.way_in(lab, state), "") if is_virtual and status is not None else "",
        beyond=uplink.fill(lab.network, found),
        resolver=found.resolver,
        answers=attempt("dhcp", lambda: _answers(lab, state, is_up), ()),
        images=attempt("images", lambda: probe.look_at_images(lab), ()),
        configs=attempt("configs", lambda: probe.wrong_configs(lab), ()),
        unservable=attempt("share", lambda: probe.unservable(lab, state), ""),
        engine=silent_engine,
        swarm=attempt("swarm", lambda: see_swarm(lab, state), no_swarm) if has_engine else None,
        at_boot=attempt("units", lambda: systemd.look(unit.name_of(state.tag)), no_unit),
        mirrors=None if is_virtual or not lab.storage.cache else probe.mirrors(state.manager_socket(lab)),
        modules=probe.modules(),
        now=time.time(),
        newest_file=probe.newest_file(),
        synchronised=probe.synchronised(),
        cache=attempt("cache", lambda: probe.place(cache_folder()), nowhere),
        state=attempt("state", lambda: probe.place(state.path), nowhere),
        memory_mib=memory.available_mib(),
        told_mib=told_mib(state.inventory, lab.blades),
        missing=probe.missing_programs(lab),
        kvm=attempt("speed", lambda: _kvm(lab, status), False),
        parts=status["parts"] if status is not None else {},
        heard=status["answers"] if status is not None else {},
        unwritten=status["unwritten"] if status is not None else "",
        not_looked=not_looked,
    )


def _kvm(lab: Lab, status: dict[str, Any] | None) -> bool:
    if status is not None:
        return bool(status["accelerator"] == "kvm")
    return lab.chassis.kind is ChassisKind.VIRTUAL and probe.has_kvm(lab)


def _answers(lab: Lab, state: State, is_up: bool) -> tuple[Answer, ...]:
    if is_up:
        try:
            rows = rpc.call(state.control, "ask_dhcp", timeout_s=ASK_S)["answers"]
        except ControlError as error:
            raise NotLooked(error.what) from None
        return tuple(Answer(**row) for row in rows)
    if lab.network.kind is NetworkKind.VIRTUAL:
        raise NotLooked("the network of a virtual lab is made when the lab is")
    try:
        card = probe.interfaces().get(lab.network.interface)
        if card is None or not card.is_up:
            raise NotLooked(f"{lab.network.interface} is not there or down")
        return tuple(dhcp_servers.ask(card.name))
    except PermissionError:
        raise NotLooked("asking with raw frames needs root, or a lab that is up") from None
    except OSError as error:
        raise NotLooked(f"{lab.network.interface} cannot be asked: {error.strerror or error}") from None


def _engine(lab: Lab, state: State, is_up: bool) -> str:
    if lab.network.kind is NetworkKind.VIRTUAL and not is_up:
        raise NotLooked("a virtual lab brings its own when it comes up")
    return probe.engine(state.manager_socket(lab))

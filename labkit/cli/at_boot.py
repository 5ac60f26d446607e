"""``./lab up --enable``, ``--disable`` and ``--at-boot``: the lab that starts when this machine boots."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
from pathlib import Path

import labkit
from labkit.cli.answers import find_state, load_lab, say
from labkit.errors import MachineError, ParameterError
from labkit.lab import NetworkKind
from labkit.lab.state import State
from labkit.machines.host import systemd, unit
from labkit.machines.host.unit import AtBoot
from labkit.servers import client, lifecycle

WORDS = ("up", "--at-boot", "--yes")
"""What a unit calls the checkout's script with."""


def add_options(sub: argparse.ArgumentParser) -> None:
    """The options of ``up`` that are about this machine's boot; ``run_up`` is what was chosen."""
    sub.set_defaults(run_up=None)
    chosen = sub.add_mutually_exclusive_group()
    for name, run, said in (
        (
            "--enable",
            enable,
            "by a systemd unit, start the lab whenever this machine boots, and the blades that were on",
        ),
        ("--disable", disable, "remove what --enable wrote"),
        ("--at-boot", start, "what that unit does: start the lab, switch on in waves what was on, and stay"),
    ):
        chosen.add_argument(name, dest="run_up", action="store_const", const=run, help=said)
    sub.add_argument("--dry-run", action="store_true", help="with --enable or --disable: only say what would be done")


def run(options: argparse.Namespace) -> int:
    """Do which of them was chosen. Raises ParameterError for a dry run of what has none."""
    if options.dry_run and options.run_up not in (enable, disable):
        raise ParameterError("--dry-run is of --enable and --disable", fix="./lab up --enable --dry-run")
    return int(options.run_up(options))


def enable(options: argparse.Namespace) -> int:
    """Write the unit and have it started at boot; the lab itself is left as it is."""
    lab, state = load_lab(options), find_state(options)
    name = unit.name_of(state.tag)
    is_real = lab.network.kind is NetworkKind.INTERFACE
    script = Path(labkit.__file__).resolve().parents[1] / "lab"
    if not script.is_file():
        fix = "call ./lab of a checkout, which a unit can start"
        raise MachineError("this labkit has no ./lab beside it", where=str(script), fix=fix)
    kept = {key: os.environ[key] for key in client.KEPT if os.environ.get(key) and "@" not in os.environ[key]}
    settings = {"LABKIT_LAB": str(lab.path), "LABKIT_STATE": str(state.path), **kept}
    text = unit.unit(
        f"labkit's lab {lab.name}",
        script,
        lab.path,
        settings,
        after=("network-online.target", *(("docker.service",) if is_real else ())),
        words=WORDS,
    )
    if options.dry_run:
        print(f"would write {systemd.FOLDER / name}, and enable it:\n\n{text}", end="")
    if is_real and not options.yes:
        what = "in a real lab the swarm's manager is this machine's own Docker engine, and that needs your yes"
        raise MachineError(what, where=str(lab.path), fix="./lab up --enable --yes")
    environment = [f"{key}={value}" for key, value in settings.items()]
    systemd.check(name, shlex.join(["env", *environment, str(script), *WORDS]))
    for key in sorted({blade.bmc.password_env for blade in lab.blades} - {""}):
        say(f"the unit will not have the password in ${key}: name a password_file in lab.yaml")
    if any(blade.bmc.password_keyring is not None for blade in lab.blades):
        say("the unit will not have the passwords in your keyring: name a password_file in lab.yaml")
    if not options.dry_run:
        print(f"written and enabled: {systemd.enable(name, text)}")
        print(f"The lab starts when this machine boots; now: systemctl start {name}")
    return 0


def disable(options: argparse.Namespace) -> int:
    """Remove the unit; a lab that is up stays so."""
    name = unit.name_of(find_state(options).tag)
    path = systemd.FOLDER / name
    systemd.check_ours(path)
    if not os.path.lexists(path):
        print(f"there is nothing to remove: no {path}")
    elif options.dry_run:
        print(f"would disable and remove {path}")
    else:
        print(f"removed: {systemd.disable(name)}")
    return 0


def start(options: argparse.Namespace) -> int:
    """Be the unit's process: bring the lab up and stay until it is down; 1 where it died. SIGTERM takes it down."""
    from labkit.servers.at_boot import switch_on

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a start that is broken off leaves nothing, as at Ctrl-C
    try:
        running = client.ensure_lab(options.lab, state_path=options.state, own_engine=options.yes, progress=say)
        systemd.tell_ready()
        if not switch_on.stay(running, say):
            raise MachineError("the lab ended, and nobody took it down", fix=f"look at {running.state.logs}")
        return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what has begun to go down in order does so
        lifecycle.down(find_state(options), say)
        return 0


def look(state: State) -> AtBoot:
    """What starts this lab when this machine boots."""
    return systemd.look(unit.name_of(state.tag))


def told(seen: AtBoot) -> str:
    """That in lines for a person."""
    lines = [f"at boot: {what}\n  fix: {fix}" for what, fix in seen.wrong]
    return "\n".join(lines or [f"at boot: {seen.what}"])


def clean(state: State) -> list[Path]:
    """Remove the unit of a lab that is removed. One that somebody has changed stays, and is named."""
    try:
        removed = systemd.disable(unit.name_of(state.tag))
    except MachineError as error:
        say(f"kept: {error}")
        return []
    return [removed] if removed else []

"""``./lab console`` and ``ssh``: into a blade, by its serial port and by its network."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from typing import NoReturn

from labkit.cli.answers import connect, say
from labkit.errors import MachineError, PowerError, on_file
from labkit.lab import ChassisKind, PowerKind
from labkit.lab.plain_text import printable
from labkit.servers import client


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives their parsers."""
    sub = verb("console", console, "a blade's serial console")
    sub.add_argument("blade")
    sub.add_argument("--log", action="store_true", help="print what it has said so far")
    sub = verb("ssh", ssh, "log in to a blade as core")
    sub.add_argument("blade")
    sub.add_argument("command", nargs=argparse.REMAINDER)


def console(options: argparse.Namespace) -> int:
    """Print what a blade's console has said, or become its serial port."""
    running = connect(options)
    (blade,) = client.choose_blades(running.lab, [options.blade])
    if options.log:
        path = running.state.console(blade.name)
        sys.stdout.write(printable(path.read_text(errors="replace")) if path.exists() else "")
        return 0
    if blade.bmc.kind is not PowerKind.IPMI and running.lab.chassis.kind is not ChassisKind.VIRTUAL:
        what = f"its serial port is reached over IPMI, and lab.yaml has bmc: {{kind: {blade.bmc.kind}}}"
        raise PowerError(what, where=blade.name, fix=f"./lab ssh {blade.name} logs in to its system")
    say(f"the serial port of {blade.name} over IPMI; leave with ~. at the start of a line")
    os.environ["IPMI_PASSWORD"] = client.bmc_password(running.lab, running.state, blade).reveal()
    bmc = blade.bmc
    command = [
        "ipmitool",
        "-I",
        "lanplus",
        "-C",
        "3",
        "-H",
        bmc.address,
        "-p",
        str(bmc.ipmi_port),
        "-U",
        bmc.user,
        "-E",
    ]
    _become("ipmitool", [*command, "sol", "activate"])


def ssh(options: argparse.Namespace) -> int:
    """Become a shell on a blade, as core."""
    from labkit.servers.blade_shell import ssh_command

    running = connect(options)
    (blade,) = client.choose_blades(running.lab, [options.blade])
    key = running.state.ssh_key
    with on_file(key):
        os.chdir(key.parent)
    _become("ssh", [*ssh_command(running.state, blade), *options.command])


def _become(program: str, command: list[str]) -> NoReturn:
    """Run a program in our place. Raises MachineError where it is not installed."""
    if shutil.which(program) is None:
        raise MachineError(f"{program} is not installed", fix="./lab setup installs what labkit uses")
    sys.stdout.flush()
    os.execvp(program, command)

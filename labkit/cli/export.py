"""``./lab export``: the lab's plan as configuration for those who keep their own servers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from labkit.boot import export as servers
from labkit.boot.export import dnsmasq, isc_dhcp, kea, matchbox, nginx
from labkit.cli import arguments
from labkit.cli.answers import find_state, load_lab
from labkit.errors import ParameterError, on_file
from labkit.lab import Lab
from labkit.servers import client

ONE_FILE = {"dnsmasq": dnsmasq, "isc-dhcp": isc_dhcp, "kea": kea, "nginx": nginx}
MATCHBOX = "matchbox"
FILES = "/srv/labkit"
"""Where the boot files lie on such a server, unless a person says otherwise; matchbox has a place of its own."""


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb with ``verb(name, run, words)``, which gives its parser."""
    sub = verb("export", export, "its blades as configuration for servers of your own")
    sub.add_argument("server", choices=[*ONE_FILE, MATCHBOX])
    sub.add_argument(
        "--to", type=arguments.path, metavar="FOLDER", help="write it there; without it a single file is printed"
    )
    sub.add_argument(
        "--files", default="", metavar="FOLDER",
        help=f"where the boot files lie on that server (default: {FILES}; {matchbox.ASSETS} for matchbox)",
    )  # fmt: skip


def export(options: argparse.Namespace) -> int:
    """Print the configuration, or write its files into a folder. Raises ParameterError where it cannot be had."""
    from labkit.machines.host import uplink
    from labkit.netboot.dhcp.full_server import LEASE_S

    if options.server == MATCHBOX and options.to is None:
        raise ParameterError("matchbox reads several files", fix="./lab export matchbox --to FOLDER")
    lab = uplink.completed(load_lab(options))
    client.choose_blades(lab, None)
    default = matchbox.ASSETS if options.server == MATCHBOX else FILES
    wanted = servers.Wanted(lab, options.files or default, LEASE_S)
    if options.server == MATCHBOX:
        return _write(options.to, matchbox.render(wanted, lambda: _plans(options, lab)))
    server = ONE_FILE[options.server]
    text = server.render(wanted)
    if options.to is not None:
        return _write(options.to, {server.FILE: text})
    print(text, end="")
    return 0


def _plans(options: argparse.Namespace, lab: Lab) -> matchbox.Plans:
    """Each blade's plan, as ``./lab explain`` shows it. Raises PlanError, and ImageError for a missing release."""
    from labkit.netboot import plans

    state = find_state(options)
    return {b.name: plans.prepare(lab, state, b)[0] for b in lab.blades}


def _write(folder: Path, files: Mapping[str, str]) -> int:
    for name, text in files.items():
        target = folder / name
        with on_file(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        print(target)
    return 0

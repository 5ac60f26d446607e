"""Looks into units as a person who knows systemd would: unknown keys, and orders that do not hold at shutdown.

Sources: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.socket(5), systemd.mount(5),
systemd.timer(5), systemd.path(5); the keys are those of systemd 252 and newer.
"""

from __future__ import annotations

import re
from typing import Any

from . import unitfile
from .describe import Unit, describe
from .report import Entry, Findings, IgnitionError, Path, Report
from .unitkeys import KEYS, SECTIONS

#: commands and the unit that has to be up while they run
NEEDS = {
    "docker": "docker.service",
    "docker-compose": "docker.service",
    "ctr": "containerd.service",
    "etcdctl": "etcd-member.service",
    "curl": "network-online.target",
    "wget": "network-online.target",
}


def lint(config: dict[str, Any]) -> Report:
    """Warnings about the units of a config; an empty report if there is nothing to say of it."""
    found = Findings()
    try:
        units = describe(config).units
    except IgnitionError:
        return Report()
    names = {unit.name for unit in units}
    for index, unit in enumerate(units):
        path: Path = ("systemd", "units", index)
        _check_keys(unit.name, unit.contents or "", (*path, "contents"), found)
        for at, (_, text) in enumerate(unit.dropins):
            _check_keys(unit.name, text, (*path, "dropins", at, "contents"), found)
        if unit.contents:
            _check_service(unit, (*path, "contents"), found)
        _check_stop_order(unit, names, (*path, "contents"), found)
    return Report(tuple(found.entries))


def _warn(found: Findings, path: Path, message: str, fix: str) -> None:
    found.entries.append(Entry("warning", message, path, fix=fix))


def _check_keys(unit: str, text: str, path: Path, found: Findings) -> None:
    kind = unitfile.suffix(unit).removeprefix(".")
    allowed = SECTIONS.get(kind, ("Unit", "Install"))
    for option in unitfile.parse(text)[0]:
        section, name = option.section, option.name
        if section.startswith("X-") or name.startswith("X-"):
            continue
        if section not in allowed:
            fitting = f"a .{kind} has {', '.join(f'[{each}]' for each in allowed)}"
            _warn(found, path, f"unknown section [{section}] in {unit}, systemd ignores it", fitting)
        elif name not in KEYS[section]:
            near = next((key for key in KEYS[section] if key.casefold() == name.casefold()), "")
            elsewhere = next((each for each in allowed if name in KEYS[each]), "")
            fix = f"write {near}=" if near else f"move it to [{elsewhere}]" if elsewhere else "check the spelling"
            _warn(found, path, f"unknown key {name}= in section [{section}] of {unit}, systemd ignores it", fix)


def _check_service(unit: Unit, path: Path, found: Findings) -> None:
    if unitfile.suffix(unit.name) != ".service" or unit.masked:
        return
    starts = _commands(unit, "ExecStart")
    kinds = unit.values("Service", "Type")
    oneshot = kinds[-1:] == ["oneshot"]
    if not starts and not _commands(unit, "ExecStop") and not any(o.section == "Service" for o in unit.options):
        _warn(found, path, f"{unit.name} has no [Service] section", "add [Service] with ExecStart=")
    elif not starts and not unit.values("Service", "RemainAfterExit"):
        _warn(
            found, path, f"{unit.name} has no ExecStart=, so it cannot start", "add ExecStart=, or RemainAfterExit=yes"
        )
    if len(starts) > 1 and not oneshot:
        _warn(
            found,
            path,
            f"{unit.name} has more than one ExecStart=, which only Type=oneshot may have",
            "add Type=oneshot",
        )
    if starts and _commands(unit, "ExecStop") and oneshot and unit.values("Service", "RemainAfterExit")[-1:] != ["yes"]:
        text = f"{unit.name} ends as soon as it has started, so its ExecStop= runs at once and not at shutdown"
        _warn(found, path, text, "add RemainAfterExit=yes")


def _commands(unit: Unit, name: str) -> list[str]:
    return [o.value for o in unit.options if (o.section, o.name) == ("Service", name) and o.value]


def _check_stop_order(unit: Unit, names: set[str], path: Path, found: Findings) -> None:
    """Units stop in the reverse of the order they start in, and without an order all at once."""
    after = set(unit.values("Unit", "After"))
    for command in _commands(unit, "ExecStop") + _commands(unit, "ExecStopPost"):
        for needed in _needed(command):
            if needed in after or needed == unit.name:
                continue
            text = (
                f"{unit.name} runs `{' '.join(command.split())}` when it stops, but is not ordered after {needed}: "
                f"at shutdown {needed} may be stopped first, and the command fails"
            )
            _warn(found, path, text, f"add to [Unit]: After={needed} and Requires={needed}")


def _needed(command: str) -> list[str]:
    words = re.findall(r"[\w./-]+", command)
    programs = [word.rpartition("/")[2] for word in words]
    return sorted({NEEDS[program] for program in programs if program in NEEDS})

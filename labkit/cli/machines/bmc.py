"""``./lab power sensors``, ``log`` and ``identify``: what a blade's controller measures, has noted and can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from labkit.cli.answers import answer, say
from labkit.errors import PowerError
from labkit.lab import Blade
from labkit.machines.power import readings, ways
from labkit.machines.power.readings import Entry, Reading
from labkit.servers import blade_power
from labkit.servers.client import RunningLab

VERBS = ("sensors", "log", "identify", "identify-off")
_DONE = {"identify": "its lamp is lit", "identify-off": "its lamp is out"}
_ASKED = {"sensors": "what it measures", "log": "its event log"}


def run(running: RunningLab, blades: Sequence[Blade], verb: str, *, named: bool, as_json: bool) -> int:
    """Ask each blade's controller, one after the other, or switch its lamp; 1 where one did not answer.

    Blades without a controller are passed over where nobody has ``named`` them. Raises PowerError of a single blade.
    """
    asked = [blade for blade in blades if named or blade.bmc.has_password] or list(blades)
    found: list[dict[str, Any]] = []
    failed = 0
    for blade in asked:
        try:
            rows = _ask(running, blade, verb)
        except PowerError as error:
            if len(asked) == 1:
                raise
            failed = 1
            say(str(error))
            continue
        if as_json:
            found.append({"blade": blade.name, verb: [asdict(row) for row in rows]})
        elif verb in _DONE:
            print(f"{blade.name}: {_DONE[verb]}", flush=True)
        else:
            print("\n".join(_table(blade.name, rows)) if rows else f"{blade.name}: {_none(verb)}", flush=True)
    if as_json:
        answer(found, True, "")
    return failed


def dry_run(blade: Blade, verb: str) -> str:
    """What would be asked, or lit. Raises PowerError for a blade without a controller."""
    ways.check_controller(blade.name, blade.bmc, "identify lamp" if verb in _DONE else verb)
    by = ways.way(blade.bmc, "on")
    if verb in _ASKED:
        return f"{blade.name}: would press nothing, and ask for {_ASKED[verb]} by {by}"
    return f"{blade.name}: would {'light' if verb == 'identify' else 'put out'} its lamp by {by}"


def _ask(running: RunningLab, blade: Blade, verb: str) -> Sequence[Reading | Entry]:
    if verb == "sensors":
        return blade_power.sensors(running.lab, running.state, blade)
    if verb == "log":
        return blade_power.log(running.lab, running.state, blade)
    blade_power.identify(running.lab, running.state, blade, on=verb == "identify")
    return ()


def _none(verb: str) -> str:
    return "its BMC measures nothing" if verb == "sensors" else "its BMC has noted nothing"


def _table(name: str, rows: Sequence[Reading | Entry]) -> list[str]:
    lines = [_words(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    padded = ("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines)
    return [f"{name}:", *(f"  {line.rstrip()}" for line in padded)]


def _words(row: Reading | Entry) -> tuple[str, str, str]:
    if isinstance(row, Entry):
        return row.time, row.state, row.text
    limit = f" (limit {readings.amount(row.limit, row.unit)})" if row.limit is not None else ""
    return row.name, readings.amount(row.value, row.unit), f"{row.state}{limit}"

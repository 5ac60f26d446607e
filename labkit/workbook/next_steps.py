"""What to do next, in two or three lines: what a verb that brings something up ends with.

PURE: what is known comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkit.events.stages import STAGES, LabState
from labkit.lab import Lab

WORKBOOK = ("./lab workbook", "open the notebooks in JupyterLab")
WATCH = ("./lab watch", "see it live, in your browser")
MACHINES = ("./lab machines", "switch a machine on: what asked to boot is listed, and can be adopted")
DOWN = ("./lab down", "end the lab and everything it started")


def url(address: object, port: int) -> str:
    """A page's address as a terminal and a notebook make it a link; port 80 needs no number (RFC 9110, 4.2.1)."""
    return f"http://{address}" + (f":{port}" if port != 80 else "")


def pages(lab: Lab, port: int, names: Sequence[str]) -> dict[str, str]:
    """The address of the page at each of these blades, by name, in the lab's order."""
    return {blade.name: url(blade.address, port) for blade in lab.blades if blade.name in names}


def after_run(links: Mapping[str, str]) -> str:
    """For the end of a run; ``links`` are the pages that answered, by blade."""
    page = [(next(iter(links.values())), "open the page; every blade's address shows it")] if links else []
    return _lines([*page, WORKBOOK, DOWN])


def after_up(lab: Lab) -> str:
    """For a lab that was brought up, and whose blades are as they were."""
    if not lab.blades:
        return _lines([MACHINES, WATCH, DOWN])
    boot = ("./lab run", "boot the blades and put nginx on them, chapter by chapter")
    return _lines([boot, WORKBOOK, ("./lab power on", "only switch the blades on"), WATCH, DOWN])


def after_power(names: Sequence[str], state: str) -> str:
    """For blades whose button was pressed."""
    first, glance = names[0], ("./lab status", "all blades at a glance")
    if state in ("on", "reset"):
        return _lines([(f"./lab why {first}", f"see how far {first} has come"), glance, WATCH])
    return _lines([(f"./lab power on {first}", "boot it again"), glance])


def after_reset() -> str:
    """For notebooks that are as they came. JupyterLab shows what it has until it is told to read the file again."""
    return _lines([WORKBOOK, ("File ▸ Reload Notebook from Disk", "where it is open in JupyterLab already")])


def after_doctor(*, up: bool) -> str:
    """For a machine that nothing is wrong with."""
    return _lines([("./lab power on", "boot the blades") if up else ("./lab up", "start the lab"), WORKBOOK])


def after_rehearsal(name: str) -> str:
    """For a blade whose rehearsal went well."""
    return _lines([(f"./lab power on {name}", "boot it")])


def after_init() -> str:
    """For a lab file that has just been written, without a blade."""
    return _lines([
        ("./lab images fetch flatcar", "fetch what they boot, unless lab.yaml is to name another system"),
        ("sudo ./lab doctor", "look whether anything is in the way"),
        ("./lab up --yes", "start the lab, with this machine's engine as the swarm's manager; then switch machines on"),
        ("./lab machines", "see which have asked, and how each becomes a blade"),
    ])  # fmt: skip


def after_machines(mac: str) -> str:
    """For machines that are not in the lab file; ``mac`` is a card of one."""
    return _lines([
        (f"./lab adopt {mac}", "write it into lab.yaml, as a blade"),
        ("./lab adopt --all", "write all of them that asked to boot"),
    ])  # fmt: skip


def after_adoption(added: Sequence[str], *, is_up: bool, is_known: bool) -> str:
    """For a lab file with other blades. Nothing where the lab that is up said already what there is to do."""
    if not is_up:
        return _lines([("./lab up", "start the lab with it")])
    if not is_known or not added:
        return ""
    return _lines([(f"./lab power on {' '.join(added)}", "boot it" if len(added) == 1 else "boot them"), WATCH])


def after_images() -> str:
    """For images that are all there."""
    return _lines([("./lab up", "start the lab that boots from them")])


def from_here(lab: Lab, state: LabState, ports: Mapping[str, Sequence[int]], *, wrong: bool) -> str:
    """For a lab as it is. ``ports`` are those that services have published, by service; ``wrong`` is whether a part of
    the lab is down or does not answer.
    """
    if wrong:
        return _lines([("./lab doctor", "look into what does not answer"), DOWN])
    found = {blade.name: state.blade(blade.name) for blade in lab.blades}
    on_the_way = [name for name, blade in found.items() if blade.stage in STAGES]
    joined = [name for name, blade in found.items() if blade.stage == "joined"]
    steps = [(f"./lab why {on_the_way[0]}", f"see what {on_the_way[0]} is waiting for")] if on_the_way else []
    lost = [name for name, blade in found.items() if blade.lost]
    steps += [(f"./lab why {lost[0]}", f"see what {lost[0]} has lost since its last boot")] if lost else []
    if not lab.blades:
        steps.append(MACHINES)
    elif not joined and not on_the_way:
        steps.append(("./lab power on", "switch the blades on; ./lab run does that and all that follows"))
    if joined:
        blade = lab.blade(joined[0])
        shown = [(url(blade.address, port), f"the page of '{name}'") for name, its in ports.items() for port in its]
        steps += shown or [("./lab run 04", "put nginx on the blades")]
    steps += [WATCH] if on_the_way else []
    return _lines([*steps, WORKBOOK, DOWN])


def _lines(steps: Sequence[tuple[str, str]]) -> str:
    width = max(len(command) for command, _ in steps)
    return "\n".join(["Next:", *(f"  {command.ljust(width)}   {words}" for command, words in steps)])

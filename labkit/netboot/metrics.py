"""What the boot server has done so far, in numbers, as Prometheus reads them (text format 0.0.4).

The counters are fed by the events that go into the stream, so both always agree. Labels come from fixed sets: no name,
no address, no path and no secret gets in here, and the number of lines is bounded.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from labkit.events import BootStarted, Dhcp, Event, Phoned, Ticket, Transfer, Trouble, UnknownMachine
from labkit.lab.plain_text import harmless

CONTENT_TYPE = "text/plain; version=0.0.4"

HELP = {
    "labkit_dhcp_messages_total": "DHCP messages heard, by type and by what they were answered with",
    "labkit_transfers_total": "transfers of files, by protocol and state; started ones appear again when they end",
    "labkit_transfer_bytes_total": "bytes of files that were sent, of transfers that have ended",
    "labkit_transfer_seconds_total": "how long the transfers took that have ended, all together",
    "labkit_boots_total": "boots that began, by what began them",
    "labkit_tickets_total": "tickets, redeemed and refused",
    "labkit_phoned_total": "messages of booted blades, by stage",
    "labkit_unknown_machines_total": "machines that asked to boot and are not in the lab",
    "labkit_troubles_total": "troubles, by the part that had them",
}
GAUGES = {
    "labkit_http_large_running": "large files that are being sent over HTTP",
    "labkit_http_large_waiting": "large files that wait for their turn",
    "labkit_start_time_seconds": "when the boot server started, in seconds since the epoch",
}

SWARM = {
    "labkit_swarm_nodes": "members of the swarm, by role and state",
    "labkit_swarm_managers": "managers that can be reached, and how many are needed to change anything",
    "labkit_swarm_services": "services of which every replica runs, and the others",
    "labkit_swarm_replicas": "replicas that run, and that are wanted",
    "labkit_swarm_memory_bytes": "memory of the nodes that take tasks, and what services have reserved of it",
    "labkit_swarm_cpus": "processors of the nodes that take tasks, and what services have reserved of them",
}
"""What swarmd tells (`labkit.swarm.observe.numbers`); nothing of it while there is no swarm, or no answer."""

SENSORS = {
    "labkit_blade_temperature_celsius": "the hottest temperature that a blade's BMC measures, by slot",
    "labkit_blade_fan_rpm": "the slowest fan of a blade in turns a minute, by slot",
    "labkit_blade_fan_percent": "the slowest fan of a blade of which its BMC tells a percentage, by slot",
    "labkit_blade_power_watts": "the power that a blade takes, by slot",
    "labkit_blade_sensors": "sensors of a blade, by slot and by its BMC's judgement",
    "labkit_blade_too_hot": "whether a temperature of a blade is above its BMC's limit, by slot",
}
"""What sensord tells (`labkit.machines.power.measured.numbers`); nothing of it in a virtual chassis."""

Answers = Mapping[str, Mapping[str, str]]
"""By part and listener: empty where it answers, else why it does not (`labkit.diagnosis.listeners`)."""

ANSWERS = "labkit_listener_answers"
ANSWERS_HELP = "whether a listener answered when last asked; a part that does not run has none"

Labels = tuple[tuple[str, str], ...]


class Counters:
    """The totals so far. Safe to use from several threads. ``answers`` is what the lab's listeners last answered."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self._totals: Counter[tuple[str, Labels]] = Counter()
        self._lock = threading.Lock()

    def count(self, event: Event) -> None:
        """Count one event."""
        with self._lock:
            for name, labels, amount in _counted(event):
                self._totals[name, labels] += amount  # type: ignore[assignment]  # seconds are floats

    def counted(self, emit: Callable[[Event], None]) -> Callable[[Event], None]:
        """A way to ``emit`` on which every event is counted."""

        def emit_counted(event: Event) -> None:
            self.count(event)
            emit(event)

        return emit_counted

    def totals(self) -> dict[tuple[str, Labels], float]:
        """What there is to tell, by name and labels."""
        with self._lock:
            return dict(self._totals)


def _counted(event: Event) -> list[tuple[str, Labels, float]]:
    """What an event adds to which counter."""
    match event:
        case Dhcp():
            return [("labkit_dhcp_messages_total", (("message", event.message), ("reply", event.reply or "none")), 1)]
        case Transfer(state="moving"):
            return []  # it is counted when it has ended
        case Transfer():
            protocol = ("protocol", event.protocol)
            counted: list[tuple[str, Labels, float]] = [
                ("labkit_transfers_total", (protocol, ("state", event.state)), 1)
            ]
            if event.state in ("done", "failed"):
                counted.append(("labkit_transfer_bytes_total", (protocol,), event.sent_b))
                counted.append(("labkit_transfer_seconds_total", (protocol,), event.seconds))
            return counted
        case BootStarted():
            return [("labkit_boots_total", (("cause", event.cause),), 1)]
        case Ticket():
            return [("labkit_tickets_total", (("state", event.state),), 1)]
        case Phoned():
            return [("labkit_phoned_total", (("stage", event.stage),), 1)]
        case UnknownMachine():
            return [("labkit_unknown_machines_total", (), 1)]
        case Trouble():
            return [("labkit_troubles_total", (("part", event.part),), 1)]
    return []


def render(
    totals: Mapping[tuple[str, Labels], float],
    gauges: Mapping[str, float],
    answers: Answers | None = None,
    told: Sequence[tuple[str, Mapping[str, str], float]] = (),
) -> str:
    """The page: every counter and gauge with its help and type, its lines in order.

    ``told`` has names, labels and values of `SWARM` and `SENSORS`; of another name nothing is told.
    """
    lines: list[str] = []
    for name, text in HELP.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        lines += [
            f"{name}{_shown(labels)} {total:.10g}" for (own, labels), total in sorted(totals.items()) if own == name
        ]
    for name, value in gauges.items():
        lines += [f"# HELP {name} {GAUGES[name]}", f"# TYPE {name} gauge", f"{name} {value:.10g}"]
    lines += [f"# HELP {ANSWERS} {ANSWERS_HELP}", f"# TYPE {ANSWERS} gauge"]
    for part, heard in sorted((answers or {}).items()):
        labels = [_shown((("part", part), ("listener", name))) + f" {int(not why)}" for name, why in heard.items()]
        lines += [ANSWERS + one for one in labels]
    for table in (SWARM, SENSORS):
        for name, text in table.items() if any(own in table for own, _, _ in told) else ():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [
                f"{name}{_shown(tuple(labels.items()))} {value:.10g}" for own, labels, value in told if own == name
            ]
    return "\n".join(lines) + "\n"


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    plain = harmless(value).encode("utf-8", "replace").decode()
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

"""The stream of events folded into the state of a lab and its blades (`labkit.events.stages`). PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

from labkit import events
from labkit.events import Event, part_deaths
from labkit.events.stages import NOTHING, BladeState, Fetched, LabState, is_only_tried, step_of

KEPT_REFUSALS = 8
KEPT_BOOTS = 8
KEPT_STRANGERS = 16
ROOTS = (events.DOCKER, events.EMERGENCY)
"""Units whose failing explains that of others."""


def fold(state: LabState, event: Event) -> LabState:
    """The state after one more event. Pure, and total: an event it has no use for changes nothing."""
    if isinstance(event, events.LabEvent):
        if event.state == "starting":
            told = (blade for blade in state.blades.values() if blade.inventory is not None)
            return LabState(blades={one.blade: BladeState(one.blade, inventory=one.inventory) for one in told})
        return replace(state, up=event.state == "up")
    if isinstance(event, events.Blades):  # what is called so again later is another
        return replace(state, blades={name: blade for name, blade in state.blades.items() if name not in event.removed})
    if event.boot == events.REHEARSAL:
        return state
    if isinstance(event, events.Clock):
        return _moved(state, event.by_s)
    if not event.blade:
        return _fold_lab(state, event)
    old = state.blade(event.blade)
    new = _fold_blade(old, event)
    if isinstance(event, events.BootStarted):
        new = replace(new, before=_in_a_row(state, old, event))
    return state if new is old else replace(state, blades={**state.blades, event.blade: new})


MOMENTS = tuple(one.name for one in fields(BladeState) if one.type == "float")
"""The times of a `BladeState`."""


def _moved(state: LabState, by_s: float) -> LabState:
    """The state by a clock that was set: what has happened stays as long ago as it is."""

    def moved(blade: BladeState) -> BladeState:
        times = {name: getattr(blade, name) + by_s for name in MOMENTS if getattr(blade, name)}
        return replace(blade, **times, before=tuple(map(moved, blade.before)))

    deaths = {part: tuple(replace(one, time=one.time + by_s) for one in row) for part, row in state.deaths.items()}
    blades = {name: moved(blade) for name, blade in state.blades.items()}
    return replace(state, blades=blades, swarm=state.swarm + by_s if state.swarm else 0.0, deaths=deaths)


def fold_all(stream: Iterable[Event]) -> LabState:
    """The state after a whole stream."""
    state = LabState()
    for event in stream:
        state = fold(state, event)
    return state


def _fold_lab(state: LabState, event: Event) -> LabState:
    match event:
        case events.UnknownMachine():
            others = {mac: one for mac, one in state.strangers.items() if mac != event.mac}
            while len(others) >= KEPT_STRANGERS:
                del others[next(iter(others))]
            return replace(state, strangers={**others, event.mac: event})
        case events.Part(state="died"):
            deaths = {**state.deaths, event.part: part_deaths.row(state.deaths.get(event.part, ()), event)}
            return replace(state, dead=state.dead | {event.part}, deaths=deaths)
        case events.Part(state="silent"):
            return replace(state, dead=state.dead | {event.part})
        case events.Part(state="started" | "answers") if event.part in state.dead:
            return replace(state, dead=state.dead - {event.part})
        case events.Swarm(action="gone"):
            return replace(state, swarm=0.0, silent=None)
        case events.Swarm(action="silent"):
            return replace(state, silent=event)
        case events.Swarm() if state.silent is not None or not state.swarm:
            return replace(state, swarm=state.swarm or event.time, silent=None)
        case _:
            return state


def _in_a_row(state: LabState, old: BladeState, event: events.BootStarted) -> tuple[BladeState, ...]:
    """The boots before the one that begins now that ended by themselves, one after the other.

    A button that somebody pressed, a shutdown in order, a blade that had joined, and a boot under which the lab's own
    boot server died end the row.
    """
    served = all(death.time < old.began for death in state.deaths.get("bootd", ())[-1:])
    by_itself = event.cause == "pxe" and bool(old.boot) and old.power == "on" and not (old.leaving or old.left)
    if not by_itself or old.joined or not served:
        return ()
    ended = replace(old, over=event.time, before=())
    return (*old.before, ended)[-KEPT_BOOTS:]


def _between_boots(old: BladeState) -> BladeState:
    """What is known of a blade whatever it boots."""
    return BladeState(old.blade, mac=old.mac, held=old.held, measured=old.measured, inventory=old.inventory)


def _fold_blade(old: BladeState, event: Event) -> BladeState:
    match event:
        case events.BootStarted():
            # Our own power-on begins a boot before the machine runs; a reboot begins with the firmware's first message.
            # A real slot's power-on is known without a boot: the firmware's first message is that boot's.
            is_awaited = old.power == "on" and not old.boot
            return replace(
                _between_boots(old), boot=event.boot, power=old.power if event.cause == "power" else "on",
                began=old.began if is_awaited else event.time, heard=event.time, doing="boot began",
            )  # fmt: skip
        case events.Power(state="on"):
            now = _between_boots(old) if old.over else old
            return replace(now, power="on", began=event.time, heard=event.time, doing="power on")
        case events.Power(state="off"):
            words = event.detail or "power off"
            is_cut = event.detail in ("", events.CUT)
            return replace(old, power="off", over=event.time, cut=is_cut, heard=event.time, doing=words, failed=None)
        case events.Power():
            return replace(old, doing=event.state, failed=None if event.state == "reset" else old.failed)
        case events.Dhcp():
            return _fold_dhcp(old, event)
        case events.Transfer():
            return _fold_transfer(old, event)
        case events.Phoned(stage="os" | "joined"):
            return _fold_phoned(old, event)
        case events.Ticket():
            failed = old.failed if event.state == "refused" else None  # there is an engine that joins
            return replace(old, ticket=event, heard=event.time, doing=f"ticket {event.state}", failed=failed)
        case events.Leave(step="left" | "removed"):
            return replace(
                old, left=old.left or event.time, leaving=True, heard=event.time, doing=f"leave: {event.step}"
            )
        case events.Leave():
            return replace(old, leaving=True, heard=event.time, doing=f"leave: {event.step}")
        case events.Held(state="held"):
            return replace(old, held=event.detail, doing="it is held")
        case events.Held():  # and a new count begins
            return replace(old, held="", before=(), doing="it was let go")
        case events.Trouble(part=events.DISK):  # it boots all the same
            return replace(old, without_disk=event)
        case events.Trouble(part=events.SENSORS):  # of its controller, not of its boot
            return old
        case events.Trouble():
            return replace(old, troubled=event)
        case events.Stuck():
            return replace(old, stuck=event)
        case events.Swarm(action="lost-removed" | "removed") if _runs(old, event):
            return replace(old, removed=event.time, doing="off the swarm's list")
        case events.Swarm(action="joined" | "ready") if old.removed and event.boot == old.boot:
            return replace(old, removed=0.0, doing="joined the swarm again")
        case events.Measured():
            return replace(old, measured=event)
        case events.UnitFailed():
            # What needs Docker fails after it, and says less of why.
            is_after = old.failed is not None and old.failed.unit in ROOTS and event.unit not in ROOTS
            failed = old.failed if is_after else event
            return replace(old, failed=failed, heard=event.time, doing=str(failed))
        case events.Inventoried():
            return replace(old, inventory=event, heard=event.time)
        case events.HardwareChange(state="worse"):
            return replace(old, lost=(*old.lost, event)[-KEPT_REFUSALS:])
        case events.Space():
            return replace(old, full=event if event.state == "full" else None, heard=event.time)
        case _:
            return old


def _runs(old: BladeState, event: events.Swarm) -> bool:
    """Whether a node that was taken off the list is that of a boot that runs and did not leave."""
    return event.boot == old.boot and old.power != "off" and bool(old.joined) and not (old.leaving or old.left)


def _fold_dhcp(old: BladeState, event: events.Dhcp) -> BladeState:
    network = event.time if event.client == "os" and old.kernel and not old.network else old.network
    return replace(
        old, dhcp=old.dhcp or event.time, network=network, mac=event.mac, address=event.address or old.address,
        asked=event, heard=event.time, doing=f"DHCP {event.message}" + (f" → {event.reply}" if event.reply else ""),
    )  # fmt: skip


def _fold_transfer(old: BladeState, event: events.Transfer) -> BladeState:
    others = {path: one for path, one in old.fetching.items() if path != event.path}
    refused = old.refused
    if event.state == "failed" or (event.state == "missing" and not is_only_tried(event.path)):
        refused = (*refused, event)[-KEPT_REFUSALS:]
    if event.state == "missing":
        return replace(old, refused=refused, heard=event.time)
    step = step_of(event.path)
    fetched, sent_b = old.fetched, old.sent_b
    if event.state in ("done", "failed"):
        sent_b += event.sent_b
    if event.state == "done" and event.sent_b:
        had = fetched.get(step, NOTHING)
        now = Fetched(had.files + 1, had.sent_b + event.sent_b, had.seconds + event.seconds)
        fetched = {**fetched, step: now}
    if event.state == "started":
        others[event.path] = event
    elif event.state == "moving":
        began = old.fetching.get(event.path, event).time
        others[event.path] = replace(event, time=began)
    # What a booted system fetches later begins no earlier step anew.
    return replace(
        old,
        loader=old.loader or (event.time if step == "loader" and not (old.config or old.kernel) else 0.0),
        config=old.config or (event.time if step == "config" and not old.kernel else 0.0),
        kernel=old.kernel or (event.time if step == "kernel" else 0.0),
        initrd=old.initrd or (event.time if step == "initrd" else 0.0),
        sent_b=sent_b, fetched=fetched, fetching=others, refused=refused, heard=event.time,
        got=event.time if event.state == "done" else old.got,
        doing=f"{event.protocol} {event.state}: {event.path}",
    )  # fmt: skip


def _fold_phoned(old: BladeState, event: events.Phoned) -> BladeState:
    started = event.time - event.uptime_s if event.uptime_s >= 0 else 0.0  # when its kernel started
    init = started + event.init_s if started and event.init_s >= 0 else old.init or started
    ignition = started + event.ignition_s if started and event.ignition_s >= 0 else old.ignition
    return replace(
        old, init=old.init or init, ignition=old.ignition or ignition, os=old.os or event.time,
        joined=old.joined or (event.time if event.stage == "joined" else 0.0), heard=event.time,
        troubled=None if old.is_unbelieving else old.troubled, clock=event.clock or old.clock,
        removed=0.0 if event.stage == "joined" else old.removed,
        failed=None if event.stage == "joined" else old.failed,
        address=event.address or old.address, doing="joined the swarm" if event.stage == "joined" else "the OS is up",
    )  # fmt: skip

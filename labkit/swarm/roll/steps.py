"""A roll as a state machine: the roll, what is seen now and the moment in; the roll after it, and what to do, out.

PURE. A blade's turn goes

====================  ================================================================================================
``waiting``           until its turn may begin (`may_begin`): each service that was whole is, and the quorum stands it
``draining``          it is emptied, until each service that was whole is whole without it; a blade that is in no
                      swarm has nothing to empty
``leaving``           its soft button was pressed: it leaves the swarm, shuts down, and is off
``booting``           it was switched on, until this boot is a Ready node of the swarm, with the version it should have
``settling``          until its node is in order, a manager's role and the quorum are back, and all services are whole
``done``, ``failed``  over
====================  ================================================================================================

Only one blade is emptied and leaves at a time, also with ``parallel``: two that leave at once could take both replicas
of a service along. The first turn that fails lets no other begin; those under way are brought to their end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from labkit.swarm.membership.quorum import quorum, why_not
from labkit.swarm.roll.turns import (
    UNDER_WAY,
    Action,
    Drain,
    DrainNow,
    Phase,
    Press,
    Roll,
    Seen,
    Tell,
    Turn,
    Undrain,
)

SETTLE_S = 5.0
"""How long all must have been in order before the next turn begins: a replica that dies at once is not well."""
STUBBORN_S = 60.0
"""A blade that never was in the swarm in this boot, and does not go off within this time, is reset."""


def step(roll: Roll, seen: Seen, now: float) -> tuple[Roll, tuple[Action, ...]]:
    """The roll after one more look, and what is to be done now, in this order."""
    actions: list[Action] = []
    turns = []
    for turn in roll.turns:
        moved, todo = _move(roll, turn, seen, now) if turn.phase in UNDER_WAY else (turn, ())
        turns.append(moved)
        actions += todo
    roll = replace(roll, turns=tuple(turns))
    failed = next((turn for turn in roll.turns if turn.phase is Phase.FAILED), None)
    if failed is not None and not roll.stopped:
        roll = replace(roll, stopped=f"{failed.blade}: {failed.why}")
    begun, todo = _begin_next(roll, seen, now)
    return begun, (*actions, *todo)


def give_up(roll: Roll, blade: str, why: str) -> tuple[Roll, tuple[Action, ...]]:
    """A blade's turn has failed by what could not be done, such as pressing its button."""
    turns = tuple(replace(turn, phase=Phase.FAILED, why=why) if turn.blade == blade else turn for turn in roll.turns)
    stopped = roll.stopped or f"{blade}: {why}"
    return replace(roll, turns=turns, stopped=stopped), (Tell(blade, Phase.FAILED, why),)


# --- beginning --------------------------------------------------------------------------------------------------------


def _begin_next(roll: Roll, seen: Seen, now: float) -> tuple[Roll, tuple[Action, ...]]:
    actions: list[Action] = []
    while roll.waiting and not roll.stopped:
        turn = roll.waiting[0]
        closed = may_begin(roll, turn, seen)
        if closed:
            if roll.under_way:
                return replace(roll, idle=None), tuple(actions)
            idle = now if roll.idle is None else roll.idle
            if now - idle >= roll.limit_s:
                why = f"not begun within {roll.limit_s:g} s: {closed}"
                return replace(roll, stopped=f"{turn.blade}: {why}"), (*actions, Tell(turn.blade, Phase.WAITING, why))
            if roll.idle is None:
                actions.append(Tell(turn.blade, Phase.WAITING, closed))
            return replace(roll, idle=idle), tuple(actions)
        begun, todo = _begin(turn, seen, now)
        roll = replace(roll, idle=None, turns=tuple(begun if one is turn else one for one in roll.turns))
        actions += todo
    return roll, tuple(actions)


def may_begin(roll: Roll, turn: Turn, seen: Seen) -> str:
    """Why a blade's turn must not begin yet, or an empty string when it may."""
    if seen.silent:
        return seen.silent
    if len(roll.under_way) >= roll.parallel:
        return f"{_names(roll.under_way)} first"
    away = _still_leaving(roll, seen)
    if away:
        return f"{away} has not left yet"
    if broken := not_whole(roll, seen):
        return broken
    if turn.awaited:
        return ""
    going = [node for node in seen.nodes if node.blade == turn.blade and node.ready]
    if any(node.raft for node in going):
        if other := [one for one in roll.under_way if one.blade in seen.managers]:
            return f"{_names(other)}, which manages too, is not back"
        if quorum(seen.nodes).reachable < roll.reachable:
            return f"a manager is missing: {quorum(seen.nodes)}"
        if reason := why_not(seen.nodes, going):
            return reason
    takers = [node for node in seen.nodes if node.ready and node.availability == "active" and node.blade != turn.blade]
    if roll.under_way and going and not takers:
        return "no other node would take its tasks"
    return ""


def _still_leaving(roll: Roll, seen: Seen) -> str:
    """A blade that is emptied or leaves, or that is off already and listed as Ready, as the swarm has not missed it."""
    for turn in roll.under_way:
        listed = any(node.ready and node.blade == turn.blade and node.boot == turn.boot for node in seen.nodes)
        if turn.phase in (Phase.DRAINING, Phase.LEAVING) or (turn.phase is Phase.BOOTING and turn.boot and listed):
            return turn.blade
    return ""


def not_whole(roll: Roll, seen: Seen, *, besides: Collection[str] = ()) -> str:
    """The services that were whole before the roll and are not now, with why; one that was removed counts no more."""
    broken = [
        f"{name} is not whole: {why}"
        for name, why in sorted(seen.services.items())
        if why and name in roll.whole and name not in besides
    ]
    return "; ".join(broken)


def _begin(turn: Turn, seen: Seen, now: float) -> tuple[Turn, tuple[Action, ...]]:
    blade = seen.blade(turn.blade)
    if turn.awaited:
        begun = replace(turn, phase=Phase.BOOTING, began=now, since=now)
        return begun, (Tell(turn.blade, Phase.BOOTING, "it boots the right version already"),)
    begun = replace(turn, began=now, since=now, boot=blade.boot, member=seen.node(turn.blade) is not None)
    if blade.power == "off":
        return replace(begun, phase=Phase.BOOTING), (Tell(turn.blade, Phase.BOOTING), Press(turn.blade, "on"))
    if begun.member:
        return replace(begun, phase=Phase.DRAINING), (Tell(turn.blade, Phase.DRAINING), Drain(turn.blade, blade.boot))
    return replace(begun, phase=Phase.LEAVING), (Tell(turn.blade, Phase.LEAVING), Press(turn.blade, "shutdown"))


# --- a turn under way -------------------------------------------------------------------------------------------------


def _move(roll: Roll, turn: Turn, seen: Seen, now: float) -> tuple[Turn, tuple[Action, ...]]:
    match turn.phase:
        case Phase.DRAINING:
            moved, todo, waits = _drain(roll, turn, seen, now)
        case Phase.LEAVING:
            moved, todo, waits = _leave(turn, seen, now)
        case Phase.BOOTING:
            moved, todo, waits = _boot(roll, turn, seen, now)
        case _:
            moved, todo, waits = _settle(roll, turn, seen, now)
    if moved.phase is turn.phase and now - turn.began >= roll.limit_s:
        failed, told = _fail(turn, f"{waits}, {now - turn.began:.0f} s after its turn began")
        return failed, (Undrain(turn.blade), *told) if turn.phase is Phase.DRAINING else told
    return moved, todo


Moved = tuple[Turn, tuple[Action, ...], str]
"""The turn, what to do, and what it waits for."""


def _drain(roll: Roll, turn: Turn, seen: Seen, now: float) -> Moved:
    blade, drain = seen.blade(turn.blade), seen.drains.get(turn.blade, DrainNow())
    leaving = replace(turn, phase=Phase.LEAVING, since=now)
    if blade.power == "off" or blade.boot != turn.boot:
        return leaving, (Tell(turn.blade, Phase.LEAVING, "it went by itself"),), ""
    waits = [seen.silent, "" if drain.done else drain.words, not_whole(roll, seen, besides=drain.stranded)]
    if any(waits):
        return turn, (), f"it is not empty yet, and goes on as it was: {'; '.join(filter(None, waits))}"
    return leaving, (Tell(turn.blade, Phase.LEAVING, drain.words), Press(turn.blade, "shutdown")), ""


def _leave(turn: Turn, seen: Seen, now: float) -> Moved:
    blade = seen.blade(turn.blade)
    booting = replace(turn, phase=Phase.BOOTING, since=now)
    if blade.power == "off":
        return booting, (Tell(turn.blade, Phase.BOOTING), Press(turn.blade, "on")), ""
    if blade.boot != turn.boot:
        return booting, (Tell(turn.blade, Phase.BOOTING, "it started again by itself"),), ""
    listed = any(node.ready and node.blade == turn.blade for node in seen.nodes)
    if not turn.member and not listed and not seen.silent and now - turn.since >= STUBBORN_S:
        told = Tell(turn.blade, Phase.BOOTING, "it was in no swarm and did not go off: it is reset")
        return booting, (told, Press(turn.blade, "reset")), ""
    return turn, (), "it was asked to shut down and is still on"


def _boot(roll: Roll, turn: Turn, seen: Seen, now: float) -> Moved:
    blade = seen.blade(turn.blade)
    if blade.end:
        return *_fail(turn, blade.end), ""
    if blade.boot and blade.boot != turn.boot and seen.node(turn.blade) is not None:
        if blade.version != roll.wanted[turn.blade]:
            why = f"it booted {blade.version}, and was to boot {roll.wanted[turn.blade]}: what is served was changed"
            return *_fail(turn, why), ""
        return replace(turn, phase=Phase.SETTLING, since=now), (Tell(turn.blade, Phase.SETTLING),), ""
    return turn, (), seen.silent or "it is not in the swarm"


def _settle(roll: Roll, turn: Turn, seen: Seen, now: float) -> Moved:
    blade = seen.blade(turn.blade)
    if blade.end:
        return *_fail(turn, blade.end), ""
    waits = seen.silent or _not_in_order(roll, turn, seen) or not_whole(roll, seen)
    if waits:
        return replace(turn, settled=None), (), waits
    settled = now if turn.settled is None else turn.settled
    if now - settled < SETTLE_S:
        return replace(turn, settled=settled), (), "all is in order only just now"
    done = replace(turn, phase=Phase.DONE, since=now, settled=settled)
    return done, (Tell(turn.blade, Phase.DONE, f"in {now - turn.began:.0f} s"),), ""


def _not_in_order(roll: Roll, turn: Turn, seen: Seen) -> str:
    listed = [node for node in seen.nodes if node.blade == turn.blade]
    node = seen.node(turn.blade)
    if node is None:
        return "its node is not Ready any more"
    if len(listed) > 1:
        return f"{len(listed) - 1} of its nodes from before is still on the list"
    if turn.blade not in seen.managers:
        return ""
    if not node.manager:
        return "it is no manager again yet"
    now = quorum(seen.nodes)
    return "" if now.held and now.reachable >= roll.reachable else f"the managers are not all back: {now}"


def _fail(turn: Turn, why: str) -> tuple[Turn, tuple[Action, ...]]:
    return replace(turn, phase=Phase.FAILED, why=why), (Tell(turn.blade, Phase.FAILED, why),)


def _names(turns: Iterable[Turn]) -> str:
    return ", ".join(turn.blade for turn in turns)

"""What becomes of the blade at which a roll has stopped: it goes back to the release that it ran before, or why not.

PURE. Going back is for the first blade alone: once another runs the newest well, that is not what is broken. A release
is the one thing of a boot that is kept with the one before it (`labkit.images.releases.cache`); of an image that was
built anew, or of a config, there is no way to know what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from labkit.lab import Blade
from labkit.swarm.roll.survey import Survey
from labkit.swarm.roll.turns import Action, Phase, Press, Roll, Seen, Tell, Turn


@dataclass(frozen=True)
class WayBack:
    """For ``blade``, that of the release of ``system`` that was in use before, with ``runs``, the version that it ran.

    No system is no way back, and ``why`` says so.
    """

    blade: str = ""
    system: str = ""
    runs: str = ""
    why: str = ""


def way_back(survey: Survey, roll: Roll, seen: Seen, blades: Mapping[str, Blade]) -> WayBack:
    """Whether, and how, what has failed can be taken back. ``blades`` are the lab's, by name."""
    failed = [turn for turn in roll.turns if turn.phase is Phase.FAILED]
    if len(failed) != 1:
        names = ", ".join(turn.blade for turn in failed) or "no blade"
        return WayBack(why=f"{names} failed, and one goes back by itself: ./lab images roll-back, ./lab swarm roll")
    (turn,), now = failed, seen.blade(failed[0].blade)
    runs = next((row.runs for row in survey.rows if row.blade == turn.blade), "")
    if not turn.boot or now.boot == turn.boot or now.version != roll.wanted[turn.blade]:
        return WayBack(turn.blade, why=f"{turn.blade} did not boot the newest")
    if done := [one.blade for one in roll.turns if one.phase is Phase.DONE]:
        return WayBack(turn.blade, why=f"{', '.join(done)} runs the newest well, and {turn.blade} does not")
    blade = blades[turn.blade]
    if not runs:
        return WayBack(turn.blade, why=f"what {turn.blade} ran before is not known")
    if not blade.os.has_releases:
        return WayBack(turn.blade, why=f"of {blade.os.value} there is no release of before to go back to")
    if blade.version is not None:
        why = f"lab.yaml says version: {blade.version} for {turn.blade}: name the one of before there"
        return WayBack(turn.blade, why=why)
    return WayBack(turn.blade, blade.os.value, runs)


def begin_back(way: WayBack, roll: Roll, seen: Seen, now: float) -> tuple[Roll, tuple[Action, ...]]:
    """A roll of that blade alone to what it ran before, under way already, and what to do first.

    One that is in the swarm leaves it in order; one that is not has nothing to lose, and is reset.
    """
    power, boot = seen.blade(way.blade).power, seen.blade(way.blade).boot
    member = seen.node(way.blade) is not None
    phase = Phase.LEAVING if member else Phase.BOOTING
    button = "on" if power == "off" else "shutdown" if member else "reset"
    turn = Turn(blade=way.blade, phase=phase, began=now, since=now, boot=boot, member=member)
    back = replace(roll, turns=(turn,), wanted={way.blade: way.runs}, stopped="", idle=None, parallel=1, back=True)
    return back, (Tell(way.blade, phase), Press(way.blade, button))

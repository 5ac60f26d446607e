"""How many managers a swarm has, and what that survives, in words.

Managers agree by majority (Raft): with n of them more than n / 2 must be there, or nothing can be changed any more.
PURE.
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.swarm.membership.quorum import Quorum

MOST_MANAGERS = 7
"""Docker's own advice: more make every change slower and the swarm no safer."""


def describe_managers(names: Sequence[str], *, diskless: Sequence[str] = ()) -> tuple[str, bool]:
    """What these managers survive, in a sentence or two, and whether there is something to think about.

    ``diskless`` are those among them that forget the swarm's state when they are switched off.
    """
    count = len(names)
    who = ", ".join(names)
    if count == 0:
        return "No manager: there is no swarm without one.", True
    lost = Quorum(count, count).survives
    if count == 1:
        words, warn = f"One manager ({who}): the swarm cannot be changed while it is away. Services go on.", False
    elif count == 2:
        words, warn = (
            f"Two managers ({who}): worse than one. Both must be there, so losing either stops all changes. "
            "Take one or three.", True,
        )  # fmt: skip
    else:
        words = f"{count} managers ({who}): {lost} may be lost, {count - lost} must be there."
        warn = count % 2 == 0 or count > MOST_MANAGERS
        if count % 2 == 0:
            words += f" {count - 1} would survive as much."
        if count > MOST_MANAGERS:
            words += f" More than {MOST_MANAGERS} make every change slower."
    if diskless:
        off = (
            "keeps the swarm in memory, and counts"
            if len(diskless) == 1
            else "keep the swarm in memory, and each counts"
        )
        words += f" {', '.join(diskless)} {off} as lost once it is off."
        warn = warn or len(diskless) > lost
    return words, warn

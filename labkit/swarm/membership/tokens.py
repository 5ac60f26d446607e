"""When the join tokens are to be changed.

PURE. Swarm has one join token a role, for all blades, so a token that was given out stays good for whoever saw it.
It is rotated as soon as the one it was given to has joined, and after every refused ticket; but not while another
blade is on its way to the engine with it, because that blade would be turned away.
"""

from __future__ import annotations

from labkit.lab import Role

JOINING_S = 60.0
"""How long a redeemed token may hold a rotation back. A blade that is slower asks again and gets the new one."""


class Tokens:
    """Who holds a token and has not joined yet, and which tokens are owed a rotation.

    ``now`` is seconds on any clock that only goes forward. What a predecessor gave out is not known, so a new instance
    owes a rotation and waits with it as long as it would for a joining blade.
    """

    def __init__(self, now: float, *, joining_s: float = JOINING_S) -> None:
        self._joining_s = joining_s
        self._quiet_until = now + joining_s
        self._joining: dict[tuple[str, str], float] = {}
        self._owed = set(Role)

    def redeemed(self, blade: str, boot: str, role: Role, now: float) -> None:
        """A blade was given the token of a role. Asking again in the same boot does not lengthen its time."""
        self._joining.setdefault((blade, boot), now)
        self._owed.add(role)

    def joined(self, blade: str, boot: str) -> None:
        """A blade is in the swarm and needs its token no longer."""
        self._joining.pop((blade, boot), None)

    def refused(self) -> None:
        """A ticket was refused: somebody tries to get in."""
        self._owed |= set(Role)

    def due(self, now: float) -> frozenset[Role]:
        """The roles whose tokens are to be rotated now; `rotated` says that it was done."""
        waiting = any(now < since + self._joining_s for since in self._joining.values())
        return frozenset() if waiting or now < self._quiet_until else frozenset(self._owed)

    def rotated(self, roles: frozenset[Role], now: float) -> None:
        """The tokens of these roles were rotated; whoever held one for too long starts anew when it asks again."""
        self._owed -= roles
        self._joining = {who: since for who, since in self._joining.items() if now < since + self._joining_s}

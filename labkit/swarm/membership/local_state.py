"""What state one engine's swarm is in, in one value, with what to say of it and what helps.

PURE: the ``Swarm`` section of ``GET /info`` (Docker Engine API v1.41) and what the managers' API answered in; a
`LocalSwarm` out. Who asks is `labkit.swarm.engine.look_at_swarm`.

The engine itself knows five states (``LocalNodeState``), and several of them mean more than one thing. ``pending`` is a
manager without a leader, or one that is just starting. ``error`` is whatever ended its part of the swarm: most often a
certificate that has run out, or an address that this machine has no longer. In none of these is the swarm gone: it lies
whole in the engine's data. So nothing said here may lead to its loss.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.errors import SwarmError

NO_SWARM = "the swarm does not exist yet"
LEADERLESS_FIX = "bring back managers that are gone; if they are lost for good: ./lab swarm recover"


class LocalState(enum.StrEnum):
    """What an engine's swarm is to a lab."""

    NONE = "none"
    ALONE = "alone"
    SHARED = "shared"
    LEADERLESS = "leaderless"
    LOCKED = "locked"
    EXPIRED = "expired"
    ELSEWHERE = "at another address"
    WORKER = "worker"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class LocalSwarm:
    """What `judge` found. ``alone`` is a swarm that answers and whose only manager this engine is, ``shared`` one with
    more of them.

    ``address`` is where this engine's node is to be reached as its swarm knows it, ``wanted`` where the lab has it;
    ``words`` are the engine's own, empty where it has nothing to complain of. ``settling`` says that the engine may
    still be starting: a state that lasts is found by asking again.
    """

    state: LocalState
    address: str = ""
    wanted: str = ""
    words: str = ""
    node: str = ""
    managers: int = 0
    settling: bool = False

    @property
    def answers(self) -> bool:
        """Whether the swarm can be asked and changed through this engine."""
        return self.state in (LocalState.ALONE, LocalState.SHARED)

    @property
    def moved(self) -> bool:
        """Whether the lab has the swarm at another address than the swarm itself."""
        return bool(self.address and self.wanted and self.address != self.wanted)

    @property
    def what(self) -> str:
        """The state in a sentence."""
        words = f": {self.words}" if self.words else ""
        match self.state:
            case LocalState.NONE:
                return NO_SWARM
            case LocalState.ALONE:
                return f"this engine is the swarm's only manager, at {self.address}"
            case LocalState.SHARED:
                return f"this engine is one of the swarm's {self.managers} managers, at {self.address}"
            case LocalState.LEADERLESS:
                return f"the swarm does not have a leader: too few managers can be reached{_in_brackets(self.words)}"
            case LocalState.LOCKED:
                return "the engine's swarm is locked"
            case LocalState.EXPIRED:
                return f"the certificate of the controller's node has run out{_in_brackets(self.words)}"
            case LocalState.ELSEWHERE:
                lab = f"the lab wants it at {self.wanted}" if self.moved else "this machine does not have that address"
                return f"this engine's swarm is at {self.address}, {lab}{words}"
            case LocalState.WORKER:
                return "this engine is a worker of another swarm"
            case LocalState.BROKEN:
                return f"the engine cannot bring up its swarm{words or ': it gives no reason'}"

    @property
    def fix(self) -> str:
        """What helps, empty where nothing has to; nothing of the swarm is lost by it."""
        match self.state:
            case LocalState.NONE:
                return "make it in notebook 03, or with ./lab run"
            case LocalState.ALONE | LocalState.SHARED:
                return ""
            case LocalState.LEADERLESS:
                return LEADERLESS_FIX
            case LocalState.LOCKED:
                return (
                    "./lab up unlocks it where lab.yaml says autolock: true and the lab keeps the key; otherwise "
                    "./lab docker swarm unlock asks for it; its services are kept"
                )
            case LocalState.EXPIRED:
                return "./lab swarm recover renews it, and keeps services, configs and secrets"
            case LocalState.ELSEWHERE:
                back = f"set network.controller in lab.yaml to {self.address}" if self.moved else "give it that again"
                return f"{back}; ./lab swarm move names the other ways, which keep the services too"
            case LocalState.WORKER:
                return "have that swarm's manager drain this node, then run docker swarm leave here, without --force"
            case LocalState.BROKEN:
                if _EARLY.search(self.words):
                    return "set this machine's clock; the swarm is whole"
                return "save its state before anything else: ./lab swarm backup FILE; then look at the engine's log"

    def error(self) -> SwarmError:
        """The state as an error."""
        return SwarmError(self.what, fix=self.fix)


# swarmkit's ca/certificates.go names the day; both ends of a certificate's time end in Go's words for either.
_EARLY = re.compile(r"not valid before", re.IGNORECASE)
_EXPIRED = re.compile(r"not valid after|certificates? ha(s|ve) expired", re.IGNORECASE)
_NOT_HERE = re.compile(r"cannot assign requested address|not a valid local address|no such (host|device)", re.I)
_LISTENS = re.compile(r"listen tcp ([0-9.]+):")
_HARMS = re.compile(r"\bleave (the|this|your) swarm|swarm leave|--force\b", re.IGNORECASE)
# moby's daemon/cluster/cluster.go (errNoManager): the one for a member that manages nothing, the other for a manager
# that has not got as far, or no further.
_IS_WORKER = re.compile(r"Worker nodes can't be used", re.IGNORECASE)


def judge(swarm: Mapping[str, Any], *, heard: str = "", wanted: str = "") -> LocalSwarm:
    """The state of an engine's swarm.

    ``swarm`` is the ``Swarm`` section of ``GET /info``, ``heard`` what the engine said instead of listing the nodes
    (``GET /nodes``), empty when it listed them, ``wanted`` the address that the lab has for it, empty for any.
    """
    local = str(swarm.get("LocalNodeState") or "inactive")
    words = str(swarm.get("Error") or "")
    listens = _LISTENS.search(words)
    address = str(swarm.get("NodeAddr") or "") or (listens[1] if listens else "")
    moved = bool(wanted and address and address != wanted)
    managers = int(swarm.get("Managers") or 0)

    def of(state: LocalState, said: str = "") -> LocalSwarm:
        return LocalSwarm(
            state=state, address=address, wanted=wanted, words=harmless(said), node=str(swarm.get("NodeID") or ""),
            managers=managers, settling=local == "pending",
        )  # fmt: skip

    match local:
        case "inactive":
            return of(LocalState.NONE)
        case "locked":
            return of(LocalState.LOCKED)
        case "error":
            if _EXPIRED.search(words) and not _EARLY.search(words):
                return of(LocalState.EXPIRED, words)
            if moved or _NOT_HERE.search(words):
                return of(LocalState.ELSEWHERE, words)
            return of(LocalState.BROKEN, words)
    if _IS_WORKER.search(heard) or (local == "active" and not swarm.get("ControlAvailable")):
        return of(LocalState.WORKER)
    if moved:
        return of(LocalState.ELSEWHERE)
    if local == "pending" or leaderless(heard):
        return of(LocalState.LEADERLESS, heard if local == "pending" else "")
    if heard:
        return of(LocalState.BROKEN, heard)
    return of(LocalState.SHARED if managers > 1 else LocalState.ALONE)


def leaderless(words: str) -> bool:
    """Whether the engine says that too few managers are there to agree on anything.

    It notices within half a minute; a request that comes just then gets no answer in time.
    """
    return "does not have a leader" in words or "context deadline exceeded" in words


def _in_brackets(words: str) -> str:
    return f" ({words})" if words else ""


def harmless(words: str) -> str:
    """An engine's words in one line, without the sentences that advise to leave a swarm: services are lost by that.

    Moby says so of certificates that have run out, of a lock, and to a manager that joins elsewhere.
    """
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(words.split()))
    return " ".join(one for one in sentences if not _HARMS.search(one)).rstrip(".")


def harms(words: str) -> bool:
    """Whether an engine's words advise to leave a swarm."""
    return bool(_HARMS.search(words))

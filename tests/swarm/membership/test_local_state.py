"""What an engine says of its swarm, and what a person is told: never anything that costs a swarm. No engine needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.swarm.membership.local_state import LocalState, harmless, judge
from tests.rig.known import causes

HERE, THERE = "10.0.0.2", "10.0.9.2"
LEADERLESS = "The swarm does not have a leader. It's possible that too few managers are online."
PREPARED = (
    "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster."
)  # fmt: skip
WORKER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this "
    "command on a manager node or promote the current node to a manager."
)
NOT_AFTER = (
    "error while loading TLS certificate in /var/lib/docker/swarm/certificates/swarm-node.crt: certificate (1 - "
    "h4rkkl0yb5) not valid after Sat, 01 Aug 2026 10:00:00 UTC, and it is currently Sat, 28 Nov 2026 17:00:00 UTC: "
    "x509: certificate has expired or is not yet valid: "
)
NOT_BEFORE = NOT_AFTER.replace("not valid after", "not valid before")
BIND = "failed to listen on remote API address: listen tcp 10.0.9.2:2377: bind: cannot assign requested address"
MOBY = "Swarm certificates have expired. To replace them, leave the swarm and join again."


def info(state: str, error: str = "", *, control: bool = False, at: str = HERE, managers: int = 0) -> dict[str, Any]:
    """The ``Swarm`` section of ``GET /info``."""
    return {"LocalNodeState": state, "Error": error, "ControlAvailable": control, "NodeAddr": at, "NodeID": "n1",
            "RemoteManagers": None, "Nodes": managers, "Managers": managers}  # fmt: skip


@pytest.mark.parametrize(
    ("swarm", "heard", "state", "said", "helps"),
    [
        (info("inactive", at=""), WORKER, "none", "the swarm does not exist yet", "notebook 03"),
        (info("active", control=True, managers=1), "", "alone", "the swarm's only manager, at 10.0.0.2", ""),
        (info("active", control=True, managers=3), "", "shared", "one of the swarm's 3 managers", ""),
        (info("active", control=True), LEADERLESS, "leaderless", "too few managers", "./lab swarm recover"),
        (info("active", control=True), "context deadline exceeded", "leaderless", "a leader", "./lab swarm recover"),
        (info("pending"), PREPARED, "leaderless", "Manager is being prepared", "./lab swarm recover"),
        (info("pending", control=True), LEADERLESS, "leaderless", "does not have a leader", "./lab swarm recover"),
        (info("pending"), WORKER, "worker", "a worker of another swarm", "without --force"),
        (info("active"), WORKER, "worker", "a worker of another swarm", "drain this node"),
        (info("locked"), "", "locked", "the engine's swarm is locked", "docker swarm unlock"),
        (info("error", NOT_AFTER), "", "expired", "has run out (error while loading", "./lab swarm recover renews"),
        (info("error", MOBY), "", "expired", "run out (Swarm certificates have expired)", "keeps services"),
        (info("error", NOT_BEFORE), "", "broken", "not valid before", "set this machine's clock"),
        (info("error", BIND, at=THERE), "", "at another address", "is at 10.0.9.2, the lab wants it at 10.0.0.2: fail",
         "network.controller in lab.yaml to 10.0.9.2"),
        (info("active", control=True, at=THERE, managers=1), "", "at another address", "wants it at 10.0.0.2", "move"),
        (info("error", "the disk is on fire"), "", "broken", "bring up its swarm: the disk is on fire", "swarm backup"),
        (info("error"), "", "broken", "gives no reason", "swarm backup"),
        (info("active", control=True, managers=1), "raft: stopped", "broken", "raft: stopped", "swarm backup"),
    ],
)  # fmt: skip
def test_each_state_is_named_and_has_its_help(
    swarm: dict[str, Any], heard: str, state: str, said: str, helps: str
) -> None:
    found = judge(swarm, heard=heard, wanted=HERE)
    assert found.state == state and said in found.what and helps in found.fix
    assert found.answers == (state in ("alone", "shared")) and bool(found.fix) != found.answers
    assert found.settling == (swarm["LocalNodeState"] == "pending")


def test_an_address_that_is_gone_is_known_also_by_who_wants_none() -> None:
    found = judge(info("error", BIND, at=THERE))
    assert found.state is LocalState.ELSEWHERE and "this machine does not have that address" in found.what
    assert judge(info("active", control=True, at=THERE, managers=1)).state is LocalState.ALONE
    assert judge(info("error", BIND, at=""), wanted=HERE).address == THERE


STATES = st.sampled_from(["inactive", "pending", "active", "error", "locked"])
WORDS = st.sampled_from(["", LEADERLESS, PREPARED, WORKER, NOT_AFTER, NOT_BEFORE, BIND, MOBY, "odd"])


@settings(max_examples=400, deadline=None)
@given(STATES, WORDS, WORDS, st.booleans(), st.sampled_from(["", HERE, THERE]), st.integers(0, 5))
def test_nobody_is_ever_told_to_leave_by_force(
    state: str, error: str, heard: str, control: bool, at: str, managers: int
) -> None:
    found = judge(info(state, error, control=control, at=at, managers=managers), heard=heard, wanted=HERE)
    told = f"{found.error()}".replace("without --force", "")
    assert "--force" not in told and "leave the swarm" not in told
    assert ("swarm leave" in told) == (found.state is LocalState.WORKER)
    assert not found.answers or (state == "active" and control and not heard)


def test_what_the_engine_advises_against_a_swarm_is_left_out() -> None:
    assert harmless(MOBY) == "Swarm certificates have expired"
    assert harmless(
        "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
    ) == ("Swarm is encrypted and locked")
    assert harmless("no such\n  image: web:1") == "no such image: web:1"


@pytest.mark.parametrize(
    ("swarm", "heard", "hint"),
    [
        (info("inactive"), "", "no-swarm"),
        (info("pending"), PREPARED, "quorum-lost"),
        (info("locked"), "", "swarm-locked"),
        (info("error", NOT_AFTER), "", "swarm-expired"),
        (info("error", BIND, at=THERE), "", "swarm-elsewhere"),
        (info("active"), WORKER, "other-swarm"),
        (info("error", "odd"), "", "swarm-broken"),
    ],
)
def test_each_state_has_its_hint(swarm: dict[str, Any], heard: str, hint: str) -> None:
    with causes(hint):
        raise judge(swarm, heard=heard, wanted=HERE).error()

"""Whether a boot is still a member: by the list, and by the authority of the swarm that it knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from labkit.errors import SwarmError
from labkit.swarm.membership import joining

OWN, OTHER = (f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n" for text in ("MIIB\nAAAA", "MIIC"))
NODE = {"ID": "n1", "Description": {"Engine": {"Labels": {"blade": "blade1", "boot": "a"}}}}


def engine(*, manages: bool = True, root: str = OWN) -> Any:
    info = {"Swarm": {"LocalNodeState": "active", "ControlAvailable": manages}}
    api = SimpleNamespace(nodes=lambda: [NODE], inspect_swarm=lambda: {"TLSInfo": {"TrustRoot": root}})
    return SimpleNamespace(api=api, info=lambda: info)


@pytest.mark.parametrize(
    ("boot", "authority", "verdict"),
    [
        ("a", OWN, "yes"),
        ("a", "", "yes"),
        ("b", OWN, "removed"),
        ("b", OWN.replace("\n", "\r\n"), "removed"),
        ("b", OTHER + OWN, "removed"),  # while the authority is changed
        ("b", OTHER, "another"),
        ("b", "", "another"),
        ("b", "-----BEGIN CERTIFICATE-----", "another"),
    ],
)
def test_only_who_is_of_this_swarm_is_told_to_leave(boot: str, authority: str, verdict: str) -> None:
    assert joining.membership(engine(), "blade1", boot, authority) == verdict


def test_a_swarm_without_a_known_authority_tells_nobody_to_leave() -> None:
    assert joining.membership(engine(root=""), "blade1", "b", OWN) == "another"


def test_without_a_swarm_nothing_is_known() -> None:
    with pytest.raises(SwarmError):
        joining.membership(engine(manages=False), "blade1", "a", OWN)

"""Which blade chapter 5 reboots: one that runs a replica."""

from __future__ import annotations

import pytest

from labkit.swarm.services.nginx import Busy, find_busy

PLACES = {"web.1": "blade3", "web.2": "blade3"}


@pytest.mark.parametrize(
    ("places", "blades", "avoid", "found"),
    [
        (PLACES, ["blade1", "blade2", "blade3"], "", Busy("blade3", ("web.1", "web.2"))),
        (PLACES, ["blade1", "blade2", "blade3"], "blade3", Busy("blade3", ("web.1", "web.2"))),
        ({**PLACES, "web.2": "blade1"}, ["blade1", "blade3"], "blade1", Busy("blade3", ("web.1",))),
        (PLACES, ["blade1", "blade2"], "", None),
        ({}, ["blade1"], "", None),
    ],
)
def test_a_blade_is_chosen_that_runs_a_replica(
    places: dict[str, str], blades: list[str], avoid: str, found: Busy | None
) -> None:
    assert find_busy(places, blades, avoid=avoid) == found


def test_it_says_when_the_service_was_spread_first() -> None:
    assert str(Busy("blade1", ("web.1",))) == "blade1 runs web.1"
    assert "spread anew; blade1 runs web.1" in str(Busy("blade1", ("web.1",), spread=True))

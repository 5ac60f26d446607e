"""Butane, Container Linux Configs and Ignition by their schemas, and damaged cases: what test_robust has, all night."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.ignition.test_robust import (
    butane_documents,
    clc_documents,
    damaged_cases,
    feed_within_a_second,
    ignition_documents,
)
from tests.rig.fuzzing import Fuzz

KINDS: dict[str, Callable[[], SearchStrategy[Any]]] = {
    "butane": butane_documents,
    "clc": clc_documents,
    "ignition": ignition_documents,
    "damaged": damaged_cases,
}


@pytest.mark.parametrize("kind", KINDS)
def test_configs(kind: str, fuzz: Fuzz) -> None:
    documents = KINDS[kind]()
    examples = 100 if fuzz.night else 4
    for _ in fuzz.rounds():

        @seed(fuzz.round)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(documents)
        def some(source: str | bytes) -> None:
            fuzz.count("refused" if len(feed_within_a_second(source)) == 2 else "taken")

        some()

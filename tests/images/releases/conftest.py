"""A publisher whose releases are fetched into a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.images.releases import fetch as fetching
from labkit.images.releases.download import Client, Limits
from labkit.images.releases.fetch import Fetched, Wanted
from labkit.images.releases.publishers import FLATCAR, Publisher
from labkit.images.releases.signature import Trust
from tests.rig.releases import Ring, Server

Fetch = Callable[..., Fetched]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def told() -> list[str]:
    """All that was told of the progress."""
    return []


@pytest.fixture
def fetch(publisher: Server, ring: Ring, cache: Path, told: list[str]) -> Fetch:
    """Fetch as the command does, with the publisher's key unless told otherwise."""

    def run(
        system: Publisher = FLATCAR, *, trust: Trust | None = None, stall_s: float = 20.0, **wanted: str
    ) -> Fetched:
        here = publisher.system(system, ring.good)
        with Client(limits=Limits(stall_s=stall_s)) as client:
            believed = trust or ring.good.trust()
            return fetching.fetch(here, Wanted(**wanted), client, believed, cache=cache, progress=told.append)

    return run

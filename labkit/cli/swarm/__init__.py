"""``./lab swarm …``, ``./lab docker`` and ``docker-env``: the swarm, its services and its engine."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit.cli.swarm import docker_client, verbs


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words)``, which gives their parsers."""
    verbs.add_verbs(verb("swarm", verbs.nodes, "the swarm: nodes, managers, pruning, backup, export"))
    docker_client.add_verbs(verb)

"""Machines: a first lab file for them (``./lab init``), from one that asked to a blade of it (``machines``, ``adopt``,
``forget``), what it is made of (``inventory``), its power (``power``), its disk (``disk``), its console and shell
(``console``, ``ssh``), and all of them live (``watch``)."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit.cli.machines import adopt, disk, init, inventory, login, power, show, watch


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives their parsers."""
    init.add_verb(verb)
    verb("machines", show.show, "the machines that asked to boot and are not in lab.yaml", as_json=True)
    inventory.add_verb(verb)
    adopt.add_verbs(verb)
    power.add_verb(verb)
    disk.add_verb(verb)
    watch.add_verb(verb)
    login.add_verbs(verb)

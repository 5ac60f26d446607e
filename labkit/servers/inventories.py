"""The lab's owner gets a copy of each inventory: the boot server keeps them where nobody else may look."""

from __future__ import annotations

import os
from collections.abc import Iterable

from labkit.errors import LabkitError
from labkit.events import kept_inventories
from labkit.lab.process import rpc
from labkit.lab.state import State, owner_of


async def copy_out(state: State, names: Iterable[str]) -> list[str]:
    """Have the inventories of these names in the state folder; those that could not be had or kept, for later."""
    left = []
    for name in names:
        try:
            told = await rpc.acall(state.bootd, "inventory", timeout_s=10, name=name)
        except LabkitError:
            left.append(name)
            continue
        try:
            kept = kept_inventories.parse(told["inventory"])
        except ValueError:  # it has none any more
            continue
        try:
            if not state.inventory.is_dir():
                state.inventory.mkdir(mode=0o755)
                os.chown(state.inventory, *owner_of(state.path))
            kept_inventories.write(state.inventory, name, kept)
            kept_inventories.drop_oldest(state.inventory)
        except OSError:  # the disk is full
            left.append(name)
    return left

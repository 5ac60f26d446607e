"""What is written of a new blade, in lines or in braces."""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml


@dataclass(frozen=True)
class Entry:
    """What is written of a new blade. ``bmc`` are the keys and values below ``bmc:``; empty for none."""

    name: str
    slot: int
    macs: tuple[str, ...]
    bmc: tuple[tuple[str, str], ...] = ()

    def pairs(self, *, as_json: bool = False) -> list[str]:
        """``key: value`` in order, without a line break. With ``as_json`` they are JSON too."""
        key = json.dumps if as_json else str
        word = json.dumps if as_json else _word
        values = [("name", word(self.name)), ("slot", str(self.slot)), ("macs", json.dumps(list(self.macs)))]
        if self.bmc:
            values.append(("bmc", "{" + ", ".join(f"{key(name)}: {word(value)}" for name, value in self.bmc) + "}"))
        return [f"{key(name)}: {value}" for name, value in values]

    def in_braces(self, *, as_json: bool = False) -> str:
        """The entry as a flow mapping."""
        return "{" + ", ".join(self.pairs(as_json=as_json)) + "}"


def _word(text: str) -> str:
    """A word as YAML, in quotes where it would mean something else without (``no``, ``1e3``)."""
    return text if yaml.safe_load(text) == text else json.dumps(text)

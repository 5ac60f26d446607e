"""What a blade says of the memory that Docker has on it: that it is full, with what, or that there is room again.

PURE. The form is what `labkit.boot.artifacts` has a blade send (``templates/scripts/prune.j2``); amounts in it are KiB.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.events import Space
from labkit.events.amounts import size
from labkit.lab.plain_text import letters

NAME_LIMIT = 100


def read_space(form: Mapping[str, object], blade: str, boot: str) -> Space | None:
    """The event of such a form; None for one that makes no sense."""
    state = form.get("state")
    if state not in ("full", "room"):
        return None
    parts = []
    for key, words, one in (("layers", "images and what containers wrote", "layer"), ("logs", "logs", "log")):
        most = f" (most by {_name(form, f'{one}_of')}: {size(_bytes(form, one))})" if _name(form, f"{one}_of") else ""
        parts.append((_bytes(form, key), f"{words} {size(_bytes(form, key))}{most}"))
    parts.append((_bytes(form, "volumes"), f"volumes {size(_bytes(form, 'volumes'))}"))
    detail = ", ".join(words for amount, words in sorted(parts, key=lambda part: -part[0]) if amount)
    return Space(
        blade=blade, boot=boot, state=str(state), used_b=_bytes(form, "used"), size_b=_bytes(form, "size"),
        detail=detail if state == "full" else "",
    )  # fmt: skip


def _bytes(form: Mapping[str, object], key: str) -> int:
    text = str(form.get(f"{key}_kib", ""))
    return int(text) << 10 if text.isascii() and text.isdecimal() and len(text) < 15 else 0


def _name(form: Mapping[str, object], key: str) -> str:
    return letters(str(form.get(key, "")), NAME_LIMIT)

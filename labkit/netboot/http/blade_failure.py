"""What a blade says of a systemd unit that is down for good, such as Docker that does not start.

PURE. The form is what `labkit.boot.artifacts` has a blade send (``templates/scripts/failed.j2``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from labkit.events import UnitFailed
from labkit.lab.plain_text import letters, printable

LINES, LONGEST = 10, 300
OTHERS = 10
_UNIT = re.compile(r"[A-Za-z0-9:_.@-]{1,120}\.(service|socket|target|mount|device|timer)")
_WORD = re.compile(r"[a-z-]{1,40}")
_FORMULA = re.compile(
    r"Failed with result|Failed to start|Start request repeated|Scheduled restart|Consumed |^(Starting|Stopp(ed|ing)) "
)
"""What systemd writes of each unit that fails: it does not say why."""


def read_failure(form: Mapping[str, object], blade: str, boot: str) -> UnitFailed | None:
    """The event of such a form; None for one that makes no sense."""
    unit = str(form.get("unit", ""))
    if not _UNIT.fullmatch(unit):
        return None
    lines = [letters(line.strip(), LONGEST) for line in printable(str(form.get("said", ""))).splitlines()]
    said = [line for line in lines if line][-LINES:]
    telling = [line for line in said if not _FORMULA.search(line)] or said
    others = [one for one in str(form.get("others", "")).split() if _UNIT.fullmatch(one) and one != unit]
    return UnitFailed(
        blade=blade, boot=boot, unit=unit, how=_how(form), detail=telling[-1] if telling else "", said=tuple(said),
        others=tuple(others[:OTHERS]),
    )  # fmt: skip


def _how(form: Mapping[str, object]) -> str:
    """systemd's words: ``masked``, or the result of its last start and the exit status where there is one."""
    load, result, status = (str(form.get(key, "")) for key in ("load", "result", "status"))
    if load in ("masked", "not-found", "bad-setting", "error"):
        return load
    if not _WORD.fullmatch(result) or result == "success":
        return ""
    return f"{result}, exit status {status}" if re.fullmatch(r"[1-9][0-9]{0,2}", status) else result

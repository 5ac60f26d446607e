"""What the doctor finds, each with what to do about it, and how it tells a person. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OK, WARNING, BAD, SKIPPED = "ok", "warning", "bad", "skipped"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``state`` is ``ok``, ``warning``, ``bad`` or ``skipped``."""

    check: str
    state: str
    what: str
    fix: str = ""


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.state != BAD for finding in findings)


def render(findings: Sequence[Finding]) -> str:
    """The findings for a person, each fix below its finding, and a last line that counts."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8} {finding.check:10} {finding.what}")
        if finding.fix:
            lines.append(f"{'':19} fix: {finding.fix}")
    bad, odd = (sum(finding.state == state for finding in findings) for state in (BAD, WARNING))
    last = "nothing is in the way of a boot" if not bad else f"{bad} to be mended before a boot"
    return "\n".join([*lines, "", last + (f", {odd} to know about" if odd else "")])

"""The systemd unit that starts a lab when this machine boots, as text. PURE.

Its first line has the digest of all that follows, by which a unit that labkit wrote, and nobody has changed since, is
known. Sources: systemd.syntax(7), systemd.service(5) "Command lines", systemd.exec(5), systemd.kill(5).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import MachineError

MARK = "# Written by labkit; the SHA-256 of all that follows: "
STARTS = re.compile(r'^# It starts (\["[^\n]*"\])$', re.M)


@dataclass(frozen=True)
class AtBoot:
    """Whether something starts a lab when this machine boots, in a sentence too; ``wrong`` are faults, with fixes."""

    enabled: bool
    what: str
    wrong: tuple[tuple[str, str], ...] = ()


def name_of(tag: str) -> str:
    """The name of a lab's unit, by the lab's tag."""
    return f"labkit-{tag}.service"


def value(text: str) -> str:
    """One word of a unit, in double quotes: backslash, quote and ``%`` mean themselves. Raises MachineError for what a
    unit cannot hold: a control character, or a name that is no UTF-8.
    """
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        what = "a systemd unit cannot hold this: it has a control character, or is no UTF-8"
        raise MachineError(what, where=repr(text), fix="give that folder or file another name")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def argument(text: str) -> str:
    """One word of a command, in which also ``$`` means itself."""
    return value(text).replace("$", "$$")


def unit(
    title: str, script: Path, lab: Path, environment: Mapping[str, str], *, after: Sequence[str], words: Sequence[str]
) -> str:
    """The unit's text. ``script`` is ``./lab`` of the checkout, called with ``words``, ``after`` the units that come
    first. Raises MachineError for a path that cannot stand in it.

    systemd runs a shell that runs the script: in the path of the program itself ``$`` could not be written.
    """
    first = " ".join(after)
    settings = "\n".join(f"Environment={value(f'{name}={text}')}" for name, text in environment.items())
    body = f"""\
# It starts {json.dumps([str(script), str(lab)])}
# ./lab up --disable removes it. What you change here, labkit will not touch: systemctl edit is the better place.
[Unit]
Description={title.replace("%", "%%")}
Wants={first}
After={first}

[Service]
# Ready once the lab is up; the same process then switches blades on, and at a SIGTERM, which it alone
# gets, takes the lab down in order. Images may have to be made before, which takes as long as it takes.
Type=notify
ExecStart=/bin/sh {argument(str(script))} {" ".join(words)}
{settings}
KillMode=mixed
TimeoutStartSec=infinity
TimeoutStopSec=180
# A card may have no link yet at the first start. Status 2 is a mistake in lab.yaml, which no second start mends.
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2
# The lab's engine has cgroups of its own, and one blade that runs out of memory is not all of them.
Delegate=yes
TasksMax=infinity
OOMPolicy=continue

[Install]
WantedBy=multi-user.target
"""
    return f"{MARK}{_digest(body)}\n{body}"


def is_ours(text: str) -> bool:
    """Whether labkit wrote this unit, and nobody has changed it since."""
    head, _, body = text.partition("\n")
    return head == MARK + _digest(body)


def starts(text: str) -> tuple[str, ...]:
    """The files without which a unit of labkit's starts nothing: the checkout's script, and the lab file."""
    found = STARTS.search(text)
    return tuple(json.loads(found[1])) if found and is_ours(text) else ()


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()

"""Finds ``${NAME}`` that nobody fills in: Ignition writes what it is given, letter by letter.

Something fills it in where a shell or a program of its own reads the file (a script, a Compose file), and in a unit's
commands where the unit sets that variable (systemd.exec(5), systemd.service(5)).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .. import unit_file
from ..report import Entry, IgnitionError
from .describe import Unit, describe

NAME = re.compile(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)\}")
FILLED_IN = re.compile(r"(\.(sh|bash|env|profile)|compose[^/]*\.ya?ml|/profile\.d/.*|/\.?(bash|profile)[^/]*)$")
BY_SYSTEMD = {
    "CACHE_DIRECTORY", "CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY", "EXIT_CODE", "EXIT_STATUS", "HOME",
    "INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LISTEN_FDS", "LISTEN_PID", "LOGNAME", "LOGS_DIRECTORY", "MAINPID",
    "MANAGERPID", "NOTIFY_SOCKET", "PATH", "RUNTIME_DIRECTORY", "SERVICE_RESULT", "SHELL", "STATE_DIRECTORY", "TERM",
    "TMPDIR", "USER", "WATCHDOG_PID", "WATCHDOG_USEC", "XDG_RUNTIME_DIR",
}  # fmt: skip
"""What systemd itself sets for a unit's commands (systemd.exec(5))."""
EXECUTABLE = 0o111


def unfilled(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Each placeholder that stays, with where it stands, in words: ``("TOKEN", "the file /etc/token")``. No error."""
    try:
        told = describe(config)
    except IgnitionError:
        return []
    found = [(name, f"the unit {unit.name}") for unit in told.units for name in _of_unit(unit)]
    for node in told.nodes:
        text = b"".join(part for part in (node.content or b"", *node.appended) if isinstance(part, bytes))
        content = text.decode("utf-8", "replace")
        if content.startswith("#!") or (node.mode or 0) & EXECUTABLE or FILLED_IN.search(node.path):
            content = ""
        stays = NAME.findall(f"{node.path} {node.source} {node.target} {content}")
        found += [(name, f"the {node.kind} {node.path}") for name in stays]
    rest = {key: value for key, value in config.items() if key not in ("systemd", "storage")}
    found += [(name, "the config") for name in NAME.findall(json.dumps(rest, default=str))]
    return list(dict.fromkeys(found))


def remark(name: str, where: str) -> Entry:
    """What is said of one of them."""
    what = f"${{{name}}} in {where} is never filled in: Ignition writes it as it stands"
    return Entry("warning", what, fix=f"write the value in its place; in a unit, Environment={name}=… sets it")


def _of_unit(unit: Unit) -> Iterator[str]:
    texts = [unit.contents or "", *(text for _, text in unit.dropins)]
    options = [option for text in texts for option in unit_file.parse(text)[0]]
    if any(option.name in ("EnvironmentFile", "PassEnvironment") and option.value for option in options):
        known = None  # what is in there is not known here
    else:
        known = {word for one in options if one.name == "Environment" for word in re.findall(r"([A-Z]\w*)=", one.value)}
    for option in options:
        is_command = option.name.startswith("Exec")
        for name in NAME.findall(option.value):
            if not (is_command and (known is None or name in known | BY_SYSTEMD)):
                yield name

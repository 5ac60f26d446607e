"""A config in a person's words, the difference of two."""

from __future__ import annotations

from typing import Any

from .describe import Account, Description, Node, Unit, describe

Value = dict[str, Any]


def explain(config: Value) -> str:
    """What a machine with this config will do, one line a thing. Raises `IgnitionError` for what is no config."""
    told = describe(config)
    sections = [
        ("Other configs", [f"this config is {line}" for line in told.included]),
        ("Disks", list(told.storage)),
        ("Kernel", [f"boots {line}" for line in told.kernel_arguments]),
        ("Users and groups", [account_line(account) for account in told.accounts]),
        ("Files", [node_line(node) for node in told.nodes]),
        ("Units", [line for unit in told.units for line in unit_lines(unit)]),
        ("Starting", starting_lines(told)),
    ]
    lines = [f"Ignition {told.version}"]
    for title, entries in sections:
        if entries:
            lines += ["", title, *(f"  {entry}" for entry in entries)]
    return "\n".join(lines if len(lines) > 1 else [*lines, "", "The machine boots as it is: nothing is configured."])


def diff(old: Value, new: Value) -> str:
    """How the machine of ``new`` differs from that of ``old``, by what it does and not by its text."""
    before, after = describe(old), describe(new)
    lines: list[str] = []
    if before.version != after.version:
        lines.append(f"~ spec version {before.version} becomes {after.version}")
    for kind in ("storage", "kernel_arguments", "included"):
        was, now = getattr(before, kind), getattr(after, kind)
        lines += [f"- {line}" for line in was if line not in now] + [f"+ {line}" for line in now if line not in was]
    lines += _changes(
        {a.kind + " " + a.name: a for a in before.accounts}, {a.kind + " " + a.name: a for a in after.accounts}
    )
    lines += _changes({node.path: node for node in before.nodes}, {node.path: node for node in after.nodes})
    lines += _changes({unit.name: unit for unit in before.units}, {unit.name: unit for unit in after.units})
    return "\n".join(lines) or "no difference: the same machine"


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    lines = [f"- {_line(value)}" for name, value in old.items() if name not in new]
    for name, value in new.items():
        if name not in old:
            lines.append(f"+ {_line(value)}")
        elif old[name] != value:
            lines.append(f"~ {name}: {'; '.join(_what_changed(old[name], value))}")
    return lines


def _line(value: Node | Unit | Account) -> str:
    if isinstance(value, Node):
        return node_line(value)
    return account_line(value) if isinstance(value, Account) else unit_lines(value)[0]


def _what_changed(old: Any, new: Any) -> list[str]:
    if isinstance(old, Unit) and isinstance(new, Unit):
        return _unit_changes(old, new)
    changes = []
    for name in new.__dataclass_fields__:
        was, now = getattr(old, name), getattr(new, name)
        if was == now:
            continue
        if name == "mode":
            changes.append(
                f"mode {was:04o} becomes {now:04o}" if was is not None and now is not None else "mode changes"
            )
        elif name == "content":
            changes.append(f"its content changes ({len(was or '')} to {len(now or '')} bytes)")
        elif name == "keys":
            changes.append(f"{len(was)} SSH key(s) become {len(now)}")
        else:
            changes.append(f"{name} {_shown(was)} becomes {_shown(now)}")
    return changes


def _unit_changes(old: Unit, new: Unit) -> list[str]:
    """What systemd will do otherwise, option by option; texts that differ in nothing else differ in comments only."""
    changes = []
    if old.masked != new.masked:
        changes.append("is masked" if new.masked else "is no longer masked")
    if old.enabled != new.enabled:
        changes.append({True: "is enabled", False: "is disabled", None: "is left as it is"}[new.enabled])
    if (old.contents is None) != (new.contents is None):
        changes.append("is written" if old.contents is None else "comes with the system")
    was, now = _settings(old), _settings(new)
    for key in dict.fromkeys((*was, *now)):
        before, after = was.get(key, []), now.get(key, [])
        if before == after:
            continue
        gone, come = [v for v in before if v not in after], [v for v in after if v not in before]
        if gone and come:
            changes.append(f"{key}={', '.join(gone)} becomes {', '.join(come)}")
        elif gone or come:
            changes += [f"no longer {key}={value}" for value in gone] + [f"now {key}={value}" for value in come]
        else:
            changes.append(f"{key}= comes in another order")
    return changes or ["only comments or blanks change"]


_LISTS = frozenset("After Before Requires Wants BindsTo PartOf Conflicts WantedBy RequiredBy Also".split())


def _settings(unit: Unit) -> dict[str, list[str]]:
    """What each key of a unit says: the words of lists that name units, the lines of all others."""
    settings: dict[str, list[str]] = {}
    for option in unit.options:
        values = option.value.split() if option.name in _LISTS else [" ".join(option.value.split())]
        settings.setdefault(option.name, []).extend(values)
    return settings


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return (
            ", ".join(" ".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value) or "nothing"
        )
    return "unset" if value is None or value == "" else str(value).lower() if isinstance(value, bool) else str(value)


def node_line(node: Node) -> str:
    """One file, directory or link in words."""
    owner = f", owned by {node.owner}" if node.owner != "root:root" else ""
    if node.kind == "link":
        return f"{node.path} is a {'hard' if node.hard else 'symbolic'} link to {node.target}{owner}"
    if node.kind == "directory":
        return f"{node.path}/ is a directory, mode {node.mode:04o}{owner}"
    parts = []
    if node.source:
        parts.append(f"fetched from {node.source}")
    elif not node.appended or node.content:
        parts.append(f"{len(node.content or b'')} bytes")
    for each in node.appended:
        parts.append(f"{len(each)} bytes appended" if isinstance(each, bytes) else f"appended from {each}")
    replaced = ", replacing what is there" if node.replaces else ""
    return f"{node.path}: {', '.join(parts)}, mode {node.mode:04o}{owner}{replaced}"


def account_line(account: Account) -> str:
    """One user or group in words."""
    if not account.exists:
        return f"{account.kind} {account.name} is removed"
    parts = [f"{words} {value}".strip() for words, value in account.details]
    if account.keys:
        parts.append(f"{len(account.keys)} SSH key(s) may log in")
    if account.has_password:
        parts.append("has a password")
    return f"{account.kind} {account.name}: {', '.join(parts) or 'exists'}"


def unit_lines(unit: Unit) -> list[str]:
    """One unit in words: where it comes from, whether it is enabled, its order, and what it runs."""
    origin = "is written" if unit.contents else "comes with the system"
    if unit.masked:
        state = "and is masked: nothing can start it"
    else:
        state = {True: "and is enabled", False: "and is disabled", None: "and is left as it is"}[unit.enabled]
    dropins = f", with {', '.join(name for name, _ in unit.dropins)}" if unit.dropins else ""
    lines = [f"{unit.name} {origin} {state}{dropins}"]
    for name, words in (("ExecStart", "runs"), ("ExecStop", "when it stops, runs")):
        commands = [option.value for option in unit.options if (option.section, option.name) == ("Service", name)]
        lines += [f"  {words} {' '.join(command.split())}" for command in commands if command]
    for name, words in (
        ("After", "starts after"),
        ("Before", "starts before"),
        ("Requires", "needs"),
        ("Wants", "wants"),
    ):
        others = unit.values("Unit", name)
        if others:
            lines.append(f"  {words} {', '.join(others)}")
    return lines


def starting_lines(told: Description) -> list[str]:
    """What starts what: the targets that pull in the units that are enabled."""
    lines = []
    for unit in told.units:
        if not unit.enabled or unit.masked:
            continue
        for name, words in (("WantedBy", "starts"), ("RequiredBy", "cannot do without")):
            for target in unit.values("Install", name):
                lines.append(f"{target} {words} {unit.name}")
    return lines

"""What a machine looks like after Ignition has run a config: files, directories, links, users, units, disks.

The values are what `wording` puts into words and compares, and a test holds against the tree that a real
Ignition makes. Spec 2 configs are read as what they become in spec 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .. import data_url, unit_file
from ..report import IgnitionError
from ..spec.upgrade import translate

Value = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """A file, directory or link. ``content`` is None where it is fetched when the machine boots, from ``source``."""

    kind: Literal["file", "directory", "link"]
    path: str
    mode: int | None = None
    owner: str = ""
    content: bytes | None = None
    source: str = ""
    appended: tuple[bytes | str, ...] = ()
    target: str = ""
    hard: bool = False
    replaces: bool = False


@dataclass(frozen=True)
class Unit:
    """A systemd unit: its own text (None where the system has it), drop-ins, and what is asked of it."""

    name: str
    contents: str | None = None
    dropins: tuple[tuple[str, str], ...] = ()
    enabled: bool | None = None
    masked: bool = False

    @property
    def options(self) -> tuple[unit_file.Option, ...]:
        """The options of the unit and its drop-ins, in the order in which systemd reads them."""
        texts = [self.contents or "", *(text for _, text in sorted(self.dropins))]
        return tuple(option for text in texts for option in unit_file.parse(text)[0])

    def values(self, section: str, name: str) -> list[str]:
        """The words of a list option such as After=; an empty assignment starts the list anew."""
        words: list[str] = []
        for option in self.options:
            if (option.section, option.name) == (section, name):
                words = words + option.value.split() if option.value else []
        return words


@dataclass(frozen=True)
class Account:
    """A user or group."""

    kind: Literal["user", "group"]
    name: str
    exists: bool = True
    keys: tuple[str, ...] = ()
    has_password: bool = False
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Description:
    version: str
    nodes: tuple[Node, ...] = ()
    units: tuple[Unit, ...] = ()
    accounts: tuple[Account, ...] = ()
    storage: tuple[str, ...] = ()
    kernel_arguments: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    tree: dict[str, Node] = field(default_factory=dict, compare=False)


def describe(config: Value) -> Description:
    """The outcome of a config of spec 2 or 3. Raises `IgnitionError` if it cannot be read as spec 3."""
    version = str(config.get("ignition", {}).get("version", ""))
    if version.startswith("2."):
        config = translate(config, "3.6.0", oem=True)
    elif not version.startswith("3."):
        raise IgnitionError(f"cannot explain a config of version {version!r}", fix="it needs ignition.version")
    nodes = tuple(_nodes(config))
    return Description(
        version,
        nodes,
        tuple(_unit(unit) for unit in config.get("systemd", {}).get("units", ())),
        tuple(_accounts(config.get("passwd", {}))),
        tuple(_storage(config.get("storage", {}))),
        tuple(_kernel_arguments(config.get("kernelArguments", {}))),
        tuple(_included(config.get("ignition", {}).get("config", {}))),
        {node.path: node for node in nodes},
    )


def _nodes(config: Value) -> list[Node]:
    storage = config.get("storage", {})
    nodes = []
    for file in storage.get("files", ()):
        contents = file.get("contents") or {}
        data, source = _content(contents)
        appended = tuple(_piece(each) for each in file.get("append", ()))
        mode = file.get("mode") if file.get("mode") is not None else 0o644
        replaces = bool(file.get("overwrite"))
        nodes.append(Node("file", file.get("path", ""), mode, _owner(file), data, source, appended, replaces=replaces))
    for folder in storage.get("directories", ()):
        mode = folder.get("mode") if folder.get("mode") is not None else 0o755
        nodes.append(Node("directory", folder.get("path", ""), mode, _owner(folder)))
    for link in storage.get("links", ()):
        hard = bool(link.get("hard"))
        nodes.append(Node("link", link.get("path", ""), None, _owner(link), target=link.get("target") or "", hard=hard))
    return nodes


def _content(contents: Value) -> tuple[bytes | None, str]:
    source = contents.get("source") or ""
    if not source:
        return b"", ""
    if not source.startswith("data:"):
        return None, source
    try:
        return data_url.decode(source, contents.get("compression") or ""), ""
    except ValueError:
        return None, source


def _piece(contents: Value) -> bytes | str:
    data, source = _content(contents)
    return source if data is None else data


def _owner(node: Value) -> str:
    parts = []
    for who in ("user", "group"):
        owner = node.get(who) or {}
        parts.append(owner.get("name") or str(owner.get("id") or "root"))
    return ":".join(parts)


def _unit(unit: Value) -> Unit:
    dropins = tuple((each.get("name", ""), each.get("contents") or "") for each in unit.get("dropins", ()))
    return Unit(unit.get("name", ""), unit.get("contents"), dropins, unit.get("enabled"), bool(unit.get("mask")))


_DETAILS = {
    "uid": "id", "gid": "id", "homeDir": "home", "shell": "shell", "primaryGroup": "group", "groups": "member of",
    "gecos": "called", "noCreateHome": "no home is made", "system": "system account",
}  # fmt: skip


def _accounts(passwd: Value) -> list[Account]:
    accounts = []
    for kind, listed in (("user", passwd.get("users", ())), ("group", passwd.get("groups", ()))):
        for each in listed:
            details = []
            for name, words in _DETAILS.items():
                value = each.get(name)
                if value is True:
                    details.append((words, ""))
                elif value not in (None, "", [], False):
                    details.append((words, ", ".join(value) if isinstance(value, list) else str(value)))
            accounts.append(
                Account(
                    "user" if kind == "user" else "group",
                    each.get("name", ""),
                    each.get("shouldExist") is not False,
                    tuple(each.get("sshAuthorizedKeys", ())),
                    bool(each.get("passwordHash")),
                    tuple(details),
                )
            )
    return accounts


def _storage(storage: Value) -> list[str]:
    lines = []
    for disk in storage.get("disks", ()):
        wiped = "is wiped and " if disk.get("wipeTable") else ""
        parts = [_partition(part) for part in disk.get("partitions", ())]
        lines.append(f"disk {disk.get('device')} {wiped}gets {len(parts)} partition(s): {'; '.join(parts) or 'none'}")
    for raid in storage.get("raid", ()):
        lines.append(
            f"array {raid.get('name')} ({raid.get('level')}) is built from {', '.join(raid.get('devices') or ())}"
        )
    for luks in storage.get("luks", ()):
        lines.append(f"{luks.get('device')} is encrypted and opens as {luks.get('name')}")
    for filesystem in storage.get("filesystems", ()):
        wiped = "made anew" if filesystem.get("wipeFilesystem") else "made unless it is there"
        mounted = f", mounted on {filesystem['path']} while Ignition runs" if filesystem.get("path") else ""
        lines.append(f"filesystem {filesystem.get('format')} on {filesystem.get('device')} is {wiped}{mounted}")
    return lines


def _partition(partition: Value) -> str:
    name = partition.get("label") or f"number {partition.get('number', 'next')}"
    if partition.get("shouldExist") is False:
        return f"{name} is removed"
    return f"{name} of {partition['sizeMiB']} MiB" if partition.get("sizeMiB") else f"{name} of all that is left"


def _kernel_arguments(arguments: Value) -> list[str]:
    added = [f"with {argument}" for argument in arguments.get("shouldExist", ())]
    return added + [f"without {argument}" for argument in arguments.get("shouldNotExist", ())]


def _included(config: Value) -> list[str]:
    lines = [f"merged with {_named(each)}" for each in config.get("merge", ())]
    if (config.get("replace") or {}).get("source"):
        lines.append(f"replaced by {_named(config['replace'])}")
    return lines


def _named(resource: Value) -> str:
    data, source = _content(resource)
    return source or f"a config of {len(data or b'')} bytes that it carries"

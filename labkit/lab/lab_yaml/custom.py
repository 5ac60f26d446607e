"""What blades have of a person's own: configs, and systems.

A system is a kernel, archives, arguments, and how its Ignition gets a config. Configs are one file or a list of them,
for all blades, for those of a role or a system, or for one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from labkit.lab import ConfigBy, Custom, Flavour, Role
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.positions import Kind, Notes, Section, Wrong, short

CUSTOM = Kind("custom", ("kernel", "initrds", "arguments", "config"), {"initrd": "in a list: 'initrds: [initrd.gz]'"})
ARCHIVE = Kind("config", ("archive",))
FIX = "write 'config: none', 'config: url', or 'config: {archive: config.ign}'"


def read_custom(parent: Section, path: Path, notes: Notes, base: Custom | None) -> Custom | None:
    """What ``custom`` says in a section of the file; ``base`` where it says nothing, or nothing that can be taken."""
    if not parent.has("custom"):
        return base
    section = Section(parent.value("custom"), parent.anchor, CUSTOM, notes)
    if section.broken:
        parent.spoil("custom")
        return base
    here = Path()
    kernel = section.need("kernel", lambda text: values.existing(text, path), here, "name its file: kernel: vmlinuz")
    initrds = section.take_all("initrds", lambda text: values.existing(text, path)) or []
    by, place = _config(section, notes)
    if section.bad("kernel", "initrds", "arguments", "config"):
        parent.spoil("custom")
    return Custom(kernel, tuple(file for _, file in initrds), _arguments(section), by, place)


def _arguments(section: Section) -> tuple[str, ...]:
    """A line of arguments, or a list of them, of which each may hold blanks."""
    if isinstance(section.value("arguments"), yaml.SequenceNode):
        return tuple(word for _, word in section.take_all("arguments", values.argument) or ())
    return section.take("arguments", values.arguments, ())


def _config(section: Section, notes: Notes) -> tuple[ConfigBy, str]:
    node = section.value("config")
    if not isinstance(node, yaml.MappingNode):
        return section.take("config", _by, ConfigBy.NONE), ""
    inner = Section(node, node, ARCHIVE, notes)
    place = inner.need("archive", values.place, "", "name the file in it: config: {archive: config.ign}")
    if inner.bad("archive"):
        section.spoil("config")
    return ConfigBy.ARCHIVE, place


def _by(text: str) -> ConfigBy:
    if text in (ConfigBy.NONE, ConfigBy.URL):
        return ConfigBy(text)
    raise Wrong(f"{short(text)} is no way for a config", FIX)


# --- configs --------------------------------------------------------------------------------------------------------

CONFIG = Kind("config", ("config", "role", "os"))
OWN = Kind("a blade's own config", ("config",), dict.fromkeys(("role", "os"), "in config at the top of the file"))


@dataclass(frozen=True)
class Config:
    """A file, and whose it is: None is every role, or every system."""

    file: Path
    role: Role | None = None
    os: Flavour | None = None

    def is_for(self, role: Role, os: Flavour) -> bool:
        """Whether a blade of this role and system takes it."""
        return self.role in (None, role) and self.os in (None, os)


def read_configs(
    section: Section, path: Path, notes: Notes, shared: tuple[Config, ...] = (), *, own: bool
) -> tuple[Config, ...]:
    """What ``config`` says, in order, else ``shared``; ``own`` is a blade's, for that blade whatever it is."""
    if not section.has("config"):
        return shared
    node = section.value("config")
    if not isinstance(node, yaml.SequenceNode | yaml.MappingNode):
        file = section.take("config", lambda text: values.existing(text, path), None)
        return () if file is None else (Config(file),)
    found: list[Config] = []
    before = len(notes.mistakes)
    for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        found += _some(item, path, notes, own=own)
    if len(notes.mistakes) > before:
        section.spoil("config")
    return tuple(found)


def _some(node: yaml.Node, path: Path, notes: Notes, *, own: bool) -> list[Config]:
    """An item of the list: a file, or files with what they are for."""
    if not isinstance(node, yaml.MappingNode):
        file = positions.take_item(node, "an item of 'config'", lambda text: values.existing(text, path), notes)
        return [] if file is None else [Config(file)]
    inner = Section(node, node, OWN if own else CONFIG, notes)
    if not inner.has("config"):
        inner.note("config", f"{inner.kind.name} names no file", "write it like {role: manager, config: mine.bu}")
    role = inner.take("role", positions.choice(Role), None)
    os = inner.take("os", positions.choice(Flavour), None)
    return [replace(one, role=one.role or role, os=one.os or os) for one in read_configs(inner, path, notes, own=own)]

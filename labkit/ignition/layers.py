"""Several configs as one: each is laid over those before it as Ignition merges, and it is known which gave what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .report import IgnitionError, Path
from .spec import v2
from .spec.canonical import ordered
from .spec.merge import Merger, Origins, note_source
from .spec.upgrade import translate
from .spec.v3 import IGNITION, ignition

Value = dict[str, Any]
NOUNS = {
    "files": "file", "directories": "directory", "links": "link", "units": "unit", "users": "user", "groups": "group",
    "disks": "disk", "raid": "array", "luks": "encrypted volume", "filesystems": "filesystem",
    "shouldExist": "kernel argument", "shouldNotExist": "no kernel argument"
}  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """One config of several. ``gave`` has a row for each file, unit, user and so on: what it is, and which of the
    configs its values came from, in their order; a value that a later one replaced is no longer told of."""

    config: Value
    gave: tuple[tuple[str, tuple[str, ...]], ...]


def merge_all(parts: Sequence[tuple[str, Value]]) -> Merged:
    """Configs with their names, at least one, in one, of the newest released version that any of them has.

    Raises `IgnitionError`, which names the config that cannot be read in that version.
    """
    from . import version_of

    names = [name for name, _ in parts]
    newest = min(max((version_of(config) for _, config in parts), key=ordinal), IGNITION[-1], key=ordinal)
    merged: Value = {}
    origins: Origins = {}
    for name, config in parts:
        if version_of(config) != newest:
            try:
                config = translate(config, newest)
            except IgnitionError as error:
                what = f"{name} cannot be carried over to Ignition {newest}"
                raise IgnitionError(f"{what}: {error}", fix=error.fix) from None
        came: Origins = {}
        note_source(config, (), (name,), came)
        merged, origins = lay(merged, config, origins, came) if merged else (config, came)
    return Merged(merged, _gave(merged, origins, names))


def lay(
    base: Value, overlay: Value, under: Origins | None = None, over: Origins | None = None
) -> tuple[Value, Origins]:
    """``overlay`` laid over ``base``, both in one version, and where its values came from if the two say so.

    Raises `IgnitionError` for two versions, or one that cannot be merged.
    """
    from . import version_of

    versions = version_of(base), version_of(overlay)
    if versions[0] != versions[1]:
        raise IgnitionError(f"cannot merge {versions[1]} into {versions[0]}", fix="translate one of them first")
    if versions[0] not in (*IGNITION, *v2.VERSIONS):
        raise IgnitionError(f"cannot merge configs of version {versions[0]}")
    is_old = versions[0].startswith("2.")
    struct = v2.ignition(versions[0]) if is_old else ignition(versions[0])
    merger = Merger(under, over)
    merged = merger.merge(base, overlay, struct)
    merged["ignition"]["version"] = versions[0]
    return ordered(merged, struct, keep_empty=False), merger.origins


def _gave(config: Value, origins: Origins, names: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows: dict[Path, set[str]] = {}
    for path, (name,) in origins.items():
        if len(path) >= 3 and path[1] in NOUNS:
            rows.setdefault(path[:3], set()).add(str(name))
    return tuple(
        (f"{NOUNS[str(path[1])]} {_name(config, path)}", tuple(name for name in names if name in rows[path]))
        for path in sorted(rows, key=lambda path: (str(path[0]), str(path[1]), int(path[2])))
    )


def _name(config: Value, path: Path) -> str:
    section, name, index = path
    item = config[str(section)][str(name)][int(index)]
    return str(item if isinstance(item, str) else item.get("path") or item.get("name") or item.get("device") or "")


def ordinal(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split("."))

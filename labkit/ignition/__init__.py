"""Butane, Container Linux Config and Ignition in Python: transpile, validate, translate, merge, explain.

>>> import labkit.ignition as ignition
>>> made = ignition.transpile("variant: flatcar\\nversion: 1.0.0\\n")
>>> made.version, made.config
('3.3.0', b'{"ignition":{"version":"3.3.0"}}')

Nothing here touches the network, and only ``files_dir`` the disk. Everything raises `IgnitionError` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .report import Entry, IgnitionError, Report

if TYPE_CHECKING:
    from .analysis.editing import Review
    from .layers import Merged

__all__ = [
    "Entry", "IgnitionError", "Report", "Transpiled",
    "diff", "explain", "lint", "lowest", "merge", "merge_all", "migrate", "review", "translate", "transpile",
    "validate", "version_of",
]  # fmt: skip

Notation = Literal["butane", "clc"]


@dataclass(frozen=True)
class Transpiled:
    """An Ignition config: its JSON, its spec version (``3.3.0``), and what was found on the way."""

    config: bytes
    version: str
    report: Report


def transpile(
    source: str | bytes,
    *,
    notation: Notation | None = None,
    strict: bool = False,
    files_dir: Path | None = None,
    pretty: bool = False,
    platform: str | None = None,
    name: str = "-",
) -> Transpiled:
    """Butane or Container Linux Config to Ignition.

    Without ``notation`` a document with a ``variant`` is Butane. ``files_dir`` is the folder that ``local`` files come
    from, ``platform`` whose metadata a Container Linux Config may use (``ec2``, ``custom``, …), ``name`` what the
    source is called in messages. With ``strict`` a warning is an error. Raises `IgnitionError`.
    """
    from .analysis import fixes
    from .butane import transpile as butane
    from .clc import transpile as clc
    from .golang import quote

    try:
        if (notation or recognise(source)) == "butane":
            config, version, report = butane.transpile(source, files_dir)
        else:
            config, version, report = clc.transpile(source, files_dir, platform or "", strict=strict)
    except IgnitionError as error:
        raise IgnitionError(error.summary, fixes.add(error.report), fix=error.fix) from None
    report = fixes.add(report)
    if strict and report.entries:
        raise IgnitionError("Config produced warnings and --strict was specified", report)
    return Transpiled(quote.dumps(config, pretty=pretty), version, report)


def validate(config: str | bytes) -> Report:
    """Everything to say of Ignition JSON of spec 2.0 to 2.4 or 3.0 to 3.6, with path, line, column and fix."""
    from .analysis import fixes
    from .spec.check import validate as run

    return fixes.add(run(config))


def translate(
    config: dict[str, Any], to: str = "3.3.0", *, filesystems: Mapping[str, str] | None = None, oem: bool = False
) -> dict[str, Any]:
    """A config of spec 2 or 3 in spec version ``to``.

    ``filesystems`` gives paths to spec 2's filesystem names, ``oem`` allows ``oem:///`` sources (Flatcar alone reads
    them). Raises `IgnitionError` with the reason for everything that cannot be carried over.
    """
    from .spec.upgrade import translate as run

    return run(config, to, filesystems=filesystems, oem=oem)


def lowest(config: dict[str, Any]) -> str:
    """The lowest version of spec 3 that can say what this config says. Raises `IgnitionError` if none can."""
    from .spec.upgrade import lowest as run

    return run(config)


def migrate(source: str | bytes, variant: str = "flatcar", *, platform: str = "", files_dir: Path | None = None) -> str:
    """A config in any notation as Butane YAML for ``flatcar`` or ``fcos``, with its ``local`` files in it.

    Raises `IgnitionError`.
    """
    from .butane.write import migrate as run

    return run(source, variant, platform=platform, files_dir=files_dir)


def explain(config: dict[str, Any]) -> str:
    """What a machine with this config will do, in words. Raises `IgnitionError`."""
    from .analysis.wording import explain as run

    return run(config)


def diff(old: dict[str, Any], new: dict[str, Any]) -> str:
    """How the machine of one config differs from that of another, in words. Raises `IgnitionError`."""
    from .analysis.wording import diff as run

    return run(old, new)


def lint(config: dict[str, Any]) -> Report:
    """Warnings about the units: unknown keys, what cannot start, what breaks at shutdown."""
    from .analysis.unit_lint import lint as run

    return run(config)


def review(source: str | bytes, *, files_dir: Path | None = None, platform: str = "") -> Review:
    """All remarks about a text in any notation, the linter's too, each in its place, and the config it makes."""
    from .analysis.editing import review as run

    return run(source, files_dir=files_dir, platform=platform)


def recognise(source: str | bytes) -> Notation:
    """Which of the two notations a document is in.

    Butane names its ``variant``; where that is forgotten, a ``version`` other than 0 tells it from the other.
    """
    from .yaml.tree import YamlError, parse

    try:
        root = parse(source)
    except YamlError:
        return "butane"
    if root is None or root.kind != "map" or root.get("variant") is not None:
        return "butane"
    version = root.get("version")
    return "clc" if version is None or version.value == "0" else "butane"


def version_of(config: bytes | str | dict[str, Any]) -> str:
    """The spec version that a config names. Raises `IgnitionError` if it names none."""
    from .golang.semver import semver

    try:
        value = config if isinstance(config, dict) else json.loads(config)
        version = semver(value["ignition"]["version"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        version = None
    if version is None:
        raise IgnitionError("not an Ignition config: it names no version", fix='it needs {"ignition": {"version": …}}')
    return version


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """``overlay`` laid over ``base`` as Ignition merges: files by path, units and users by name, dropins by name.

    Both in one version of spec 2 or 3. Raises `IgnitionError` otherwise. Spec 2's own merging only appends lists;
    here both families merge by key, so that the result has no duplicates.
    """
    from .layers import lay

    return lay(base, overlay)[0]


def merge_all(parts: Sequence[tuple[str, dict[str, Any]]]) -> Merged:
    """Configs with their names as one, each laid over those before it, and which of them gave what.

    Of several versions it is the newest. Raises `IgnitionError`.
    """
    from .layers import merge_all as run

    return run(parts)

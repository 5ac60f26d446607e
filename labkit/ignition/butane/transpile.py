"""Butane to Ignition: the steps in the order in which Butane takes them, since it decides what is reported.

::

    YAML ─► decode ─► unused keys ─► source rules ─► lower (`lower`, `boot_device`) ─► Ignition's rules ─► JSON

Source: config/config.go and config/util/util.go of Butane 0.29.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from ..correlate import find_unused, place
from ..golang.semver import semver
from ..report import Entry, Findings, IgnitionError, Report
from ..spec import rules_v3
from ..spec.canonical import ordered
from ..spec.schema import Field, Struct, Type, snake
from ..spec.v3 import BUTANE, Dialect, dialect
from ..yaml.decode import Decoder
from ..yaml.tree import Node, YamlError, parse
from . import boot_device, local_trees, rules
from .lower import Lowering

_STRING = Type(scalar="str", name="string")
_STUB = Struct("commonFields", "config.commonFields", [Field(n, n, _STRING) for n in ("version", "variant")])


def refuse(reason: str, entries: list[Entry] | tuple[Entry, ...] = (), *, fix: str = "") -> IgnitionError:
    return IgnitionError(f"Error translating config: {reason}", Report(tuple(entries)), fix=fix)


def transpile(source: bytes | str, files_dir: FilePath | None = None) -> tuple[dict[str, Any], str, Report]:
    """The Ignition config, its version, and what there is to say. Raises `IgnitionError`."""
    root, notation = _recognise(source)
    decoder = Decoder()
    try:
        config = decoder.decode(root, notation.source)
    except YamlError as error:
        raise refuse(f"yaml: {error}") from None
    if decoder.errors:
        raise refuse("yaml: unmarshal errors:\n" + "\n".join("  " + line for line in decoder.errors))
    unused = Findings()
    find_unused(root, config, notation.source, "yaml", unused)
    first = place(unused.entries, root)
    entries, outcome = _translate(config, notation, files_dir)
    report = Report(tuple(first + place(entries, root)))
    if isinstance(outcome, str):
        raise refuse(outcome, report.entries)
    return outcome, notation.ignition, report


def _recognise(source: bytes | str) -> tuple[Node | None, Dialect]:
    decoder = Decoder()
    try:
        root = parse(source)
        stub = decoder.decode(root, _STUB)
    except YamlError as error:
        raise refuse(f"Error unmarshaling yaml: yaml: {error}") from None
    if decoder.errors:
        lines = "\n".join("  " + line for line in decoder.errors)
        raise refuse(f"Error unmarshaling yaml: yaml: unmarshal errors:\n{lines}")
    variant, version = stub.get("variant", ""), stub.get("version", "")
    if not variant:
        raise refuse("error parsing variant; must be specified", fix="add a line such as: variant: flatcar")
    shown = semver(version)
    if shown is None:
        raise refuse("error parsing version; must be a valid semver", fix="add a line such as: version: 1.1.0")
    if (variant, shown) == ("rhcos", "0.1.0"):
        raise refuse(
            "rhcos variant has been removed; use openshift variant instead: "
            "https://coreos.github.io/butane/upgrading-openshift/"
        )
    if (variant, shown) not in BUTANE:
        known = [known for name, known in BUTANE if name == variant]
        fix = (
            f"versions of {variant}: {', '.join(known)}"
            if known
            else "variants: flatcar, fcos, r4e, fiot; what OpenShift takes is no Ignition"
        )
        raise refuse(f"No translator exists for variant {variant} with version {shown}", fix=fix)
    return root, dialect(variant, shown)


def _translate(
    config: dict[str, Any], notation: Dialect, files_dir: FilePath | None
) -> tuple[list[Entry], dict[str, Any] | str]:
    """What was found, and the Ignition config or why there is none."""
    entries = rules.validate(config, notation)
    if _fatal(entries):
        return entries, "source config is invalid"
    lowering = Lowering(config, notation, files_dir)
    lowering.run()
    local_trees.apply(lowering)
    if not lowering.found.is_fatal:
        boot_device.apply(lowering)
    entries += [_back(entry, lowering) for entry in lowering.found.entries]
    if _fatal(entries):
        return entries, "source config is invalid"
    if notation.variant != "fcos":
        entries += [_back(entry, lowering) for entry in _forbidden(lowering.result, notation)]
        if _fatal(entries):
            return entries, "source config is invalid"
    entries += [_back(entry, lowering) for entry in rules_v3.validate(lowering.result, notation.ignition)]
    if _fatal(entries):
        return entries, "config generated was invalid"
    return entries, ordered(lowering.result, notation.target)


def _fatal(entries: list[Entry]) -> bool:
    return any(entry.kind == "error" for entry in entries)


def _back(entry: Entry, lowering: Lowering) -> Entry:
    """A remark about the JSON, told of the YAML that it came from."""
    path = lowering.origins.get(entry.path)
    if path is None:
        path = tuple(snake(step) if isinstance(step, str) else step for step in entry.path)
    return replace(entry, path=path)


EDGE = {
    ("kernelArguments",): "kernel argument customization is not supported in this spec version",
    ("storage", "disks"): "disk customization is not supported in this spec version",
    ("storage", "filesystems"): "filesystem customization is not supported in this spec version",
    ("storage", "luks"): "luks is not supported in this spec version",
    ("storage", "raid"): "raid is not supported in this spec version",
}
"""What RHEL for Edge and Fedora IoT leave to their installers (config/r4e and config/fiot of Butane)."""


def _forbidden(config: dict[str, Any], notation: Dialect) -> list[Entry]:
    """What the variant has not, though its Ignition has."""
    found = Findings()
    if notation.variant != "flatcar":
        for path, message in EDGE.items():
            value: Any = config
            for step in path:
                value = value.get(step) or {}
            if value and (isinstance(value, list) or any(value.values())):
                found.error(path, message)
        return found.entries
    # Flatcar's initramfs has no clevis; the version that brings it has no cex
    name, message = ("cex", "cex is not currently supported on the target platform")
    if notation.minor < 7:
        name, message = ("clevis", "clevis is not supported in this spec version")
    for index, luks in enumerate(config.get("storage", {}).get("luks", ())):
        section = luks.get(name) or {}
        if any(value or isinstance(value, bool | int | str) for value in section.values()):
            found.error(("storage", "luks", index, name), message)
    return found.entries

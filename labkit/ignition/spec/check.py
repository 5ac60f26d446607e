"""Validation of Ignition JSON as it is, with the place of every remark. See `rules_v3` and `rules_v2`."""

from __future__ import annotations

from typing import Any

from ..correlate import find_unused, place
from ..golang.semver import semver
from ..report import Entry, Findings, IgnitionError, Report
from ..yaml import json_tree
from ..yaml.tree import MAX_SOURCE_B, Node
from . import rules_v2, rules_v3, v2
from .schema import Field, Struct, Type
from .v3 import IGNITION, KNOWN, ignition

_VERSION = Type(scalar="str", name="string")
_IGNITION = Type(struct=Struct("", "", [Field("Version", "", _VERSION)]), name="struct { Version string }")
_STUB = Struct("", "util.versionStub", [Field("Ignition", "", _IGNITION)])


class Unsupported(IgnitionError):
    """A config's version is missing, malformed or unknown: there are no rules to hold it against."""


def recognise(source: bytes | str) -> tuple[str, bytes, Node]:
    """The version that a config names, its bytes and tree. Raises `IgnitionError` (`Unsupported` for the version)."""
    data = source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source
    if not data:
        raise Unsupported("not a config (empty)")
    if len(data) > MAX_SOURCE_B:
        raise Unsupported(f"config of {len(data)} bytes is larger than the limit of {MAX_SOURCE_B} bytes")
    root = _tree(data)
    stub = _typed(data, root, _STUB).get("Ignition", {}).get("Version", "")
    version = semver(stub)
    if version is None:
        raise Unsupported("invalid config version (couldn't parse)", fix='write {"ignition": {"version": "3.3.0"}}')
    if version not in KNOWN and version not in v2.VERSIONS:
        raise Unsupported("unsupported config version", fix=f"versions: 2.0.0 to 2.4.0, {', '.join(IGNITION)}")
    return version, data, root


def parse(source: bytes | str) -> tuple[dict[str, Any], str, Node]:
    """A config as typed values, its version and its tree. Raises `IgnitionError`."""
    version, data, root = recognise(source)
    return _typed(data, root, _schema(version)), version, root


def _schema(version: str) -> Struct:
    return v2.ignition(version) if version in v2.VERSIONS else ignition(version)


def validate(source: bytes | str) -> Report:
    """Everything there is to say of an Ignition config; an unusable one gives a report with an error."""
    try:
        config, version, root = parse(source)
    except Unsupported as error:
        return Report((Entry("error", error.summary, fix=error.fix),))
    except IgnitionError as error:
        return error.report
    rules = rules_v2.validate if version in v2.VERSIONS else rules_v3.validate
    found = Findings(list(rules(config, version)))
    find_unused(root, config, _schema(version), "json", found)
    return Report(tuple(place(found.entries, root)))


def _tree(data: bytes) -> Node:
    try:
        return json_tree.parse(data)
    except json_tree.JsonError as error:
        raise _invalid(data, str(error), error.offset) from None


def _typed(data: bytes, root: Node, struct: Struct) -> dict[str, Any]:
    typed = json_tree.TypedJson()
    config = typed.decode(root, struct)
    if typed.problem is not None:
        raise _invalid(data, typed.problem[0], typed.problem[1].end_b)
    return config


def _invalid(data: bytes, message: str, offset: int) -> IgnitionError:
    past_end = offset >= len(data)
    line, column = json_tree.Lines(data).place(min(offset, len(data)))
    return IgnitionError("config is not valid", [Entry("error", message, (), line, column, past_end=past_end)])

"""What Ignition spec 3 demands of a config beyond its shape: one function a struct, as the specification names them.

Each gets the struct's value (a dict with JSON names), its path, the minor version of the spec, and where to write.
A check that fails gives Ignition's own words, since people search for those; `fixes` adds what to do.

Source: config/v3_*/types/*.go and config/validate of Ignition 2.26.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .. import unit_file
from ..golang import urls
from ..golang.paths import check_absolute
from ..golang.semver import semver
from ..report import Entry, Findings, Path
from . import rules_v3_storage
from .schema import Struct
from .v3 import KNOWN, ignition, minor_of

Value = dict[str, Any]
Rule = Callable[[Value, Path, int, Findings], None]


def validate(config: Value, version: str) -> list[Entry]:
    """Everything that Ignition would say of a typed config of this version: its rules, then duplicates."""
    found = Findings()
    root = ignition(version)
    _walk(config, root, (), minor_of(version), found)
    check_duplicates(config, root, (), found)
    return found.entries


def _walk(value: Value, struct: Struct, path: Path, minor: int, found: Findings) -> None:
    if rule := RULES.get(struct.name):
        rule(value, path, minor, found)
    for field in struct.fields:
        below = value.get(field.json)
        if below is None:
            continue
        if field.type.struct is not None:
            _walk(below, field.type.struct, (*path, field.json), minor, found)
        elif field.type.item is not None:
            item = field.type.item
            for index, each in enumerate(below):
                if item.struct is not None:
                    _walk(each, item.struct, (*path, field.json, index), minor, found)
                elif item.name.endswith(".Device"):
                    found.error((*path, field.json, index), check_absolute(each))


KEYS = {
    "Directory": "path", "File": "path", "Link": "path",
    "Disk": "device", "Filesystem": "device",
    "Raid": "name", "Luks": "name", "PasswdUser": "name", "PasswdGroup": "name",
    "Unit": "name", "Dropin": "name", "HTTPHeader": "name",
    "Resource": "source", "ConfigReference": "source", "CaReference": "source",
    "Tang": "url",
}  # fmt: skip
#: lists whose entries add up instead of replacing each other
ADDING = frozenset(
    (
        ("File", "append"),
        ("Filesystem", "options"),
        ("Filesystem", "mountOptions"),
        ("Raid", "options"),
        ("Luks", "options"),
    )
)
#: lists that share their keys: a path is a file, a directory or a link
SHARED = {
    ("Storage", "directories"): "node", ("Storage", "files"): "node", ("Storage", "links"): "node",
    ("KernelArguments", "shouldExist"): "argument", ("KernelArguments", "shouldNotExist"): "argument",
}  # fmt: skip


def key_of(item: Any, struct: Struct | None) -> str:
    """What makes an entry of a list the same as another: a file's path, a unit's name."""
    if struct is None:
        return str(item)
    if struct.name == "Partition":
        if item.get("number"):
            return f"number:{item['number']}"
        return f"label:{item['label']}" if item.get("label") is not None else ""
    return str(item.get(KEYS[struct.name]) or "")


def check_duplicates(value: Value, struct: Struct, path: Path, found: Findings) -> None:
    """Complain of every entry whose key an earlier entry has."""
    seen: dict[str, set[str]] = {}
    for field in struct.fields:
        below = value.get(field.json)
        if not below:
            continue
        if field.type.struct is not None:
            check_duplicates(below, field.type.struct, (*path, field.json), found)
        if field.type.item is None:
            continue
        item = field.type.item
        if (struct.name, field.json) not in ADDING:
            keys = seen.setdefault(SHARED.get((struct.name, field.json), field.json), set())
            for index, each in enumerate(below):
                key = key_of(each, item.struct)
                if key in keys:
                    found.error((*path, field.json, index), "duplicate entry defined")
                keys.add(key)
        if item.struct is not None:
            for index, each in enumerate(below):
                check_duplicates(each, item.struct, (*path, field.json, index), found)


def _config(value: Value, path: Path, minor: int, found: Findings) -> None:
    provided = set()
    for unit in value.get("systemd", {}).get("units", ()):
        own = f"/etc/systemd/system/{unit.get('name', '')}"
        if unit.get("contents"):
            provided.add(own)
        provided |= {
            f"{own}.d/{dropin.get('name', '')}" for dropin in unit.get("dropins", ()) if dropin.get("contents")
        }
    for kind in ("files", "directories", "links"):
        for index, node in enumerate(value.get("storage", {}).get(kind, ())):
            if node.get("path") in provided:
                found.error((*path, "storage", kind, index, "path"), "path conflicts with systemd unit or dropin")


def _ignition(value: Value, path: Path, minor: int, found: Findings) -> None:
    version = semver(value.get("version", ""))
    if version is None:
        found.error((*path, "version"), "invalid config version (couldn't parse)")
    elif not (version in KNOWN and minor_of(version) == minor):
        found.error((*path, "version"), "unsupported config version")


def _ignition_config(value: Value, path: Path, minor: int, found: Findings) -> None:
    if minor >= 1:
        for index, resource in enumerate(value.get("merge", ())):
            found.error((*path, "merge", index), _check_required(resource, minor))


def _tls(value: Value, path: Path, minor: int, found: Findings) -> None:
    if minor >= 1:
        for index, resource in enumerate(value.get("certificateAuthorities", ())):
            found.error((*path, "certificateAuthorities", index), _check_required(resource, minor))


def _check_required(resource: Value, minor: int) -> str | None:
    source = resource.get("source")
    return urls.check_source(source, minor) if source else "source is required"


def check_optional(source: str | None, minor: int) -> str | None:
    return urls.check_source(source, minor) if source else None


def _config_reference(value: Value, path: Path, minor: int, found: Findings) -> None:
    found.error((*path, "source"), check_optional(value.get("source"), minor))


def _ca_reference(value: Value, path: Path, minor: int, found: Findings) -> None:
    found.error((*path, "source"), urls.check_source(value.get("source", ""), minor))


def _resource(value: Value, path: Path, minor: int, found: Findings) -> None:
    source = value.get("source")
    if value.get("compression", "") not in ("", "gzip"):
        found.error((*path, "compression"), "invalid compression method")
    if value.get("verification", {}).get("hash") is not None and source is None:
        found.error((*path, "verification", "hash"), "source must be specified if verification is specified")
    found.error((*path, "source"), check_optional(source, minor))
    if value.get("httpHeaders"):
        found.error((*path, "httpHeaders"), _check_header_scheme(source))


def _check_header_scheme(source: str | None) -> str | None:
    url = urls.parse(source) if source else None
    if url is None:
        return "unable to parse url"
    return None if url.scheme in ("http", "https") else "cannot use HTTP headers with this source scheme"


def _http_header(value: Value, path: Path, minor: int, found: Findings) -> None:
    if not value.get("name"):
        found.error((*path, "name"), "HTTP header name can't be empty")
    if value.get("value") == "":
        found.error((*path, "value"), "unable to parse HTTP header")


def _verification(value: Value, path: Path, minor: int, found: Findings) -> None:
    text = value.get("hash")
    if text is not None:
        found.error((*path, "hash"), check_hash(text, ("sha512", "sha256") if minor >= 1 else ("sha512",)))


def check_hash(text: str, functions: tuple[str, ...]) -> str | None:
    """What is wrong with ``sha512-SUM``. Only the length of the sum is looked at, as Ignition does."""
    function, dash, total = text.partition("-")
    if not dash:
        return "malformed hash specifier"
    if function not in functions:
        return "unrecognized hash function"
    return None if len(total.encode()) == int(function[3:]) // 4 else "incorrect size for hash sum"


def _proxy(value: Value, path: Path, minor: int, found: Findings) -> None:
    for name in ("httpProxy", "httpsProxy"):
        text = value.get(name)
        if text is None:
            continue
        url = urls.parse(text)
        if url is None:
            found.error((*path, name), "unable to parse url")
        elif url.scheme not in ("http", "https"):
            found.error((*path, name), "proxies must be http(s)")
        elif name == "httpsProxy" and url.scheme == "http":
            found.warn((*path, name), "insecure plaintext HTTP proxy specified for HTTPS resources")


def _clevis_custom(value: Value, path: Path, minor: int, found: Findings) -> None:
    pin, config = value.get("pin"), value.get("config")
    if not pin and not config and not (minor >= 3 and value.get("needsNetwork")):
        return
    if not pin and minor >= 3:
        found.error((*path, "pin"), "missing required custom clevis pin")
    elif minor < 6 and pin not in ("tpm2", "tang", "sss"):
        found.error((*path, "pin"), "unsupported clevis pin")
    if not config:
        found.error((*path, "config"), "missing required custom clevis config")


def _tang(value: Value, path: Path, minor: int, found: Findings) -> None:
    url = urls.parse(value.get("url", ""))
    if url is None:
        found.error((*path, "url"), "unable to parse url")
    elif url.scheme not in ("http", "https"):
        found.error((*path, "url"), "invalid url scheme")
    if not value.get("thumbprint"):
        found.error((*path, "thumbprint"), "thumbprint is required")
    if value.get("advertisement"):
        try:
            json.loads(value["advertisement"])
        except (ValueError, RecursionError):
            found.error((*path, "advertisement"), "advertisement is not valid JSON")


def _unit(value: Value, path: Path, minor: int, found: Findings) -> None:
    name, text = value.get("name", ""), value.get("contents")
    if unit_file.suffix(name) not in unit_file.UNIT_SUFFIXES:
        found.error((*path, "name"), "invalid systemd unit extension")
    if not text:
        return
    options, problem = unit_file.parse(text)
    if problem:
        found.error((*path, "contents"), f"invalid unit content: {problem}")
    elif value.get("enabled") and not has_install(options):
        found.warn((*path, "contents"), no_install(name))


def has_install(options: tuple[unit_file.Option, ...]) -> bool:
    return any(option.section == "Install" for option in options)


def no_install(name: str) -> str:
    return f"unit {unit_file.quote(name)} is enabled, but has no install section so enable does nothing"


def _dropin(value: Value, path: Path, minor: int, found: Findings) -> None:
    if value.get("contents"):
        problem = unit_file.parse(value["contents"])[1]
        found.error((*path, "contents"), problem and f"invalid unit content: {problem}")
    if unit_file.suffix(value.get("name", "")) != ".conf":
        found.error((*path, "name"), "invalid systemd drop-in extension")


_INSTANCE = re.compile(r"(.+?)@(.+?)\.service")


def _systemd(value: Value, path: Path, minor: int, found: Findings) -> None:
    contents = {unit.get("name", ""): unit.get("contents") for unit in value.get("units", ())}
    for index, unit in enumerate(value.get("units", ())):
        name = unit.get("name", "")
        instance = _INSTANCE.fullmatch(name) if unit.get("enabled") else None
        template = f"{instance[1]}@.service" if instance else ""
        if not template or not contents.get(template):
            continue
        options, problem = unit_file.parse(contents[template])
        if problem is None and not has_install(options):
            quoted = unit_file.quote(template), unit_file.quote(name)
            found.warn(
                (*path, "units", index, "contents"),
                "template unit {} for {} doesn't have Install section".format(*quoted),
            )


RULES: dict[str, Rule] = {
    "Config": _config,
    "Ignition": _ignition,
    "IgnitionConfig": _ignition_config,
    "TLS": _tls,
    "ConfigReference": _config_reference,
    "CaReference": _ca_reference,
    "Resource": _resource,
    "FileContents": _resource,
    "HTTPHeader": _http_header,
    "Verification": _verification,
    "Proxy": _proxy,
    "Custom": _clevis_custom,
    "ClevisCustom": _clevis_custom,
    "Tang": _tang,
    "Unit": _unit,
    "Dropin": _dropin,
    "Systemd": _systemd,
    **rules_v3_storage.RULES,
}

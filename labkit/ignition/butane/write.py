"""A config as Butane, for Flatcar or Fedora CoreOS of today: from Container Linux Config, Ignition or Butane itself.

It goes by way of what the config means: Ignition, that in spec 3, and that in Butane's words. What cannot be carried
over is refused with the reason; comments are not kept, since nothing of the text is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from .. import data_url
from ..analysis import fixes
from ..clc import transpile as clc
from ..report import Entry, Findings, IgnitionError, Path, Report
from ..spec.check import Unsupported, parse
from ..spec.schema import Struct
from ..spec.upgrade import lowest, translate
from ..spec.v3 import BUTANE, IGNITION, dialect
from . import transpile as butane

Value = dict[str, Any]
VARIANTS = {"flatcar": "1.0.0", "fcos": "1.4.0"}
GONE_UNITS = {
    "etcd-member.service": "run etcd in a container of your own unit",
    "etcd2.service": "run etcd in a container of your own unit",
    "flanneld.service": "run flannel in a container of your own unit",
    "locksmithd.service": "Zincati decides there when to boot anew: /etc/zincati/config.d/",
    "update-engine.service": "rpm-ostree updates there, and Zincati decides when",
}
"""Units that Container Linux came with and Fedora CoreOS has not, and what to do instead."""
GONE_WORDS = {
    "DOCKER_OPTS": "write /etc/docker/daemon.json, which has the flags without their dashes",
    "coreos-metadata.service": "it is called afterburn.service there, and its variables begin with AFTERBURN_",
    "/run/metadata/coreos": "it is /run/metadata/afterburn there, and its variables begin with AFTERBURN_",
}
"""What texts of units name that is not there, likewise."""
UPDATE_FILES = ("/etc/coreos/update.conf", "/etc/flatcar/update.conf")


def migrate(
    source: str | bytes, variant: str = "flatcar", *, platform: str = "", files_dir: FilePath | None = None
) -> str:
    """Butane YAML that makes of today's system what the given config made. Raises `IgnitionError`."""
    if variant not in VARIANTS:
        raise IgnitionError(f"cannot write Butane for {variant!r}", fix=f"one of: {', '.join(VARIANTS)}")
    try:
        config = _config(source, platform, files_dir)
    except IgnitionError as error:
        raise IgnitionError(error.summary, fixes.add(error.report), fix=error.fix) from None
    version = VARIANTS[variant]
    if str(config["ignition"]["version"]).startswith("2."):
        if variant == "fcos":
            _refuse_container_linux(config)
    else:
        newer = _version_for(config, variant)
        version = version if BUTANE[variant, version] >= BUTANE[variant, newer] else newer
    text = to_butane(translate(config, BUTANE[variant, version]), variant, version)
    try:
        butane.transpile(text)
    except IgnitionError as error:  # what the spec has, and the variant has not
        what = f"{variant} {version} cannot say what this config says"
        entries = [
            replace(entry, line=0, column=0) for entry in fixes.add(error.report)
        ]  # the place is one of the text made here
        raise IgnitionError(what, entries, fix="take that out, or choose the other variant") from None
    return text


def _refuse_container_linux(config: Value) -> None:
    """Refuse what only Container Linux and Flatcar have a service for: on Fedora CoreOS it would do nothing.

    Source: docs/migrate-cl.adoc of fedora-coreos-docs.
    """
    found = Findings()
    for index, unit in enumerate(config.get("systemd", {}).get("units", ())):
        for name, fix in GONE_UNITS.items():
            if unit.get("name") == name and not unit.get("contents") and not unit.get("mask"):
                found.entries.append(_gone(("systemd", "units", index), f"no {name}", fix))
        texts = [unit.get("contents", ""), *(drop_in.get("contents", "") for drop_in in unit.get("dropins", ()))]
        for word, fix in GONE_WORDS.items():
            if any(word in text for text in texts):
                found.entries.append(_gone(("systemd", "units", index), f"no {word}", fix))
    for index, file in enumerate(config.get("storage", {}).get("files", ())):
        if file.get("path") in UPDATE_FILES:
            fix = "leave out locksmith and update, and write /etc/zincati/config.d/ for when it may boot anew"
            found.entries.append(_gone(("storage", "files", index), f"no reader of {file['path']}", fix))
    if config.get("networkd", {}).get("units"):
        fix = "write a keyfile below /etc/NetworkManager/system-connections/"
        found.entries.append(_gone(("networkd",), "NetworkManager, and no systemd-networkd", fix))
    if found.is_fatal:
        what = "Fedora CoreOS lacks services that this config for Container Linux sets up"
        raise IgnitionError(what, Report(tuple(found.entries)), fix="migrate it to flatcar, which has them")


def _gone(path: Path, what: str, fix: str) -> Entry:
    return Entry("error", f"Fedora CoreOS has {what}", path, fix=fix)


def _config(source: str | bytes, platform: str, files_dir: FilePath | None) -> Value:
    from .. import recognise

    head = source.lstrip()[:1]
    if head in ("{", b"{"):
        try:
            return parse(source)[0]
        except Unsupported:
            pass  # YAML may begin with a brace too
    if recognise(source) == "butane":
        return butane.transpile(source, files_dir)[0]
    return clc.transpile(source, files_dir, platform)[0]


def to_butane(config: Value, variant: str, version: str = "") -> str:
    """A spec 3 config in Butane's notation; data: URLs become ``inline`` where they are text."""
    from yaml import SafeDumper, dump

    class Dumper(SafeDumper):
        """Texts of several lines as blocks, modes in octal."""

    Dumper.add_representer(str, _text)
    Dumper.add_representer(_Mode, lambda dumper, mode: dumper.represent_scalar("tag:yaml.org,2002:int", f"0{mode:o}"))
    version = version or _version_for(config, variant)
    notation = dialect(variant, version)
    body = _lift(config, notation.target, notation.source)
    body = {"variant": variant, "version": version, **{name: value for name, value in body.items() if value}}
    text = dump(body, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000)
    return str(text)


def _version_for(config: Value, variant: str) -> str:
    needed = lowest(config)
    for name, version in BUTANE:
        if name == variant and BUTANE[name, version] in IGNITION and BUTANE[name, version] >= needed:
            return version
    raise IgnitionError(
        f"no released version of {variant} writes Ignition {needed}, which this config needs",
        fix="leave out what is new in it, or choose the other variant",
    )


class _Mode(int):
    """An int that is written in octal."""


def _text(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value and not any(line != line.rstrip() for line in value.split("\n")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _lift(value: Value, target: Struct, source: Struct) -> Value:
    result: Value = {}
    for name, item in value.items():
        to, came = target.by_json.get(name), source.by_json.get(name)
        if to is None or came is None or (source.name == "Ignition" and name == "version"):
            continue
        if to.type.struct is not None and came.type.struct is not None:
            item = _lift(item, to.type.struct, came.type.struct)
        elif to.type.item is not None and to.type.item.struct and came.type.item and came.type.item.struct:
            item = [_lift(each, to.type.item.struct, came.type.item.struct) for each in item]
        elif name == "mode" and item is not None:
            item = _Mode(item)
        if item is not None:
            result[came.yaml] = item
    if source.name in ("Resource", "FileContents"):
        _inline(result)
    return {name: result[name] for name in sorted(result, key=lambda name: name not in ("name", "path", "device"))}


def _inline(resource: Value) -> None:
    url = resource.get("source") or ""
    if not url.startswith("data:") or resource.get("verification"):
        return
    try:
        text = data_url.decode(url, resource.get("compression") or "").decode()
    except ValueError:
        return
    if all(char.isprintable() or char in "\n\t" for char in text):
        del resource["source"]
        resource.pop("compression", None)
        resource["inline"] = text

"""A config as Butane, for Flatcar or Fedora CoreOS of today: from Container Linux Config, Ignition or Butane itself.

It goes by way of what the config means: Ignition, that in spec 3, and that in Butane's words. What cannot be carried
over is refused with the reason; comments are not kept, since nothing of the text is.
"""

from __future__ import annotations

from typing import Any

from .. import data_url
from ..clc import transpile as clc
from ..report import IgnitionError
from ..spec.check import Unsupported, parse
from ..spec.schema import Struct
from ..spec.upgrade import lowest, translate
from ..spec.v3 import BUTANE, dialect
from . import transpile as butane

Value = dict[str, Any]
VARIANTS = {"flatcar": "1.0.0", "fcos": "1.4.0"}


def migrate(source: str | bytes, variant: str = "flatcar", *, platform: str = "") -> str:
    """Butane YAML that makes of today's system what the given config made. Raises `IgnitionError`."""
    if variant not in VARIANTS:
        raise IgnitionError(f"cannot write Butane for {variant!r}", fix=f"one of: {', '.join(VARIANTS)}")
    config = _config(source, platform)
    version = VARIANTS[variant]
    if str(config["ignition"]["version"]).startswith("2."):
        return to_butane(translate(config, BUTANE[variant, version]), variant, version)
    newer = _version_for(config, variant)
    version = version if BUTANE[variant, version] >= BUTANE[variant, newer] else newer
    return to_butane(translate(config, BUTANE[variant, version]), variant, version)


def _config(source: str | bytes, platform: str) -> Value:
    from .. import recognise

    head = source.lstrip()[:1]
    if head in ("{", b"{"):
        try:
            return parse(source)[0]
        except Unsupported:
            pass  # YAML may begin with a brace too
    if recognise(source) == "butane":
        return butane.transpile(source)[0]
    return clc.transpile(source, None, platform)[0]


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
        if name == variant and BUTANE[name, version] >= needed:
            return version
    raise IgnitionError(f"no version of {variant} writes Ignition {needed}")


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

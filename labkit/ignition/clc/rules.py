"""What ct demands of its own notation when it reads it. Source: config/types/*.go of ct 0.9.4."""

from __future__ import annotations

import json
import re
from typing import Any

from ..golang import urls
from ..spec.walk import FieldRule, Remark, StructRule

Value = dict[str, Any]


def _version(value: Value) -> list[Remark]:
    return [("error", "Invalid version. Only version 0 is supported")] if value.get("version") else []


def _file_mode(value: Value) -> list[Remark]:
    if value.get("mode") is not None:
        return []
    text = "mode unspecified for file, defaulting to 0644"
    return [("info", f"{text} if the file does not exist")] if value.get("append") else [("warning", text)]


def _directory_mode(value: Value) -> list[Remark]:
    return [] if value.get("mode") is not None else [("warning", "mode unspecified for directory, defaulting to 0755")]


def _contents(value: Value) -> list[Remark]:
    given = [value.get("remote", {}).get("url"), value.get("inline"), value.get("local")]
    if sum(map(bool, given)) > 1:
        return [("error", "only one of the following can be set: local, inline, remote.url")]
    return []


def _update(value: Value) -> list[Remark]:
    known = value.get("group", "").lower() in ("stable", "beta", "alpha")
    return [] if known or value.get("server") else [("warning", "unknown update group")]


def _update_server(value: Value) -> list[Remark]:
    problem = urls.problem(value.get("server", ""))
    return [("error", problem)] if problem else []


def _locksmith(value: Value) -> list[Remark]:
    if bool(value.get("window_start")) != bool(value.get("window_length")):
        return [("error", "window-start and window-length must both be specified")]
    return []


def _reboot_strategy(value: Value) -> list[Remark]:
    text = value.get("reboot_strategy") or "off"
    return [] if text.lower() in ("reboot", "etcd-lock", "off") else [("error", "unknown reboot strategy")]


def _window_start(value: Value) -> list[Remark]:
    text = value.get("window_start")
    if not text:
        return []
    words = re.match(r"[ \t]*(\S+)[ \t]+(\S+)", text)
    day, clock = words.groups() if words else ("sun", text)
    if day.lower() not in ("sun", "mon", "tue", "wed", "thu", "fri", "sat"):
        return [("error", "unknown day in window start")]
    match = re.fullmatch("([0-9]{1,2}):([0-9]{2})", clock)
    right = match and int(match[1]) < 24 and int(match[2]) < 60
    return [] if right else [("error", "couldn't parse window start")]


def _window_length(value: Value) -> list[Remark]:
    text = value.get("window_length")
    if not text or re.fullmatch(r"[-+]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)", text):
        return []
    return [("error", "couldn't parse window length")]


def _etcd_version(value: Value) -> list[Remark]:
    version = value.get("version_parts")
    if version is None:
        return []
    major, minor = version[:2]
    if (major, minor) < (2, 3):
        return [("error", "Etcd version specified is not valid (too old)")]
    if (major == 2 and minor > 3) or (major == 3 and minor > 5):
        text = "Etcd minor version specified is too new, only options available in the previous minor version"
        return [("warning", f"{text} will be accepted")]
    return [("error", "Etcd version is not valid (too new)")] if major > 3 else []


def _flannel_version(value: Value) -> list[Remark]:
    version = value.get("version_parts")
    if version is None:
        return []
    major, minor = version[:2]
    if (major, minor) < (0, 5):
        return [("error", "invalid flannel version (too old)")]
    if major == 0 and minor > 7:
        text = "flannel minor version too new. Only options available in the previous minor version will be supported"
        return [("warning", text)]
    return []


def _network_config(value: Value) -> list[Remark]:
    text = value.get("network_config")
    if not text:
        return []
    try:
        right = isinstance(json.loads(text), dict | type(None))
    except (ValueError, RecursionError):
        right = False
    return [] if right else [("error", "flannel network config doesn't appear to be valid JSON")]


def _flannel(value: Value) -> list[Remark]:
    if value.get("kube_subnet_mgr") and value.get("network_config"):
        return [("error", "flannel network config cannot be provided if kube_subnet_mgr is set")]
    return []


STRUCTS: dict[str, StructRule] = {
    "FileContents": _contents,
    "Update": _update,
    "Locksmith": _locksmith,
    "Flannel": _flannel,
}
FIELDS: dict[tuple[str, str], FieldRule] = {
    ("Config", "version"): _version,
    ("File", "mode"): _file_mode,
    ("Directory", "mode"): _directory_mode,
    ("Update", "server"): _update_server,
    ("Locksmith", "rebootStrategy"): _reboot_strategy,
    ("Locksmith", "windowStart"): _window_start,
    ("Locksmith", "windowLength"): _window_length,
    ("Etcd", "version"): _etcd_version,
    ("Flannel", "version"): _flannel_version,
    ("Flannel", "networkConfig"): _network_config,
}

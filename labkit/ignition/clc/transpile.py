"""Container Linux Config to Ignition 2.3.0, as ct 0.9.4 of Flatcar does it.

Two phases, each with its own report: reading (types, unknown keys, the sections' own checks), then converting (URLs,
sizes, Ignition's rules). Source: config/config.go and config/types/*.go of ct.
"""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

from .. import data_url, files
from ..files import LocalFileError
from ..golang import urls
from ..golang.quote import quote
from ..report import Entry, Findings, IgnitionError, Path, Report
from ..spec import rules_v2
from ..spec.canonical import ordered
from ..spec.v2 import ignition
from ..spec.walk import Walk
from ..yaml.decode import Decoder
from ..yaml.tree import Node, YamlError, parse
from . import rules, services
from .fields import container_linux

Value = dict[str, Any]
VERSION = "2.3.0"
FAILED = "Failed to parse config"
FILE_MODE, DIRECTORY_MODE = 0o644, 0o755

TYPE_GUIDS = {
    "raid_containing_root": "be9067b9-ea49-4f15-b4f6-f36f8c9e1818",
    "linux_filesystem_data": "0fc63daf-8483-4772-8e79-3d69d8477de4",
    "swap_partition": "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
    "raid_partition": "a19d880f-05fc-4d3b-a006-743f0f84911e",
}


def transpile(
    source: bytes | str, files_dir: FilePath | None = None, platform: str = "", *, strict: bool = False
) -> tuple[Value, str, Report]:
    """The Ignition config, its version, and what there is to say. Raises `IgnitionError`."""
    config, root, entries = read(source)
    if strict and entries:
        raise IgnitionError(FAILED, Report(tuple(entries)))
    conversion = _Conversion(config, root, files_dir, platform)
    result, more = conversion.run()
    report = Report(tuple(entries + more))
    if result is None or (strict and more):
        raise IgnitionError("", report)
    return result, VERSION, report


def read(source: bytes | str) -> tuple[Value, Node | None, list[Entry]]:
    """The first phase: a decoded config (YAML names), its tree, and remarks. Raises `IgnitionError`."""
    try:
        root = parse(source)
        decoder = Decoder(merge_keys_last=False)
        config = decoder.decode(root, container_linux())
        services.decode_options(root, config, decoder)
    except YamlError as error:
        text = str(error) if isinstance(error, services.BadVersion) else f"yaml: {error}"
        raise IgnitionError(FAILED, [Entry("error", text)]) from None
    if decoder.errors:
        lines = "\n".join("  " + line for line in decoder.errors)
        raise IgnitionError(FAILED, [Entry("error", f"yaml: unmarshal errors:\n{lines}")])
    if root is None:
        return config, root, [Entry("warning", "Configuration is empty")]
    struct = services.with_options(container_linux(), config)
    walk = Walk(rules.STRUCTS, rules.FIELDS, names="yaml", unused=True)
    entries = walk.struct(config, struct, root)
    if any(entry.kind == "error" for entry in entries):
        raise IgnitionError(FAILED, entries)
    return config, root, entries


class _Conversion:
    """The second phase."""

    def __init__(self, config: Value, root: Node | None, files_dir: FilePath | None, platform: str) -> None:
        self.config = config
        self.root = root
        self.files_dir = files_dir
        self.platform = platform
        self.found = Findings()

    def run(self) -> tuple[Value | None, list[Entry]]:
        if self.platform and self.platform not in services.PLATFORMS:
            return None, [Entry("error", "unsupported platform")]
        result: Value = {
            "ignition": self._ignition(),
            "networkd": {"units": [_camel(unit) for unit in self._section("networkd", "units")]},
            "passwd": {
                "users": [_camel(user) for user in self._section("passwd", "users")],
                "groups": [_camel(group) for group in self._section("passwd", "groups")],
            },
            "storage": self._storage(),
        }
        try:
            units = services.units(self.config, self.platform)
        except services.TemplateError as error:
            self.found.error((), str(error))
            units = []
        result["systemd"] = {"units": units + [_camel(unit) for unit in self._section("systemd", "units")]}
        if self.found.is_fatal:
            return None, self.found.entries
        entries = rules_v2.walk(result, VERSION, _patched(self.root, self.config), _ignition_key)
        if any(entry.kind == "error" for entry in entries):
            return None, self.found.entries + entries
        return ordered(result, ignition(VERSION), keep_empty=True), self.found.entries + entries

    def _section(self, *names: str) -> Any:
        value: Any = self.config
        for name in names:
            value = value.get(name) or {}
        return value or ()

    def _fail(self, path: Path, message: str) -> None:
        node = self.root
        for step in path:
            below = None
            if node is not None and isinstance(step, str) and node.kind == "map":
                below = node.get(step)
            elif node is not None and isinstance(step, int) and node.kind == "seq" and step < len(node.items):
                below = node.items[step]
            node = below
        place = (node.line, node.column) if node is not None else (0, 0)
        self.found.entries.append(Entry("error", message, path, *place))

    def _ignition(self) -> Value:
        old = self.config.get("ignition", {})
        new: Value = {"version": VERSION, "timeouts": _camel(old.get("timeouts", {}))}
        config: Value = {"append": []}
        at: Path = ("ignition", "config")
        for index, reference in enumerate(old.get("config", {}).get("append", ())):
            config["append"].append(self._reference(reference, (*at, "append", index)))
        replacement = old.get("config", {}).get("replace")
        if replacement is not None:
            config["replace"] = self._reference(replacement, (*at, "replace"))
        new["config"] = config
        authorities = old.get("security", {}).get("tls", {}).get("certificate_authorities", ())
        new["security"] = {"tls": {"certificateAuthorities": [_reference(each) for each in authorities]}}
        return new

    def _reference(self, old: Value, path: Path) -> Value:
        problem = urls.problem(old.get("source", ""))
        if problem:
            self._fail((*path, "source"), problem)
        return _reference(old)

    def _storage(self) -> Value:
        storage = self._section("storage") or {}
        new_files = [
            file
            for index, old in enumerate(storage.get("files", ()))
            if (file := self._file(old, ("storage", "files", index))) is not None
        ]
        update = services.update_conf(self.config)
        if update:
            new_files.append(_root_file("/etc/coreos/update.conf", update))
        return {
            "disks": [self._disk(disk, ("storage", "disks", i)) for i, disk in enumerate(storage.get("disks", ()))],
            "raid": [_camel(raid) for raid in storage.get("raid", ())],
            "filesystems": [_camel(filesystem) for filesystem in storage.get("filesystems", ())],
            "files": new_files,
            "directories": [_node(node, DIRECTORY_MODE) for node in storage.get("directories", ())],
            "links": [_node(node, None) for node in storage.get("links", ())],
        }

    def _disk(self, old: Value, path: Path) -> Value:
        partitions = []
        for index, partition in enumerate(old.get("partitions", ())):
            new = _camel({name: value for name, value in partition.items() if name not in ("size", "start")})
            new["typeGuid"] = TYPE_GUIDS.get(new.get("typeGuid", ""), new.get("typeGuid", ""))
            for name in ("size", "start"):
                text = partition.get(name, "")
                if not text:
                    continue
                size, problem = size_mib(text)
                if problem:
                    self._fail((*path, "partitions", index, name), problem)
                    break
                new[f"{name}MiB"] = size
            else:
                partitions.append(new)
        return {**_camel(old), "partitions": partitions}

    def _file(self, old: Value, path: Path) -> Value | None:
        contents = old.get("contents", {})
        remote = contents.get("remote", {})
        new = _node(old, FILE_MODE)
        source = ""
        if contents.get("inline"):
            source = _data_url(contents["inline"].encode("utf-8", "surrogateescape"))
        if contents.get("local"):
            try:
                if self.files_dir is None:
                    raise LocalFileError(
                        "local files require setting the --files-dir flag to the directory that contains the file"
                    )
                source = _data_url(files.read(contents["local"], self.files_dir))
            except LocalFileError as error:
                self._fail((*path, "contents", "local"), str(error))
                return None
        if remote.get("url"):
            problem = urls.problem(remote["url"])
            if problem:
                self._fail((*path, "contents", "remote", "url"), problem)
                return None
            source = str(urls.parse(remote["url"]))
        new["contents"] = {
            "source": source or "data:,",
            "compression": remote.get("compression", ""),
            "verification": _verification(remote.get("verification", {})),
        }
        return new


def _data_url(data: bytes) -> str:
    return "data:," + data_url.escape(data)


def _root_file(path: str, text: str) -> Value:
    source = _data_url(text.encode("utf-8", "surrogateescape"))
    return {"filesystem": "root", "path": path, "mode": FILE_MODE, "contents": {"source": source}}


def _reference(old: Value) -> Value:
    return {"source": old.get("source", ""), "verification": _verification(old.get("verification", {}))}


def _verification(old: Value) -> Value:
    parts = old.get("hash", {})
    function, total = parts.get("function", ""), parts.get("sum", "")
    return {"hash": f"{function}-{total}"} if function and total else {}


def _node(old: Value, mode: int | None) -> Value:
    new = _camel({name: value for name, value in old.items() if name != "contents"})
    new["filesystem"] = old.get("filesystem") or "root"
    if mode is not None and new.get("mode") is None:
        new["mode"] = mode
    return new


def _camel(value: Value) -> Value:
    """The same value with the JSON's names."""
    return {_ignition_key(name): _camelled(item) for name, item in value.items()}


def _camelled(value: Any) -> Any:
    if isinstance(value, list):
        return [_camelled(item) for item in value]
    return _camel(value) if isinstance(value, dict) else value


def _ignition_key(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _patched(root: Node | None, config: Value) -> Node | None:
    """The tree as it would be for Ignition: where a file's contents are remote, they stand at ``remote``."""
    listed = _at(root, "storage", "files")
    if root is None or listed is None or listed.kind != "seq":
        return root
    nodes = list(listed.items)
    for index, file in enumerate(config.get("storage", {}).get("files", ())[: len(nodes)]):
        remote = _at(nodes[index], "contents", "remote")
        if remote is None or remote.kind != "map" or not file.get("contents", {}).get("remote", {}).get("url"):
            continue
        names = [key.copy(value="source") if key.value == "url" else key for key, _ in remote.pairs()]
        contents = remote.copy(items=[each for pair in zip(names, remote.items[1::2], strict=True) for each in pair])
        nodes[index] = _with(nodes[index], "contents", contents)
    storage = root.get("storage")
    assert storage is not None
    return _with(root, "storage", _with(storage, "files", listed.copy(items=nodes)))


def _with(node: Node, name: str, below: Node) -> Node:
    """A copy of a mapping with another value at a key."""
    return node.copy(items=[each for key, item in node.pairs() for each in (key, below if key.value == name else item)])


def _at(node: Node | None, *names: str) -> Node | None:
    for name in names:
        node = node.get(name) if node is not None and node.kind == "map" else None
    return node


_UNITS = ("", "K", "M", "G", "T", "P", "E")
_SCALES = {
    suffix: {f"{prefix}{suffix if prefix else 'B'}": 1024.0**power for power, prefix in enumerate(_UNITS)}
    for suffix in ("iB", "B")
}


def size_mib(text: str) -> tuple[int, str | None]:
    """A size such as ``1.5GiB`` in MiB, or what is wrong with it. KB, MB … count by 1024 too."""
    size_b, problem = _parse_size(text, _SCALES["iB"])
    if problem:
        size_b, problem = _parse_size(text, _SCALES["B"])
    if problem:
        return 0, problem
    if size_b < 0:
        return 0, f"invalid dimension (negative): {quote(text)}"
    if size_b % (1 << 20):
        return 0, "invalid dimension (finest granularity is 1MiB)"
    return size_b >> 20, None


def _parse_size(text: str, scale: dict[str, float]) -> tuple[int, str | None]:
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0, None
    invalid = f"units: invalid {text}"
    if not rest:
        return 0, invalid
    total = 0.0
    while rest:
        match = re.match(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)", rest, re.ASCII)
        assert match
        whole, _, part, unit = match.groups()
        if not whole and not part:
            return 0, invalid
        if max(int(whole or 0), int(part or 0)) >= 1 << 63:
            return 0, invalid
        if unit not in scale:
            return 0, f"units: unknown unit {unit} in {text}"
        total += (int(whole or 0) + (int(part) / 10.0 ** len(part) if part else 0.0)) * scale[unit]
        rest = rest[match.end() :]
    total = -total if text.startswith("-") else total
    return (0, "units: overflow parsing unit") if abs(total) > float((1 << 63) - 1) else (int(total), None)


def raw(report: Report) -> str:
    """The report in ct's layout."""
    return "".join(_raw_entry(entry) + "\n" for entry in report)


def _raw_entry(entry: Entry) -> str:
    head = f"{entry.kind} at line {entry.line}, column {entry.column}\n" if entry.line else f"{entry.kind}: "
    return garble(head + entry.message)


def garble(text: str) -> str:
    """What becomes of a text that Go takes for a format: ``%zz`` turns into ``%!z(MISSING)z``."""
    if "%" not in text:
        return text
    text = re.sub(r"%[-+# 0]*[0-9]*(?:\.[0-9]*)?(.|\Z)", lambda m: _garbled(m[1]), text, flags=re.DOTALL)
    return text


def _garbled(verb: str) -> str:
    if not verb:
        return "%!(NOVERB)"
    return "%" if verb == "%" else f"%!{verb}(MISSING)"

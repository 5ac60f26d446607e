"""Lowers Butane's conveniences to Ignition: contents, local files, mount units (`local_trees`: trees, quadlets).

`Lowering` also keeps, for every value of the JSON that did not come from the YAML value at the same path, where it
did come from, so that a remark about the JSON can point into the YAML.

Source: base/v0_*/translate.go of Butane 0.29.
"""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

from .. import data_url, files
from ..files import LocalFileError
from ..report import Findings, Path
from ..spec.merge import Merger, Origins, note_source
from ..spec.schema import Struct, snake
from ..spec.v3 import Dialect
from ..unit_file import escape_path

Value = dict[str, Any]


class Lowering:
    """One translation. ``result`` is the typed Ignition config, ``found`` speaks of YAML paths."""

    def __init__(self, config: Value, dialect: Dialect, files_dir: FilePath | None) -> None:
        self.config = config
        self.dialect = dialect
        self.files_dir = files_dir
        self.found = Findings()
        self.origins: Origins = {}
        self.is_going_on = False
        self._complete = False
        self.result: Value = {}

    def run(self) -> None:
        self.result = self._struct(self.config, self.dialect.source, self.dialect.target, (), ())
        self.result.setdefault("ignition", {})["version"] = self.dialect.ignition
        self.origins["ignition", "version"] = ("version",)
        self.is_going_on = not self.found.is_fatal or bool(self.dialect.minor)
        if self.is_going_on:
            self._add_mount_units()

    def lay_over(self, parent: Value, parent_origins: Origins) -> None:
        """Make what was made up the parent of what the person wrote."""
        if not self._complete:
            everything: Origins = {}
            _note_all(self.result, (), everything)
            self.origins = everything | self.origins
            self._complete = True
        merger = Merger(parent_origins, self.origins)
        self.result = merger.merge(parent, self.result, self.dialect.target)
        self.origins = merger.origins

    # ---- one to one, with contents

    def _struct(self, value: Value, source: Struct, target: Struct, path: Path, origin: Path) -> Value:
        result: Value = {}
        for field in source.fields:
            item = value.get(field.yaml)
            to = target.by_json.get(field.json)
            if item is None or to is None:
                continue
            at, came = (*path, field.json), (*origin, field.yaml)
            if field.type.struct is not None and to.type.struct is not None:
                below = self._struct(item, field.type.struct, to.type.struct, at, came)
                if below or to.type.optional:
                    result[field.json] = below
            elif field.type.item is not None and field.type.item.struct and to.type.item and to.type.item.struct:
                structs = field.type.item.struct, to.type.item.struct
                if item:
                    result[field.json] = [
                        self._struct(each, *structs, (*at, index), (*came, index)) for index, each in enumerate(item)
                    ]
            elif field.type.optional or item not in ("", 0, []):
                result[field.json] = item
        if source.name in ("Resource", "FileContents"):
            self._contents(value, result, path, origin)
        elif source.name == "PasswdUser":
            self._local_keys(value, result, path, origin)
        elif value.get("contents_local"):
            self._local_contents(value["contents_local"], result, path, (*origin, "contents_local"))
        return result

    def _contents(self, value: Value, result: Value, path: Path, origin: Path) -> None:
        for name in ("local", "inline"):
            text = value.get(name)
            if text is None:
                continue
            came = (*origin, name)
            try:
                data = files.read(text, self.files_dir) if name == "local" else _bytes(text)
            except LocalFileError as error:
                self.found.error(came, str(error))
                return
            self.put_source(data, result, path, came)

    def put_source(self, data: bytes, result: Value, path: Path, came: Path) -> None:
        if self.dialect.minor == 0:
            result["source"] = "data:," + data_url.escape(data)
        else:
            free = not result.get("compression")
            result["source"], packed = data_url.encode(data, may_compress=free)
            if free:
                result["compression"] = "gzip" if packed else ""
                self.origins[*path, "compression"] = came
        self.origins[*path, "source"] = came

    def _local_keys(self, value: Value, result: Value, path: Path, origin: Path) -> None:
        names = value.get("ssh_authorized_keys_local")
        if not names:
            return
        came, at = (*origin, "ssh_authorized_keys_local"), (*path, "sshAuthorizedKeys")
        self.origins[at] = came
        if self.files_dir is None:
            self.found.error(came, files.NO_FOLDER)
            return
        keys = result["sshAuthorizedKeys"] = list(result.get("sshAuthorizedKeys", ()))
        for index, name in enumerate(names):
            try:
                text = files.read(name, self.files_dir).decode("utf-8", "surrogateescape")
            except LocalFileError as error:
                self.found.error((*came, index), str(error))
                continue
            for line in re.split("\r?\n", text):
                if line:
                    self.origins[*at, len(keys)] = (*came, index)
                    keys.append(line)
        if not keys:
            del result["sshAuthorizedKeys"]

    def _local_contents(self, name: str, result: Value, path: Path, came: Path) -> None:
        try:
            result["contents"] = files.read(name, self.files_dir).decode("utf-8", "surrogateescape")
            self.origins[*path, "contents"] = came
        except LocalFileError as error:
            self.found.error(came, str(error))

    # ---- mount units

    def _add_mount_units(self) -> None:
        storage = self.config.get("storage", {})
        units: list[Value] = []
        origins: Origins = {}
        for index, filesystem in enumerate(storage.get("filesystems", ())):
            if filesystem.get("with_mount_unit"):
                came: Path = ("storage", "filesystems", index, "with_mount_unit")
                remote = _is_remote(filesystem.get("device", ""), storage.get("luks", ()))
                unit = mount_unit(filesystem, remote, swap_allowed=self.dialect.minor >= 3)
                note_source(unit, ("systemd", "units", len(units)), came, origins)
                units.append(unit)
        if units:
            origins["systemd",] = origins["systemd", "units"] = ("storage", "filesystems")
            self.lay_over({"systemd": {"units": units}}, origins)


def mount_unit(filesystem: Value, remote: bool, *, swap_allowed: bool) -> Value:
    """The unit that mounts a filesystem, or swaps on it."""
    device, form = filesystem.get("device", ""), filesystem.get("format", "")
    escaped = escape_path(device)
    options = list(filesystem.get("mount_options", ())) + (["_netdev"] if remote else [])
    options_line = f"Options={','.join(options)}\n" if options else ""
    if form == "swap" and swap_allowed:
        name, target = f"{escaped}.swap", "swap.target"
        body = f"[Swap]\nWhat={device}\n{options_line}"
    else:
        mount = filesystem.get("path", "")
        name, target = f"{escape_path(mount)}.mount", "remote-fs.target" if remote else "local-fs.target"
        body = (
            f"[Unit]\nRequires=systemd-fsck@{escaped}.service\nAfter=systemd-fsck@{escaped}.service\n\n"
            f"[Mount]\nWhere={mount}\nWhat={device}\nType={form}\n{options_line}"
        )
    contents = f"# Generated by Butane\n{body}\n[Install]\nRequiredBy={target}"
    return {"contents": contents, "enabled": True, "name": name}


def _is_remote(device: str, luks: list[Value]) -> bool:
    for each in luks:
        name = each.get("name", "")
        if device in (f"/dev/mapper/{name}", f"/dev/disk/by-id/dm-name-{name}") and each.get("clevis", {}).get("tang"):
            return True
    return False


def _note_all(value: Any, path: Path, origins: Origins) -> None:
    origins[path] = tuple(snake(step) if isinstance(step, str) else step for step in path)
    if isinstance(value, dict):
        for name, item in value.items():
            _note_all(item, (*path, name), origins)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _note_all(item, (*path, index), origins)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

"""From Ignition spec 2 to spec 3, and between versions of spec 3: what Flatcar does at boot with an old config.

What cannot be carried over is refused with the reason, never dropped: a file on a filesystem without a path, sizes
that are not whole MiB, two contents for one file. What spec 2 only implied is written out: a file without
``overwrite`` replaces what is there.

Source: flatcar/ign-converter, as in Flatcar's Ignition; docs/migrating-configs.md of Ignition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import data_url
from ..golang import paths
from ..report import Entry, Findings, IgnitionError, Path, Report
from . import rules_v3
from .canonical import ordered
from .schema import Struct
from .v3 import IGNITION, KNOWN, ignition, minor_of

Value = dict[str, Any]
#: where today's Flatcar has the filesystems that spec 2 configs know by name
NAMED_FILESYSTEMS = {"root": "/", "oem": "/oem", "OEM": "/oem"}
SECTORS_A_MIB = 2048


def translate(
    config: Value, to: str = "3.3.0", *, filesystems: Mapping[str, str] | None = None, oem: bool = False
) -> Value:
    """The config in spec version ``to``. ``filesystems`` adds paths for the names of spec 2 filesystems.

    ``oem`` lets sources be ``oem:///``, as Flatcar's Ignition does in every version and nobody else's.

    Raises `IgnitionError` with an entry for everything that cannot be carried over.
    """
    if to not in IGNITION:
        raise IgnitionError(f"cannot translate to {to}", fix=f"versions: {', '.join(IGNITION)}")
    version = str(config.get("ignition", {}).get("version", ""))
    found = Findings()
    if version.startswith("2."):
        result = _Upgrade({**NAMED_FILESYSTEMS, **(filesystems or {})}, found).config(config)
    elif version in KNOWN:  # of an experimental one, what the stable ones can say too
        result = dict(config)
        if minor_of(version) >= 6 > minor_of(to):
            _refuse_special_bits(config, found)
    else:
        raise IgnitionError(
            f"unsupported config version {version!r}", fix=f"versions: 2.0.0 to 2.4.0, {', '.join(KNOWN)}"
        )
    target = ignition(to)
    _refuse_unknown(result, target, (), to, found)
    result = _with_version(result, to)
    if not found.is_fatal:
        errors = (entry for entry in rules_v3.validate(result, to) if entry.kind == "error")
        found.extend(entry for entry in errors if not (oem and _is_oem(result, entry)))
    if found.is_fatal:
        raise IgnitionError(f"config cannot be carried over from {version} to {to}", Report(tuple(found.entries)))
    return ordered(result, target)


def _is_oem(config: Any, entry: Entry) -> bool:
    value = config
    for step in entry.path:
        value = value[int(step)] if isinstance(value, list) else (value or {}).get(step)
        if value is None:
            return False
    if isinstance(value, dict):
        value = value.get("source")
    return entry.message == "invalid url scheme" and str(value).startswith("oem:")


def lowest(config: Value) -> str:
    """The lowest version of spec 3 that can say what this config says. Raises `IgnitionError` if none can."""
    for version in IGNITION:
        try:
            translate(config, version)
        except IgnitionError:
            continue
        return version
    translate(config, IGNITION[-1])
    return IGNITION[-1]


def _with_version(config: Value, version: str) -> Value:
    return {**config, "ignition": {**config.get("ignition", {}), "version": version}}


def _refuse_unknown(value: Value, struct: Struct, path: Path, to: str, found: Findings) -> None:
    for name, item in value.items():
        field = struct.by_json.get(name)
        if field is None:
            if item not in (None, {}, []):
                found.entries.append(
                    Entry("error", f"spec {to} has no {name}", (*path, name), fix="use a newer spec, or leave it out")
                )
        elif field.type.struct is not None and isinstance(item, dict):
            _refuse_unknown(item, field.type.struct, (*path, name), to, found)
        elif field.type.item is not None and field.type.item.struct is not None:
            for index, each in enumerate(item or ()):
                _refuse_unknown(each, field.type.item.struct, (*path, name, index), to, found)


def _refuse_special_bits(config: Value, found: Findings) -> None:
    for kind in ("files", "directories"):
        for index, node in enumerate(config.get("storage", {}).get(kind, ())):
            if (node.get("mode") or 0) & 0o7000:
                found.error(("storage", kind, index, "mode"), "setuid, setgid and sticky bits need spec 3.6.0")


class _Upgrade:
    """One translation from spec 2."""

    def __init__(self, filesystems: Mapping[str, str], found: Findings) -> None:
        self.paths = dict(filesystems)
        self.found = found

    def config(self, old: Value) -> Value:
        storage, systemd = old.get("storage", {}), old.get("systemd", {})
        self._learn_paths(storage.get("filesystems", ()))
        return {
            "ignition": self._ignition(old.get("ignition", {})),
            "passwd": self._passwd(old.get("passwd", {})),
            "storage": {
                "disks": [self._disk(disk, index) for index, disk in enumerate(storage.get("disks", ()))],
                "raid": [_drop(raid) for raid in storage.get("raid", ())],
                "filesystems": self._filesystems(storage.get("filesystems", ())),
                "files": self._files(storage.get("files", ())) + self._networkd(old.get("networkd", {})),
                "directories": [self._node(n, "directories", i) for i, n in enumerate(storage.get("directories", ()))],
                "links": [self._node(n, "links", i) for i, n in enumerate(storage.get("links", ()))],
            },
            "systemd": {"units": self._units(systemd.get("units", ()))},
        }

    def _ignition(self, old: Value) -> Value:
        config = old.get("config", {})
        new: Value = {name: _drop(old.get(name, {})) for name in ("timeouts", "security", "proxy")}
        new["config"] = {"merge": [_drop(each) for each in config.get("append", ())]}
        if config.get("replace"):
            new["config"]["replace"] = _drop(config["replace"])
        return {name: value for name, value in new.items() if value}

    def _passwd(self, old: Value) -> Value:
        users = []
        for user in old.get("users", ()):
            create = user.get("create") or {}
            users.append(_drop({**create, **{k: v for k, v in user.items() if k != "create"}}))
        return {"users": users, "groups": [_drop(group) for group in old.get("groups", ())]}

    def _disk(self, old: Value, index: int) -> Value:
        partitions = []
        for at, partition in enumerate(old.get("partitions", ())):
            new = {name: value for name, value in partition.items() if name not in ("size", "start")}
            for name in ("size", "start"):
                sectors = partition.get(name)
                if sectors is None or f"{name}MiB" in new:
                    continue
                if sectors % SECTORS_A_MIB:
                    where: Path = ("storage", "disks", index, "partitions", at, name)
                    self.found.error(where, f"{sectors} sectors are not a whole number of MiB, as spec 3 needs")
                new[f"{name}MiB"] = sectors // SECTORS_A_MIB
            partitions.append(_drop(new, keep=("sizeMiB", "startMiB", "number", "shouldExist")))
        return _drop({**old, "partitions": partitions})

    def _learn_paths(self, filesystems: Any) -> None:
        for filesystem in filesystems:
            if filesystem.get("name") and filesystem.get("path"):
                self.paths[filesystem["name"]] = filesystem["path"]

    def _filesystems(self, old: Any) -> list[Value]:
        new = []
        for filesystem in old:
            mount = dict(filesystem.get("mount") or {})
            if not mount:
                continue  # only a name for a path
            create = mount.pop("create", None) or {}
            if create:
                mount["wipeFilesystem"] = bool(create.get("force"))
                mount["options"] = create.get("options", [])
            path = filesystem.get("path") or self.paths.get(filesystem.get("name", ""))
            if filesystem.get("name") in ("oem", "OEM"):
                mount["format"] = "btrfs"  # as Flatcar has it today
            new.append(_drop({**mount, "path": path}))
        return new

    def _path(self, node: Value, kind: str, index: int) -> str:
        name = node.get("filesystem") or "root"
        base = self.paths.get(name)
        if base is None:
            self.found.entries.append(
                Entry(
                    "error",
                    f"filesystem {name!r} has no path, and spec 3 knows filesystems by their paths only",
                    ("storage", kind, index, "filesystem"),
                    fix="give the filesystem a path",
                )
            )
            base = "/"
        return paths.clean(f"{base}/{node.get('path', '')}")

    def _node(self, old: Value, kind: str, index: int) -> Value:
        new = {name: value for name, value in old.items() if name != "filesystem"}
        return _drop({**new, "path": self._path(old, kind, index)}, keep=("mode", "id", "overwrite"))

    def _files(self, old: Any) -> list[Value]:
        files: dict[str, Value] = {}
        for index, file in enumerate(old):
            new = self._node(file, "files", index)
            contents = new.pop("contents", {})
            if not contents.get("source"):
                contents["source"] = "data:,"
            appends = bool(new.pop("append", False))
            before = files.get(new["path"])
            if before is not None and not appends:
                self.found.error(
                    ("storage", "files", index, "path"), f"{new['path']} is written twice, which spec 3 does not allow"
                )
            elif before is not None:
                before.setdefault("append", []).append(contents)
            elif appends:
                files[new["path"]] = {**new, "append": [contents]}
            else:
                files[new["path"]] = {"overwrite": True, **new, "contents": contents}
        return list(files.values())

    def _networkd(self, old: Value) -> list[Value]:
        """Spec 3 has no section for networkd: its units are files like others."""
        files = []
        for unit in old.get("units", ()):
            path = f"/etc/systemd/network/{unit.get('name', '')}"
            texts = [(path, unit.get("contents", ""))]
            texts += [(f"{path}.d/{d.get('name', '')}", d.get("contents", "")) for d in unit.get("dropins", ())]
            for where, text in texts:
                if text:
                    source = "data:," + data_url.escape(text.encode("utf-8", "surrogateescape"))
                    files.append({"path": where, "overwrite": True, "mode": 0o644, "contents": {"source": source}})
        return files

    def _units(self, old: Any) -> list[Value]:
        """Units by name: what spec 2 spread over several entries becomes one, unless they contradict each other."""
        units: dict[str, Value] = {}
        for index, unit in enumerate(old):
            new = _drop(unit)
            if unit.get("enable") and unit.get("enabled") is None:
                new["enabled"] = True
            new.pop("enable", None)
            before = units.setdefault(unit.get("name", ""), {})
            for name, value in new.items():
                if name == "dropins":
                    before[name] = before.get(name, []) + value
                elif name in before and before[name] != value:
                    self.found.error(
                        ("systemd", "units", index, name), f"unit {unit.get('name')} is given two different {name}"
                    )
                else:
                    before[name] = value
        return list(units.values())


_KEEP = ("mode", "id", "uid", "gid", "overwrite", "enabled")


def _dropped(value: Any, keep: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_dropped(item, keep) for item in value]
    return _drop(value, keep) if isinstance(value, dict) else value


def _drop(value: Value, keep: tuple[str, ...] = _KEEP) -> Value:
    """A copy without what spec 2 writes for nothing: empty strings, structs and lists, false, zero."""
    copy = {name: _dropped(item, keep) for name, item in value.items()}
    return {
        name: item
        for name, item in copy.items()
        if item not in (None, "", [], {}) and (name in keep or (item is not False and item != 0) or item is True)
    }

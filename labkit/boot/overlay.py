"""What makes a booted machine a node of its lab: labkit's own Ignition, and a person's config merged with it. PURE."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from labkit import ignition
from labkit.boot import engine_config
from labkit.boot.artifacts import units
from labkit.boot.artifacts.units import DropIn, UnitFile
from labkit.boot.systems import SYSTEMS, System
from labkit.errors import PlanError
from labkit.ignition.layers import ordinal
from labkit.lab import Blade, Flavour, Lab
from labkit.lab.secret import Secret

WRITE = {
    Flavour.LABOS: "for labos, write Butane with variant: flatcar, version: 1.0.0",
    Flavour.FLATCAR: "for flatcar, write Butane with variant: flatcar, version: 1.1.0",
    Flavour.FEDORA_COREOS: "for fedora-coreos, write Butane with variant: fcos, version: 1.7.0",
    Flavour.CONTAINER_LINUX: "for container-linux, write a Container Linux Config",
    Flavour.CUSTOM: "for custom, write Butane of a variant that its Ignition reads",
}
"""The newest notation whose configs a system reads."""


@dataclass(frozen=True)
class BootSecrets:
    """What only this blade, on this boot, may know. ``wipe`` is the mark of what a person lets it wipe on its disk."""

    ticket: Secret
    wipe: str = ""


@dataclass(frozen=True)
class BaseConfig:
    """A person's own config for a blade, already Ignition JSON: ``name`` is the file it came from, or the files.

    ``gave`` is `labkit.ignition.layers.Merged.gave`, for a person to read.
    """

    name: str
    config: Mapping[str, Any]
    gave: tuple[tuple[str, tuple[str, ...]], ...] = ()


def config_of(
    lab: Lab, blade: Blade, boot: str, secrets: BootSecrets, base: BaseConfig | None, ca: str
) -> tuple[str, tuple[str, ...]]:
    """The config of one boot, as JSON, in a version of Ignition's spec that the blade's system reads, and a sentence
    for each value of a person's that does not count.

    Raises PlanError when ``base`` has a version that it cannot read, or writes a file that labkit needs.
    """
    system = SYSTEMS[blade.os]
    needed = engine_config.engine_config(lab, blade, boot)
    if base is None:
        engine, _ = engine_config.merge({}, needed)
        return _json(_overlay(lab, blade, system, engine, secrets, ca)), ()
    where = f"{base.name} (for {blade.name})"
    config, said = engine_config.take_out(_readable(blade, system, base), where)
    engine, notes = engine_config.merge(said, needed)
    own = _overlay(lab, blade, system, engine, secrets, ca)
    taken = {file["path"] for file in own["storage"]["files"]} & {
        file.get("path") for file in (config.get("storage") or {}).get("files") or ()
    }
    if taken:
        givers = [name for path in sorted(taken) for name in dict(base.gave).get(f"file {path}", ())]
        raise PlanError(
            f"this config writes {', '.join(sorted(taken))}, which labkit writes to make the blade a node of the swarm",
            where=f"{', '.join(dict.fromkeys(givers))} (for {blade.name})" if givers else where,
            fix="remove the file from the config; put a drop-in beside it where the program reads one",
        )
    return _json(ignition.merge(config, {**own, "ignition": {"version": config["ignition"]["version"]}})), notes


def _readable(blade: Blade, system: System, base: BaseConfig) -> dict[str, Any]:
    """A person's config in a version that the blade's system reads: as it is, or carried over."""
    low, high = system.reads
    config = dict(base.config)
    version = ignition.version_of(config)
    if ordinal(low) <= ordinal(version) <= ordinal(high):
        return config
    if not high.startswith("3."):
        raise PlanError(
            f"this config is Ignition {version}, and the Ignition of {blade.os} reads {low} to {high}",
            where=f"{base.name} (for {blade.name})",
            fix=WRITE[blade.os],
        )
    to = system.writes if version.startswith("2.") else high
    try:
        return ignition.translate(config, to=to)
    except ignition.IgnitionError as error:
        what = f"Ignition {version} cannot be carried over to {to} for {blade.os}: {error}"
        raise PlanError(what, where=base.name, fix=WRITE[blade.os]) from None


@lru_cache(maxsize=64)
def _quoted(text: str) -> str:
    """`quote` of what all blades have. It is half the work of a plan, and a rack asks for fifty in the same second."""
    return quote(text)


def _overlay(
    lab: Lab, blade: Blade, system: System, engine: Mapping[str, Any], secrets: BootSecrets, ca: str
) -> dict[str, Any]:
    """What labkit adds, as Ignition of the 2.x or the 3.x family."""
    old = system.writes.startswith("2.")

    def file(path: str, mode: int, text: str, quoted: Callable[[str], str] = quote) -> dict[str, Any]:
        body: dict[str, Any] = {"path": path, "mode": mode, "contents": {"source": "data:," + quoted(text)}}
        if old:
            body["filesystem"] = "root"
        else:
            body["overwrite"] = True
        return body

    files = [
        file("/etc/hostname", 0o644, blade.name + "\n"),
        file(engine_config.PATH, 0o644, json.dumps(engine, indent=2) + "\n"),
        file(f"{units.FOLDER}/ticket", 0o600, f"X-Labkit-Ticket: {secrets.ticket.reveal()}\n"),
        *(
            file(f"/etc/docker/certs.d/{host}/ca.crt", 0o644, ca, _quoted)
            for host in (lab.network.registry, lab.mirror)
            if ca and host
        ),
        *([file(units.CA, 0o644, ca, _quoted)] if ca and lab.network.tls else []),
        *(
            file(script.path, script.mode, script.text, _quoted)
            for script in units.swarm_scripts(
                lab.network.home_root, lab.network.http_root, system.scripts, disk=blade.disk is not None
            )
        ),
    ]
    own_units = units.swarm_units(system.scripts, system.network)
    by_drop_in = blade.autologin and not system.autologin and blade.custom is None
    drop_ins = (
        *system.drop_ins,
        *units.FAILURES,
        *(units.autologin(blade.console or system.consoles) if by_drop_in else ()),
    )
    if blade.disk is not None:
        script, (unit, drop_in) = units.disk_script(blade.disk.device, system.scripts), units.disk_unit(system.scripts)
        files += [file(script.path, script.mode, script.text)]
        files += [file(units.WIPE, 0o600, secrets.wipe + "\n")] if secrets.wipe else []
        own_units, drop_ins = (*own_units, unit), (*drop_ins, drop_in)
    config: dict[str, Any] = {
        "ignition": {"version": system.writes},
        "storage": {"files": files},
        "systemd": {"units": _units(own_units, system.enables, drop_ins)},
    }
    if lab.ssh_keys:
        config["passwd"] = {"users": [{"name": "core", "sshAuthorizedKeys": list(lab.ssh_keys)}]}
    return config


def _units(own: Iterable[UnitFile], enables: Iterable[str], drop_ins: Iterable[DropIn]) -> list[dict[str, Any]]:
    """Units of ours, units of the system's that are enabled, and drop-ins for them, one entry a unit."""
    entries: dict[str, dict[str, Any]] = {
        one.name: {"name": one.name, "contents": one.contents, **({"enabled": True} if one.enabled else {})}
        for one in own
    }
    for name in enables:
        entries.setdefault(name, {"name": name})["enabled"] = True
    for one in drop_ins:
        entry = entries.setdefault(one.unit, {"name": one.unit})
        entry.setdefault("dropins", []).append({"name": one.name, "contents": one.contents})
    return list(entries.values())


def _json(config: Mapping[str, Any]) -> str:
    return json.dumps(config, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

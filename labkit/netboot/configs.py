"""The configs that a person wrote for a blade, as one: read, filled in from lab.yaml, transpiled and merged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import ignition
from labkit.boot import BaseConfig, BootSecrets
from labkit.boot.config_values import fill
from labkit.boot.overlay import config_of
from labkit.errors import PlanError
from labkit.lab import Blade, Lab
from labkit.lab.secret import Secret


def base_config(lab: Lab, blade: Blade) -> BaseConfig | None:
    """What a person wrote for this blade, Butane or Container Linux Config, as one Ignition config; None for nothing.

    Raises PlanError when a file is not there, asks for what lab.yaml does not say, or does not transpile, with all that
    is wrong with it; and when two cannot be one.
    """
    if not blade.config:
        return None
    parts = [(str(path), read_config(lab, blade, path)) for path in blade.config]
    name = ", ".join(name for name, _ in parts)
    try:
        merged = ignition.merge_all(parts)
    except ignition.IgnitionError as error:
        raise PlanError(f"the configs cannot be merged: {error.summary}", where=f"{name} (for {blade.name})",
                        fix=error.fix or "write them in one notation") from None  # fmt: skip
    return BaseConfig(name, merged.config, merged.gave)


def read_config(lab: Lab, blade: Blade, path: Path) -> dict[str, Any]:
    """One file as Ignition, with this blade's values. Raises PlanError as `base_config`."""
    where = f"{path} (for {blade.name})"
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PlanError(
            f"the config cannot be read: {error.strerror}", where=where, fix="correct `config` in lab.yaml"
        ) from None
    filled, wrong = fill(source, lab, blade)
    if wrong.entries:
        raise PlanError(f"the config asks for what lab.yaml does not say:\n{wrong}", where=where)
    return transpile(filled, path)


def transpile(source: bytes, path: Path) -> dict[str, Any]:
    """Ignition JSON of a config file's bytes. Raises PlanError with the transpiler's report."""
    try:
        done = ignition.transpile(source, files_dir=path.parent, name=path.name)
    except ignition.IgnitionError as error:
        raise PlanError(f"the config does not transpile:\n{error}", where=str(path)) from None
    config = json.loads(done.config)
    assert isinstance(config, dict)
    return config


def names(lab: Lab, blade: Blade) -> str:
    """A blade's configs in the order in which they are merged, as lab.yaml may write them."""
    return ", ".join(_short(str(path), lab) for path in blade.config)


@dataclass(frozen=True)
class Looked:
    """A blade's configs as one, looked at: ``files`` in the order in which they are merged, ``gave`` which of them gave
    what, ``remarks`` what the linter says of the whole.
    """

    lab: Lab
    files: tuple[str, ...] = ()
    gave: tuple[tuple[str, tuple[str, ...]], ...] = ()
    remarks: tuple[ignition.Entry, ...] = ()

    def lines(self) -> list[str]:
        """What a person reads."""
        width = max((len(what) for what, _ in self.gave), default=0)
        rows = [f"{what:{width}}  {', '.join(_short(name, self.lab) for name in names)}" for what, names in self.gave]
        return [*rows, *(line for entry in self.remarks for line in str(entry).splitlines())]

    def as_json(self) -> dict[str, Any]:
        """What a program reads."""
        gave = {what: list(names) for what, names in self.gave}
        return {"files": list(self.files), "gave": gave, "remarks": [vars(entry) for entry in self.remarks]}


def look(lab: Lab, blade: Blade) -> Looked:
    """Look at the configs of a blade, which may have none. Raises PlanError as `base_config`."""
    config = base_config(lab, blade)
    if config is None:
        return Looked(lab)
    return Looked(lab, tuple(map(str, blade.config)), config.gave, ignition.lint(dict(config.config)).entries)


def _short(name: str, lab: Lab) -> str:
    path, folder = Path(name), lab.path.parent
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else name


def check_config(lab: Lab, blade: Blade) -> None:
    """Raise PlanError for what would keep the blade from a plan: what `base_config` finds, and what its system says."""
    config = base_config(lab, blade)
    if config is not None and blade.is_node:
        config_of(lab, blade, "", BootSecrets(Secret("")), config, "")


def wrong_configs(lab: Lab) -> list[PlanError]:
    """What is wrong with the blades' configs, what several blades share but once."""
    found: dict[tuple[str, str], PlanError] = {}
    for blade in lab.blades:
        try:
            check_config(lab, blade)
        except PlanError as error:
            found.setdefault((error.what, error.where.partition(" (for ")[0]), error)
    return list(found.values())

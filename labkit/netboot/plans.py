"""From the files a person wrote to a blade's plan: the thin shell around `labkit.boot`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit import ignition
from labkit.boot import BaseConfig, BootPlan, BootSecrets, Resource, plan, resources
from labkit.errors import PlanError
from labkit.lab import Blade, Lab
from labkit.lab.secret import Secret
from labkit.lab.state import State


def base_config(blade: Blade) -> BaseConfig | None:
    """The config a person wrote for this blade, Butane or Container Linux Config, as Ignition; None without one.

    Raises PlanError when the file is not there or does not transpile, with the transpiler's report.
    """
    if blade.config is None:
        return None
    try:
        source = blade.config.read_bytes()
    except OSError as error:
        raise PlanError(
            f"the config cannot be read: {error.strerror}",
            where=f"{blade.config} (for {blade.name})",
            fix="correct `config` in lab.yaml",
        ) from None
    return BaseConfig(str(blade.config), transpile(source, blade.config))


def transpile(source: bytes, path: Path) -> Mapping[str, object]:
    """Ignition JSON of a config file's bytes. Raises PlanError with the transpiler's report."""
    try:
        done = ignition.transpile(source, files_dir=path.parent, name=path.name)
    except ignition.IgnitionError as error:
        raise PlanError(f"the config does not transpile:\n{error}", where=str(path)) from None
    config = json.loads(done.config)
    assert isinstance(config, dict)
    return config


Planned = tuple[BootPlan, Mapping[str, Resource]]


@dataclass(frozen=True)
class Own:
    """What a lab adds to each plan: its public SSH key, so that ``labkit ssh`` always works, and its authority in PEM.

    Both are empty before the lab was ever up.
    """

    ssh_key: str = ""
    ca: str = ""

    @classmethod
    def of(cls, state: State) -> Own:
        """What lies in the state folder."""
        return cls(_text(state.ssh_key.with_suffix(".pub")).strip(), _text(state.ca))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def prepare(lab: Lab, state: State, blade: Blade, boot: str, ticket: Secret) -> Planned:
    """The plan of one boot and every file it may ask for. Raises PlanError."""
    return prepare_with(Own.of(state), base_config(blade), lab, blade, boot, ticket)


def prepare_with(own: Own, config: BaseConfig | None, lab: Lab, blade: Blade, boot: str, ticket: Secret) -> Planned:
    """`prepare`, from what was read already."""
    lab = dataclasses.replace(lab, ssh_keys=(*lab.ssh_keys, own.ssh_key)) if own.ssh_key else lab
    made = plan(lab, blade, boot, BootSecrets(ticket), config, ca=own.ca)
    return made, resources(lab, blade, made)

"""From the files a person wrote to a blade's plan: the thin shell around `labkit.plan`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from labkit import ignition
from labkit.errors import PlanError
from labkit.lab import Blade, Lab
from labkit.plan import BaseConfig, BootPlan, BootSecrets, Resource, plan, resources
from labkit.secret import Secret
from labkit.state import State


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


def with_own_key(lab: Lab, state: State) -> Lab:
    """The lab with its own public SSH key beside the person's, so that ``labkit ssh`` always works."""
    try:
        own = state.ssh_key.with_suffix(".pub").read_text().strip()
    except OSError:
        return lab
    return dataclasses.replace(lab, ssh_keys=(*lab.ssh_keys, own))


def own_ca(state: State) -> str:
    """The certificate of the lab's authority, in PEM; empty before the lab was ever up."""
    try:
        return state.ca.read_text(encoding="ascii")
    except OSError:
        return ""


def prepare(lab: Lab, state: State, blade: Blade, boot: str, ticket: Secret) -> tuple[BootPlan, Mapping[str, Resource]]:
    """The plan of one boot and every file it may ask for. Raises PlanError."""
    lab = with_own_key(lab, state)
    made = plan(lab, blade, boot, BootSecrets(ticket), base_config(blade), ca=own_ca(state))
    return made, resources(lab, blade, made)

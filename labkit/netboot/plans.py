"""From the files a person wrote to a blade's plan: the thin shell around `labkit.boot`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from labkit import images
from labkit.boot import BaseConfig, BootPlan, BootSecrets, Release, Resource, plan, resources
from labkit.boot.boot_version import boot_version
from labkit.errors import MachineError
from labkit.images.releases.where import release_of
from labkit.lab import Blade, Lab
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.netboot.configs import base_config

Planned = tuple[BootPlan, Mapping[str, Resource]]


@dataclass(frozen=True)
class Own:
    """What a lab adds to each plan: its public SSH key, so that ``./lab ssh`` always works, and its authority in PEM.

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
    except UnicodeDecodeError:
        fix = "remove it, with the lab down: the next ./lab up makes it anew"
        raise MachineError("this file is damaged", where=str(path), fix=fix) from None


TO_LOOK_AT = Secret("‹ticket›")


def prepare(
    lab: Lab,
    state: State,
    blade: Blade,
    boot: str = "‹boot›",
    ticket: Secret = TO_LOOK_AT,
    release: Release | None = None,
) -> Planned:
    """The plan of one boot and every file it may ask for; a release that the blade does not name is today's current.
    Without a boot it is one to look at, with placeholders. ``release`` stands for what is here of the blade's.

    Raises PlanError, and ImageError where its release is missing.
    """
    found = images.identities(images.catalogue(lab))
    return prepare_with(Own.of(state), base_config(lab, blade), lab, blade, boot, BootSecrets(ticket), found, release)


def prepare_with(
    own: Own,
    config: BaseConfig | None,
    lab: Lab,
    blade: Blade,
    boot: str,
    secrets: BootSecrets,
    files: Mapping[str, str] = MappingProxyType({}),
    release: Release | None = None,
) -> Planned:
    """`prepare`, from what was read already; ``files`` as `labkit.images.identities` tells them."""
    lab = dataclasses.replace(lab, ssh_keys=(*lab.ssh_keys, own.ssh_key)) if own.ssh_key else lab
    release = release or release_of(blade)
    made = plan(lab, blade, boot, secrets, config, ca=own.ca, release=release)
    version = boot_version(lab, blade, config, ca=own.ca, release=release, images=files)
    return dataclasses.replace(made, version=version), resources(lab, blade, made)

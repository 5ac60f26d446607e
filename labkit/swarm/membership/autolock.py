"""A swarm that is locked with a key (autolock): its managers write their state to disk encrypted, and an engine that
was started anew waits for the key (https://docs.docker.com/engine/swarm/swarm_manager_locking/).

The key is the swarm's: its managers make it, change it, and show it to whoever may ask their engine, while they have a
quorum. A lab whose ``lab.yaml`` says ``autolock: true`` keeps it in ``keys/swarm-unlock`` (`KeptKeys`), and unlocks
with it. It is never on a command line, in an event or in an error.

`judge` is pure; the rest takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from labkit.errors import SwarmError, on_file
from labkit.lab.secret import Secret
from labkit.lab.state import write_whole
from labkit.swarm import spec_changes
from labkit.swarm.engine import api, engine_errors

KEPT = 3
"""How many keys are kept, the newest first. A manager that was away when the key was changed, and a copy of the state
from before, want the one before."""
LOCKED = "locked"
"""The engine's word for waiting for the key (``LocalNodeState``)."""
UNLOCKED = "the swarm is not locked with a key"
SWITCH = "./lab swarm autolock --yes"
HOW = f"swarm: {{ autolock: true }} in lab.yaml, ./lab down and up, then {SWITCH}"
_KEY = re.compile(r"SWMKEY-1-[A-Za-z0-9+/=]+")


class KeptKeys:
    """The keys that a lab keeps, in a file of mode 0600, one a line, the newest first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Secret, ...]:
        """The keys; what is no key is left out. Raises FileError where the file may not be read."""
        with on_file(self.path):
            try:
                text = self.path.read_text(errors="replace")
            except FileNotFoundError:
                text = ""
        return tuple(Secret(line) for line in text.split() if _KEY.fullmatch(line))

    def add(self, *keys: Secret) -> None:
        """Keep these as the newest. Raises FileError."""
        before = self.read()
        new = list(dict.fromkeys((*keys, *before)))[:KEPT]
        if tuple(new) != before:
            with on_file(self.path):
                write_whole(self.path, "".join(f"{key.reveal()}\n" for key in new), mode=0o600)


def judge(has: bool, wanted: bool | None, *, kept: bool) -> tuple[str, str]:
    """What to say of a swarm's lock, and what brings it in order; empty where nothing has to be said or done.

    ``has`` is whether the swarm is locked with a key, ``wanted`` what ``lab.yaml`` says, ``kept`` whether the lab has
    the key.
    """
    if wanted is not None and has is not wanted:
        is_so = "the swarm is locked with a key" if has else UNLOCKED
        return f"lab.yaml says autolock: {str(wanted).lower()}, and {is_so}", SWITCH
    if not has:
        return "", ""
    if wanted and kept:
        return "it is locked with a key, which the lab keeps and unlocks it with", ""
    if wanted:
        return "it is locked with a key, and the lab does not keep it yet", "./lab up: the lab keeps it while it is up"
    return "it is locked with a key that the lab does not keep: its engine waits for that when it starts", ""


def is_on(client: docker.DockerClient) -> bool:
    """Whether the swarm is locked with a key."""
    with engine_errors():
        return _is_on(api(client).inspect_swarm()["Spec"])


def switch(client: docker.DockerClient, on: bool) -> bool:
    """Lock the swarm with a key, which its managers make, or with none any more; whether that changed anything."""
    before = is_on(client)
    if before is not on:
        spec_changes.change_swarm(client, lambda spec: spec.update(EncryptionConfig={"AutoLockManagers": on}))
    return before is not on


def read_key(client: docker.DockerClient) -> Secret | None:
    """The swarm's key, None where it is locked with none."""
    with engine_errors():
        return Secret(key) if (key := api(client).get_unlock_key().get("UnlockKey")) else None


def rotate(client: docker.DockerClient) -> None:
    """Have the managers make another key. Raises SwarmError where the swarm is locked with none."""
    if not is_on(client):
        raise SwarmError(UNLOCKED, fix=HOW)

    def once() -> None:
        raw = api(client).inspect_swarm()
        api(client).update_swarm(raw["Version"]["Index"], swarm_spec=raw["Spec"], rotate_manager_unlock_key=True)

    spec_changes.in_sequence(once)


def keep(client: docker.DockerClient, keys: KeptKeys) -> bool:
    """Keep the key that the swarm has now; whether it has one."""
    key = read_key(client)
    if key is not None:
        keys.add(key)
    return key is not None


def unlock(client: docker.DockerClient, keys: Sequence[Secret]) -> bool:
    """Unlock an engine that waits for its key, with the first of these that opens it; False where none does.

    The engine answers when its part of the swarm is up, which it is not without a quorum: that is not waited for.
    """
    for key in keys:
        if not waits(client):
            break
        try:
            with engine_errors():
                api(client).unlock_swarm(key.reveal())
        except SwarmError as error:
            if not isinstance(error.__cause__, docker.errors.APIError | requests.Timeout):
                raise
    return not waits(client)


def waits(client: docker.DockerClient) -> bool:
    """Whether the engine waits for its swarm's key."""
    with engine_errors():
        return str(client.info()["Swarm"].get("LocalNodeState")) == LOCKED


def _is_on(spec: dict[str, Any]) -> bool:
    return bool((spec.get("EncryptionConfig") or {}).get("AutoLockManagers"))

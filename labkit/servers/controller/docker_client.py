"""Docker's own client, set to the engine of the swarm's first manager.

A virtual lab's is that of the blade OS, which the controller's engine is of as well: the two fit each other, and this
machine needs no package. The lab's servers get a root laid over that tree (`labkit.servers.parts.bundled`); a client
is a person's, who is not root and whose files it must see. So its own loader runs it with the tree's libraries, in this
machine's root (ld.so(8)). A real lab's manager is this machine's own engine, and so is the client.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from labkit import images
from labkit.errors import ImageError, MachineError
from labkit.images.rootfs import inside
from labkit.lab import Lab, NetworkKind
from labkit.lab.state import State

LOADER = "lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PROGRAM = "usr/bin/docker"

MISLEADING = ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION")
"""What would lead the client to another engine than ``DOCKER_HOST``, or to speak with it in another way
(https://docs.docker.com/reference/cli/docker/#environment-variables)."""


def docker_host(lab: Lab, state: State) -> str:
    """The engine as ``DOCKER_HOST`` names it."""
    return f"unix://{state.manager_socket(lab)}"


def docker_command(lab: Lab) -> list[str]:
    """How to call the client. Raises MachineError or ImageError with what to do where there is none.

    The tree is named by a descriptor that the client inherits: the loader takes colons in a path for its own.
    """
    if lab.network.kind is not NetworkKind.VIRTUAL:
        found = shutil.which("docker")
        if found is None:
            fix = "apt-get install --no-install-recommends docker-cli (before Debian 13 it is in docker.io)"
            raise MachineError("Docker's client is not installed on this machine", where="docker", fix=fix)
        return [found]
    tree = images.tree()
    paths = [inside(tree, name) for name in (LOADER, LIBRARIES, PROGRAM)]
    if missing := [path for path in paths if not path.exists()]:
        raise ImageError("the blade OS has no client of Docker", where=str(missing[0]), fix="./lab images build")
    held = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    os.set_inheritable(held, True)
    loader, libraries, program = (f"/proc/self/fd/{held}/{path.relative_to(tree)}" for path in paths)
    return [loader, "--argv0", "docker", "--library-path", libraries, program]


def descriptor_of(command: list[str]) -> tuple[int, ...]:
    """The descriptor that a child which runs the command has to inherit, for ``pass_fds``; none where it needs none."""
    parts = Path(command[0]).parts
    return (int(parts[4]),) if parts[:4] == ("/", "proc", "self", "fd") else ()


def docker_environment(lab: Lab, state: State, before: Mapping[str, str]) -> dict[str, str]:
    """The environment for the client: this engine, and nothing of ``before`` that would lead elsewhere."""
    kept = {name: value for name, value in before.items() if name not in MISLEADING}
    return {**kept, "DOCKER_HOST": docker_host(lab, state)}

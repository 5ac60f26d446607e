"""What an engine needs to join the swarm, and whether it still is in it.

Every function takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import docker

from labkit.lab import Role
from labkit.swarm.cluster import PORT, nodes
from labkit.swarm.engine import api, engine_errors, need_manager
from labkit.swarm.node import find_node
from labkit.swarm.spec_changes import in_sequence


def join_body(client: docker.DockerClient, *, role: Role, address: str) -> dict[str, Any]:
    """The body of the ``POST /swarm/join`` that brings the engine at ``address`` in. The token in it is a secret.

    Raises SwarmError that says why, while there is no swarm to join or it does not answer.
    """
    need_manager(client, settle_s=0)  # a blade waits, and asks again
    with engine_errors():
        tokens = api(client).inspect_swarm()["JoinTokens"]
        managers = sorted((node for node in nodes(client) if node.manager), key=lambda node: node.created)
    return {
        "ListenAddr": f"{address}:{PORT}",
        "AdvertiseAddr": address,
        "RemoteAddrs": [node.manager for node in managers],
        "JoinToken": tokens["Manager" if role is Role.MANAGER else "Worker"],
    }


def membership(client: docker.DockerClient, blade: str, boot: str, authority: str) -> str:
    """Whether a boot that has joined is a member: ``yes``, ``removed`` from the list, or of ``another`` swarm.

    ``authority`` is the certificate, in PEM, by which its engine knows its swarm. Raises SwarmError where this engine
    manages none, or that has no leader: then nothing is known.
    """
    need_manager(client, settle_s=0)
    members = nodes(client)
    with engine_errors():
        root = str((api(client).inspect_swarm().get("TLSInfo") or {}).get("TrustRoot", ""))
    if find_node(members, blade, boot) is not None:
        return "yes"
    return "removed" if _blocks(authority) & _blocks(root) else "another"


def _blocks(pem: str) -> frozenset[str]:
    """The certificates in a text, without their line breaks. While an authority is changed there are two."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.DOTALL)
    return frozenset("".join(block.split()) for block in found)


def rotate_token(client: docker.DockerClient, roles: Iterable[Role] = (Role.WORKER,)) -> None:
    """Make the join tokens of these roles worthless and put new ones in their place. Members are not touched."""
    wanted = frozenset(roles)

    def rotate() -> None:
        swarm = api(client).inspect_swarm()
        api(client).update_swarm(
            version=swarm["Version"]["Index"],
            swarm_spec=swarm["Spec"],
            rotate_worker_token=Role.WORKER in wanted,
            rotate_manager_token=Role.MANAGER in wanted,
        )

    in_sequence(rotate)

"""A swarm whose controller has another address than before: what can be done, and the new swarm with the old services.

Managers know each other by address, and a swarm's only manager keeps the one it began with in its own log: forced to
another address it seems to work, and blades that join then learn the old one from it and are Down after the
controller's next restart. So there are two ways that keep services: the swarm keeps its address, or its services are
deployed again in a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import docker

from labkit.errors import SwarmError
from labkit.swarm.engine import api, engine_errors, need_manager
from labkit.swarm.membership.local_state import LocalState, LocalSwarm
from labkit.swarm.recovery import redeploy
from labkit.swarm.recovery.redeploy import Inventory

Progress = Callable[[str], None]


def explain(found: LocalSwarm, subnet: str) -> str:
    """The ways there are, for the person who is to choose."""
    if found.state is not LocalState.ELSEWHERE:
        return str(found.error()) if not found.answers else "the swarm is where lab.yaml has it: nothing to move"
    return WAYS.format(what=found.what, old=found.address, new=found.wanted or "another address", subnet=subnet)


WAYS = """\
{what}.
Nothing of it is lost: services, configs and secrets lie in the engine's data. Three ways keep them.

1. The lab goes back to the old address: write controller: {old} under network: in lab.yaml (it has to be in {subnet}),
   then ./lab down, ./lab up.
2. The controller's card gets the old address as a second one, for blades that can reach it:
       ./lab swarm move --keep-address
   With controller: {old} in lab.yaml the lab goes on as before.
3. A new swarm at {new}, in which every service is deployed again from its own specification, with its networks and
   configs. Replicas start anew; volumes stay where they are; blades have to be booted. A swarm gives no secret away:
   put what they hold into a folder, a file a secret, named like it.
       ./lab swarm move --anew --secrets FOLDER
   This needs the old swarm to answer once more: where the old address is gone, do 2 first."""


def take_inventory(client: docker.DockerClient) -> Inventory:
    """All that can be made again of the swarm that answers here, at whatever address. Raises SwarmError."""
    need_manager(client)
    with engine_errors():
        pools = api(client).inspect_swarm().get("DefaultAddrPool") or ()
        listed = [api(client).inspect_network(one["Id"]) for one in api(client).networks() if one["Scope"] == "swarm"]
        return redeploy.take(api(client).services(), listed, api(client).configs(), api(client).secrets(), pools)


def check_secrets(inventory: Inventory, values: Mapping[str, bytes]) -> None:
    """Raise SwarmError, naming them, where a service uses a secret whose value is not there."""
    if missing := [name for name in inventory.needed_secrets if name not in values]:
        raise SwarmError(
            f"services use secrets that nobody but you has: {', '.join(missing)}",
            fix="put each into a file of its name in one folder, and name that with --secrets",
        )


def leave(client: docker.DockerClient) -> None:
    """End the swarm of which this engine is the only manager, whose state was copied and whose services are known.

    Raises SwarmError, before that, where there is another manager (`check_alone`).
    """
    check_alone(client)
    with engine_errors():
        api(client).leave_swarm(force=True)


def check_alone(client: docker.DockerClient) -> None:
    """Raise SwarmError where the swarm has another manager: it would go on there."""
    found = need_manager(client)
    if found.state is not LocalState.ALONE:
        raise SwarmError(
            f"the swarm has {found.managers} managers, and would go on without this one",
            fix="./lab swarm managers --none first",
        )


def deploy_again(
    client: docker.DockerClient, inventory: Inventory, values: Mapping[str, bytes], *, progress: Progress
) -> tuple[str, ...]:
    """Make networks, configs, secrets and services where they are not there yet; the services that were made.

    It can be called again, when it was cut off. Raises SwarmError.
    """
    check_secrets(inventory, values)
    with engine_errors():
        networks = {one["Name"] for one in api(client).networks()}
        for body in inventory.networks:
            if body["Name"] not in networks:
                progress(f"network {body['Name']}")
                _create(client, "/networks/create", body)
        configs = {one["Spec"]["Name"]: one["ID"] for one in api(client).configs()}
        for spec in inventory.configs:
            if spec["Name"] not in configs:
                progress(f"config {spec['Name']}")
                configs[spec["Name"]] = _create(client, "/configs/create", spec)
        secrets = {one["Spec"]["Name"]: one["ID"] for one in api(client).secrets()}
        for spec in inventory.secrets:
            if spec["Name"] not in secrets and (spec["Name"] in values or spec.get("Driver")):
                progress(f"secret {spec['Name']}")
                body = redeploy.secret_body(spec, values.get(spec["Name"]))
                secrets[spec["Name"]] = _create(client, "/secrets/create", body)
        there = {one["Spec"]["Name"] for one in api(client).services()}
        made = [spec for spec in inventory.services if spec["Name"] not in there]
        for spec in made:
            progress(f"service {spec['Name']}")
            _create(client, "/services/create", redeploy.service_body(spec, configs, secrets))
    return tuple(spec["Name"] for spec in made)


def _create(client: docker.DockerClient, path: str, body: Mapping[str, Any]) -> str:
    """The number of what was made. The SDK's own functions take parts of a specification only."""
    low = api(client)
    answer = low._result(low._post_json(low._url(path), data=dict(body)), True)
    return str(answer.get("ID") or answer.get("Id"))

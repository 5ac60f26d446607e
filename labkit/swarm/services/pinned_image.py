"""Images by their digest, so that all replicas of a service run the same.

A tag may be given to another image at any time. Of a service that names a tag alone each node pulls the image when it
has none of that name yet: after a push under the same tag, blades that boot run the new image and the others the old
one, and to the swarm nothing has changed. So the tag is looked up once, when the service is put there, as Docker's own
client does (``docker service create``, ``--resolve-image``), and an image that was rebuilt is a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import docker
import docker.errors
import requests

from labkit.swarm.engine import api
from labkit.swarm.services.spec import ServiceSpec

ASK_S = 10


def pin(client: docker.DockerClient, spec: ServiceSpec, now: Mapping[str, Any] | None) -> ServiceSpec:
    """The specification with its image named by tag and digest, as the registry has it at this moment.

    Where the registry does not say, the service's present image (``now`` is its raw JSON) stays if it has this name, so
    that a registry that is away for a moment changes nothing; else the name alone must do.
    """
    if "@" in spec.image:
        return spec
    digest = image_digest(client, spec.image)
    if digest:
        return replace(spec, image=f"{spec.image}@{digest}")
    present = str(now["Spec"]["TaskTemplate"]["ContainerSpec"].get("Image", "")) if now is not None else ""
    return replace(spec, image=present) if present.partition("@")[0] == spec.image else spec


def image_digest(client: docker.DockerClient, image: str) -> str:
    """What a registry has under a name, as the engine hears it; empty where it has none or does not answer.

    Raises nothing: why an image cannot be had is told when a node has failed to fetch it.
    """
    try:
        url = api(client)._url("/distribution/{0}/json", image)
        answer = api(client)._result(api(client)._get(url, timeout=ASK_S), json=True)
        return str(answer["Descriptor"]["digest"])
    except (docker.errors.DockerException, requests.RequestException, KeyError, TypeError):
        return ""

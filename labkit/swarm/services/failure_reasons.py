"""What a dead replica said last, and what a registry says of an image: asked for when a service does not come up."""

from __future__ import annotations

import re

import docker
import docker.errors
import requests

from labkit.errors import SwarmError
from labkit.swarm.engine import api, said
from labkit.swarm.services.health import ServiceState
from labkit.swarm.services.replica_failures import Crash, Death, on

LINES = 8
LONGEST = 300
ASK_S = 10


def crashed(state: ServiceState, crash: Crash) -> str:
    """A sentence: how often, how and where replicas died, and where others live."""
    alive = f", while {state.running} of {state.wanted} run on {on(state.places.values())}" if state.running else ""
    return f"service '{state.name}' does not come up: {crash}{alive}"


def failure(client: docker.DockerClient, state: ServiceState, what: str, death: Death | None) -> SwarmError:
    """The error of a service that does not come up, with what its last replica to die said, or what its registry says.

    Asking may take some seconds, and whatever the answer is, the error is told.
    """
    if death is None:
        return SwarmError(what)
    if death.ran:
        lines = last_lines(client, death.task)
        place = f"{death.replica} on {death.blade}" if death.blade else death.replica
        said = "\n".join(["last lines of its log:", *(f"  {line}" for line in lines.splitlines())])
        what += f"\n{place}: {said if lines else 'it left no word in its log'}"
        return SwarmError(what, fix=f"mend the program or its image; ./lab swarm logs {state.name} has more")
    if not death.way.startswith("image missing"):
        return SwarmError(what)
    words, host = ask_registry(client, state.image), state.image.partition("/")[0]
    if not words:
        what += "\nthe controller's own engine can have it from there"
        return SwarmError(what, fix=f"./lab ssh {death.blade} journalctl -u docker says why {death.blade} cannot")
    what += f"\nthe controller's own engine, asked for it, hears: {words}"
    return SwarmError(what, fix=_image_fix(words, host))


def _image_fix(words: str, host: str) -> str:
    if "x509:" in words:
        return f"give the engines the certificate of its authority: /etc/docker/certs.d/{host}/ca.crt"
    if re.search(r"unknown|not found|denied|unauthorized", words):
        return "correct the image's name or tag, or put it into the registry: labkit.swarm.registry.upload.ensure_image"
    return "is its registry up, and can it be reached? ./lab status shows the lab's own"


def last_lines(client: docker.DockerClient, task: str) -> str:
    """The last lines of a task's log, errors and output in the order in which they came; empty where there are none.

    The swarm fetches them from the node (Docker Engine API, ``GET /tasks/{id}/logs``), the two streams one after the
    other, each line with its time. Raises nothing: whoever asks has
    an error to tell already, and a node that does not answer must not hide it.
    """
    url = api(client)._url("/tasks/{0}/logs", task)
    params = {"stdout": 1, "stderr": 1, "tail": LINES, "timestamps": 1}
    try:
        answer = api(client)._get(url, params=params, timeout=ASK_S)
        frames = b"".join(api(client)._multiplexed_buffer_helper(answer))
    except (docker.errors.DockerException, requests.RequestException):
        return ""
    stamped = sorted((line.partition(" ") for line in frames.decode(errors="replace").split("\n")), key=_time)
    lines = [words.rstrip()[:LONGEST] for _, _, words in stamped if words.strip()]
    return "\n".join(lines[-LINES:])


def _time(line: tuple[str, str, str]) -> str:
    """When a line was said, as a text that sorts: the engine writes all nine digits of a second's fraction."""
    return line[0]


def ask_registry(client: docker.DockerClient, image: str) -> str:
    """Why a registry does not give an image, in the words that this engine gets for it; empty where it does.

    A node's own engine keeps its reason to itself: of an image that it could not pull, the swarm hears only that there
    is none.
    """
    try:
        url = api(client)._url("/distribution/{0}/json", image)
        api(client)._result(api(client)._get(url, timeout=ASK_S), json=True)
    except docker.errors.APIError as error:
        return said(error)
    except requests.Timeout:
        return f"no answer within {ASK_S} s"
    except (docker.errors.DockerException, requests.RequestException) as error:
        return str(error)
    return ""

"""The way to an engine: the Docker SDK on the engine's Unix socket, with every failure as a SwarmError, and what state
its swarm is in."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse

import docker
import docker.errors
import requests

from labkit.errors import SwarmError
from labkit.swarm.membership import local_state
from labkit.swarm.membership.local_state import LocalSwarm

T = TypeVar("T")

TIMEOUT_S = 30
SETTLE_S = 5.0
"""How long an engine that has just started may take until it leads its swarm alone; with others it takes longer."""
NO_MANAGER = ("is not a swarm manager", "needs to be unlocked", "certificates have expired")
"""What an engine that manages no swarm right now answers, whatever the reason (errNoManager in moby's
daemon/cluster/cluster.go). Its advice is to make one, or to leave the one it has."""


def connect(sock: Path, *, timeout_s: int = TIMEOUT_S) -> docker.DockerClient:
    """A client of the engine that listens on ``sock``; each later request may take ``timeout_s``.

    Raises SwarmError when no engine answers there.
    """
    try:
        there = stat.S_ISSOCK(sock.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except PermissionError:
        raise _shut(sock) from None
    if not there:
        raise SwarmError("no Docker engine listens here", where=str(sock), fix="start the lab with ./lab up")
    try:
        with socket.socket(socket.AF_UNIX) as knock:  # first ourselves: the SDK forgets to close one that is refused
            knock.connect(str(sock))
        return _client(sock, timeout_s)
    except PermissionError:
        raise _shut(sock) from None
    except (OSError, docker.errors.DockerException) as error:
        raise SwarmError(
            f"the Docker engine does not answer ({_cause(error)})",
            where=str(sock),
            fix="look at the engine's log, and start the lab with ./lab up if it is down",
        ) from None


def _client(sock: Path, timeout_s: int) -> docker.DockerClient:
    """The SDK's client. It takes its socket for a URL, and will have no ``#``, ``?`` or ``;`` in it: where the path has
    one, it is led there through a descriptor of the folder."""
    if urlparse(f"unix://{sock}").path == str(sock):
        return docker.DockerClient(base_url=f"unix://{sock}", timeout=timeout_s)
    folder = os.open(sock.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        client = docker.DockerClient(base_url=f"unix:///proc/self/fd/{folder}/{sock.name}", timeout=timeout_s)
    except BaseException:
        os.close(folder)
        raise
    weakref.finalize(client, os.close, folder)
    return client


@contextmanager
def engine(sock: Path, *, timeout_s: int = TIMEOUT_S) -> Iterator[docker.DockerClient]:
    """`connect` for the length of a ``with``; what the SDK raises inside comes out as a SwarmError.

    Where that only says that this engine is no manager, the error says what state its swarm is in, and what helps.
    """
    client = connect(sock, timeout_s=timeout_s)
    try:
        with engine_errors():
            yield client
    except SwarmError as error:
        if not any(words in error.what for words in NO_MANAGER):
            raise
        raise read_local_swarm(client).error() from error
    finally:
        client.close()


async def ask(sock: Path, question: Callable[[docker.DockerClient], T]) -> T:
    """Put a question to the engine, off the event loop, over a connection of its own. Raises SwarmError as `engine`."""

    def asked() -> T:
        with engine(sock) as client:
            return question(client)

    return await asyncio.to_thread(asked)


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what the Docker SDK raises into a SwarmError that says it in the engine's own words."""
    try:
        yield
    except docker.errors.APIError as error:
        raise SwarmError(said(error), fix=local_state.LEADERLESS_FIX if leaderless(error) else "") from error
    except docker.errors.DockerException as error:
        raise SwarmError(f"the Docker engine cannot be used: {_cause(error)}") from error
    except requests.Timeout as error:
        raise SwarmError("the Docker engine did not answer in time", fix="look at the engine's log") from error
    except requests.RequestException as error:
        raise SwarmError("the connection to the Docker engine broke off", fix="look at the engine's log") from error


def leaderless(error: docker.errors.APIError) -> bool:
    """Whether the engine says that too few managers are there (`labkit.swarm.membership.local_state.leaderless`)."""
    return local_state.leaderless(said(error))


def read_local_swarm(client: docker.DockerClient, *, advertise: str = "", settle_s: float = SETTLE_S) -> LocalSwarm:
    """What state the engine's swarm is in (`labkit.swarm.membership.local_state`), seen from a lab whose controller is
    ``advertise``; empty for any address.

    An engine that may still be starting is asked again for ``settle_s``. Raises SwarmError when it does not answer.
    """
    deadline = time.monotonic() + settle_s
    while True:
        found, _ = look_at_swarm(client, advertise=advertise)
        if not found.settling or time.monotonic() >= deadline:
            return found
        time.sleep(0.25)


def look_at_swarm(client: docker.DockerClient, *, advertise: str = "") -> tuple[LocalSwarm, list[dict[str, Any]]]:
    """`read_local_swarm`, asked once; with it the nodes as ``GET /nodes`` lists them, none where it does not."""
    listed, heard = [], ""
    with engine_errors():
        swarm = client.info()["Swarm"]
        try:
            listed = api(client).nodes()
        except docker.errors.APIError as error:
            heard = said(error)
    return local_state.judge(swarm, heard=heard, wanted=advertise), listed


def need_manager(client: docker.DockerClient, *, advertise: str = "", settle_s: float = SETTLE_S) -> LocalSwarm:
    """The state of a swarm that answers through this engine. Raises SwarmError that says why it does not."""
    found = read_local_swarm(client, advertise=advertise, settle_s=settle_s)
    if not found.answers:
        raise found.error()
    return found


def api(client: docker.DockerClient) -> Any:
    """The engine's API, JSON in and JSON out: the SDK's lower layer, most of which its type stubs leave open."""
    return client.api


def said(error: docker.errors.APIError) -> str:
    """The engine's own sentence, without the address and status the SDK puts around it, and without advice that would
    cost a swarm (`labkit.swarm.membership.local_state.harmless`)."""
    text = str(error.explanation or error).removeprefix("rpc error: ")
    if text.startswith("code = ") and " desc = " in text:
        text = text.split(" desc = ", 1)[1]
    if local_state.harms(text):
        return local_state.harmless(text) or "the engine refuses that to a member of a swarm"
    return text.strip()


def _shut(sock: Path) -> SwarmError:
    fix = "run this as the lab's owner or as root"
    return SwarmError("you may not speak to this Docker engine", where=str(sock), fix=fix)


def _cause(error: BaseException) -> str:
    """The last words of a chain of exceptions: the SDK wraps a refused connection five times."""
    words = str(error)
    for known in ("Connection refused", "No such file or directory", "timed out", "Connection aborted"):
        if known in words:
            return known.lower()
    return words

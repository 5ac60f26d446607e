"""The way to an engine: the Docker SDK on the engine's Unix socket, with every failure as a SwarmError."""

from __future__ import annotations

import os
import socket
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import docker
import docker.errors
import requests

from labkit.errors import SwarmError

TIMEOUT_S = 30


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
    """`connect` for the length of a ``with``; what the SDK raises inside comes out as a SwarmError."""
    client = connect(sock, timeout_s=timeout_s)
    try:
        with engine_errors():
            yield client
    finally:
        client.close()


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what the Docker SDK raises into a SwarmError that says it in the engine's own words."""
    try:
        yield
    except docker.errors.APIError as error:
        raise SwarmError(said(error), fix=LEADERLESS_FIX if leaderless(error) else "") from error
    except docker.errors.DockerException as error:
        raise SwarmError(f"the Docker engine cannot be used: {_cause(error)}") from error
    except requests.Timeout as error:
        raise SwarmError("the Docker engine did not answer in time", fix="look at the engine's log") from error
    except requests.RequestException as error:
        raise SwarmError("the connection to the Docker engine broke off", fix="look at the engine's log") from error


LEADERLESS_FIX = "bring back managers that are gone; if they are lost for good: labkit swarm recover"


def leaderless(error: docker.errors.APIError) -> bool:
    """Whether the engine says that too few managers are there to agree on anything.

    It notices within half a minute; a request that comes just then gets no answer in time.
    """
    words = said(error)
    return "does not have a leader" in words or "context deadline exceeded" in words


def api(client: docker.DockerClient) -> Any:
    """The engine's API, JSON in and JSON out: the SDK's lower layer, most of which its type stubs leave open."""
    return client.api


def said(error: docker.errors.APIError) -> str:
    """The engine's own sentence, without the address and status the SDK puts around it."""
    text = str(error.explanation or error).removeprefix("rpc error: ")
    if text.startswith("code = ") and " desc = " in text:
        text = text.split(" desc = ", 1)[1]
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

"""How labkit's own processes talk on one machine: a JSON object a line over a Unix socket.

A request is ``{"verb": …, …}``; the answer is ``{"ok": true, …}`` or ``{"ok": false, "what": …, "fix": …}``.
One connection carries one request. Who may speak is decided by the socket file's owner and mode.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from labkit.errors import ControlError, LabkitError

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

LIMIT_B = 1 << 20


def call(path: Path, verb: str, *, timeout_s: float = 30.0, **fields: Any) -> dict[str, Any]:
    """Send one request and return the answer's fields.

    Raises ControlError when nobody listens, the answer does not come in time, or the other side refused.
    """
    request = json.dumps({"verb": verb, **fields}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            sock.sendall(request)
            with sock.makefile("rb") as stream:
                line = stream.readline(LIMIT_B)
    except TimeoutError:
        raise ControlError(f"no answer to '{verb}' within {timeout_s:g} s", where=str(path)) from None
    except OSError as error:
        raise ControlError(
            f"the lab is not up ({os.strerror(error.errno or 0)})", where=str(path), fix="start it with ./lab up"
        ) from None
    return _answer(verb, path, line)


async def acall(path: Path, verb: str, *, timeout_s: float = 30.0, **fields: Any) -> dict[str, Any]:
    """`call`, off the event loop's thread."""
    return await asyncio.to_thread(lambda: call(path, verb, timeout_s=timeout_s, **fields))


def _answer(verb: str, path: Path, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except json.JSONDecodeError:
        raise ControlError(f"the answer to '{verb}' broke off", where=str(path)) from None
    if not isinstance(answer, dict):
        raise ControlError(f"the answer to '{verb}' is no object", where=str(path))
    if not answer.pop("ok", False):
        raise ControlError(str(answer.get("what", "refused")), fix=str(answer.get("fix", "")))
    return answer


def listen(path: Path, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> socket.socket:
    """A listening socket at ``path``; a leftover file of a dead server is replaced."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(mode)
    if owner is not None:
        os.chown(path, *owner)
    sock.listen(64)
    return sock


async def _ping(request: dict[str, Any]) -> dict[str, Any]:
    return {}


async def serve(sock: socket.socket, verbs: Mapping[str, Handler]) -> asyncio.AbstractServer:
    """Answer requests with the handler of their verb. A handler's LabkitError becomes a refusal with its fix.

    Every server answers ``ping``, with nothing.
    """
    verbs = {"ping": _ping, **verbs}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            handler = verbs.get(request.pop("verb"))
            if handler is None:
                answer: dict[str, Any] = {"ok": False, "what": "no such verb"}
            else:
                answer = {"ok": True, **await handler(request)}
        except LabkitError as error:
            answer = {"ok": False, "what": str(error.what), "fix": error.fix}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            answer = {"ok": False, "what": f"bad request: {error!r}"}
        try:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # the asker went away; there is nobody to tell
        finally:
            writer.close()

    return await asyncio.start_unix_server(talk, sock=sock, limit=LIMIT_B)

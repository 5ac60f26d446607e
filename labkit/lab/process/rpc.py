"""How labkit's own processes talk on one machine: a JSON object a line over a Unix socket.

A request is ``{"verb": …, …}``; the answer is ``{"ok": true, …}`` or ``{"ok": false, "what": …, "fix": …}``.
One connection carries one request. Who may speak is decided by the socket file's owner and mode.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from labkit.errors import ControlError, DeniedError, LabkitError, NotUpError

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

LIMIT_B = 1 << 20
PING = "ping"
"""A verb that every server answers, and that does nothing."""
ANSWER_S = 2.0


def handed_sockets() -> dict[str, socket.socket]:
    """The sockets that this process was handed, by name: ``LABKIT_FDS`` says ``dhcp=5,tftp=7``. Raises KeyError."""
    parts = (part.partition("=") for part in os.environ["LABKIT_FDS"].split(","))
    return {name: socket.socket(fileno=int(number)) for name, _, number in parts}


def set_by_signals(event: asyncio.Event) -> asyncio.Event:
    """The event, which SIGTERM and SIGINT set from now on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


def call(path: Path, verb: str, *, timeout_s: float = 30.0, most_b: int = LIMIT_B, **fields: Any) -> dict[str, Any]:
    """Send one request and return the answer's fields, ``most_b`` bytes of JSON at most.

    Raises NotUpError when nobody listens, DeniedError when we may not open the socket, and ControlError when the answer
    does not come in time or the other side refused.
    """
    request = json.dumps({"verb": verb, **fields}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            sock.sendall(request)
            with sock.makefile("rb") as stream:
                line = stream.readline(most_b)
    except TimeoutError:
        raise ControlError(
            f"no answer to '{verb}' within {timeout_s:g} s",
            where=str(path),
            fix=f"{path.parent.parent / 'logs'} may say why; ./lab down and ./lab up start it again",
        ) from None
    except OSError as error:
        raise _not_reached(path, error) from None
    return _answer(verb, path, line)


async def acall(path: Path, verb: str, *, timeout_s: float = 30.0, **fields: Any) -> dict[str, Any]:
    """`call`, off the event loop's thread."""
    return await asyncio.to_thread(lambda: call(path, verb, timeout_s=timeout_s, **fields))


def _not_reached(path: Path, error: OSError) -> ControlError:
    """Why a socket could not be spoken to: it is not there, left over, somebody else's, or not where sockets are."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeniedError(path)
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        what = "the lab is not up" if error.errno == errno.ENOENT else "the lab is not up any more"
        return NotUpError(what, where=str(path), fix="start it with ./lab up")
    fix = "--state and LABKIT_STATE name the lab's state folder; without them it is .lab beside lab.yaml"
    if error.errno is None:  # Python's own check
        return NotUpError("this path is too long for a socket, so no lab is up there", where=str(path), fix=fix)
    if error.errno == errno.ENOTDIR:
        where = str(path.parent.parent)
        return NotUpError("this is no lab's state folder, so no lab is up there", where=where, fix=fix)
    what = f"the lab does not answer ({os.strerror(error.errno)})"
    return ControlError(what, where=str(path), fix="do it again; if that does not help: ./lab down, ./lab up")


def _answer(verb: str, path: Path, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except json.JSONDecodeError:
        raise ControlError(
            f"the answer to '{verb}' broke off", where=str(path), fix=f"look into {path.parent.parent / 'logs'}"
        ) from None
    if not isinstance(answer, dict):
        raise ControlError(
            f"the answer to '{verb}' is no object", where=str(path), fix="is this socket a lab's? ./lab down, ./lab up"
        )
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


async def listens(path: Path) -> bool:
    """Whether somebody accepts connections on a Unix socket."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def answers(path: Path) -> bool:
    """Whether the process behind a socket of ours answers: the socket itself may be older than its process."""
    try:
        await acall(path, PING, timeout_s=ANSWER_S)
    except ControlError:
        return False
    return True


async def _ping(request: dict[str, Any]) -> dict[str, Any]:
    return {}


async def serve(sock: socket.socket, verbs: Mapping[str, Handler]) -> asyncio.AbstractServer:
    """Answer requests with the handler of their verb. A handler's LabkitError becomes a refusal with its fix.

    Every server answers ``ping``, with nothing.
    """
    verbs = {PING: _ping, **verbs}

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
        except Exception as error:
            traceback.print_exc()  # into the log of whoever serves
            answer = {"ok": False, "what": f"a fault in answering: {error!r}", "fix": "the lab's logs have its details"}
        try:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # the asker went away; there is nobody to tell
        finally:
            writer.close()

    # The file belongs to who made it; from Python 3.13 a server would remove it.
    keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await asyncio.start_unix_server(talk, sock=sock, limit=LIMIT_B, **keep)

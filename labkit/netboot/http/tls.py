"""HTTPS connections, and why a blade would not speak to us over one.

asyncio's servers keep a handshake that failed to themselves, so connections are accepted here, and each is shaken hands
with in a task of its own. What a client says when it hangs up is an alert (RFC 8446 section 6.2), whose name OpenSSL
makes the reason of its error; `explain` puts it into words. A connection that just breaks or stays silent says nothing
about trust and is not told.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from labkit.events import TLS, Trouble
from labkit.events.watchdog import lasting, raise_lost
from labkit.netboot.clients import ClientBook

BACKLOG = 128
ACCEPT_AGAIN_S = 1.0
MOST_REASONS = 8
"""So many different reasons are told of one boot of a blade, each once."""


@dataclass(frozen=True)
class Failure:
    """A way in which a handshake fails, by the names of OpenSSL's reasons, and what to do about it."""

    reasons: tuple[str, ...]
    what: str
    fix: str


NEW_BOOT = "switch it off and on again: a new boot brings the lab's authority of today"
SET_CLOCK = "set its clock to UTC, in its firmware setup or with date, then it goes on by itself"
FAILURES = (
    Failure(
        ("UNKNOWN_CA", "DECRYPT_ERROR"),
        "does not trust the lab's authority: its archive is older than that, or another lab's", NEW_BOOT,
    ),
    Failure(("CERTIFICATE_EXPIRED",), "takes the lab's certificate for expired: its clock is years ahead", SET_CLOCK),
    Failure(
        ("BAD_CERTIFICATE",),  # curl says so of a certificate that is not valid yet: ours are since 2000
        "does not accept the lab's certificate: its clock is before the year 2000, or it calls the lab by another name",
        SET_CLOCK,
    ),
    Failure(
        ("CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED", "CERTIFICATE_REQUIRED"),
        "does not accept the lab's certificate, and does not say why", NEW_BOOT,
    ),
    Failure(
        ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"),
        "speaks a TLS older than 1.2", "a program on it is too old for this lab's HTTPS: give it a newer curl",
    ),
    Failure(
        ("NO_SHARED_CIPHER", "HANDSHAKE_FAILURE", "INSUFFICIENT_SECURITY", "NO_SUITABLE_KEY_SHARE"),
        "has no cipher in common with the lab", "a program on it is too old for this lab's HTTPS: give it a newer curl",
    ),
    Failure(
        ("HTTP_REQUEST",), "speaks HTTP without TLS to the port of HTTPS", "write https:// where it is told this port",
    ),
)  # fmt: skip


def explain(blade: str, reason: str) -> Trouble:
    """The event for a handshake with a blade that failed for one of OpenSSL's reasons: ``TLSV1_ALERT_UNKNOWN_CA``."""
    for failure in FAILURES:
        if any(reason.endswith(name) for name in failure.reasons):
            return Trouble(blade=blade, part=TLS, detail=f"{blade} {failure.what}", fix=failure.fix)
    words = reason.replace("_", " ").lower() or "no reason given"
    detail = f"what {blade} sent to the port of HTTPS is no TLS of ours: {words}"
    return Trouble(blade=blade, part=TLS, detail=detail, fix="see which program on it asks this port")


class Handshakes:
    """Tells of handshakes that failed: of blades only, and each reason once a boot, however often they try."""

    def __init__(self, clients: ClientBook) -> None:
        self._clients = clients
        self._told: dict[str, tuple[str, set[str]]] = {}

    def failed(self, address: str, error: ssl.SSLError) -> None:
        """A handshake with a client at an address failed."""
        blade = self._clients.blade_at(address)
        if blade is None:
            return
        boot = self._clients.boots.current(blade.name)
        identity = boot.id if boot is not None else ""
        of, told = self._told.get(blade.name, ("", set()))
        if of != identity:
            told = set()
        self._told[blade.name] = identity, told
        trouble = explain(blade.name, error.reason or "")
        if trouble.detail not in told and len(told) < MOST_REASONS:
            told.add(trouble.detail)
            self._clients.emit(trouble)


class TlsSite(web.BaseSite):
    """An application over TLS at a socket that is bound already. ``failed`` hears of each handshake that failed."""

    def __init__(
        self,
        runner: web.AppRunner,
        sock: socket.socket,
        context: ssl.SSLContext,
        failed: Callable[[str, ssl.SSLError], None],
    ) -> None:
        super().__init__(runner, ssl_context=context, backlog=BACKLOG)
        assert runner.server is not None
        self._serve, self._sock, self._context, self._failed = runner.server, sock, context, failed
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        host, port = self._sock.getsockname()
        return f"https://{host}:{port}"

    async def start(self) -> None:
        """Begin to listen."""
        await super().start()
        self._sock.listen(BACKLOG)
        self._sock.setblocking(False)
        listening = asyncio.create_task(self._accept())
        lasting(listening, "listening for HTTPS")
        self._keep(listening)

    async def stop(self) -> None:
        """Listen no longer, and drop the connections that are not up yet."""
        await super().stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sock.close()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, (address, _) = await loop.sock_accept(self._sock)
            except ConnectionError:  # gone before it was its turn
                continue
            except OSError as error:  # no descriptor is free: those who wait are still there later
                raise_lost(error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            self._keep(asyncio.create_task(self._greet(sock, address)))

    async def _greet(self, sock: socket.socket, address: str) -> None:
        """Shake hands; from then on the connection is the application's."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self._serve, sock, ssl=self._context)
        except ssl.SSLError as error:
            self._failed(address, error)
        except OSError:  # it broke, or the client said nothing for a minute
            pass
        except BaseException as error:
            with contextlib.suppress(OSError):
                sock.close()
            if not isinstance(error, Exception):
                raise
            report = {"message": f"a handshake with {address}", "exception": error, "client": address}
            loop.call_exception_handler(report)

"""Whether the lab's servers answer: every listener is asked, the way its clients ask.

A process that lives may be of no use: stopped, stuck, or without the thread that did the work. A port that takes
connections says little, since the kernel takes them. So each question needs the process itself to answer, and none of
them changes anything, begins a boot, takes a lease or is told as an event:

===============  =============================================================================================
DHCP, port 4011  an INFORM from the server's own address, which `labkit.netboot.dhcp.server` confirms and does not tell
TFTP             a request to write, which is refused as such before anything is looked up (RFC 1350)
HTTP, HTTPS      ``GET /healthz``
control sockets  ``ping`` (`labkit.lab.process.rpc`)
engine           ``GET /_ping`` (Engine API)
registry, cache  a TLS handshake, whose certificate is judged as the blades judge it
registry-push    ``GET /v2/`` (the Distribution API)
share            procedure 0 of NFS (RFC 5531, RFC 8881 section 16.1)
BMC              Get Channel Authentication Capabilities (IPMI 2.0, section 22.13), which needs no session
===============  =============================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from labkit.lab import ChassisKind, Lab, NetworkKind, PowerKind, nfs_share
from labkit.lab.state import State
from labkit.netboot import dhcp, tftp
from labkit.netboot.dhcp import BOOTREPLY, BOOTREQUEST, Message, Option

ASK_S = 3.0
TRIES = 3
"""A datagram may be lost; it is sent so often in the time there is."""
CLOSE_S = 0.5
LARGEST_B = 4096

Answers = dict[str, dict[str, str]]
"""By part and listener: empty where it answers, else why it does not."""


KEPT = ("engine",)
"""Parts that are not ended by us when they fall silent: what the engine runs would go with it, and it may only be
busy."""


class Wrong(Exception):
    """What came is no answer."""


@dataclass(frozen=True)
class Listener:
    """A listener of a part. ``ask`` comes back when it has answered, and raises OSError or Wrong when it did not."""

    part: str
    name: str
    ask: Callable[[], Awaitable[object]]


def listeners(lab: Lab, state: State) -> tuple[Listener, ...]:
    """Every listener of a lab's parts that can be asked."""
    network, server = lab.network, str(lab.network.server)
    found = [
        Listener("bootd", "DHCP", partial(_dhcp, network.server, 67)),
        Listener("bootd", "TFTP", partial(_tftp, server)),
        Listener("bootd", "HTTP", partial(_healthz, server, network.http_port)),
        Listener("bootd", "control", partial(_ping, state.bootd)),
        Listener("configd", "control", partial(_ping, state.configd)),
        Listener("swarmd", "control", partial(_ping, state.swarmd)),
        Listener("registry", "TLS", partial(_handshake, server, network.registry_port, state.ca)),
    ]
    found.append(Listener("registry-push", "API", partial(_local_http, state.push, "/v2/")))
    if network.is_proxy:
        found.append(Listener("bootd", "port 4011", partial(_dhcp, network.server, 4011)))
    if network.tls:
        found.append(Listener("bootd", "HTTPS", partial(_healthz, server, network.https_port, state.ca)))
    if lab.storage.cache:
        address = str(lab.cache_address)
        found.append(Listener("cache", "TLS", partial(_handshake, address, lab.storage.cache_port, state.ca)))
    if lab.storage.share:
        found.append(Listener("share", "NFS", partial(_nfs, server)))
    if network.kind is NetworkKind.VIRTUAL:
        found.append(Listener("engine", "API", partial(_local_http, state.docker, "/_ping")))
    if lab.chassis.kind is not ChassisKind.VIRTUAL:
        found.append(Listener("sensord", "control", partial(_ping, state.sensord)))
    else:
        for blade in lab.blades:
            found.append(Listener(f"bmc{blade.slot}", "IPMI", partial(_bmc, blade.bmc.address, blade.bmc.ipmi_port)))
        for blade in [blade for blade in lab.blades if blade.bmc.kind is PowerKind.REDFISH][:1]:
            asked = partial(_healthz, blade.bmc.address, blade.bmc.port, state.ca, page="/redfish")
            found.append(Listener("redfish", "HTTPS", asked))
    return tuple(found)


async def ask_all(asked: Iterable[Listener], *, timeout_s: float = ASK_S) -> Answers:
    """Ask them all at once; takes no longer than ``timeout_s``."""
    chosen = list(asked)
    said = await asyncio.gather(*(_asked(one, timeout_s) for one in chosen))
    found: Answers = {}
    for one, why in zip(chosen, said, strict=True):
        found.setdefault(one.part, {})[one.name] = why
    return found


def silent(answers: Mapping[str, Mapping[str, str]], part: str) -> str:
    """Which listeners of a part do not answer and why, empty where all do: ``TFTP does not answer (…)``."""
    return ", ".join(f"{name} does not answer ({why})" for name, why in answers.get(part, {}).items() if why)


async def _asked(one: Listener, timeout_s: float) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            await one.ask()
    except TimeoutError:
        return f"nothing within {timeout_s:g} s"
    except (OSError, Wrong, asyncio.IncompleteReadError) as error:  # with the errors of TLS, which are OSErrors
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ""


# --- over UDP ---------------------------------------------------------------------------------------------------------


async def _datagram(address: str, port: int, question: bytes, is_answer: Callable[[bytes], bool]) -> None:
    """Ask until an answer comes; whoever calls sets the time."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((address, port))
        while True:
            sock.send(question)
            try:
                async with asyncio.timeout(ASK_S / TRIES):
                    while not is_answer(await loop.sock_recv(sock, LARGEST_B)):
                        pass
                return
            except TimeoutError:
                continue


async def _dhcp(server: IPv4Address, port: int) -> None:
    asked = dhcp.Packet(
        op=BOOTREQUEST, xid=secrets.randbits(32), chaddr=bytes(6), ciaddr=server,
        options={Option.MESSAGE_TYPE: bytes((Message.INFORM,))},
    )  # fmt: skip

    def is_answer(data: bytes) -> bool:
        try:
            reply = dhcp.decode(data)
        except dhcp.DhcpError:
            return False
        return (reply.op, reply.xid) == (BOOTREPLY, asked.xid)

    await _datagram(str(server), port, dhcp.encode(asked), is_answer)


async def _tftp(server: str) -> None:
    question = tftp.encode(tftp.Request("labkit-asks-whether-you-answer", write=True))
    refused = tftp.OPCODE.pack(tftp.Opcode.ERROR)
    await _datagram(server, 69, question, lambda data: data.startswith(refused))


CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100380e0435")
"""RMCP, a session header without a session, and the command: channel 14 is the one it comes by, level 4 administrator;
each of its two checksums makes the bytes before it 0 (IPMI 2.0, sections 13.6 and 13.8)."""


async def _bmc(address: str, port: int) -> None:
    await _datagram(address, port, CAPABILITIES, lambda data: data[:4] == CAPABILITIES[:4] and data[19:20] == b"\x38")


# --- over streams -----------------------------------------------------------------------------------------------------


async def _handshake(address: str, port: int, authority: Path, question: bytes = b"") -> bytes:
    """Shake hands as one who believes the lab's authority; the first line of what a question gets."""
    context = ssl.create_default_context(cafile=authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python has by default since 3.13
    return await _talk(await asyncio.open_connection(address, port, ssl=context), question)


async def _healthz(address: str, port: int, authority: Path | None = None, page: str = "/healthz") -> None:
    question = f"GET {page} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    if authority is not None:
        _expect_200(await _handshake(address, port, authority, question))
    else:
        _expect_200(await _talk(await asyncio.open_connection(address, port), question))


async def _local_http(path: Path, page: str) -> None:
    question = f"GET {page} HTTP/1.0\r\nHost: labkit\r\n\r\n".encode()
    _expect_200(await _talk(await asyncio.open_unix_connection(path), question))


async def _ping(path: Path) -> None:
    line = await _talk(await asyncio.open_unix_connection(path), b'{"verb": "ping"}\n')
    if not line.startswith(b'{"ok": true'):
        raise Wrong(f"it answers {line[:60]!r}")


async def _nfs(server: str) -> None:
    xid = secrets.randbits(32)
    call = struct.pack("!6I4I", xid, 0, 2, 100003, 4, 0, 0, 0, 0, 0)  # a call of RPC 2: NFS 4, procedure 0, no flavour
    reader, writer = await asyncio.open_connection(server, nfs_share.PORT)
    try:
        writer.write(struct.pack("!I", 1 << 31 | len(call)) + call)  # the one and last fragment (section 11)
        _, answered, kind = struct.unpack("!3I", await reader.readexactly(12))
    finally:
        writer.transport.abort()
    if (answered, kind) != (xid, 1):
        raise Wrong("what answers is no NFS server")


def _expect_200(line: bytes) -> None:
    if b" 200 " not in line:
        raise Wrong(f"it answers {line[:60].strip().decode(errors='replace') or 'nothing'}")


async def _talk(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], question: bytes) -> bytes:
    """The first line of the answer to a question, which may be none. The connection is closed in order."""
    reader, writer = stream
    try:
        writer.write(question)
        line = await reader.readline() if question else b""
    except BaseException:
        writer.transport.abort()
        raise
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):  # it has answered
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
    return line

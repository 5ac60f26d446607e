"""The packets of a rehearsal: DHCP as a firmware's, TFTP by tftpy, HTTP by the standard library.

None of labkit's servers is used here, so that a mistake of theirs is not made twice.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import logging
import secrets
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from labkit.netboot import dhcp
from labkit.netboot.boot_client import firmware as says
from labkit.netboot.boot_client.firmware import Firmware
from labkit.netboot.dhcp import BOOTREPLY, NOWHERE, Message, Option, Packet

SERVER_PORT, CLIENT_PORT = 67, 68
GATHER_S = 0.7
"""After the first offer a firmware listens for others: the second server's is what goes wrong in the field."""
TRIES_S = (1.0, 2.0, 4.0)
TRANSFER_S = 8.0
TFTP_TRIES = 4
LARGEST_FILE_B = 2 << 30


class Failed(Exception):
    """A step that did not work: what happened and what to do about it."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclass(frozen=True)
class Leased:
    """What DHCP gave: the ACK and all offers in the order they came."""

    ack: Packet
    offers: tuple[Packet, ...]


@dataclass(frozen=True)
class Got:
    """A file as it came."""

    data: bytes
    protocol: str
    path: str
    seconds: float

    @property
    def sha256(self) -> str:
        """Its digest, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def open_client(interface: str) -> socket.socket:
    """The socket of a DHCP client on a card that has no address yet. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
    sock.bind(("0.0.0.0", CLIENT_PORT))
    return sock


def lease(sock: socket.socket, kind: Firmware, mac: str, patience: float = 1.0) -> Leased:
    """DISCOVER, the offers, REQUEST, ACK, as a firmware does it. ``patience`` times the waiting. Raises Failed."""
    asked = says.discover(kind, mac, secrets.randbits(32))
    offers = _ask(sock, asked, (Message.OFFER,), patience, gather_s=GATHER_S)
    if not offers:
        raise Failed("nobody answered its DISCOVER", "./lab events says why; is its MAC in lab.yaml, and the lab up?")
    chosen = choose(offers)
    if chosen is None:
        raise Failed("no offer has an address", "a proxy answers, and the network's own DHCP server does not")
    wanted = says.request(kind, mac, chosen)
    # Another server that thinks the network its own may refuse what it did not offer: that is not for us to hear.
    acks = _ask(sock, wanted, (Message.ACK, Message.NAK), patience, of=_server(chosen))
    if not acks or acks[0].message is Message.NAK:
        why = acks[0].options.get(Option.MESSAGE, b"").decode(errors="replace") if acks else "no answer"
        what = f"the server {_server(chosen)} offered {chosen.yiaddr} and then refused it: {why}"
        raise Failed(what, "./lab events tells the server's side")
    return Leased(acks[0], offers)


def choose(offers: tuple[Packet, ...]) -> Packet | None:
    """The offer a firmware takes: the first with an address and a boot file, else the first with an address."""
    addressed = [offer for offer in offers if offer.yiaddr != NOWHERE]
    return next((offer for offer in addressed if boot_file(offer)), addressed[0] if addressed else None)


def boot_file(reply: Packet) -> str:
    """The boot file an answer names: option 67, else the field (RFC 2132 section 9.5)."""
    value = reply.options.get(Option.BOOT_FILE, b"") or reply.file
    return value.partition(b"\0")[0].decode(errors="replace")


def next_server(reply: Packet) -> IPv4Address:
    """Where the boot file lies: ``siaddr``, else option 66 where that is an address, else who answered."""
    if reply.siaddr != NOWHERE:
        return reply.siaddr
    try:
        return IPv4Address(reply.options.get(Option.SERVER_NAME, b"").partition(b"\0")[0].decode())
    except ValueError:
        return _server(reply)


def give_back(sock: socket.socket, mac: str, ack: Packet) -> None:
    """RELEASE the address. There is no answer to that."""
    data = dhcp.encode(says.release(mac, ack, secrets.randbits(32)))
    sock.sendto(data, (str(_server(ack)), SERVER_PORT))


def _server(reply: Packet) -> IPv4Address:
    return reply.address(Option.SERVER_ID) or reply.siaddr


def _ask(
    sock: socket.socket,
    asked: Packet,
    kinds: Sequence[Message],
    patience: float,
    gather_s: float = 0.0,
    of: IPv4Address | None = None,
) -> tuple[Packet, ...]:
    """Send a message, again with growing pauses, until an answer comes (of one server only, where ``of`` names it);
    then listen ``gather_s`` longer.
    """
    found: list[Packet] = []
    for pause_s in TRIES_S:
        sock.sendto(dhcp.encode(asked), ("255.255.255.255", SERVER_PORT))
        until = time.monotonic() + pause_s * patience
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                reply = dhcp.decode(sock.recv(4096))
            except TimeoutError:
                break
            except dhcp.DhcpError:
                continue
            is_answer = reply.op == BOOTREPLY and reply.xid == asked.xid and reply.message in kinds
            if is_answer and of in (None, _server(reply)):
                until = until if found else time.monotonic() + gather_s
                found.append(reply)
        if found:
            break
    return tuple(found)


# --- files ------------------------------------------------------------------------------------------------------------


def fetch(url: str, server: IPv4Address, blksize_b: int, patience: float = 1.0) -> Got:
    """A URL over HTTP, or a path from a TFTP server. ``patience`` times the waiting. Raises Failed."""
    began = time.monotonic()
    if url.startswith("http://"):
        return get(url, patience)
    if "://" in url:
        scheme, _, rest = url.partition("://")
        if scheme != "tftp":
            raise Failed(f"{url}: a rehearsal does not speak {scheme}", "use http or tftp")
        host, _, url = rest.partition("/")
        server = IPv4Address(host)
    data = _tftp(server, url, blksize_b, TRANSFER_S * patience)
    return Got(data, "tftp", url.lstrip("/"), time.monotonic() - began)


def get(url: str, patience: float = 1.0, ca: str = "") -> Got:
    """A URL over HTTP, or over HTTPS from a server that the authority ``ca`` (PEM) vouches for. Raises Failed."""
    began, parts = time.monotonic(), urllib.parse.urlsplit(url)
    data = _ask_http(_connection(parts, TRANSFER_S * patience, ca), url, parts.path or "/")
    return Got(data, parts.scheme, parts.path.lstrip("/"), time.monotonic() - began)


def _connection(parts: urllib.parse.SplitResult, timeout_s: float, ca: str) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port or 80, timeout=timeout_s)
    try:
        trusting = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Failed(f"{parts.geturl()}: the blade gets no authority to believe: {error}", FIX_BELIEF) from None
    return http.client.HTTPSConnection(host, parts.port or 443, timeout=timeout_s, context=trusting)


def _ask_http(connection: http.client.HTTPConnection, where: str, path: str) -> bytes:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        data = answer.read(LARGEST_FILE_B)
        wanted = answer.getheader("Content-Length")
    except ssl.SSLCertVerificationError as error:
        raise Failed(f"{where}: the blade would not believe this server: {error.verify_message}", FIX_BELIEF) from None
    except (OSError, http.client.HTTPException) as error:
        what = (
            f"no answer from TCP port {connection.port} of {connection.host}"
            if isinstance(error, OSError)
            else str(error)
        )
        fix = "./lab doctor: a firewall, or the boot server is not there"
        raise Failed(f"{where}: {what} ({error})", fix) from None
    finally:
        connection.close()
    if answer.status != 200:
        said = data[:200].decode(errors="replace").strip()
        raise Failed(f"{where}: status {answer.status}, {said}", FIX_MISSING)
    if wanted is not None and int(wanted) != len(data):
        raise Failed(f"{where}: {len(data):,} bytes of {int(wanted):,} came", "./lab images says which file it is")
    return data


FIX_BELIEF = "./lab down, then ./lab up: they make what is missing in keys/ of the state folder"
FIX_MISSING = "./lab explain lists what this blade may fetch, ./lab images which files are missing"


class _Taken(io.BytesIO):
    """Keeps what tftpy writes: it closes a file that it is given."""

    def close(self) -> None:
        pass


def _tftp(server: IPv4Address, path: str, blksize_b: int, timeout_s: float) -> bytes:
    import tftpy

    logging.getLogger("tftpy").setLevel(logging.CRITICAL)
    taken, size_b = _Taken(), 0
    options: dict[str, int] = {"blksize": blksize_b, "tsize": 0}

    def download() -> None:
        nonlocal size_b
        client = tftpy.TftpClient(str(server), 69, options, flock=False)
        client.download(path, taken, timeout=timeout_s / TFTP_TRIES, retries=TFTP_TRIES)
        size_b = int((client.context.options or {}).get("tsize", 0))

    _carry_out(download, server, path)
    data = taken.getvalue()
    if size_b and size_b != len(data):
        raise Failed(f"tftp {path}: {len(data):,} bytes of {size_b:,} came", "./lab images says which file it is")
    return data


def _carry_out(download: Callable[[], None], server: IPv4Address, path: str) -> None:
    """Run tftpy and give its failures words. Its decoder raises whatever its bytes make it raise."""
    import tftpy

    try:
        download()
    except tftpy.TftpFileNotFoundError as error:
        raise Failed(f"tftp {path}: the server has no such file for this blade ({error})", FIX_MISSING) from None
    except (tftpy.TftpTimeout, TimeoutError):
        raise Failed(
            f"tftp {path}: no answer from UDP port 69 of {server}",
            "./lab doctor: a firewall, or no TFTP server; answers come from a port above 1024",
        ) from None
    except Exception as error:
        raise Failed(f"tftp {path}: {type(error).__name__}: {error}", "./lab events tells the server's side") from None

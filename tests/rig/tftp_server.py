"""The TFTP server on loopback with a handful of files, and a client of our own that does as it is told."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from labkit.boot import ImageFile, Rendered, Resource
from labkit.netboot import tftp
from labkit.netboot.clients import Refusal
from labkit.netboot.tftp import Ack, Data, Oack, Request
from labkit.netboot.tftp.server import TftpServer

from .dhcp import Seen

MENU = b"default labos\nlabel labos\n"
IMAGE = os.urandom(700_001)


class Rig:
    """A server on loopback, with three files."""

    def __init__(self, folder: Path) -> None:
        self.seen, self.slow = Seen(), threading.Event()
        self.image = folder / "image"
        self.image.write_bytes(IMAGE)
        (folder / "multiple").write_bytes(IMAGE[: 512 * 8])
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = sock.getsockname()
        catalogue = {"image": self.image, "multiple": folder / "multiple", "gone": folder / "gone", "folder": folder}
        self.server = TftpServer(sock, self.lookup, catalogue, self.seen)
        self.server.start()
        self._sock = sock

    def lookup(self, address: str, path: str) -> Resource | Refusal:
        if path == "boom":
            raise RuntimeError("a fault in the lookup")
        if path == "slow":
            self.slow.wait(10)
        found: dict[str, Resource] = {"menu": Rendered(MENU)}
        found |= {name: ImageFile(name) for name in ("image", "multiple", "gone", "folder", "unbuilt")}
        return found.get(path) or Refusal("not a file of this boot")

    def close(self) -> None:
        self.server.stop()
        self._sock.close()

    def client(self) -> Client:
        return Client(self.address)

    def get(self, path: str, **options: str) -> bytes:
        with self.client() as client:
            return client.get(path, options)


class Client:
    """A client that does as it is told, packet by packet."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(10)
        self.sock.bind(("127.0.0.1", 0))
        self.peer: tuple[str, int] | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *gone: object) -> None:
        self.sock.close()

    def ask(
        self, path: str, options: dict[str, str] | None = None, *, mode: str = "octet", write: bool = False
    ) -> None:
        self.sock.sendto(tftp.encode(Request(path, mode, options or {}, write)), self.server)

    def hear(self) -> tftp.Packet:
        data, self.peer = self.sock.recvfrom(70000)
        return tftp.decode(data)

    def say(self, packet: tftp.Packet) -> None:
        assert self.peer is not None
        self.sock.sendto(tftp.encode(packet), self.peer)

    def get(self, path: str, options: dict[str, str] | None = None, *, mode: str = "octet") -> bytes:
        """A whole file, with whatever block and window size the server grants."""
        self.ask(path, options, mode=mode)
        blksize_b, window, content, block = 512, 1, b"", 0
        packet = self.hear()
        while isinstance(packet, Oack):  # again, where our ACK was late
            blksize_b = int(packet.options.get("blksize", blksize_b))
            window = int(packet.options.get("windowsize", window))
            self.say(Ack(0))
            packet = self.hear()
        while True:
            assert isinstance(packet, Data), packet
            if packet.block == (block + 1) & 0xFFFF:
                block += 1
                content += packet.content
                if len(packet.content) < blksize_b:
                    self.say(Ack(block & 0xFFFF))
                    return content
                if block % window == 0:
                    self.say(Ack(block & 0xFFFF))
            packet = self.hear()

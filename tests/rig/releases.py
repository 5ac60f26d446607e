"""A publisher of releases on loopback: keys of its own, whole trees, and a server that can do everything wrong."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labkit.boot.artifacts import cpio
from labkit.images.releases.publishers import FEDORA_COREOS, FLATCAR, Publisher
from labkit.images.releases.signature import Trust

KERNEL, IMAGE = FLATCAR.files
PORTAL = b"<!DOCTYPE html>\n<html><body>Please log in to the hotel's network</body></html>\n"


class Keys:
    """Keys of gpg's making, each in a folder of its own."""

    def __init__(self, folder: Path, made: str = "") -> None:
        self.folder, self.made = folder, made
        self.folder.mkdir(mode=0o700)
        self.gpg("--quick-gen-key", "Server <key@example.test>", "ed25519", "cert", "never")
        listed = self.gpg("--list-keys", "--with-colons").decode()
        self.primary = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        self.gpg("--quick-add-key", self.primary, "ed25519", "sign", "1y" if made else "never")
        self.block = self.gpg("--export", "--armor")

    def gpg(self, *words: str, given: bytes = b"") -> bytes:
        time = ["--faked-system-time", self.made] if self.made else []
        quiet = ["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]
        command = ["gpg", "--homedir", str(self.folder), *quiet, *time, *words]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout

    @functools.cache  # noqa: B019  what is signed is small, and a session's keys live as long as it
    def sign(self, content: bytes) -> bytes:
        """A detached signature."""
        return self.gpg("--detach-sign", given=content)

    def trust(self, who: str = "Flatcar") -> Trust:
        return Trust(who, frozenset({self.primary}), (self.block,), is_given=True)


@dataclass(frozen=True)
class Ring:
    """The publisher's key, somebody else's, and one of the publisher's whose subkey has expired."""

    good: Keys
    other: Keys
    expired: Keys


@contextmanager
def ring() -> Iterator[Ring]:
    """Keys for a session; skips where GnuPG is missing."""
    missing = [program for program in ("gpg", "gpgv") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; ./lab setup installs it")
    folder = Path(tempfile.mkdtemp(prefix="k"))  # gpg's agent listens on a socket in it, whose path must be short
    try:
        yield Ring(Keys(folder / "g"), Keys(folder / "o"), Keys(folder / "e", made="20200101T000000"))
    finally:
        for home in folder.iterdir():
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


# --- what is published ------------------------------------------------------------------------------------------------


def kernel(version: str) -> bytes:
    """An x86 kernel as far as its header goes: Linux's Documentation/arch/x86/boot.rst."""
    image = bytearray(0x1000)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (0x600).to_bytes(2, "little")
    said = f"{version} (builder@host) #1 SMP\0".encode()
    image[0x800 : 0x800 + len(said)] = said
    return bytes(image)


@functools.cache
def image(version: str) -> bytes:
    """Flatcar's root: a gzipped archive with a squashfs that has modules for one kernel."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"usr/lib/modules/{version}/kernel").mkdir(parents=True)
        squash = Path(folder) / "usr.squashfs"
        subprocess.run(
            ["mksquashfs", f"{folder}/usr", str(squash), "-quiet", "-no-progress"], check=True, capture_output=True
        )
        return cpio.pack_gz({"usr.squashfs": squash.read_bytes()})


def toy(name: str, version: str, size: int) -> bytes:
    """Bytes that are of this file and version alone."""
    seed = hashlib.sha256(f"{name} {version}".encode()).digest()
    return (seed * (size // 32 + 1))[:size]


def flatcar(keys: Keys, version: str = "4230.2.1", *, latest: bool = True, **content: bytes) -> dict[str, bytes]:
    """A release of Flatcar by its paths; ``kernel`` and ``image`` may be given."""
    files = {
        KERNEL: content.get("kernel", toy("kernel", version, 40_000)),
        IMAGE: content.get("image", gzip.compress(toy("image", version, 300_000), 0, mtime=0)),
    }
    signed = {f"{name}.sig": keys.sign(data) for name, data in files.items()}
    sums = {f"{name}.DIGESTS": digests(name, data) for name, data in files.items()}
    told = f'FLATCAR_BUILD=4230\nFLATCAR_VERSION={version}\nFLATCAR_BUILD_ID="2025-05-01-1200"\n'.encode()
    whole = {**files, **signed, **sums, "version.txt": told}
    places = [version, *(["current"] if latest else [])]
    return {f"/amd64-usr/{place}/{name}": data for place in places for name, data in whole.items()}


def digests(name: str, data: bytes) -> bytes:
    """A ``.DIGESTS`` as Flatcar writes it."""
    kinds = ("md5", "sha1", "sha512")
    lines = [f"# {kind.upper()} HASH\n{hashlib.new(kind, data).hexdigest()}  {name}\n" for kind in kinds]
    return "".join(lines).encode()


def coreos(keys: Keys, version: str = "43.20251110.3.1", *, base: str = FEDORA_COREOS.base) -> dict[str, bytes]:
    """A build of Fedora CoreOS by its paths, with the JSON of its stream and its own."""
    folder = f"/prod/streams/stable/builds/{version}/x86_64"
    contents = {
        "kernel": ("", toy("kernel", version, 30_000)),
        "initramfs": (".img", toy("initramfs", version, 60_000)),
        "rootfs": (".img", cpio.pack({"root.squashfs": bytes(900), "etc/coreos-live-rootfs": f"{version}\n".encode()})),
    }
    found: dict[str, bytes] = {}
    pxe = {}
    for part, (ending, data) in contents.items():
        path = f"{folder}/fedora-coreos-{version}-live-{part}.x86_64{ending}"
        found |= {path: data, f"{path}.sig": keys.sign(data)}
        url = base + path
        pxe[part] = {"location": url, "signature": f"{url}.sig", "sha256": hashlib.sha256(data).hexdigest()}
    stream = {"metal": {"release": version, "formats": {"pxe": pxe}}}
    whole = {"stream": "stable", "architectures": {"x86_64": {"artifacts": stream}}}
    build = {"release": version, "architectures": {"x86_64": {"media": {"metal": {"artifacts": {"pxe": pxe}}}}}}
    found["/streams/stable.json"] = json.dumps(whole).encode()
    found[f"/prod/streams/stable/builds/{version}/release.json"] = json.dumps(build).encode()
    return found


def lay(files: dict[str, bytes], folder: Path) -> Path:
    """The files of a tree in one folder, as somebody would download them."""
    folder.mkdir(exist_ok=True)
    for path, data in files.items():
        (folder / path.rpartition("/")[2]).write_bytes(data)
    return folder


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A server of files by their paths. ``wrong`` has what to do in place of serving, by the end of a path."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    wrong: dict[str, Callable[[Answer], None]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Every path that was asked for, and its ``Range``."""
    go_on: threading.Event = field(default_factory=threading.Event)
    stalls: threading.Event = field(default_factory=threading.Event)

    def system(self, system: Publisher, keys: Keys) -> Publisher:
        """A system that is published here, by this key."""
        return replace(system, base=self.url, fingerprints=frozenset({keys.primary}), key_url="")

    def counts(self, end: str) -> int:
        return sum(path.endswith(end) for path, _ in self.asked)

    def ranges(self, end: str) -> list[str]:
        return [wanted for path, wanted in self.asked if path.endswith(end)]


class Answer(BaseHTTPRequestHandler):
    """One request."""

    publisher: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.publisher.asked.append((self.path, self.headers.get("Range", "")))
        for end, wrong in self.publisher.wrong.items():
            if self.path.endswith(end):
                wrong(self)
                return
        self.serve()

    def serve(self, *, stop: int | None = None) -> None:
        """The file, or what a range leaves of it; after ``stop`` bytes of the body the connection ends."""
        data = self.publisher.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if self.headers.get("If-Range", tag) != tag:
            begin = 0
        if begin and begin >= len(data):
            self.say(416, b"", Content_Range=f"bytes */{len(data)}")
            return
        self.send_response(206 if begin else 200)
        self.send_header("Connection", "close")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[begin:][:stop])
        self.wfile.flush()

    def say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def publisher() -> Iterator[Server]:
    """A server on loopback, while it is used."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    found = Server(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Here", (Answer,), {"publisher": found})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        found.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


# --- what a server does wrong -----------------------------------------------------------------------------------------


def cut_after(size: int) -> Callable[[Answer], None]:
    """The connection ends early."""
    return lambda answer: answer.serve(stop=size)


def stall_after(size: int) -> Callable[[Answer], None]:
    """Nothing comes any more, and the connection stays."""

    def stall(answer: Answer) -> None:
        answer.serve(stop=size)
        answer.publisher.stalls.set()
        answer.publisher.go_on.wait(30)

    return stall


def trickle(answer: Answer) -> None:
    """A byte now and then, so that there is never long silence."""
    answer.send_response(200)
    answer.send_header("Connection", "close")
    answer.send_header("Content-Length", "100000")
    answer.end_headers()
    while not answer.publisher.go_on.wait(0.02):
        try:
            answer.wfile.write(b"x")
        except OSError:  # the client has had enough
            return


def portal(answer: Answer) -> None:
    """A captive portal: its page, with status 200, whatever was asked for."""
    answer.say(200, PORTAL, Content_Type="text/html")


def circle(answer: Answer) -> None:
    """From here to here."""
    answer.say(302, b"", Location=answer.path)


def hold(answer: Answer) -> None:
    """The file, when the test says so."""
    answer.publisher.stalls.set()
    answer.publisher.go_on.wait(30)
    answer.serve()


def status(number: int, **headers: str) -> Callable[[Answer], None]:
    return lambda answer: answer.say(number, b"no", **headers)

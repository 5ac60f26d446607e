"""The walk of a boot, ``python -m …``, in a network namespace of its own with one card, the blade's.

It says ``ready`` on a line, reads its task as a line of JSON from standard input when its card is plugged in, and
writes a line of JSON a step, the last with the verdict. Nothing it prints is secret: of a blade's own archive it tells
how much is in it. It needs CAP_NET_ADMIN for its card's address and CAP_NET_BIND_SERVICE for port 68, no more.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from labkit.boot.artifacts import grub
from labkit.boot.loaders import GRUB, SECOND_PARTS, SHIM
from labkit.lab.process import faults
from labkit.netboot.boot_client import checks, scripts, transport
from labkit.netboot.boot_client.firmware import FIRMWARES, Firmware, second_stage
from labkit.netboot.boot_client.scripts import Next
from labkit.netboot.boot_client.transport import Failed, Got, Leased
from labkit.netboot.dhcp import Option

LONGEST_CHAIN = 5
IPXE_LOADERS = ("undionly", "ipxe", "snponly")


@dataclass(frozen=True)
class Task:
    """What to walk: the card's MAC and name here, which firmware, and the lab's own server.

    ``patience`` times how long silence is waited for: less where it is expected, more on a bad network.
    """

    mac: str
    firmware: str
    server: str
    interface: str = "eth0"
    patience: float = 1.0


@dataclass(frozen=True)
class Attempt:
    """One step: ``what`` came of it, ``warning`` what is odd. A file has ``protocol``, ``path``, size and digest."""

    step: str
    what: str
    seconds: float = 0.0
    protocol: str = ""
    path: str = ""
    size_b: int = 0
    sha256: str = ""
    warning: str = ""


class Walk:
    """One walk. `steps` yields what it finds and raises Failed where the boot would end."""

    def __init__(self, task: Task, card: Callable[[str, str], None]) -> None:
        self._task, self._card = task, card
        self._server = IPv4Address(0)
        self._address = IPv4Address(0)
        self._blksize_b = 512
        self._sock: socket.socket | None = None
        self._leased: Leased | None = None

    def steps(self) -> Iterator[Attempt]:
        """The whole boot, from the first DISCOVER to the last archive."""
        kind = FIRMWARES[self._task.firmware]
        with transport.open_client(self._task.interface) as self._sock:
            try:
                file = yield from self._lease(kind)
                for _ in range(LONGEST_CHAIN):
                    following = yield from self._run(kind, file)
                    if isinstance(following, Next) and not following.chain:
                        yield from self._system(following)
                        return
                    if isinstance(following, Next):
                        file = following.chain
                    else:
                        kind = following
                        file = yield from self._lease(kind)
                raise Failed(f"after {LONGEST_CHAIN} loaders there is still no kernel", "two loaders call each other")
            finally:
                if self._leased is not None:
                    transport.give_back(self._sock, self._task.mac, self._leased.ack)

    def _lease(self, kind: Firmware) -> Generator[Attempt, None, str]:
        """DHCP; returns the boot file."""
        assert self._sock is not None
        began = time.monotonic()
        leased = self._leased = transport.lease(self._sock, kind, self._task.mac, self._task.patience)
        ack, file = leased.ack, transport.boot_file(leased.ack)
        self._server, self._address, self._blksize_b = transport.next_server(ack), ack.yiaddr, kind.blksize_b
        mask = ack.address(Option.SUBNET_MASK) or IPv4Address("255.255.255.255")
        prefix = IPv4Network(f"0.0.0.0/{mask}").prefixlen
        router = ack.options.get(Option.ROUTER, b"")[:4]
        self._card(f"{ack.yiaddr}/{prefix}", str(IPv4Address(router)) if router else "")
        ours = IPv4Address(self._task.server)
        servers = {offer.address(Option.SERVER_ID) or offer.siaddr for offer in leased.offers}
        others = ", ".join(str(server) for server in sorted(servers - {ours}))
        chosen = ack.address(Option.SERVER_ID) or ack.siaddr
        warning = f"{others} answers DHCP here too, and a boot goes where the quicker one sends it" if others else ""
        what = f"as {kind.name}: {ack.yiaddr} from {chosen}, boot file {file or 'none'}"
        yield Attempt("dhcp", what, round(time.monotonic() - began, 3), warning=warning)
        if chosen != ours:
            raise Failed(
                f"the DHCP server {chosen}, which is not labkit's, was quicker and sends the blade elsewhere",
                f"switch {chosen} off or keep it from this network; ./lab doctor lists every server that answers",
            )
        if not file:
            raise Failed(
                f"labkit has no boot file for {kind.name} firmware with this blade's boot method",
                "another boot method in lab.yaml; docs/lab-yaml.md says which firmware each is for",
            )
        return file

    def _run(self, kind: Firmware, file: str) -> Generator[Attempt, None, Next | Firmware]:
        """Fetch a loader or a script and do what it does; returns the firmware it is, or what it asks for next."""
        got = self._fetch(file)
        name = file.rpartition("/")[2]
        if got.data.startswith(b"#!ipxe"):
            following = self._read(got, lambda text: scripts.read_ipxe(text, file if "://" in file else ""))
            yield _tried("config", got, _asks(following))
            return following
        yield _tried("loader", got, "")
        if not got.data:
            raise Failed(f"{got.path} is empty", "./lab images says which file it is")
        if name in SECOND_PARTS:
            folder = file.rpartition("/")[0]
            return (yield from self._pxelinux(folder + "/" if folder else "", SECOND_PARTS[name]))
        if name == SHIM:
            return (yield from self._grub(file.removesuffix(name)))
        if name.startswith(IPXE_LOADERS):
            return second_stage(kind)
        raise Failed(f"a rehearsal does not know what {name} does next", "./lab explain shows what it may fetch")

    def _grub(self, folder: str) -> Generator[Attempt, None, Next]:
        """What shim starts, and what that reads. No signature is looked at: that is for the blade's firmware."""
        yield _tried("loader", self._fetch(folder + GRUB), "")
        got = self._fetch(folder + grub.CONFIG)
        following = self._read(got, scripts.read_grub)
        yield _tried("config", got, _asks(following))
        return following

    def _pxelinux(self, folder: str, second: str) -> Generator[Attempt, None, Next]:
        got = self._fetch(folder + second)
        yield _tried("loader", got, "")
        refused = ""
        for name in scripts.config_names(self._task.mac, self._address, folder):
            try:
                got = self._fetch(name)
            except Failed as error:
                if "no answer" in error.what:
                    raise
                refused = refused or error.what
                continue
            following = self._read(got, scripts.read_pxelinux)
            yield _tried("config", got, _asks(following))
            if following.display:
                yield self._show(folder + following.display)
            return following
        raise Failed(f"no configuration for this blade: {refused}", transport.FIX_MISSING)

    def _show(self, path: str) -> Attempt:
        """A text that a loader shows. It boots without it."""
        try:
            return _tried("config", self._fetch(path), "a text to show")
        except Failed as error:
            return Attempt("config", f"no text to show: {path}", warning=error.what)

    def _system(self, following: Next) -> Iterator[Attempt]:
        got = self._fetch(following.kernel)
        yield _tried("kernel", got, self._check(got, checks.check_kernel))
        for path in following.initrds:
            got = self._fetch(path)
            words = self._check(got, checks.check_archive)
            if checks.zstd_needed(got.data):
                words = _check_zstd(got)
            yield _tried("initrd", got, words)
        home = checks.home_of(got.data) if following.initrds else None
        if home is not None:
            yield self._call_home(home)

    def _call_home(self, home: checks.Home) -> Attempt:
        """Whether the lab hears the blade once it is up: where, and by which authority, its own archive says."""
        got = transport.get(f"{home.root}/healthz", self._task.patience, home.ca)
        believed = ", and the blade believes its certificate" if got.protocol == "https" else ""
        return Attempt("home", f"the lab answers at {home.root}{believed}", round(got.seconds, 3))

    def _fetch(self, path: str) -> Got:
        return transport.fetch(path, self._server, self._blksize_b, self._task.patience)

    def _read(self, got: Got, read: Callable[[str], Next]) -> Next:
        try:
            return read(got.data.decode(errors="replace"))
        except scripts.ScriptError as error:
            raise Failed(f"{got.path}: {error}", "./lab explain shows the file") from None

    def _check(self, got: Got, check: Callable[[bytes], str]) -> str:
        try:
            return check(got.data)
        except checks.BrokenFile as error:
            raise Failed(f"{got.path}: {error}", "./lab images; build the image again, or copy it anew") from None


def _check_zstd(got: Got) -> str:
    """Let zstd(1) look, where it is installed."""
    program = shutil.which("zstd")
    if program is None:
        return "a zstd archive, not opened (zstd is not installed)"
    done = subprocess.run([program, "--test", "--quiet"], input=got.data, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise Failed(f"{got.path}: this archive does not unpack: {said}", "./lab images; build the image again")
    return "a zstd archive, whole"


def _tried(step: str, got: Got, what: str) -> Attempt:
    return Attempt(step, what, round(got.seconds, 3), got.protocol, got.path, len(got.data), got.sha256)


def _asks(following: Next) -> str:
    if following.chain:
        return f"goes on to {following.chain}"
    count = len(following.initrds)
    return f"asks for {following.kernel} and {count} initrd{'' if count == 1 else 's'}"


def set_card(interface: str) -> Callable[[str, str], None]:
    """How a card gets its address and its router, by ip(8)."""

    def card(address: str, router: str) -> None:
        lines = [f"address flush dev {interface}", f"address add {address} dev {interface}"]
        lines += [f"route add default via {router} dev {interface} onlink"] if router else []
        text = "\n".join(lines) + "\n"
        done = subprocess.run(["ip", "-batch", "-"], input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            raise Failed(f"the address {address} cannot be used: {done.stderr.strip()}", "correct network in lab.yaml")

    return card


def prepare(interface: str) -> None:
    """Bring the card up, and let it hear servers it has no route to yet (ip-sysctl: rp_filter)."""
    for name in ("all", interface):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    subprocess.run(["ip", "link", "set", interface, "up"], check=True)


def main() -> int:
    """Walk once. The exit status is 0 when the boot would work."""
    print("ready", flush=True)
    line = sys.stdin.readline()
    if not line:
        return 1
    task = Task(**json.loads(line))
    verdict = {"ok": True, "what": "", "fix": ""}
    try:
        prepare(task.interface)
        for tried in Walk(task, set_card(task.interface)).steps():
            print(json.dumps(asdict(tried)), flush=True)
    except Failed as error:
        verdict = {"ok": False, "what": error.what, "fix": error.fix}
    except OSError as error:
        verdict = {"ok": False, "what": f"the network of the rehearsal failed: {error}", "fix": "./lab doctor"}
    print(json.dumps(verdict), flush=True)
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))

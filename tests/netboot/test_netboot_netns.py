"""Real packets between network namespaces: the DHCP, TFTP and HTTP clients that people and distributions use."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from labkit import events, rpc
from labkit.errors import ControlError
from labkit.events import BootStarted, Dhcp, Phoned, Ticket, Transfer, UnknownMachine
from labkit.netboot.boots import ticket
from labkit.state import State

pytestmark = pytest.mark.netns

LAB = """
name: netns
boot: pxelinux
blades:
  - name: blade1
    macs: ["52:54:00:4d:00:01"]
  - name: blade2
    macs: ["52:54:00:4d:00:02"]
"""
BLADE1, BLADE2, STRANGER = "52:54:00:4d:00:01", "52:54:00:4d:00:02", "00:00:5e:00:53:99"
T = TypeVar("T")

IMAGES = ("pxelinux.0", "lpxelinux.0", "ldlinux.c32", "labos/vmlinuz", "labos/labos.cpio")

SET_ADDRESS = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address flush dev "$interface"
ip address add "$ip/24" dev "$interface"
env | grep -E '^(ip|subnet|router|hostname|serverid|siaddr|boot_file|bootfile|lease|tftp|sname)=' > "$RESULT"
"""


def run(*words: str, **env: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, env={**os.environ, **env})
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def wait_until(look: Callable[[], T], within_s: float = 10) -> T:
    """What ``look`` finds, once it finds something."""
    until = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    return found


class Net:
    """The server's namespace with a bridge, and a namespace for each machine plugged into it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tag = folder, f"lkn{os.getpid()}"
        self.state = State(folder / "state")
        self.images = folder / "images"
        for name in IMAGES:
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_bytes(name.encode() * 60_000)
        (folder / "lab.yaml").write_text(LAB)
        self.spaces: list[str] = []
        self.server = self._space("s")
        self.inside(self.server, "ip", "link", "add", "br0", "type", "bridge")
        self.inside(self.server, "ip", "address", "add", "10.77.0.1/24", "dev", "br0")
        self.inside(self.server, "ip", "link", "set", "br0", "up")
        self.process: subprocess.Popen[bytes] | None = None

    def _space(self, name: str) -> str:
        space = f"{self.tag}{name}"
        run("ip", "netns", "add", space)
        self.spaces.append(space)
        self.inside(space, "ip", "link", "set", "lo", "up")
        return space

    def inside(self, space: str, *words: str, **env: str) -> str:
        return run("ip", "netns", "exec", space, *words, **env)

    def plug(self, name: str, mac: str) -> str:
        """A machine with one card; its namespace."""
        space = self._space(name)
        port = f"p{name}"
        run("ip", "link", "add", port, "netns", self.server, "type", "veth", "peer", "name", "eth0", "netns", space)
        self.inside(space, "ip", "link", "set", "eth0", "address", mac, "up")
        self.inside(self.server, "ip", "link", "set", port, "master", "br0", "up")
        return space

    def start(self) -> None:
        program = Path(__file__).with_name("serve.py")
        words = [self.folder / "lab.yaml", self.state.path, self.images, "br0"]
        self.process = subprocess.Popen(["ip", "netns", "exec", self.server, sys.executable, program, *map(str, words)])
        wait_until(self._answers, 20)

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None
        try:
            rpc.call(self.state.bootd, "boots")
        except ControlError:
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        for space in self.spaces:
            run("ip", "netns", "del", space)

    def lease(self, space: str, *options: str) -> dict[str, str]:
        """Ask with busybox's udhcpc; what its script was told."""
        result, script = self.folder / f"{space}.lease", self.folder / "udhcpc"
        script.write_text(SET_ADDRESS)
        script.chmod(0o755)
        words = ["busybox", "udhcpc", "-i", "eth0", "-s", str(script), "-n", "-q", "-f", "-t", "3", "-T", "1", *options]
        self.inside(space, *words, RESULT=str(result))
        return dict(line.split("=", 1) for line in result.read_text().splitlines())

    def pxe(self, space: str) -> dict[str, str]:
        """Ask as a BIOS PXE ROM does."""
        return self.lease(space, "-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000")

    def curl(self, space: str, path: str, *options: str) -> tuple[int, str]:
        words = ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", *options, f"http://10.77.0.1{path}"]
        body, _, status = self.inside(space, *words).rpartition("\n")
        return int(status), body

    def told(self, kind: type[Any], **fields: object) -> list[Any]:
        """The events of a kind with these fields."""
        found = [event for event in events.read(self.state.events, after=-1) if isinstance(event, kind)]
        return [event for event in found if all(getattr(event, name) == value for name, value in fields.items())]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = Net(tmp_path_factory.mktemp("netns"))
    try:
        net.start()
        yield net
    finally:
        net.close()


@pytest.fixture(scope="module")
def blade1(net: Net) -> str:
    return net.plug("b1", BLADE1)


def test_a_blade_boots_step_by_step(net: Net, blade1: str) -> None:
    """PXE, loader, menu, kernel and archive over TFTP, the archive over HTTP, and no secret before and after."""
    told = net.pxe(blade1)
    assert told["ip"] == "10.77.0.11"
    assert (told["siaddr"], told["boot_file"]) == ("10.77.0.1", "pxelinux.0")
    assert (told["router"], told["hostname"], told["lease"]) == ("10.77.0.1", "blade1", "3600")
    [boot] = net.told(BootStarted, blade="blade1")
    assert boot.cause == "pxe"
    for path in ("pxelinux.0", "labos/vmlinuz"):
        got = net.folder / "got"
        net.inside(blade1, "busybox", "tftp", "-g", "-b", "1468", "-r", path, "-l", str(got), "10.77.0.1")
        assert got.read_bytes() == (net.images / path).read_bytes()
    status, menu = net.curl(blade1, "/pxelinux.cfg/default")
    assert status == 200 and "labos/vmlinuz" in menu
    assert net.curl(blade1, "/labos/oem.cpio.gz", "-o", str(net.folder / "oem"))[0] == 200
    assert net.told(Transfer, blade="blade1", boot=boot.boot, path="labos/vmlinuz", state="done", protocol="tftp")
    assert net.told(Dhcp, blade="blade1", message="DISCOVER", reply="OFFER", client="pxe", arch="0", file="pxelinux.0")


def test_a_second_pxe_start_is_another_boot(net: Net, blade1: str) -> None:
    before = net.told(BootStarted, blade="blade1")[-1].boot
    net.pxe(blade1)
    assert net.told(BootStarted, blade="blade1")[-1].boot != before
    boots = rpc.call(net.state.bootd, "boots")["boots"]
    assert (boots["blade1"]["id"], boots["blade1"]["kernel"]) == (net.told(BootStarted)[-1].boot, False)


def test_the_operating_system_gets_the_same_address_and_no_boot_file(net: Net, blade1: str) -> None:
    told = net.lease(blade1)
    assert told["ip"] == "10.77.0.11"
    assert "boot_file" not in told
    assert net.told(Dhcp, blade="blade1", message="REQUEST", reply="ACK", client="os", file="")


def test_a_released_address_has_no_rights(net: Net, blade1: str) -> None:
    net.lease(blade1)
    words = ["busybox", "udhcpc", "-i", "eth0", "-s", str(net.folder / "udhcpc"), "-f", "-R"]
    result = net.folder / "held"
    client = subprocess.Popen(
        ["ip", "netns", "exec", blade1, *words], stderr=subprocess.DEVNULL, env={**os.environ, "RESULT": str(result)}
    )
    try:
        wait_until(result.exists)
    finally:
        client.terminate()
        client.wait(10)
    wait_until(lambda: net.told(Dhcp, message="RELEASE", reason="released"))
    assert net.curl(blade1, "/labos/vmlinuz")[0] == 404
    net.pxe(blade1)
    assert net.curl(blade1, "/pxelinux.cfg/default")[0] == 200


def test_a_stranger_gets_silence_and_is_told_how_to_be_adopted(net: Net) -> None:
    space = net.plug("x1", STRANGER)
    with pytest.raises(AssertionError, match="no lease"):
        net.lease(space, "-t", "1")
    [unknown] = net.told(UnknownMachine, mac=STRANGER)
    assert "macs: [" in unknown.adopt and STRANGER in unknown.adopt
    net.inside(space, "ip", "address", "add", "10.77.0.99/24", "dev", "eth0")
    assert net.curl(space, "/labos/oem.cpio.gz")[0] == 404
    assert net.curl(space, "/healthz") == (200, "ok\n")


@pytest.mark.skipif(not shutil.which("dhclient"), reason="isc-dhcp-client is not installed")
def test_isc_dhclient(net: Net) -> None:
    space = net.plug("b2", BLADE2)
    leases = net.folder / "dhclient.leases"
    config = net.folder / "dhclient.conf"
    config.write_text("request subnet-mask, routers, host-name;\n")
    words = ["dhclient", "-4", "-1", "-v", "-d", "-cf", str(config), "-lf", str(leases), "-pf", str(net.folder / "pid")]
    words = ["ip", "netns", "exec", space, *words, "-sf", "/bin/true", "eth0"]
    client = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        text = wait_until(lambda: leases.read_text() if leases.exists() and "expire" in leases.read_text() else "")
    finally:
        client.terminate()
        client.wait(10)
    assert "fixed-address 10.77.0.12;" in text
    assert 'option host-name "blade2";' in text
    assert net.told(Dhcp, blade="blade2", message="REQUEST", reply="ACK")


@pytest.mark.skipif(not shutil.which("atftp"), reason="atftp is not installed")
def test_atftp_with_windows(net: Net, blade1: str) -> None:
    got = net.folder / "atftp"
    words = ["atftp", "--option", "blksize 1428", "--option", "windowsize 16", "-g", "-r", "labos/labos.cpio"]
    net.inside(blade1, *words, "-l", str(got), "10.77.0.1")
    assert got.read_bytes() == (net.images / "labos/labos.cpio").read_bytes()


@pytest.mark.skipif(not shutil.which("tftp"), reason="tftp-hpa is not installed")
def test_tftp_hpa(net: Net, blade1: str) -> None:
    got = net.folder / "hpa"
    net.inside(blade1, "tftp", "-m", "binary", "10.77.0.1", "-c", "get", "labos/vmlinuz", str(got))
    assert got.read_bytes() == (net.images / "labos/vmlinuz").read_bytes()


def test_curl_ranges_and_heads(net: Net, blade1: str) -> None:
    image = (net.images / "labos/labos.cpio").read_bytes()
    assert net.curl(blade1, "/labos/labos.cpio", "-r", "10-25") == (206, image[10:26].decode())
    assert net.curl(blade1, "/labos/labos.cpio", "-C", str(len(image) - 3)) == (206, image[-3:].decode())
    status, head = net.curl(blade1, "/labos/labos.cpio", "-I")
    assert status == 200 and f"Content-Length: {len(image)}" in head


class Desk(threading.Thread):
    """A swarm desk that says yes and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.asked: list[dict[str, Any]] = []
        self._sock = rpc.listen(path)
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        def verb(name: str) -> rpc.Handler:
            async def answer(request: dict[str, Any]) -> dict[str, Any]:
                self.asked.append({"verb": name, **request})
                return {"body": {"JoinToken": "SWMTKN-1"}} if name == "join" else {}

            return answer

        names = ("join", "joined", "leave", "left", "refused")
        server = self._loop.run_until_complete(rpc.serve(self._sock, {name: verb(name) for name in names}))
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join()
        self._sock.close()


def test_a_blade_phones_home(net: Net, blade1: str) -> None:
    boot = rpc.call(net.state.bootd, "power_on", blade="blade1")["boot"]
    header = f"X-Labkit-Ticket: {ticket(net.state.key('tickets'), 'blade1', boot).reveal()}"
    status, _ = net.curl(blade1, "/v1/join", "-X", "POST", "-H", header)
    assert status == 503  # nobody at the desk
    desk = Desk(net.state.swarmd)
    desk.start()
    try:
        status, body = net.curl(blade1, "/v1/join", "-X", "POST", "-H", header)
        assert (status, json.loads(body)) == (200, {"JoinToken": "SWMTKN-1"})
        form = ("-d", "stage=joined", "-d", "uptime_s=12.5", "-d", "init_s=3")
        assert net.curl(blade1, "/v1/stage", "-H", header, *form)[0] == 200
        assert net.curl(blade1, "/v1/join", "-X", "POST", "-H", header)[0] == 403
        assert net.curl(blade1, "/labos/oem.cpio.gz")[0] == 404
        assert net.curl(blade1, "/v1/leave", "-X", "POST", "-H", header)[0] == 200
        assert net.curl(blade1, "/v1/left", "-X", "POST", "-H", header)[0] == 200
        assert net.curl(blade1, "/v1/stage", "-H", "X-Labkit-Ticket: 00", "-d", "stage=os")[0] == 403
    finally:
        desk.stop()
    asked = [request["verb"] for request in desk.asked]
    assert asked[0] == "join"
    assert {"joined", "leave", "left", "refused"} <= set(asked)
    [phoned] = net.told(Phoned, blade="blade1", boot=boot)
    assert (phoned.stage, phoned.uptime_s, phoned.init_s, phoned.ignition_s) == ("joined", 12.5, 3.0, -1.0)
    assert [event.state for event in net.told(Ticket, boot=boot)] == ["redeemed", "refused", "refused"]


def test_killed_and_started_again_it_goes_on(net: Net, blade1: str) -> None:
    net.pxe(blade1)
    boot = rpc.call(net.state.bootd, "power_on", blade="blade1")["boot"]
    before = net.curl(blade1, "/labos/oem.cpio.gz", "-o", str(net.folder / "before"))
    net.stop(signal.SIGKILL)
    net.start()
    assert rpc.call(net.state.bootd, "boots")["boots"]["blade1"]["id"] == boot
    assert net.curl(blade1, "/labos/oem.cpio.gz", "-o", str(net.folder / "after")) == before
    assert (net.folder / "after").read_bytes() == (net.folder / "before").read_bytes()
    book = (net.state.path / "boots.json").read_text() + (net.state.path / "leases.json").read_text()
    assert ticket(net.state.key("tickets"), "blade1", boot).reveal() not in book


def test_sigterm_ends_it_cleanly(net: Net) -> None:
    assert net.stop() == 0
    net.start()

"""Real packets between network namespaces: the DHCP, TFTP and HTTP clients that people and distributions use."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.events import BootStarted, Dhcp, Held, Phoned, Ticket, Transfer, UnknownMachine
from labkit.lab.lab_yaml import adopt, rewrite
from labkit.lab.process import rpc
from labkit.netboot.boots import ticket
from labkit.workbook import adoption
from tests.rig.dhcp import PXE_BIOS
from tests.rig.firmware import Firmware
from tests.rig.net import BLADE1, BLADE2, STRANGER, Desk, Net, run, wait_until

pytestmark = pytest.mark.netns
NEWCOMER = "00:00:5e:00:53:77"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with Net(tmp_path_factory.mktemp("netns")) as net:
        net.start()
        yield net


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
    assert unknown.adopt == f"./lab adopt {STRANGER}"
    net.inside(space, "ip", "address", "add", "10.77.0.99/24", "dev", "eth0")
    assert net.curl(space, "/labos/oem.cpio.gz")[0] == 404
    assert net.curl(space, "/healthz") == (200, "ok\n")


def test_a_machine_is_adopted_and_forgotten_while_the_server_runs(net: Net) -> None:
    """It gets its address and its files from the process that had nothing for it, and nothing again afterwards."""
    assert net.process is not None
    space, pid = net.plug("x2", NEWCOMER), net.process.pid
    with pytest.raises(AssertionError, match="no lease"):
        net.pxe(space)
    heard = adoption.look(net.folder / "lab.yaml", net.state)
    taken = adoption.take_in(heard, [heard.cards(NEWCOMER)], net.state)
    assert (taken.added, taken.is_known) == (("blade3",), True)
    told = net.pxe(space)
    assert (told["ip"], told["hostname"], told["boot_file"]) == ("10.77.0.13", "blade3", "pxelinux.0")
    assert net.curl(space, "/labos/vmlinuz", "-o", "/dev/null")[0] == 200
    [boot] = net.told(BootStarted, blade="blade3")
    assert rpc.call(net.state.bootd, "boots")["boots"]["blade3"]["id"] == boot.boot
    file = rewrite.open_lab(net.folder / "lab.yaml")
    assert adoption.write(file, adopt.forget(file.source, "blade3"), net.state).is_known
    assert net.curl(space, "/labos/vmlinuz")[0] == 404
    with pytest.raises(AssertionError, match="no lease"):
        net.pxe(space)
    assert "blade3" not in rpc.call(net.state.bootd, "boots")["boots"]
    assert net.process.pid == pid and net.process.poll() is None


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


@pytest.mark.skipif(not Path("/lib/systemd/systemd-networkd").exists(), reason="systemd-networkd is not installed")
def test_systemd_networkd(net: Net) -> None:
    """It has a client id made from its machine id, not from its card: the lease is the card's all the same."""
    lease = net.networkd(net.plug("b3", BLADE2))
    assert (lease["ADDRESS"], lease["SERVER_ADDRESS"], lease["ROUTER"]) == ("10.77.0.12", "10.77.0.1", "10.77.0.1")
    assert lease["HOSTNAME"] == "blade2"
    assert lease["CLIENTID"].startswith("ff")
    assert net.told(Dhcp, blade="blade2", message="REQUEST", reply="ACK", client="os")


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


def test_only_the_labs_interface_is_listened_on(net: Net) -> None:
    """A machine on another card of the server knows the way to its address, and is not heard."""
    other = net._space("o")
    run("ip", "link", "add", "po", "netns", net.server, "type", "veth", "peer", "name", "eth0", "netns", other)
    net.inside(other, "ip", "link", "set", "eth0", "address", BLADE2, "up")
    net.inside(other, "ip", "address", "add", "10.78.0.2/24", "dev", "eth0")
    net.inside(other, "ip", "route", "add", "10.77.0.1", "via", "10.78.0.1")
    net.inside(net.server, "ip", "address", "add", "10.78.0.1/24", "dev", "po")
    net.inside(net.server, "ip", "link", "set", "po", "up")
    before = len(net.told(Dhcp))
    with net.socket(other) as sock:
        assert Firmware(sock, BLADE2, PXE_BIOS).discover(0.5) == {}
        sock.sendto(b"\0\1pxelinux.0\0octet\0", ("10.77.0.1", 69))
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(2000)
    assert net.curl(other, "/labos/vmlinuz")[0] == 404
    assert len(net.told(Dhcp)) == before


PATH_TRICKS = [
    b"/../etc/passwd", b"../etc/passwd", b"/%2e%2e/etc/passwd", b"/..%2fetc/passwd", b"/%2e%2e%2fetc%2fpasswd",
    b"/..\\..\\etc\\passwd", b"/..%5c..%5cetc%5cpasswd", b"/%252e%252e/etc/passwd", b"/....//etc/passwd",
    b"/labos/../../etc/passwd", b"/labos/vmlinuz/../../../etc/passwd", b"/labos/../pxelinux.0/..", b"/.", b"/",
    b"/etc/passwd", b"//etc/passwd", b"/%2fetc/passwd", b"http://10.77.0.1/../etc/passwd", b"file:///etc/passwd",
    b"/labos/vmlinuz%00.txt", b"/labos/vmlinuz%0a", b"/labos/vmlinuz%20", b"/LABOS/VMLINUZ", b"/~root", b"/C:\\menu",
    b"/%c0%ae%c0%ae/etc/passwd", b"/%uff0e%uff0e/etc/passwd", b"/\xe2\x80\xa4\xe2\x80\xa4/etc/passwd", b"/$(id)",
    b"/" + b"a/" * 4000,
]  # fmt: skip


def test_thirty_path_tricks_over_http_are_refused(net: Net, blade1: str) -> None:
    """From a blade that is booting, and so may fetch what it may fetch."""
    assert len(PATH_TRICKS) == 30
    assert net.curl(blade1, "/labos/vmlinuz")[0] == 200
    for trick in PATH_TRICKS:
        with net.socket(blade1, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(("10.77.0.1", 80))
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: 10.77.0.1\r\nConnection: close\r\n\r\n" % trick)
            status = sock.recv(200).split()[1]
        assert status in (b"400", b"404", b"414"), (trick, status)
    assert net.curl(blade1, "/healthz") == (200, "ok\n")


def test_a_blade_phones_home(net: Net, blade1: str) -> None:
    boot = rpc.call(net.state.bootd, "power_on", blade="blade1")["boot"]
    header = f"X-Labkit-Ticket: {ticket(net.state.key('tickets'), 'blade1', boot).reveal()}"
    status, _ = net.curl(blade1, "/v1/join", "-X", "POST", "-H", header)
    assert status == 503  # nobody at the desk
    desk = Desk(net.state.swarmd)
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
        desk.close()
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


def test_a_blade_is_held_and_let_go_over_a_restart_too(net: Net, blade1: str) -> None:
    net.pxe(blade1)
    rpc.call(net.state.bootd, "power_on", blade="blade1")
    assert rpc.call(net.state.bootd, "hold", blade="blade1", why="it boots again and again")["held"]
    assert "blade1 is held: it boots again and again" in net.curl(blade1, "/boot.ipxe")[1]
    assert net.curl(blade1, "/labos/vmlinuz")[0] == 404
    net.stop()
    net.start()
    assert "is held" in net.curl(blade1, "/boot.msg")[1]
    wait_until(lambda: [event.state for event in net.told(Held, blade="blade1")] == ["held", "held"], 20)
    assert rpc.call(net.state.bootd, "release", blade="blade1")["held"]
    assert not rpc.call(net.state.bootd, "release", blade="blade1")["held"]
    assert net.curl(blade1, "/labos/vmlinuz")[0] == 200
    wait_until(lambda: [event.state for event in net.told(Held, blade="blade1")][2:] == ["released"], 20)


def test_what_a_boot_brings_is_told_before_it_and_kept_after_it(net: Net, blade1: str) -> None:
    told = rpc.call(net.state.bootd, "versions")
    assert told["wrong"] == {} and "blade1" in told["versions"]
    rpc.call(net.state.bootd, "power_on", blade="blade1")
    assert rpc.call(net.state.bootd, "boots")["boots"]["blade1"]["version"] == told["versions"]["blade1"]
    assert len(told["versions"]["blade1"]) == 16


def test_sigterm_ends_it_cleanly(net: Net) -> None:
    assert net.stop() == 0
    net.start()

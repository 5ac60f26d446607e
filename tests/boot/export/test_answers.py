"""The programs themselves: what is exported to them is right in their own eyes, and they answer as labkit does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from labkit.boot.export import Wanted, dnsmasq, isc_dhcp, kea, nginx
from labkit.lab import Lab
from labkit.netboot.dhcp import Message, Option, Packet
from labkit.netboot.dhcp.full_server import LEASE_S
from tests.boot.export.labs import BEYOND, lab, wanted
from tests.rig.dhcp import HTTP_EFI, IPXE, IPXE_EFI, PXE_BIOS, PXE_EFI, answer, request
from tests.rig.firmware import Firmware
from tests.rig.net import STRANGER, Net, wait_until
from tests.rig.unpacked import unpacked

MACS = ("52:54:00:4d:00:01", "52:54:00:4d:00:02", "52:54:00:4d:00:03")
CLIENTS = {"BIOS": PXE_BIOS, "UEFI": PXE_EFI, "HTTP": HTTP_EFI, "iPXE": IPXE, "iPXE on UEFI": IPXE_EFI, "system": {}}
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""What nginx has a folder for (its ``…_temp_path``)."""
ASKED = (1, 3, 6, 12, 15, 28, 42, 43, 60, 66, 67, 119, 175)
"""What a client asks for (option 55), and what is compared."""
needs_dnsmasq = pytest.mark.skipif(
    not shutil.which("dnsmasq"), reason="not installed: dnsmasq; ./lab setup installs it"
)


@needs_dnsmasq
@pytest.mark.parametrize("network", [BEYOND, "pool: [10.77.0.100, 10.77.0.110], router: none", "dhcp: proxy"])
def test_dnsmasq_takes_its_file(tmp_path: Path, network: str) -> None:
    file = tmp_path / dnsmasq.FILE
    file.write_text(dnsmasq.render(wanted(network, '/srv/a b,c #"d\\e')))
    done = subprocess.run(["dnsmasq", "--test", f"--conf-file={file}"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "dnsmasq: syntax check OK.\n")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as net:
        yield net


def start(net: Net, words: Sequence[str], env: dict[str, str], ready: str) -> None:
    """Start a server on the bridge; it is there once it says so."""
    log = net.folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(["ip", "netns", "exec", net.server, *words], stdout=out, stderr=out, env=env)
    net.others.append(server)
    wait_until(lambda: ready in log.read_text() or server.poll() is not None)
    assert server.poll() is None, log.read_text()


def check(net: Net, words: Sequence[str], env: dict[str, str]) -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", net.server, *words], capture_output=True, text=True, timeout=60, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr


def start_dnsmasq(net: Net, made: Lab) -> None:
    file = net.folder / "dnsmasq.conf"
    file.write_text(dnsmasq.render(Wanted(made, str(net.images), LEASE_S)))
    own = [f"--dhcp-leasefile={net.folder}/leases", f"--pid-file={net.folder}/pid", "--user=root", "--log-facility=-"]
    start(net, ["dnsmasq", "--keep-in-foreground", f"--conf-file={file}", *own], dict(os.environ), "TFTP root")


def start_dhcpd(net: Net, made: Lab) -> None:
    program, env = unpacked("dhcpd", "isc-dhcp-server", net.folder)
    file, leases = net.folder / "dhcpd.conf", net.folder / "leases"
    file.write_text(isc_dhcp.render(Wanted(made, '/srv/a "b\\c', LEASE_S)))
    leases.touch()
    check(net, [program, "-t", "-4", "-cf", str(file), "-lf", str(leases)], env)
    words = [program, "-4", "-f", "-d", "-cf", str(file), "-lf", str(leases), "-pf", f"{net.folder}/pid", "br0"]
    start(net, words, env, "Server starting service")


def start_kea(net: Net, made: Lab) -> None:
    program, env = unpacked("kea-dhcp4", "kea-dhcp4-server", net.folder)
    env |= {"KEA_PIDFILE_DIR": str(net.folder), "KEA_LOCKFILE_DIR": str(net.folder)}
    file = net.folder / "kea.conf"
    text = kea.render(Wanted(made, '/srv/a "b\\c', LEASE_S))
    file.write_text(text.replace('"persist": true', '"persist": false'))  # its file lies in a folder of its package
    check(net, [program, "-t", str(file)], env)
    start(net, [program, "-c", str(file)], env, "DHCP4_STARTED")


def shown(packet: Packet, blade: str = "") -> dict[str, object]:
    """What a reply tells: with ``blade``, labkit's own, whose files have no folder."""
    file = (packet.options.get(Option.BOOT_FILE) or packet.file).rstrip(b"\0").decode()
    file = f"{blade}/{file}" if blade and file and "://" not in file else file
    told = {code: packet.options[code] for code in ASKED if code in packet.options and code not in (66, 67)}
    told |= {code: told[code].rstrip(b"\xff") for code in (43, 175) if code in told}  # an end that may be left out
    return {"address": packet.yiaddr, "file": file, "server": packet.siaddr if file else None, "told": told}


@pytest.mark.netns
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(start_dnsmasq, marks=needs_dnsmasq),
        pytest.param(start_dhcpd, marks=pytest.mark.soak),
        pytest.param(start_kea, marks=pytest.mark.soak),
    ],
)
def test_they_answer_as_labkit_does(net: Net, run: Callable[[Net, Lab], None]) -> None:
    made = lab()
    space = net.plug("b", MACS[0])
    wait_until(lambda: "LOWER_UP" in net.inside(net.server, "ip", "link", "show", "br0"))  # Kea opens no other card
    run(net, made)
    for mac in MACS:
        net.inside(space, "ip", "link", "set", "eth0", "address", mac)
        for name, options in CLIENTS.items():
            if (name, mac) == ("HTTP", MACS[1]):
                continue  # boot: pxelinux has no file for it
            own = {**options, Option.PARAMETERS: bytes(ASKED), Option.CLIENT_UUID: bytes(17)}
            with net.socket(space) as sock:
                offer = Firmware(sock, mac, own).discover(5, 1)["10.77.0.1"]
            [ours] = answer(request(Message.DISCOVER, mac, own), made).replies
            blade = made.blade_with_mac(mac)
            assert blade is not None
            assert shown(offer) == shown(ours.packet, blade.name), (name, mac)
    net.inside(space, "ip", "link", "set", "eth0", "address", STRANGER)
    with net.socket(space) as sock:
        assert not Firmware(sock, STRANGER, PXE_BIOS).discover(0.5, 1)


@pytest.mark.netns
@needs_dnsmasq
def test_dnsmasq_beside_a_router_names_the_boot_files(net: Net) -> None:
    start_dnsmasq(net, lab("dhcp: proxy"))
    space = net.plug("b", MACS[0])
    net.inside(space, "ip", "address", "add", "10.77.0.11/24", "dev", "eth0")
    item = {Option.VENDOR: b"\x47\4\x80\0\0\0\xff"}  # the one of its menu (PXE 2.1, table 2-1)
    for options, file in ((PXE_BIOS | item, b"blade1/undionly.kpxe"), (PXE_EFI, b"blade1/snponly.efi")):
        own = {**options, Option.CLIENT_UUID: bytes(17)}
        with net.socket(space) as sock:
            client = Firmware(sock, MACS[0], own)
            offer = client.discover(5, 1)["10.77.0.1"]
            assert offer.options[Option.VENDOR_CLASS] == b"PXEClient" and int(offer.yiaddr) == 0
            named = client.ask_boot_service("10.77.0.1", lab().blades[0].address)
        assert named.file == file
    with net.socket(space) as sock:
        offer = Firmware(sock, MACS[0], {**IPXE, Option.CLIENT_UUID: bytes(17)}).discover(5, 1)["10.77.0.1"]
    assert offer.file == b"http://10.77.0.1/boot.ipxe"


@pytest.mark.netns
@pytest.mark.soak
def test_nginx_gives_each_blade_its_own(net: Net) -> None:
    program, env = unpacked("nginx", "nginx", net.folder)
    files = net.folder / 'my "files'
    for blade in ("blade1", "blade2"):
        (files / blade).mkdir(parents=True)
        (files / blade / "boot.ipxe").write_text(blade)
    (net.folder / nginx.FILE).write_text(nginx.render(wanted(files=str(files))))
    temporary = "".join(f"{name}_temp_path {net.folder}/{name};" for name in TEMPORARY)
    whole = f"daemon off; user root; pid {net.folder}/pid; error_log stderr notice; events {{}}"
    (net.folder / "whole").write_text(
        f"{whole} http {{ access_log off; {temporary} include {net.folder}/{nginx.FILE}; }}"
    )
    check(net, [program, "-t", "-c", f"{net.folder}/whole"], env)
    start(net, [program, "-c", f"{net.folder}/whole"], env, "start worker process ")
    for number, (status, body) in {11: (200, "blade1"), 12: (200, "blade2"), 99: (404, "")}.items():
        space = net.plug(f"h{number}", f"52:54:00:4d:09:{number}")
        net.inside(space, "ip", "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        found, text = net.curl(space, "/boot.ipxe")
        assert (found, text if found == 200 else "") == (status, body)
        assert net.curl(space, "/../blade1/boot.ipxe", "--path-as-is")[0] in (400, 404)

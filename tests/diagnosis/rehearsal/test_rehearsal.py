"""The pure parts of a rehearsal: what firmwares say, what loaders read, what a kernel would take, and the verdict."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import events
from labkit.boot import BootSecrets, Rendered, plan, resources
from labkit.boot.artifacts import cpio
from labkit.cli.commands import main
from labkit.diagnosis.rehearsal.outcome import compared, explained, recorded, verdict
from labkit.events import BootStarted, Dhcp, Event, Transfer
from labkit.lab import BootMethod, ChassisKind, FirmwareKind, Flavour, lab_yaml
from labkit.lab.secret import Secret
from labkit.netboot import dhcp
from labkit.netboot.boot_client import transport
from labkit.netboot.boot_client.checks import (
    CONFIG,
    BrokenFile,
    Home,
    check_archive,
    check_config,
    check_kernel,
    home_of,
    zstd_needed,
)
from labkit.netboot.boot_client.firmware import FIRMWARES, default_firmware, discover, release, request, second_stage
from labkit.netboot.boot_client.scripts import Next, ScriptError, config_names, read_grub, read_ipxe, read_pxelinux
from labkit.netboot.boot_client.walkthrough import Attempt, Task, Walk
from labkit.netboot.dhcp import Message, Option, Packet, identity
from tests.boot.artifacts.test_golden_systems import RELEASES

MAC = "52:54:00:4d:00:01"
LAB = lab_yaml.parse(
    "name: lab\nblades:\n  - {name: blade1, boot: pxelinux}\n  - {name: blade2, boot: lpxelinux}\n"
    "  - {name: blade3, boot: ipxe}\n",
    Path("lab.yaml"),
)


# --- what firmwares say ---


@pytest.mark.parametrize(
    ("name", "client", "firmware"),
    [("bios", "pxe", "bios"), ("ipxe", "ipxe", "bios"), ("uefi", "pxe", "efi-x64"), ("http", "http", "efi-x64")],
)
def test_the_server_knows_each_firmware(name: str, client: str, firmware: str) -> None:
    asked = dhcp.decode(dhcp.encode(discover(FIRMWARES[name], MAC, 7)))
    assert (asked.mac, asked.xid, asked.message) == (MAC, 7, Message.DISCOVER)
    assert (identity.client_of(asked), identity.firmware_of(asked)) == (client, firmware)


def test_request_and_release() -> None:
    offer = Packet(
        op=2, xid=9, chaddr=bytes(6), yiaddr=IPv4Address("10.77.0.11"),
        options={Option.SERVER_ID: IPv4Address("10.77.0.1").packed},
    )  # fmt: skip
    asked = request(FIRMWARES["bios"], MAC, offer)
    assert asked.address(Option.REQUESTED_ADDRESS) == offer.yiaddr and asked.xid == 9
    given_back = release(MAC, offer, 1)
    assert (given_back.ciaddr, given_back.message) == (offer.yiaddr, Message.RELEASE)
    assert given_back.address(Option.SERVER_ID) == IPv4Address("10.77.0.1")


def test_the_second_stage_is_ipxe_on_the_same_machine() -> None:
    asked = discover(second_stage(FIRMWARES["uefi"]), MAC, 1)
    assert (identity.client_of(asked), identity.firmware_of(asked)) == ("ipxe", "efi-x64")


def test_which_offer_is_taken() -> None:
    def offer(address: str, file: str) -> Packet:
        return Packet(op=2, xid=1, chaddr=bytes(6), yiaddr=IPv4Address(address), file=file.encode())

    proxy, plain, booting = offer("0.0.0.0", "x.0"), offer("10.0.0.1", ""), offer("10.0.0.2", "y.0")
    assert transport.choose((proxy, plain, booting)) is booting
    assert transport.choose((proxy, plain)) is plain
    assert transport.choose((proxy,)) is None
    assert transport.next_server(
        Packet(op=2, xid=1, chaddr=b"", options={Option.SERVER_NAME: b"10.0.0.9\0"})
    ) == IPv4Address("10.0.0.9")


# --- what loaders read ---


@pytest.mark.parametrize(("blade", "root"), [("blade1", ""), ("blade2", "http://10.77.0.1/")])
def test_our_own_configuration_is_understood(blade: str, root: str) -> None:
    which = LAB.blade(blade)
    made = plan(LAB, which, "b1", BootSecrets(Secret("t")))
    menu = resources(LAB, which, made)["pxelinux.cfg/default"]
    assert isinstance(menu, Rendered)
    asked = read_pxelinux(menu.content.decode())
    assert asked == Next(root + made.kernel, tuple(root + path for path in made.initrds), display="boot.msg")


def test_a_boot_goes_on_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PXELINUX does; a rehearsal says so all the same."""

    def fetch(path: str, *_: object) -> transport.Got:
        if path.endswith(".msg"):
            raise transport.Failed(f"tftp {path}: the server has no such file")
        text = "default a\ndisplay hello.msg\nlabel a\nkernel k\n" if "pxelinux.cfg" in path else "x"
        return transport.Got(text.encode(), "tftp", path, 0.0)

    monkeypatch.setattr(transport, "fetch", fetch)
    walked = Walk(Task(MAC, "bios", "10.77.0.1"), lambda address, router: None)._run(FIRMWARES["bios"], "b/pxelinux.0")
    steps = list(walked)
    assert [step.path for step in steps[:3]] == [
        "b/pxelinux.0", "b/ldlinux.c32", "b/pxelinux.cfg/01-52-54-00-4d-00-01",
    ]  # fmt: skip
    assert steps[3].what == "no text to show: b/hello.msg" and "no such file" in steps[3].warning and len(steps) == 4


def test_our_own_script_is_understood() -> None:
    blade = LAB.blade("blade3")
    made = plan(LAB, blade, "b1", BootSecrets(Secret("t")))
    script = resources(LAB, blade, made)["boot.ipxe"]
    assert isinstance(script, Rendered)
    asked = read_ipxe(script.content.decode(), "http://10.77.0.1/boot.ipxe")
    root = "http://10.77.0.1/"
    assert asked == Next(root + made.kernel, tuple(root + path for path in made.initrds))


def test_shim_goes_on_to_grub_and_to_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    blade = replace(LAB.blades[0], boot=BootMethod.GRUB)
    made = plan(LAB, blade, "b1", BootSecrets(Secret("t")))
    script = resources(LAB, blade, made)["grub/grub.cfg"]
    assert isinstance(script, Rendered)

    def fetch(path: str, *_: object) -> transport.Got:
        return transport.Got(script.content if path.endswith(".cfg") else b"x", "tftp", path, 0.0)

    monkeypatch.setattr(transport, "fetch", fetch)

    def walked() -> Iterator[Attempt]:
        following = yield from Walk(Task(MAC, "uefi", "10.77.0.1"), lambda address, router: None)._run(
            FIRMWARES["uefi"], "b/shimx64.efi"
        )
        assert following == Next(made.kernel, made.initrds)

    steps = list(walked())
    assert [(step.step, step.path) for step in steps] == [
        ("loader", "b/shimx64.efi"), ("loader", "b/grubx64.efi"), ("config", "b/grub/grub.cfg"),
    ]  # fmt: skip
    assert steps[-1].what == "asks for labos/vmlinuz and 2 initrds"


def test_other_peoples_scripts() -> None:
    text = (
        "#!ipxe\nset base-url boot\nkernel --name k ${base-url}/vmlinuz quiet || shell\ninitrd /i.img\nboot\nchain no\n"
    )
    assert read_ipxe(text, "http://h/x/menu.ipxe") == Next("http://h/x/boot/vmlinuz", ("http://h/i.img",))
    assert read_ipxe("#!ipxe\nchain --autofree tftp://h/next.ipxe\n") == Next(chain="tftp://h/next.ipxe")
    for wrong in ("kernel x", "#!ipxe\nexit 1\nkernel x\n"):
        with pytest.raises(ScriptError):
            read_ipxe(wrong)
    entry = "menuentry 'a' {\n\tlinux (tftp)/boot/linux 'a b' quiet\n\tinitrd /one /two\n}\n"
    assert read_grub(entry) == Next("boot/linux", ("one", "two"))
    assert read_grub("linux /memtest\nboot\n") == Next("memtest")
    for wrong in ("echo no\n", "initrd /one\n", "linux 'open\n"):
        with pytest.raises(ScriptError):
            read_grub(wrong)
    menu = "DEFAULT b\nLABEL a\n KERNEL one\nLABEL b\n LINUX two\n APPEND initrd=x,y quiet\n"
    assert read_pxelinux(menu) == Next("two", ("x", "y"))
    with pytest.raises(ScriptError, match="no entry with a kernel"):
        read_pxelinux("default a\nlabel a\n  localboot 0\n")


def test_where_pxelinux_looks() -> None:
    names = config_names(MAC, IPv4Address("10.77.0.11"), "boot/")
    assert names[:3] == [f"boot/pxelinux.cfg/{name}" for name in ("01-52-54-00-4d-00-01", "0A4D000B", "0A4D000")]
    assert len(names) == 10 and names[-1] == "boot/pxelinux.cfg/default"


@given(st.text())
def test_no_text_ends_a_walk(text: str) -> None:
    for read in (read_pxelinux, read_ipxe, read_grub):
        try:
            assert read(text).kernel or read(text).chain
        except ScriptError:
            pass


# --- what a kernel would take ---


def test_archives() -> None:
    plain = cpio.pack({"init": b"x", "etc/motd": b"y"})
    assert check_archive(plain) == "an archive of 3 entries"
    assert check_archive(gzip.compress(plain)) == "a compressed archive of 3 entries"
    assert check_archive(lzma.compress(plain)) == "a compressed archive of 3 entries"
    assert zstd_needed(b"\x28\xb5\x2f\xfd....") and not zstd_needed(plain)


def test_a_blades_own_archive_is_told_without_its_secrets() -> None:
    secret = "X-Labkit-Ticket: 0123456789abcdef"
    config = {
        "ignition": {"version": "3.3.0"},
        "storage": {"files": [{"path": "/t", "contents": {"source": f"data:,{secret}"}}]},
    }
    words = check_archive(cpio.pack_gz({CONFIG: json.dumps(config).encode()}))
    assert words.endswith("with an Ignition 3.3.0 config (1 file, 0 units)")
    assert "0123456789abcdef" not in words and "/t" not in words


@pytest.mark.parametrize("boots", RELEASES)
def test_where_a_blade_speaks_is_in_its_own_archive(boots: str) -> None:
    blade = replace(LAB.blades[0], os=Flavour(boots))
    sealed = replace(LAB, network=replace(LAB.network, tls=True))
    for lab, root, ca in ((LAB, "http://10.77.0.1", ""), (sealed, "https://10.77.0.1", "PEM %\n")):
        made = plan(lab, blade, "b1", BootSecrets(Secret("t")), ca="PEM %\n", release=RELEASES[boots])
        shelf = resources(lab, blade, made)[made.initrds[-1]]
        assert isinstance(shelf, Rendered)
        assert home_of(shelf.content) == Home(root, ca)
    for archive in (cpio.pack({"init": b"x"}), cpio.pack_gz({CONFIG: b'{"storage": null}'}), b"\x28\xb5\x2f\xfd"):
        assert home_of(archive) is None


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"ignition": 3}'])
def test_what_is_no_config(data: bytes) -> None:
    with pytest.raises(BrokenFile):
        check_config(data)


@given(st.binary(max_size=700))
def test_no_bytes_end_a_check(data: bytes) -> None:
    for check in (check_kernel, check_archive):
        try:
            assert check(data)
        except BrokenFile as error:
            assert str(error)


# --- the verdict ---


LINES: list[dict[str, Any]] = [
    {"step": "dhcp", "what": "as bios: 10.77.0.11", "seconds": 0.7, "warning": "10.0.0.9 answers DHCP here too"},
    {"step": "kernel", "what": "Linux 6.1", "seconds": 0.1, "protocol": "tftp", "path": "labos/vmlinuz", "size_b": 5,
     "sha256": "5a"},
    {"ok": True, "what": "", "fix": ""},
]  # fmt: skip


def test_a_rehearsal_in_words() -> None:
    tried = verdict("blade1", "bios", LINES)
    assert tried.ok and tried.warnings == ("10.0.0.9 answers DHCP here too",)
    assert str(tried).splitlines() == [
        "blade1 would boot: with bios firmware, by packets alone, in 0.8 s",
        "  dhcp      0.700 s  as bios: 10.77.0.11",
        "  kernel    0.100 s  tftp labos/vmlinuz, 5 B: Linux 6.1",
        "  warning: 10.0.0.9 answers DHCP here too",
    ]
    failed = verdict("blade1", "bios", [{"ok": False, "what": "nobody answered", "fix": "./lab up"}])
    assert str(failed) == "blade1 would not boot: nobody answered\n  fix: ./lab up"
    assert json.loads(json.dumps(tried.as_json()))["steps"][1]["path"] == "labos/vmlinuz"


def test_the_servers_side_is_told_too() -> None:
    failed = verdict("blade1", "bios", [{"ok": False, "what": "tftp x: File not found", "fix": ""}])
    missing = Transfer(
        blade="blade1", boot=events.REHEARSAL, protocol="tftp", path="x", state="missing", reason="no image"
    )
    assert explained(failed, [missing]).what == "tftp x: File not found; the server says: no image"
    for event in (replace(missing, boot="b1"), replace(missing, blade="blade2"), replace(missing, reason="")):
        assert explained(failed, [event]) == failed
    whole = verdict("blade1", "bios", LINES)
    assert explained(whole, [missing]) == whole


def test_files_are_compared_with_those_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"12345")
    tried = verdict("blade1", "bios", LINES)
    assert compared(tried, {"labos/vmlinuz": path}, {"labos/vmlinuz": "5a"}).steps[1].what == "Linux 6.1, as built"
    for digests, content in (({"labos/vmlinuz": "5b"}, b"12345"), ({"labos/vmlinuz": "5a"}, b"123456"), ({}, b"abcde")):
        path.write_bytes(content)
        wrong = compared(tried, {"labos/vmlinuz": path}, digests)
        assert not wrong.ok and "is not the file on disk" in wrong.what and wrong.fix
    assert compared(tried, {}, {}) == tried


def test_a_blade_that_is_on_is_told_from_its_record() -> None:
    stream: list[Event] = [
        BootStarted(blade="blade1", boot="old", time=1, cause="power"),
        Transfer(blade="blade1", boot="old", time=2, protocol="http", path="gone", state="done", sent_b=1),
        BootStarted(blade="blade1", boot="b1", time=10, cause="power"),
        Dhcp(blade="blade1", boot="b1", time=11, mac=MAC, message="DISCOVER", reply="OFFER", client="ipxe"),
        Dhcp(blade="blade1", boot="b1", time=11, mac=MAC, message="REQUEST", reply="ACK", client="ipxe",
             address="10.77.0.11", file="boot.ipxe"),
        Transfer(blade="blade1", boot=events.REHEARSAL, time=12, protocol="http", path="x", state="done", sent_b=1),
        Transfer(blade="blade1", boot="b1", time=12, protocol="http", path="labos/vmlinuz", state="done", sent_b=9,
                 seconds=0.5),
        Transfer(blade="blade2", boot="b2", time=12, protocol="http", path="y", state="done", sent_b=1),
    ]  # fmt: skip
    tried = recorded(stream, "blade1", "ipxe")
    assert tried.ok and tried.recorded
    assert tried.steps == (
        Attempt("dhcp", "as ipxe: 10.77.0.11, boot file boot.ipxe"),
        Attempt("kernel", "", 0.5, "http", "labos/vmlinuz", 9),
    )
    assert str(tried).startswith("blade1 is on, so nothing was rehearsed; its boot fetched:")
    assert str(recorded([], "blade1", "ipxe")).endswith("there is no record of what its boot fetched")


def test_each_blade_has_its_own_firmware() -> None:
    blade = LAB.blades[0]
    said = [default_firmware(LAB, replace(blade, firmware=kind)) for kind in FirmwareKind]
    assert said == ["ipxe", "uefi", "http", "uefi"]
    real = replace(LAB, chassis=replace(LAB.chassis, kind=ChassisKind.IPMI))
    said = [default_firmware(real, replace(blade, firmware=kind)) for kind in FirmwareKind]
    assert said == ["bios", "uefi", "http", "uefi"]


def test_without_a_lab_there_is_no_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.yaml").write_text("name: lab\nblades: [{name: blade1}]\n")
    assert main(["--lab", str(tmp_path / "lab.yaml"), "rehearse", "blade1"]) == 1
    assert "./lab up" in capsys.readouterr().err

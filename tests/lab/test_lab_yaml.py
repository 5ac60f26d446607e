"""lab.yaml: what it means, and what is said about each mistake in it."""

from __future__ import annotations

import base64
import os
import pwd
import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import LabFileError
from labkit.lab import (
    BootMethod,
    ChassisKind,
    FirmwareKind,
    Flavour,
    Hardware,
    Lab,
    NetworkKind,
    Role,
    SwarmRules,
    lab_yaml,
)
from labkit.lab.lab_yaml import TOP, blades, network, swarm
from labkit.lab.lab_yaml.storage import STORAGE

ROOT = Path(__file__).resolve().parents[2]


def public_key(kind: str = "ssh-ed25519", comment: str = "you@home") -> str:
    blob = len(kind).to_bytes(4) + kind.encode() + (32).to_bytes(4) + bytes(range(32))
    return f"{kind} {base64.b64encode(blob).decode()} {comment}"


def real(extra: str = "") -> str:
    """A lab of real blades: the least it has to say, on lines 1 to 12."""
    return f"""\
network:
  kind: interface
  interface: eth1
  subnet: 10.0.40.0/24
  server: 10.0.40.2
bmc:
  password_file: secret
blades:
  - name: red1
    macs: [00:00:5e:00:53:10]
    bmc:
      address: 10.0.40.201
{extra}"""


def read(text: str) -> Lab:
    return lab_yaml.parse(text, Path("lab.yaml"))


def mistakes(text: str | bytes, tmp_path: Path) -> list[tuple[int, int, str, str]]:
    path = tmp_path / "lab.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LabFileError) as caught:
        lab_yaml.load(path)
    assert all(mistake.fix for mistake in caught.value.mistakes)
    return [(m.line, m.column, m.what, m.fix) for m in caught.value.mistakes]


# --- what it means ---------------------------------------------------------------------------------------------------


def test_the_shipped_lab_is_three_virtual_blades() -> None:
    lab = lab_yaml.load(ROOT / "lab.yaml")
    assert lab.network.kind is NetworkKind.VIRTUAL
    assert [(blade.name, blade.slot, blade.role) for blade in lab.blades] == [
        ("blade1", 1, Role.WORKER), ("blade2", 2, Role.WORKER), ("blade3", 3, Role.WORKER),
    ]  # fmt: skip
    assert lab.chassis.slots == 3


def test_https_is_where_blades_speak_when_the_lab_has_it() -> None:
    assert read(LAB).network.home_root == "http://10.77.0.1"
    assert read(LAB + "network: {tls: on}\n").network.home_root == "https://10.77.0.1"
    network = read(LAB + "network: {tls: true, https_port: 8443, http_port: 8080}\n").network
    assert (network.http_root, network.home_root) == ("http://10.77.0.1:8080", "https://10.77.0.1:8443")


def test_the_example_is_the_red_chassis(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(public_key() + "\n")
    text = (ROOT / "examples/red-chassis.yaml").read_text()
    (tmp_path / "lab.yaml").write_text(text.replace("~/.ssh/id_ed25519.pub", "key.pub"))
    lab = lab_yaml.load(tmp_path / "lab.yaml")
    assert (lab.chassis.kind, lab.chassis.slots, len(lab.blades)) == (ChassisKind.IPMI, 10, 3)
    for blade in lab.blades:
        assert (blade.os, blade.boot, len(blade.macs)) == (Flavour.CONTAINER_LINUX, BootMethod.PXELINUX, 4)
        assert blade.bmc.password_file == tmp_path / "bmc.password"
    assert lab.ssh_keys == (public_key(),)


def test_the_examples_twin_is_virtual_and_of_the_same_hardware() -> None:
    lab = lab_yaml.load(ROOT / "examples/virtual-red-chassis.yaml")
    assert (lab.chassis.kind, lab.chassis.slots) == (ChassisKind.VIRTUAL, 10)
    for blade in lab.blades:
        assert (blade.hardware, blade.boot, len(blade.macs)) == (Hardware.RED, BootMethod.PXELINUX, 4)
        assert (blade.memory_mib, blade.console) == (4096, ("tty0", "ttyS1,115200"))
    assert [blade.plugged for blade in lab.blades] == [(1,), (2,), (1, 3)]
    assert len({mac for blade in lab.blades for mac in blade.macs}) == 12


def test_hardware_says_what_the_file_does_not() -> None:
    text = "hardware: pc\nblades: [{name: a}, {name: b, hardware: red, memory: 3G, firmware: uefi, console: [tty0]}]\n"
    pc, red = read(text).blades
    assert (pc.firmware, pc.memory_mib, pc.console) == (FirmwareKind.UEFI, 2048, ("tty0", "ttyS0,115200"))
    assert (red.firmware, red.memory_mib, red.console) == (FirmwareKind.UEFI, 3072, ("tty0",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blades: [{name: a, plugged: [2]}]", "there is no card 2 to plug in: this blade has 1"),
        ("blades: [{name: a, plugged: []}]", "a blade without any cable reaches nothing"),
        ("blades: [{name: a, plugged: [0]}]", "'0' cannot be a card's number"),
        ("blades: [{name: a, hardware: blue}]", "'blue' is none of virtio, red, pc"),
    ],
)
def test_cables_and_cards_that_are_not_there(text: str, said: str) -> None:
    with pytest.raises(LabFileError, match=said):
        read(text + "\n")


def test_names_are_enough_for_a_virtual_lab() -> None:
    lab = read("blades:\n  - name: a\n  - name: b\n    slot: 7\n  - name: c\n")
    assert lab.network.subnet == IPv4Network("10.77.0.0/24")
    assert (str(lab.network.server), str(lab.network.controller)) == ("10.77.0.1", "10.77.0.2")
    assert [(blade.slot, str(blade.address), blade.bmc.address, blade.macs) for blade in lab.blades] == [
        (1, "10.77.0.11", "10.77.0.201", ("52:54:00:4d:00:01",)),
        (7, "10.77.0.17", "10.77.0.207", ("52:54:00:4d:00:07",)),
        (8, "10.77.0.18", "10.77.0.208", ("52:54:00:4d:00:08",)),
    ]
    assert lab.chassis.slots == 8


def test_a_blade_overrides_what_all_share(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").touch()
    (tmp_path / "one.yaml").touch()
    shared = "role: manager\nos: container-linux\nboot: pxelinux\nmemory: 4G\nconsole: [tty0]\nautologin: no\n"
    own = "role: worker, os: labos, boot: ipxe, memory: 1024, console: [], autologin: on, config: one.yaml"
    shared, own = f"{shared}firmware: uefi\n", f"{own}, firmware: uefi-http"
    text = f"{shared}config: all.yaml\nblades:\n  - name: a\n  - {{name: b, {own}}}\n"
    a, b = lab_yaml.parse(text, tmp_path / "lab.yaml").blades
    assert (a.role, a.os, a.boot, a.memory_mib) == (Role.MANAGER, Flavour.CONTAINER_LINUX, BootMethod.PXELINUX, 4096)
    assert (a.console, a.autologin, a.config) == (("tty0",), False, tmp_path / "all.yaml")
    assert (b.role, b.os, b.boot, b.memory_mib) == (Role.WORKER, Flavour.LABOS, BootMethod.IPXE, 1024)
    assert (a.firmware, b.firmware) == (FirmwareKind.UEFI, FirmwareKind.UEFI_HTTP)
    assert (b.console, b.autologin, b.config) == ((), True, tmp_path / "one.yaml")


def test_a_real_lab_serves_and_controls_from_one_machine() -> None:
    lab = read(real())
    assert lab.network.controller == lab.network.server == IPv4Address("10.0.40.2")
    assert lab.chassis.kind is ChassisKind.IPMI
    assert lab.blades[0].bmc.password_file == Path("secret")
    assert str(lab.blades[0].address) == "10.0.40.11"


def test_beside_a_router_we_are_a_proxy() -> None:
    assert read(real().replace("server:", "dhcp: proxy\n  server:")).network.is_proxy
    assert not read(real()).network.is_proxy


def test_yaml_does_not_guess() -> None:
    """YAML 1.1 reads the first as a number to the base of sixty, and the second as false."""
    lab = read("blades:\n  - name: no\n    macs: [52:54:00:12:34:56, 52-54-00-AB-CD-EF]\n")
    assert (lab.blades[0].name, lab.blades[0].macs) == ("no", ("52:54:00:12:34:56", "52:54:00:ab:cd:ef"))


def test_keys_are_inline_or_in_files_of_several(tmp_path: Path) -> None:
    lines = [public_key(comment=f"key{n}") for n in range(3)]
    (tmp_path / "keys.pub").write_text(f"# mine\n{lines[1]}\n\n{lines[2]}\n")
    text = f"ssh_keys:\n  - {lines[0]}\n  - keys.pub\nblades:\n  - name: a\n"
    assert lab_yaml.parse(text, tmp_path / "lab.yaml").ssh_keys == tuple(lines)


def test_home_is_that_of_the_files_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.yaml").write_text("config: ~/labkit-test/missing.yaml\nblades:\n  - name: a\n")
    monkeypatch.setenv("HOME", "/nowhere")
    [(_, _, what, _)] = mistakes((tmp_path / "lab.yaml").read_bytes(), tmp_path)
    assert what == f"there is no file {pwd.getpwuid(os.getuid()).pw_dir}/labkit-test/missing.yaml"


# --- what is said about mistakes -------------------------------------------------------------------------------------

LAB = "blades:\n  - name: a\n"
TWO = "blades:\n  - name: a\n  - name: b\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "what", "fix"),
    [
        # the YAML itself
        ("", 1, 1, "the file is empty", "list of blades"),
        ("# nothing\n", 1, 1, "the file is empty", "list of blades"),
        ("blades:\n\t- name: a\n", 2, 1, "a tab cannot indent", "spaces"),
        ("name: a: b\n", 1, 8, "':' cannot stand here", "quote"),
        (LAB + "---\n" + LAB, 3, 1, "one document", "'---'"),
        ("blades: [a\n", 2, 1, "expected ',' or ']'", "brackets"),
        ("blades: *all\n", 1, 9, "undefined alias 'all'", "check"),
        ("name: \x07\n", 1, 7, "U+0007", "remove it"),
        (b"# caf\xe9\n", 1, 6, "0xe9 is not UTF-8", "UTF-8"),
        ("[" * 1000, 1, 1, "nested too deeply", "docs/lab-yaml.md"),
        ("- name: a\n", 1, 1, "a lab must be a mapping", "name:"),
        (LAB + "name: x\nname: y\n", 4, 1, "'name' is given twice, first on line 3", "keep one"),
        (LAB + "[a]: b\n", 3, 1, "a key must be a word", "plain word"),
        # keys
        (LAB + "netwrok: {}\n", 3, 1, "no key 'netwrok'", "did you mean 'network'?"),
        (LAB + "subnet: 10.0.0.0/24\n", 3, 1, "no key 'subnet'", "under 'network:'"),
        ("name: x\n", 1, 1, "the lab has no blades", "- name: blade1"),
        ("blades:\n  - slot: 3\n", 2, 5, "a blade has no 'name'", "name: blade3"),
        ("blades:\n  - blade1\n", 2, 5, "a blade must be a mapping", "name:"),
        ("blades:\n  a: {}\n", 2, 3, "'blades' must be a list, this is a mapping", "'- '"),
        # values
        (LAB + "boot: pxelinus\n", 3, 7, "none of pxelinux, lpxelinux, ipxe", "did you mean 'pxelinux'?"),
        (LAB + "os: windows\n", 3, 5, "none of labos, container-linux", "write one of"),
        (LAB + "    role: boss\n", 3, 11, "none of manager, worker", "write one of"),
        (LAB + "name: My Lab\n", 3, 7, "cannot be a name", "letters"),
        (LAB + "name:\n", 3, 6, "name has no value", "remove the line"),
        (LAB + "name: [a]\n", 3, 7, "must be one value, this is a list", "alone"),
        (LAB + 'name: "a\\x07"\n', 3, 7, "cannot be printed", "plain text"),
        (LAB + "memory: lots\n", 3, 9, "not an amount of memory", "2G"),
        (LAB + "memory: 64\n", 3, 9, "no size for a blade", "512"),
        (LAB + "autologin: maybe\n", 3, 12, "neither true nor false", "true or false"),
        (LAB + "console: tty0\n", 3, 10, "'console' must be a list", "brackets"),
        (LAB + "console: [tty0 init=/bin/sh]\n", 3, 11, "not a console", "ttyS1,115200"),
        (LAB + "config: none.yaml\n", 3, 9, "there is no file", "folder of the lab file"),
        (LAB + "ssh_keys: [none.pub]\n", 3, 12, "cannot be read: No such file", "ssh-keygen"),
        (LAB + "ssh_keys: [ecdsa-sha2-nistp256 ...]\n", 3, 12, "not a public key", "whole line"),
        (LAB + "ssh_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----']\n", 3, 12, "this is a private key", ".pub"),
        (LAB + f"ssh_keys:\n- {public_key()}\n- {public_key()}\n", 5, 3, "already given on line 4", "remove one"),
        # the network and the chassis
        (LAB + "network: {kind: virtuall}\n", 3, 17, "none of virtual, interface", "'virtual'"),
        (LAB + "network: {interface: eth1}\n", 3, 22, "a virtual network has no interface", "kind: interface"),
        (LAB + "network: {subnet: 10.0.0.1/24}\n", 3, 19, "an address inside a subnet", "10.0.0.0/24"),
        (LAB + "network: {subnet: 10.0.0.0}\n", 3, 19, "no prefix length", "10.77.0.0/24"),
        (LAB + "network: {subnet: 10.0.0.0/31}\n", 3, 19, "cannot live in a /31", "8 to 29"),
        (LAB + "network: {subnet: 127.0.0.0/24}\n", 3, 19, "not for machines", "private"),
        (LAB + "network: {subnet: ten/24}\n", 3, 19, "not an IPv4 subnet", "10.77.0.0/24"),
        (LAB + "network: {server: 10.78.0.1}\n", 3, 19, "10.78.0.1 is outside 10.77.0.0/24", "10.77.0.1 to"),
        (LAB + "network: {server: 10.77.0.255}\n", 3, 19, "stands for all of", "to 10.77.0.254"),
        (LAB + "network: {controller: 10.77.0.1}\n", 3, 23, "already the address of the server", "another"),
        (LAB + "network: {server: 10.77.0.300}\n", 3, 19, "not an IPv4 address", "10.77.0.11"),
        (LAB + "network: {http_port: 0}\n", 3, 22, "'0' cannot be a port", "1 to 65535"),
        (LAB + "swarm: {lost_after: 5}\n", 3, 21, "'5' is not a length of time", "15 min"),
        (LAB + "swarm: {window: never}\n", 3, 17, "'never' is not a length of time", "15 min"),
        (LAB + "swarm: {window: 366 d}\n", 3, 17, "366 d is no sensible length of time", "365 d"),
        (LAB + "swarm: {window_on_discover: maybe}\n", 3, 29, "maybe", "true"),
        (LAB + "lost_after: 5 min\n", 3, 1, "a lab has no key 'lost_after'", "under 'swarm:'"),
        (LAB + "storage: {share: nowhere}\n", 3, 18, "there is no folder", "share: true"),
        (LAB + "storage: {cache: hub}\n", 3, 18, "not the address of a registry", "cache: true"),
        (LAB + "storage: {cache_port: 5001}\n", 3, 23, "of no use", "cache: true"),
        (LAB + "cache: true\n", 3, 1, "a lab has no key 'cache'", "under 'storage:'"),
        (LAB + "network: {registry_port: 80}\n", 3, 26, "80 is already http_port", "different"),
        (LAB + "network: {tls: maybe}\n", 3, 16, "maybe", "true or false"),
        (LAB + "network: {https_port: 8443}\n", 3, 23, "without TLS there is no HTTPS", "tls: true"),
        (LAB + "network: {tls: true, https_port: 80}\n", 3, 34, "80 is already http_port", "different"),
        (LAB + "network: {tls: true, http_port: 443}\n", 3, 33, "443 is already https_port", "different"),
        (LAB + "network: {tls: true, registry_port: 443}\n", 3, 37, "443 is already https_port", "different"),
        (LAB + "tls: true\n", 3, 1, "a lab has no key 'tls'", "under 'network:'"),
        (LAB + "network: {dhcp: proxy}\n", 3, 17, "no other DHCP server to stand beside", "dhcp: server"),
        (LAB + "network: {dhcp: both}\n", 3, 17, "none of server, proxy", "write one of"),
        (real().replace("server:", "dhcp: proxy\n  pool: [10.0.40.50, 10.0.40.60]\n  server:"), 6, 9,
         "a pool is of no use", "remove this line"),
        (LAB + "boot: pxelinux\nfirmware: uefi-http\n", 2, 5, "no loader for boot: pxelinux", "boot: ipxe"),
        (LAB + "network: {pool: [10.77.0.9]}\n", 3, 17, "first and its last", "pool:"),
        (LAB + "network: {pool: [10.77.0.9, 10.77.0.20]}\n", 3, 17, "holds the address of a (10.77.0.11)", "move"),
        (LAB + "network: {pool: [10.77.0.90, 10.77.1.20]}\n", 3, 17, "leaves the subnet", "inside"),
        (LAB + "chassis: {kind: ipmi}\n", 3, 17, "cannot be on a network of kind virtual", "kind: interface"),
        (TWO + "chassis: {slots: 1}\n", 3, 5, "b is in slot 2, and the chassis has 1", "slots: 2"),
        (LAB + "bmc: {password_file: x}\n", 3, 22, "virtual chassis take no password_file", "remove"),
        (LAB + "bmc: {address: 10.0.0.1}\n", 3, 7, "bmc has no key 'address'", "to each blade"),
        (LAB + "bmc: {user: an-all-too-long-name}\n", 3, 13, "cannot be a BMC's user", "16 bytes"),
        # one blade against another
        ("blades:\n  - name: a\n  - name: a\n", 3, 11, "name a is already that of the blade on line 2", "its own"),
        (TWO + "    slot: 1\n", 4, 11, "slot 1 is already that of a", "its own"),
        (TWO + "    slot: 51\n", 4, 11, "'51' cannot be a slot", "1 to 50"),
        (TWO + "    address: 10.77.0.11\n", 4, 14, "already the address of a", "another"),
        (TWO + "    address: 10.77.0.201\n", 4, 14, "already the address of the BMC of a", "another"),
        (TWO + "    macs: [52:54:00:4d:00:01]\n", 4, 12, "already that of a", "its own"),
        (LAB + "    macs: [52:54:00:00:00:01, 52:54:00:00:00:01]\n", 3, 31, "already that of a", "its own"),
        (LAB + "    macs: [52:54:00:00:00]\n", 3, 12, "not a MAC address", "six pairs"),
        (LAB + "    macs: [01:00:5e:00:00:01]\n", 3, 12, "not the address of one network card", "label"),
        (LAB + "    macs: []\n", 3, 11, "an empty list of macs", "boots from first"),
    ],
)  # fmt: skip
def test_one_mistake_is_said_once(text: str, line: int, column: int, what: str, fix: str, tmp_path: Path) -> None:
    [mistake] = mistakes(text, tmp_path)
    assert mistake[:2] == (line, column)
    assert what in mistake[2]
    assert fix in mistake[3]


@pytest.mark.parametrize(
    ("remove", "line", "what"),
    [
        ("  interface: eth1\n", 2, "network has no 'interface'"),
        ("  subnet: 10.0.40.0/24\n", 2, "network has no 'subnet'"),
        ("  server: 10.0.40.2\n", 2, "network has no 'server'"),
        ("bmc:\n  password_file: secret\n", 10, "nothing says the password of red1's BMC"),
        ("    macs: [00:00:5e:00:53:10]\n", 9, "red1 has no macs"),
        ("    bmc:\n      address: 10.0.40.201\n", 9, "bmc has no 'address'"),
    ],
)
def test_a_real_lab_must_say_what_nobody_can_guess(remove: str, line: int, what: str, tmp_path: Path) -> None:
    text = real()
    assert remove in text
    [mistake] = mistakes(text.replace(remove, ""), tmp_path)
    assert (mistake[0], mistake[2]) == (line, what)


def test_real_bmcs_are_told_apart_by_port_too(tmp_path: Path) -> None:
    second = "  - name: red2\n    macs: [00:00:5e:00:53:20]\n    bmc: {{address: {}}}\n"
    assert read(real(second.format("chassis.example"))).blades[1].bmc.address == "chassis.example"
    [mistake] = mistakes(real(second.format("10.0.40.201")), tmp_path)
    assert mistake[2] == "BMC address 10.0.40.201:623 is already that of red1"
    [mistake] = mistakes(real(second.format("10.0.40.11")), tmp_path)
    assert mistake[2] == "the address of the BMC of red2, 10.0.40.11 is already the address of red1"


def test_a_small_subnet_says_which_addresses_to_give(tmp_path: Path) -> None:
    [mistake] = mistakes("network:\n  subnet: 10.9.0.0/25\n" + LAB, tmp_path)
    assert mistake[:3] == (4, 5, "the address of the BMC of a, 10.9.0.201 as it was not given, is outside 10.9.0.0/25")
    assert mistake[3] == "give address an address from 10.9.0.1 to 10.9.0.126"


def test_all_mistakes_come_at_once_and_in_order(tmp_path: Path) -> None:
    text = "nmae: x\nboot: floppy\nnetwork:\n  subnet: here\nblades:\n  - name: A\n    slot: 0\n  - macs: [x]\n"
    places = [mistake[:2] for mistake in mistakes(text, tmp_path)]
    assert places == [(1, 1), (2, 7), (4, 11), (6, 11), (7, 11), (8, 5), (8, 12)]


def test_what_is_printed(tmp_path: Path) -> None:
    with pytest.raises(LabFileError) as caught:
        lab_yaml.parse("blades:\n  - name: a\n    rolle: worker\n", Path("my lab.yaml"))
    assert str(caught.value) == "my lab.yaml:3:5: a blade has no key 'rolle'\n  fix: did you mean 'role'?"
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("said", "rules"),
    [
        ("", SwarmRules(3600, 900, True)),
        ("swarm: {lost_after: never, window: 90s}\n", SwarmRules(None, 90, True)),
        ("swarm: {lost_after: 2 h, window_on_discover: false}\n", SwarmRules(7200, 900, False)),
        ("swarm: {lost_after: 1 d, window: 15 MIN}\n", SwarmRules(86400, 900, True)),
    ],
)
def test_the_rules_of_the_swarm(said: str, rules: SwarmRules) -> None:
    assert lab_yaml.parse(LAB + said, Path("lab.yaml")).swarm == rules


@pytest.mark.parametrize("kind", ["missing", "folder", "huge"])
def test_a_file_that_cannot_be_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "huge":
        path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(LabFileError) as caught:
        lab_yaml.load(path)
    [mistake] = caught.value.mistakes
    said = {"missing": "no such file", "folder": "Is a directory", "huge": "larger than 1 MiB"}
    assert said[kind] in mistake.what


# --- whatever is written ---------------------------------------------------------------------------------------------

PARTS = (TOP, swarm.SWARM, STORAGE, network.NETWORK, network.CHASSIS, blades.BLADE, blades.BMC)
KEYS = sorted({"x", *(key for part in PARTS for key in part.keys)})
SCALARS = st.sampled_from(
    "a b 1 0 51 virtual interface ipmi ~ no 10.77.0.0/24 10.77.0.11 10.0.0.0/29 0.0.0.0/8 255.255.255.248/29 "
    "52:54:00:12:34:56 4G manager ipxe lab.yaml ../.. ~/x - ssh-ed25519 255.255.255.255 80 \x00".split()
)
VALUES = st.recursive(
    SCALARS | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def is_a_lab_or_its_mistakes(data: bytes) -> None:
    try:
        lab = lab_yaml.parse(data.decode("utf-8", "surrogateescape"), Path("/nonexistent/lab.yaml"))
    except LabFileError as error:
        str(error).encode()
        assert error.mistakes
    else:
        addresses = [blade.address for blade in lab.blades]
        assert len({*addresses}) == len(addresses)
        assert all(address in lab.network.subnet for address in addresses)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(TOP.keys), VALUES, max_size=6))
def test_any_structure_is_a_lab_or_mistakes(tree: object) -> None:
    is_a_lab_or_its_mistakes(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogateescape"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | st.text("ab:-[]{}&*!|>%#'\"\\\t\n ~<0xUu", max_size=40).map(str.encode))
def test_any_bytes_are_a_lab_or_mistakes(data: bytes) -> None:
    is_a_lab_or_its_mistakes(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 900), st.binary(max_size=4), st.integers(0, 30))
def test_a_damaged_lab_is_a_lab_or_mistakes(at: int, put: bytes, cut: int) -> None:
    data = (ROOT / "examples/red-chassis.yaml").read_bytes()
    is_a_lab_or_its_mistakes(data[:at] + put + data[at + cut :])


# --- the manual ------------------------------------------------------------------------------------------------------


def test_every_key_is_in_the_manual() -> None:
    manual = (ROOT / "docs/lab-yaml.md").read_text()
    assert [key for key in KEYS if key != "x" and f"`{key}`" not in manual] == []


def test_the_manuals_examples_are_labs(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519.pub").write_text(public_key())
    (tmp_path / "blade.yaml").touch()
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/lab-yaml.md").read_text(), re.S)
    assert len(examples) >= 2
    for example in examples:
        assert lab_yaml.parse(example.replace("~/.ssh/", ""), tmp_path / "lab.yaml").blades

"""What people or their editors write into a lab file: what is meant is read, a mistake is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import Lab, lab_yaml
from tests.rig.lab_files import LAB, mistakes, public_key, real

NAME = "blades: [{name: blade1}]\n"
REAL = (
    "network: {kind: interface, interface: eth9, subnet: 10.81.0.0/24, server: 10.81.0.1, router: 10.81.0.254}\n"
    "bmc: {user: admin, password_file: secret}\n"
    'blades: [{name: a, slot: 1, macs: ["52:54:00:00:00:01"], address: 10.81.0.%s, bmc: {address: 10.81.0.201}}]\n'
)


def read(tmp_path: Path, text: str | bytes) -> Lab:
    path = tmp_path / "lab.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return lab_yaml.load(path)


WELL = {
    "a byte order mark": "\ufeff" + NAME,
    "Windows' line ends": "blades:\r\n  - name: blade1\r\n",
    "old Macs' line ends": "blades:\r  - name: blade1\r",
    "a comment with a no-break space": f"# for\u00a0us \u200d\n{NAME}",
    "no line end": NAME.rstrip(),
}


@pytest.mark.parametrize("kind", WELL)
def test_editors_write_as_they_like(tmp_path: Path, kind: str) -> None:
    assert [blade.name for blade in read(tmp_path, WELL[kind]).blades] == ["blade1"]


def test_yaml_guesses_nothing(tmp_path: Path) -> None:
    lab = read(tmp_path, "blades:\n  - {name: no, macs: [52:54:00:12:34:16], autologin: off}\n  - {name: 1e3}\n")
    assert [blade.name for blade in lab.blades] == ["no", "1e3"]
    assert (lab.blades[0].macs, lab.blades[0].autologin) == (("52:54:00:12:34:16",), False)


WRONG: dict[str, tuple[str | bytes, int, int, str, str]] = {
    "UTF-16": (NAME.encode("utf-16"), 1, 1, "not UTF-8", "save the file as UTF-8"),
    "a tab": ("blades:\n\t- name: a\n", 2, 1, "a tab", "use spaces"),
    "a no-break space": ("blades:\n\u00a0 - name: a\n", 2, 1, "U+00A0", "type blanks"),
    "a mark of no width": ("blades: [{na\u200bme: a}]\n", 1, 13, "U+200B", "remove it"),
    "typographic quotes": ("blades: [{name: “a”}]\n", 1, 17, "typographic quotes", "write '"),
    "an octal slot": ("blades: [{name: a, slot: 010}]\n", 1, 26, "octal to some", "write 10"),
    "a hexadecimal slot": ("blades: [{name: a, slot: 0x1}]\n", 1, 26, "cannot be a slot", "from 1 to 50"),
    "a sexagesimal port": (f"network: {{http_port: 1:20}}\n{NAME}", 1, 22, "cannot be a port", "from 1 to 65535"),
    "an octal address": ("blades: [{name: a, address: 10.77.0.011}]\n", 1, 29, "not an IPv4", "like 10.77.0.11"),
    "an address with its prefix": ("blades: [{name: a, address: 10.77.0.11/24}]\n", 1, 29, "not an IPv4", "like 10"),
    "an address outside": ("blades: [{name: a, address: 10.78.0.11}]\n", 1, 29, "outside 10.77.0.0/24", "10.77.0.254"),
    "the subnet's address": ("blades: [{name: a, address: 10.77.0.0}]\n", 1, 29, "stands for all", "from 10.77.0.1"),
    "the broadcast address": ("blades: [{name: a, address: 10.77.0.255}]\n", 1, 29, "stands for all", "10.77.0.254"),
    "the server's address": ("blades: [{name: a, address: 10.77.0.1}]\n", 1, 29, "the server", "another one"),
    "the router's address": (REAL % 254, 3, 67, "the router", "another one"),
    "a pool with the router": (
        REAL.replace("254}", "254, pool: [10.81.0.230, 10.81.0.254]}") % 11, 1, 113, "the router (10.81.0.254)", "move",
    ),
    "a pool to the broadcast address": (
        f"network: {{pool: [10.77.0.240, 10.77.0.255]}}\n{NAME}", 1, 17, "stands for all", "to 10.77.0.254",
    ),
    "a pool without measure": (
        f"network: {{subnet: 10.0.0.0/8, pool: [10.1.0.0, 10.2.0.0]}}\n{NAME}", 1, 37, "65,537 addresses", "16,384",
    ),
    "a pool with a dash": (f"network: {{pool: 10.77.0.20-10.77.0.30}}\n{NAME}", 1, 17, "must be a list", "brackets"),
    "an address in the subnet": (f"network: {{subnet: 10.77.0.1/24}}\n{NAME}", 1, 19, "not the subnet", "10.77.0.0/24"),
    "one MAC for a list": ("blades: [{name: a, macs: 52:54:00:12:34:16}]\n", 1, 26, "must be a list", "brackets"),
    "a short MAC": ("blades: [{name: a, macs: [52:54:00:12:34]}]\n", 1, 27, "not a MAC address", "six pairs"),
    "a MAC of a group": ("blades: [{name: a, macs: ['01:00:5e:00:00:01']}]\n", 1, 27, "one network card", "label"),
    "a key twice": (f"{NAME}{NAME}", 2, 1, "given twice, first on line 1", "keep one"),
    "a key like another": ("blades: [{name: a, firmwear: uefi}]\n", 1, 20, "no key 'firmwear'", "'firmware'?"),
    "a key in capitals": ("Blades: [{name: a}]\n", 1, 1, "no key 'Blades'", "'blades'?"),
    "a choice like another": ("blades: [{name: a, firmware: uefii}]\n", 1, 30, "none of bios", "'uefi'?"),
    "a blank that lacks": ("blades: [{name:a}]\n", 1, 10, "no 'name'", "write name"),
    "a password itself": (
        (REAL % 11).replace("password_file: secret", "password: x"), 2, 20, "no key 'password'", "a file of its own",
    ),
    "the BMC's address": (REAL % 201, 3, 95, "already the address of a", "another one"),
    "what GNU calls GB": ("blades: [{name: a, memory: 2 GB}]\n", 1, 28, "not an amount of memory", "2G"),
    "two documents": (f"---\n{NAME}---\n{NAME}", 3, 1, "a second begins here", "remove the '---'"),
    "a command in an argument": (
        "os: custom\ncustom: {kernel: lab.yaml, arguments: ['quiet || shell']}\n" + NAME, 2, 40, "'||'", "alone",
    ),
    "a comment in an argument": (
        "os: custom\ncustom: {kernel: lab.yaml, arguments: 'quiet #shell'}\n" + NAME, 2, 39, "'#shell'", "alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, kind: str) -> None:
    text, line, column, what, fix = WRONG[kind]
    with pytest.raises(LabFileError) as caught:
        read(tmp_path, text)
    said = [f"{one.line}:{one.column} {one.what} | {one.fix}" for one in caught.value.mistakes]
    assert any(one.startswith(f"{line}:{column} ") and what in one and fix in one for one in said), said


# --- mistakes of each kind, one at a time ---

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
        ("name: x\nblades:\n", 2, 8, "the lab has no blades", "- name: blade1"),
        ("blades:\n  - slot: 3\n", 2, 5, "a blade has no 'name'", "name: blade3"),
        ("blades:\n  - blade1\n", 2, 5, "a blade must be a mapping", "name:"),
        ("blades:\n  a: {}\n", 2, 3, "'blades' must be a list, this is a mapping", "'- '"),
        # values
        (LAB + "boot: pxelinus\n", 3, 7, "none of pxelinux, lpxelinux, ipxe", "did you mean 'pxelinux'?"),
        (LAB + "version: 4593.2.5\n", 3, 10, "there are no releases of labos", "os: flatcar or fedora-coreos"),
        (LAB + "    version: 1\n    os: container-linux\n", 3, 14, "no releases of container-linux", "remove this"),
        (LAB + "os: flatcar\nversion: latest\n", 4, 10, "latest is no version", "leave the line out"),
        (LAB + "os: flatcar\nversion: ../current\n", 4, 10, "'../current' is not a version", "4593.2.5"),
        (TWO + "version: 1.2\n", 4, 10, "there are no releases of labos", "remove this line"),
        (LAB + "os: windows\n", 3, 5, "none of labos, flatcar, fedora-coreos, container-linux", "write one of"),
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
        (LAB + "config: [lab.yaml, none.yaml]\n", 3, 20, "there is no file", "folder of the lab file"),
        (LAB + "config: [{role: manager}]\n", 3, 10, "names no file", "config: mine.bu"),
        (LAB + "config: [{config: lab.yaml, role: boss}]\n", 3, 35, "none of manager, worker", "write one of"),
        (LAB + "config: [{config: [a.bu], role: worker}]\n", 3, 20, "there is no file", "folder of the lab file"),
        (LAB + "config: [{config: lab.yaml, slot: 1}]\n", 3, 29, "config has no key 'slot'", "config, role, os"),
        (LAB + "config: [[lab.yaml]]\n", 3, 10, "must be one value", "alone"),
        (LAB + "    config: [{config: lab.yaml, os: flatcar}]\n", 3, 33, "no key 'os'", "at the top"),
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
        (LAB + "swarm: {controller: pause}\n", 3, 21, "'pause' is none of drain, active", "write one of"),
        (LAB + "swarm: {pool: 10.0.0.0/8}\n", 3, 15, "the lab's own network, 10.77.0.0/24, overlap", "another"),
        (LAB + "swarm: {pool: 10.5.0.0/24}\n", 3, 15, "10.5.0.0/24 has too little room", "from 8 to 20"),
        (LAB + "swarm: {pool: 10.5.0.0}\n", 3, 15, "'10.5.0.0' has no prefix length", "like"),
        (LAB + "lost_after: 5 min\n", 3, 1, "a lab has no key 'lost_after'", "under 'swarm:'"),
        (LAB + "storage: {share: nowhere}\n", 3, 18, "there is no folder", "share: true"),
        (LAB + "storage: {cache: hub}\n", 3, 18, "not the address of a registry", "cache: true"),
        (LAB + "storage: {cache_port: 5001}\n", 3, 23, "of no use", "cache: true"),
        (LAB + "cache: true\n", 3, 1, "a lab has no key 'cache'", "under 'storage:'"),
        (LAB + "network: {registry_port: 80}\n", 3, 26, "80 is already http_port", "different"),
        (LAB + "network: {tls: maybe}\n", 3, 16, "maybe", "true or false"),
        (LAB + "network: {discover: maybe}\n", 3, 21, "maybe", "true or false"),
        (LAB + "network: {discover: true}\n", 3, 21, "nothing gives them an address", "pool: ["),
        (LAB + "discover: true\n", 3, 1, "a lab has no key 'discover'", "under 'network:'"),
        (LAB + "network: {https_port: 8443}\n", 3, 23, "without TLS there is no HTTPS", "tls: true"),
        (LAB + "swarm: {data_path_port: 80}\n", 3, 25, "'80' cannot be the port of overlay", "1024 to 49151"),
        (LAB + "swarm: {autolock: key}\n", 3, 19, "key", "true or false"),
        (LAB + "swarm: {data_path_port: 7946}\n", 3, 25, "7946 is what swarm's engines speak", "another port"),
        (LAB + "network: {tls: true, https_port: 80}\n", 3, 34, "80 is already http_port", "different"),
        (LAB + "network: {tls: true, http_port: 443}\n", 3, 33, "443 is already https_port", "different"),
        (LAB + "network: {tls: true, registry_port: 443}\n", 3, 37, "443 is already https_port", "different"),
        (LAB + "tls: true\n", 3, 1, "a lab has no key 'tls'", "under 'network:'"),
        (LAB + "network: {dhcp: proxy}\n", 3, 17, "no other DHCP server to stand beside", "dhcp: server"),
        (LAB + "network: {dhcp: both}\n", 3, 17, "none of server, proxy", "write one of"),
        (real().replace("server:", "dhcp: proxy\n  pool: [10.0.40.50, 10.0.40.60]\n  server:"), 6, 9,
         "a pool is of no use", "remove this line"),
        (LAB + "boot: pxelinux\nfirmware: uefi-http\n", 2, 5, "no loader for boot: pxelinux", "boot: ipxe"),
        (LAB + "boot: grub\nfirmware: uefi-http\n", 2, 5, "no loader for boot: grub", "boot: ipxe"),
        (LAB + "firmware: uefi-secure\n", 2, 5, "no loader of boot: lpxelinux run", "write boot: grub"),
        (LAB + "    boot: ipxe\n    firmware: uefi-secure\n", 4, 15, "no loader of boot: ipxe run", "boot: grub"),
        (LAB + "boot: grub\nhardware: red\nfirmware: uefi-secure\n", 2, 5, "drives the card of hardware: red",
         "hardware: virtio"),
        (LAB + "boot: grub\nhardware: pc\nfirmware: uefi-secure\n", 2, 5, "drives the card of hardware: pc",
         "firmware: uefi"),
        (LAB + "network: {pool: [10.77.0.9]}\n", 3, 17, "first and its last", "pool:"),
        (LAB + "network: {pool: [10.77.0.9, 10.77.0.20]}\n", 3, 17, "holds the address of a (10.77.0.11)", "move"),
        (LAB + "network: {pool: [10.77.0.90, 10.77.1.20]}\n", 3, 17, "leaves the subnet", "inside"),
        (LAB + "chassis: {kind: ipmi}\n", 3, 17, "cannot be on a network of kind virtual", "kind: interface"),
        (TWO + "chassis: {slots: 1}\n", 3, 5, "b is in slot 2, and the chassis has 1", "slots: 2"),
        (LAB + "bmc: {password_file: x}\n", 3, 22, "virtual chassis take no password_file", "remove"),
        (LAB + "bmc: {address: 10.0.0.1}\n", 3, 7, "bmc has no key 'address'", "to each blade"),
        (LAB + "bmc: {user: an-all-too-long-name}\n", 3, 13, "cannot be a BMC's user", "16 bytes"),
        (LAB + "labels: ssd\n", 3, 9, "'labels' must be a mapping of names to values", "name: value"),
        (LAB + "labels: {disk: ssd, disk: hdd}\n", 3, 21, "'disk' is given twice under 'labels'", "keep one"),
        (LAB + "labels: {slot: 4}\n", 3, 10, "'slot' is a label that labkit writes itself", "another name"),
        (LAB + "labels: {labkit.lost: 4}\n", 3, 10, "labkit writes itself", "another name"),
        (LAB + "labels: {a b: 4}\n", 3, 10, "cannot be a label", "letters"),
        (LAB + "labels: {a: b=c}\n", 3, 13, "no value that a service can ask for", "letters"),
        (LAB + "labels: {a: }\n", 3, 12, "'a' under 'labels' has no value", "remove the line"),
        (LAB + "labels: {a: [b]}\n", 3, 13, "must be one value, this is a list", "alone"),
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
    assert read(tmp_path, real(second.format("chassis.example"))).blades[1].bmc.address == "chassis.example"
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

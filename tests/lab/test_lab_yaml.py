"""lab.yaml: what it means, and what is said about each mistake in it."""

from __future__ import annotations

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
from labkit.lab.lab_yaml.images import IMAGES, MIRROR
from labkit.lab.lab_yaml.storage import STORAGE
from tests.rig.lab_files import LAB, mistakes, public_key, real

ROOT = Path(__file__).resolve().parents[2]


def read(text: str) -> Lab:
    return lab_yaml.parse(text, Path("lab.yaml"))


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
    assert (a.console, a.autologin, a.config) == (("tty0",), False, (tmp_path / "all.yaml",))
    assert (b.role, b.os, b.boot, b.memory_mib) == (Role.WORKER, Flavour.LABOS, BootMethod.IPXE, 1024)
    assert (a.firmware, b.firmware) == (FirmwareKind.UEFI, FirmwareKind.UEFI_HTTP)
    assert (b.console, b.autologin, b.config) == ((), True, (tmp_path / "one.yaml",))


def test_labels_of_all_and_of_one_are_put_together() -> None:
    a, b, c = read(
        "labels: {disk: hdd, power: 40 W}\nblades:\n  - name: a\n  - {name: b, labels: {disk: ssd, no: 3}}\n"
        "  - {name: c, labels: }\n"
    ).blades
    assert dict(a.labels) == dict(c.labels) == {"disk": "hdd", "power": "40 W"}
    assert dict(b.labels) == {"disk": "ssd", "power": "40 W", "no": "3"}
    assert len({a, b, c}) == 3  # they can be told apart as members of a set


def test_a_version_belongs_to_the_system_it_is_written_with() -> None:
    text = "os: flatcar\nversion: 4593.2.5\nblades:\n  - name: a\n  - {name: b, version: 4459.1.0}\n"
    text += (
        "  - {name: c, os: labos}\n  - {name: d, os: fedora-coreos}\n  - {name: e, os: fedora-coreos, version: 43.1}\n"
    )
    blades = read(text).blades
    assert [(blade.os, blade.version) for blade in blades] == [
        ("flatcar", "4593.2.5"), ("flatcar", "4459.1.0"), ("labos", None), ("fedora-coreos", None),
        ("fedora-coreos", "43.1"),
    ]  # fmt: skip
    assert [blade.version for blade in read("os: flatcar\nblades: [{name: a}]\n").blades] == [None]


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
        ("swarm: {controller: drain}\n", SwarmRules(drained=True)),
        ("swarm: {controller: active}\n", SwarmRules(drained=False)),
        ("swarm: {pool: 172.20.0.0/14}\n", SwarmRules(pool=IPv4Network("172.20.0.0/14"))),
        ("swarm: {roll_blade: 20 min}\n", SwarmRules(roll_blade_s=1200)),
        ("swarm: {data_path_port: 7789}\n", SwarmRules(data_path_port=7789)),
        ("swarm: {autolock: true}\n", SwarmRules(autolock=True)),
        ("swarm: {autolock: false}\n", SwarmRules(autolock=False)),
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

PARTS = (TOP, swarm.SWARM, STORAGE, IMAGES, MIRROR, network.NETWORK, network.CHASSIS, blades.BLADE, blades.BMC)
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
    for name in ("common.bu", "manager.bu", "flatcar.bu", "rack.bu"):
        (tmp_path / name).touch()
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/lab-yaml.md").read_text(), re.S)
    assert len(examples) >= 2
    for example in examples:
        assert lab_yaml.parse(example.replace("~/.ssh/", ""), tmp_path / "lab.yaml").blades

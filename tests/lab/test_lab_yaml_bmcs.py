"""``bmc:`` in a lab file: every kind of power, what it may say, and every mistake with its place and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import Blade, Bmc, PowerKind, lab_yaml

DIGITS = "0f" * 32
SHOWN = ":".join(["0F"] * 32)
HEAD = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
"""
RED1 = 'blades:\n  - name: red1\n    macs: ["00:00:5e:00:53:10"]\n'


def read(text: str, folder: Path) -> tuple[Blade, ...]:
    return lab_yaml.parse(HEAD + text, folder / "lab.yaml").blades


def red1(bmc: str, folder: Path, top: str = "") -> Bmc:
    return read(f"{top}{RED1}    bmc: {bmc}\n", folder)[0].bmc


def test_a_file_of_before_says_ipmi(tmp_path: Path) -> None:
    bmc = red1("{address: 10.0.40.201, password_file: x}", tmp_path)
    assert bmc == Bmc("10.0.40.201", 623, "labkit", tmp_path / "x", PowerKind.IPMI)
    assert bmc.has_password and bmc.tells_state


@pytest.mark.parametrize("written", [DIGITS, DIGITS.upper(), SHOWN, f"sha256 Fingerprint={SHOWN}", f"SHA-256: {SHOWN}"])
def test_redfish(written: str, tmp_path: Path) -> None:
    said = f'kind: redfish, address: rack.example, password_env: BMC_PW, certificate: "{written}", system: "1"'
    bmc = red1(f"{{{said}}}", tmp_path)
    assert (bmc.kind, bmc.port, bmc.password_env, bmc.password_file) == (PowerKind.REDFISH, 443, "BMC_PW", None)
    assert (bmc.certificate, bmc.system) == (DIGITS, "1")


def test_a_password_in_the_keyring(tmp_path: Path) -> None:
    assert red1("{address: a, password_keyring: rack/of/blades/admin}", tmp_path).password_keyring == (
        "rack/of/blades", "admin",
    )  # fmt: skip
    top = "bmc: {kind: redfish, password_keyring: rack}\n"
    shared = red1("{address: a}", tmp_path, top)
    assert shared.password_keyring == ("rack", "") and shared.password_key == "password_keyring"
    own = red1("{address: a, password_file: x}", tmp_path, top)
    assert own.password_keyring is None and own.password_key == "password_file"


def test_wake_on_lan_needs_nothing(tmp_path: Path) -> None:
    bmc = red1("{kind: wol}", tmp_path)
    assert (bmc.mac, bmc.address, bmc.port) == ("00:00:5e:00:53:10", "10.0.40.255", 9)
    assert not bmc.has_password and not bmc.tells_state
    bmc = red1("{kind: wol, mac: 00-00-5E-00-53-11, broadcast: 255.255.255.255, port: 7}", tmp_path)
    assert (bmc.mac, bmc.address, bmc.port) == ("00:00:5e:00:53:11", "255.255.255.255", 7)


def test_a_command_is_a_line_or_a_list(tmp_path: Path) -> None:
    bmc = red1("{kind: command, on: \"./plug --name 'my plug' {slot}\", off: [pdu, off, '{blade}; rm']}", tmp_path)
    assert bmc.on == (str(tmp_path / "plug"), "--name", "my plug", "1")
    assert bmc.off == ("pdu", "off", "red1; rm")
    assert bmc.state == () and not bmc.tells_state
    top = "bmc: {kind: command, on: 'p on {slot}', state: 'p get {slot}'}\n"
    second = '  - {name: red2, macs: ["00:00:5e:00:53:20"]}\n'
    first, other = (blade.bmc for blade in read(top + RED1 + second, tmp_path))
    assert (first.on, other.on, other.state) == (("p", "on", "1"), ("p", "on", "2"), ("p", "get", "2"))
    assert other.tells_state


def test_a_hand_knows_where(tmp_path: Path) -> None:
    assert red1("{kind: manual}", tmp_path) == Bmc("", kind=PowerKind.MANUAL, place="slot 1")


def test_a_bmc_may_have_a_name_that_ends_in_a_digit(tmp_path: Path) -> None:
    assert red1("{address: ilo-3, password_file: x}", tmp_path).address == "ilo-3"


def test_kinds_may_be_mixed(tmp_path: Path) -> None:
    """What stands at the top is for those whose kind has a use for it."""
    top = "bmc: {password_file: x, user: admin, port: 6230}\n"
    second = '  - {name: red2, macs: ["00:00:5e:00:53:20"], bmc: {kind: wol}}\n'
    third = '  - {name: red3, macs: ["00:00:5e:00:53:30"], bmc: {kind: redfish, address: 10.0.41.3}}\n'
    blades = read(top + RED1 + "    bmc: {address: 10.0.41.1}\n" + second + third, tmp_path)
    assert [blade.bmc.kind for blade in blades] == [PowerKind.IPMI, PowerKind.WOL, PowerKind.REDFISH]
    assert [blade.bmc.port for blade in blades] == [6230, 9, 443]
    assert blades[2].bmc.user == "admin" and blades[2].bmc.password_file == tmp_path / "x"


def test_blades_of_one_redfish_service_are_told_apart(tmp_path: Path) -> None:
    top = "bmc: {kind: redfish, password_file: x}\n"
    second = '  - {name: red2, macs: ["00:00:5e:00:53:20"], bmc: {address: 10.0.41.1, system: NAME}}\n'
    text = top + RED1 + "    bmc: {address: 10.0.41.1, system: a}\n" + second
    assert [blade.bmc.system for blade in read(text.replace("NAME", "b"), tmp_path)] == ["a", "b"]
    with pytest.raises(LabFileError, match="is already that of red1"):
        read(text.replace("NAME", "a"), tmp_path)


@pytest.mark.parametrize(
    ("bmc", "column", "what", "fix"),
    [
        ("{kind: redfisch, address: 10.0.41.1, password_file: x}", 17, "is none of ipmi, redfish, wol", "'redfish'"),
        ("{kind: wol, address: 10.0.41.1}", 31, "a bmc of kind wol has no 'address'", "mac, broadcast, port"),
        ("{kind: manual, user: me}", 31, "a bmc of kind manual has no 'user'", "no other keys"),
        ("{kind: ipmi, address: 10.0.41.1, password_file: x, certificate: aa}", 74, "has no 'certificate'", "remove"),
        ("{kind: redfish, address: 10.0.41.1}", 10, "nothing says the password of red1's BMC", "password_file"),
        ("{kind: redfish, password_file: x}", 10, "bmc has no 'address'", "address: 192.168.7.201"),
        ("{kind: command}", 10, "bmc has no 'on'", "on: plug on 1"),
        ("{kind: command, on: ''}", 30, "names no program", "plug on 3"),
        ("{kind: command, on: []}", 30, "'on' names no program", "[plug, on, '3']"),
        ('{kind: command, on: "plug \'on"}', 30, "a quote in", "as a list"),
        ("{kind: command, on: {a: b}}", 30, "on must be one value", "alone on its line"),
        ("{kind: wol, mac: 01:00:5e:00:00:01}", 27, "not the address of one network card", "label"),
        ("{kind: wol, broadcast: here}", 33, "not an IPv4 address", "10.77.0.11"),
        ("{address: 10.0.41.1, password_env: A-B}", 45, "not the name of an environment variable", "BMC_PASSWORD"),
        (
            "{address: 10.0.41.1, password_env: A, password_file: x}",
            45,
            "a password is in one place",
            "all but one of password_file, password_env",
        ),
        ("{address: 10.0.41.1, password_keyring: rack/}", 49, "no entry of a keyring", "rack/admin"),
        ("{address: 10.0.41.1, password_keyring: /admin}", 49, "no entry of a keyring", "SERVICE/USER"),
        ("{kind: redfish, address: a, password_file: x, certificate: nope}", 69, "not the SHA-256 fingerprint", "64"),
        (f"{{kind: redfish, address: a, password_file: x, certificate: {'0f' * 20}}}", 69, "by SHA-1 or MD5", "64"),
    ],
)
def test_one_mistake_is_said_once(bmc: str, column: int, what: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(LabFileError) as caught:
        red1(bmc, tmp_path)
    [mistake] = caught.value.mistakes
    assert (mistake.line, mistake.column) == (5, column), mistake
    assert what in mistake.what
    assert fix in mistake.fix


@pytest.mark.parametrize(
    "text", ["bmc: {kind: command, on: x}\nblades: [{name: a}]\n", "blades: [{name: a, bmc: {kind: wol}}]\n"]
)
def test_a_virtual_chassis_answers_ipmi_and_redfish(text: str, tmp_path: Path) -> None:
    with pytest.raises(LabFileError) as caught:
        lab_yaml.parse(text, tmp_path / "lab.yaml")
    [mistake] = caught.value.mistakes
    assert "a virtual chassis answer IPMI and Redfish, and nothing else" in mistake.what
    assert "kind: redfish" in mistake.fix and "kind: interface" in mistake.fix


def test_slots_of_a_virtual_chassis_may_differ(tmp_path: Path) -> None:
    text = "bmc: {kind: redfish}\nblades: [{name: a}, {name: b, bmc: {kind: ipmi}}, {name: c, bmc: {port: 8443}}]\n"
    found = [blade.bmc for blade in lab_yaml.parse(text, tmp_path / "lab.yaml").blades]
    assert [(bmc.kind, bmc.port, bmc.ipmi_port) for bmc in found] == [
        (PowerKind.REDFISH, 443, 623), (PowerKind.IPMI, 623, 623), (PowerKind.REDFISH, 8443, 623),
    ]  # fmt: skip


@pytest.mark.parametrize(("said", "fix"), [(f"certificate: {DIGITS}", "pins it"), ("system: a", "one machine")])
def test_what_a_virtual_slot_says_itself(said: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(LabFileError) as caught:
        lab_yaml.parse(f"blades: [{{name: a, bmc: {{kind: redfish, {said}}}}}]\n", tmp_path / "lab.yaml")
    [mistake] = caught.value.mistakes
    assert "of a virtual chassis take no" in mistake.what and fix in mistake.fix


def test_a_long_user_is_redfishs_only(tmp_path: Path) -> None:
    top = "bmc: {kind: redfish, user: a-user-of-20-letters, password_file: x}\n"
    assert red1("{address: 10.0.41.1}", tmp_path, top).user == "a-user-of-20-letters"
    with pytest.raises(LabFileError, match="cannot be a BMC's user"):
        red1("{kind: ipmi, address: 10.0.41.1}", tmp_path, top)

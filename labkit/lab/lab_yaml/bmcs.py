"""``bmc:`` in a lab file: by what each blade is switched, and how that is reached."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import yaml

from labkit.lab import Bmc, PowerKind
from labkit.lab.bmc import PORTS
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.network import Net, host
from labkit.lab.lab_yaml.positions import Kind, Notes, Section, Wrong, short

T = TypeVar("T")

BMC_OFFSET = 200  # the BMC of slot 1 in a virtual chassis on 10.77.0.0/24 has the address 10.77.0.201
PASSWORDS = ("password_file", "password_env", "password_keyring")
VIRTUAL = (PowerKind.IPMI, PowerKind.REDFISH)
"""The kinds that a slot of a virtual chassis answers; it answers IPMI also where its buttons are pressed by Redfish."""
MADE = {
    **dict.fromkeys(PASSWORDS, "makes up a password of its own"),
    "certificate": "makes its slots a certificate of its own, and pins it",
    "system": "has one machine in a slot",
}
"""What is not said of a virtual slot, and why not."""
COMMANDS = ("on", "off", "state")
_LOGIN = ("address", "port", "user", *PASSWORDS)
KEYS: dict[PowerKind, tuple[str, ...]] = {
    PowerKind.IPMI: _LOGIN,
    PowerKind.REDFISH: (*_LOGIN, "certificate", "system"),
    PowerKind.WOL: ("mac", "broadcast", "port"),
    PowerKind.COMMAND: COMMANDS,
    PowerKind.MANUAL: (),
}
"""What each kind may say."""
OWN = ("address", "certificate", "system", "mac")
"""What no two blades have in common."""
ALL = tuple(dict.fromkeys(key for keys in KEYS.values() for key in keys))
SECRET = {"password": "into a file of its own, which nobody else may read: 'password_file: bmc.password'"}
SHARED_BMC = Kind(
    "bmc",
    ("kind", *(key for key in ALL if key not in OWN)),
    {**dict.fromkeys(OWN, "to each blade, since each slot has its own"), **SECRET},
)
BMC = Kind("bmc", ("kind", *ALL), SECRET)


class BmcReader:
    """Reads what switches the blades, one after the other; what they have in common stands at the top of the file."""

    def __init__(
        self, top: Section, net: Net, path: Path, notes: Notes, claim: Callable[[str, object, str, yaml.Node], bool]
    ) -> None:
        self._net, self._path, self._notes, self._claim = net, path, notes, claim
        self._hosts: set[str] = set()
        self._top = Section(top.value("bmc"), top.anchor, SHARED_BMC, notes)
        self._shared = self._take(self._top, Bmc(address=""))

    def read(self, blade: Section, name: str, slot: int, macs: tuple[str, ...]) -> Bmc:
        """What switches one blade."""
        section = Section(blade.value("bmc"), blade.anchor, BMC, self._notes)
        bmc = self._take(section, self._shared)
        self._check_keys(section, bmc.kind)
        if not self._net.real:
            address = section.take("address", values.address, host(self._net.value.subnet, BMC_OFFSET + slot))
            if section.has("address") or not blade.bad("slot"):
                self._net.claim(address, f"the BMC of {name}", section)
            return Bmc(str(address), bmc.port, bmc.user, kind=bmc.kind)
        if bmc.has_password:
            return self._controller(section, bmc, name)
        if bmc.kind is PowerKind.WOL:
            mac = section.take("mac", values.mac, macs[0] if macs else "")
            return Bmc(bmc.address or str(self._net.value.subnet.broadcast_address), bmc.port, kind=bmc.kind, mac=mac)
        if bmc.kind is PowerKind.COMMAND:
            return self._command(section, bmc, name, slot)
        return Bmc("", kind=bmc.kind, place=f"slot {slot}")

    def _take(self, section: Section, base: Bmc) -> Bmc:
        """What a section says beside what only some kinds have to say."""
        is_virtual = self._net.sound and not self._net.real
        for key, made in MADE.items():
            if section.has(key) and is_virtual:
                fix = f"remove this line: every virtual lab {made}"
                section.note(key, f"the BMCs of a virtual chassis take no {key}", fix)
        kind = section.take("kind", positions.choice(PowerKind), base.kind)
        if kind not in VIRTUAL and is_virtual and section.has("kind"):
            fix = "write kind: redfish, or remove this line; kind: interface under 'network:' is for real blades"
            section.note("kind", "the slots of a virtual chassis answer IPMI and Redfish, and nothing else", fix)
        said = [key for key in PASSWORDS if section.has(key)]
        if len(said) > 1:
            what = "a password is in one place: in a file, in the environment or in the keyring"
            section.note(said[-1], what, f"remove all but one of {', '.join(said)}")
        file = section.take("password_file", lambda text: values.beside(text, self._path), None)
        variable = section.take("password_env", environment_variable, "")
        entry = section.take("password_keyring", keyring_entry, None)
        if not said:
            file, variable, entry = base.password_file, base.password_env, base.password_keyring
        usual = base.port if kind is base.kind else PORTS.get(kind, base.port)
        return replace(
            base,
            address=section.take("broadcast", lambda text: str(values.address(text)), base.address),
            port=section.take("port", positions.whole("a port", 1, 65535), usual),
            user=section.take("user", values.user if kind is PowerKind.IPMI or is_virtual else values.login, base.user),
            password_file=file,
            kind=kind,
            password_env=variable,
            password_keyring=entry,
            on=self._words(section, "on", base.on),
            off=self._words(section, "off", base.off),
            state=self._words(section, "state", base.state),
        )

    def _check_keys(self, section: Section, kind: PowerKind) -> None:
        """Note what a blade says and its kind has no use for."""
        if section.bad("kind") or self._top.bad("kind"):
            return
        for key in ALL:
            if section.has(key) and key not in KEYS[kind] and not section.bad(key):
                may = f"it may have: {', '.join(KEYS[kind])}" if KEYS[kind] else "it has no other keys"
                section.note(key, f"a bmc of kind {kind} has no {key!r}", f"remove this line; {may}")

    def _controller(self, section: Section, bmc: Bmc, name: str) -> Bmc:
        hint = f"write the address of {name}'s BMC: bmc: {{address: 192.168.7.201}}"
        where = section.need("address", values.host, "", hint)
        is_said = bmc.password_file is not None or bmc.password_env or bmc.password_keyring is not None
        if not is_said and not section.bad(*PASSWORDS) and not self._top.bad(*PASSWORDS):
            fix = "write 'bmc:' and below it '  password_file: bmc.password' at the top of the file, for all blades"
            section.note("password_file", f"nothing says the password of {name}'s BMC", fix)
        if bmc.kind is PowerKind.IPMI and not section.bad("user") and len(bmc.user.encode()) > values.LONGEST_USER_B:
            section.note("user", f"{short(bmc.user)} cannot be a BMC's user", values.USER_FIX)
        is_redfish = bmc.kind is PowerKind.REDFISH
        system = section.take("system", values.login, "") if is_redfish else ""
        key = f"{where}:{bmc.port}" + (f" (system {system})" if system else "")
        if where and self._claim("BMC address", key, name, section.node("address")):
            self._check_apart(where, name, section)
        return Bmc(
            where, bmc.port, bmc.user, bmc.password_file, bmc.kind, bmc.password_env,
            certificate=section.take("certificate", fingerprint, "") if is_redfish else "", system=system,
            password_keyring=bmc.password_keyring,
        )  # fmt: skip

    def _check_apart(self, where: str, name: str, section: Section) -> None:
        """A real BMC may be in another network, or share its address with others; it must not have a blade's."""
        if values.is_address(where) and IPv4Address(where) in self._net.value.subnet and where not in self._hosts:
            self._hosts.add(where)
            self._net.claim(IPv4Address(where), f"the BMC of {name}", section)

    def _command(self, section: Section, bmc: Bmc, name: str, slot: int) -> Bmc:
        """A command's words, with the blade's name and slot filled in, and the program found from the file's folder."""
        if not bmc.on and not section.bad("on") and not self._top.bad("on"):
            hint = f"write what switches {name} on: bmc: {{kind: command, on: plug on {slot}}}"
            section.note("on", "bmc has no 'on'", hint)

        def filled(words: tuple[str, ...]) -> tuple[str, ...]:
            first, *rest = [word.replace("{blade}", name).replace("{slot}", str(slot)) for word in words] or [""]
            program = str(values.beside(first, self._path).absolute()) if "/" in first else first
            return (program, *rest) if first else ()

        return Bmc("", kind=bmc.kind, on=filled(bmc.on), off=filled(bmc.off), state=filled(bmc.state))

    def _words(self, section: Section, key: str, base: tuple[str, ...]) -> tuple[str, ...]:
        """The words of a command: a list of them, or a line that is split as a shell would."""
        if not isinstance(section.value(key), yaml.SequenceNode):
            return section.take(key, command_line, base)
        words = section.take_all(key, lambda text: text)
        if not words and not section.bad(key):
            section.note(key, f"{key!r} names no program", "write a program and its words: [plug, on, '3']")
        return tuple(word for _, word in words or ())


def environment_variable(text: str) -> str:
    """The name of an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise Wrong(f"{short(text)} is not the name of an environment variable", "write it like BMC_PASSWORD")
    return text


def keyring_entry(text: str) -> tuple[str, str]:
    """A service and a user of the system's keyring, as in ``rack/admin``; the user is empty where it is the BMC's."""
    service, slash, user = text.rpartition("/") if "/" in text else (text, "", "")
    if not service or (slash and not user) or not text.isprintable():
        raise Wrong(f"{short(text)} is no entry of a keyring", "write its service, or SERVICE/USER: rack/admin")
    return service, user


def command_line(text: str) -> tuple[str, ...]:
    """A program and its words, split as a shell splits them; nothing else of a shell's applies."""
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        raise Wrong(f"a quote in {short(text)} does not end", "close it, or write the words as a list") from None
    if not words or not words[0]:
        raise Wrong(f"{short(text)} names no program", "write a program and its words: plug on 3")
    return words


def fingerprint(text: str) -> str:
    """The SHA-256 fingerprint of a certificate, as OpenSSL or a browser shows it, in 64 lower-case digits."""
    digits = re.sub(r"[\s:]", "", re.sub(r"(?i)^\s*sha-?256\s*(fingerprint)?\s*[=:]?", "", text)).lower()
    if re.fullmatch(r"[0-9a-f]{64}", digits):
        return digits
    fix = "write the 64 hexadecimal digits that ./lab power status shows; colons between them are fine"
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{32}", digits):
        raise Wrong("this fingerprint is one by SHA-1 or MD5, which can be forged", fix)
    raise Wrong(f"{short(text)} is not the SHA-256 fingerprint of a certificate", fix)

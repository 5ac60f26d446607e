"""The values of a lab file, one parser each: text in, value out, `Wrong` with a fix for what cannot be taken."""

from __future__ import annotations

import base64
import binascii
import pwd
import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path

from labkit.lab.lab_yaml.positions import Wrong, short
from labkit.lab.plain_text import is_loaders

MIN_MEMORY_MIB = 512
MAX_MEMORY_MIB = 1 << 20
KEY_FILE_LIMIT_B = 1 << 16


def address(text: str) -> IPv4Address:
    """An IPv4 address."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise Wrong(f"{short(text)} is not an IPv4 address", "write it like 10.77.0.11") from None


def nobody_or_address(text: str) -> IPv4Address | None:
    """An IPv4 address, or ``none``."""
    return None if text == "none" else address(text)


def domain(text: str) -> str:
    """A domain of names, or ``none``: RFC 1035 section 2.3.1, in lower case."""
    label = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if text == "none":
        return ""
    if len(text) > 253 or not re.fullmatch(rf"{label}(\.{label})*", text):
        raise Wrong(f"{short(text)} is not a domain", "write it like lab.example, or none")
    return text


def subnet(text: str) -> IPv4Network:
    """An IPv4 subnet in CIDR notation, from /8 to /29, of addresses that machines can have."""
    if "/" not in text:
        raise Wrong(f"{short(text)} has no prefix length", "write the subnet like 10.77.0.0/24")
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise Wrong(f"{short(text)} is not an IPv4 subnet", "write it like 10.77.0.0/24") from None
    if not 8 <= network.prefixlen <= 29:
        raise Wrong(f"a lab cannot live in a /{network.prefixlen}", "take a prefix length from 8 to 29; 24 is usual")
    if text.partition("/")[0] != str(network.network_address):
        raise Wrong(f"{short(text)} is an address inside a subnet, not the subnet", f"write {network}")
    if network.is_loopback or network.is_multicast or network.is_reserved or network.is_link_local:
        raise Wrong(f"{network} is not for machines on a network", "take a private one, such as 10.77.0.0/24")
    return network


def mac(text: str) -> str:
    """A network card's address, as lower-case pairs with colons."""
    plain = text.lower().replace("-", ":")
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", plain):
        raise Wrong(f"{short(text)} is not a MAC address", "write six pairs of hex digits, like 52:54:00:12:34:56")
    if int(plain[:2], 16) & 1 or plain == "00:00:00:00:00:00":
        raise Wrong(f"{short(text)} is not the address of one network card", "copy it from the card's label or its BMC")
    return plain


def interface(text: str) -> str:
    """The name of a network card: up to 15 bytes, no slash and no blank (dev_valid_name() in Linux)."""
    if not re.fullmatch(r"[^\s/:]{1,15}", text) or len(text.encode()) > 15 or text in (".", ".."):
        raise Wrong(f"{short(text)} cannot be the name of a network card", "'ip link' lists them")
    return text


def memory(text: str) -> int:
    """An amount of memory in MiB: a bare number is MiB, ``2G`` and ``2 GiB`` are 2048."""
    match = re.fullmatch(r"([0-9]{1,7}) *(m|g|mib|gib)?", text.lower())
    if not match:
        raise Wrong(f"{short(text)} is not an amount of memory", "write MiB as a number, or 2G")
    amount_mib = int(match[1]) * (1024 if (match[2] or "m").startswith("g") else 1)
    if not MIN_MEMORY_MIB <= amount_mib <= MAX_MEMORY_MIB:
        raise Wrong(f"{amount_mib} MiB is no size for a blade", f"give it at least {MIN_MEMORY_MIB}; 2048 is enough")
    return amount_mib


def device(text: str) -> str:
    """A block device, by a name that udev or the kernel gives it below ``/dev``."""
    parts = text.removeprefix("/dev/").split("/")
    plain = all(re.fullmatch(r"[A-Za-z0-9._:+@=-]{1,128}", part) and part not in (".", "..") for part in parts)
    if not (text.startswith("/dev/") and plain):
        fix = "write it like /dev/sda or /dev/disk/by-id/ata-…, as 'ls -l /dev/disk/by-id' on the blade has it; or none"
        raise Wrong(f"{short(text)} is not the name of a disk", fix)
    return text


MIN_DISK_MIB = 1024
MAX_DISK_MIB = 16 << 20


def disk_size(text: str) -> int:
    """The size of a virtual blade's disk in MiB: ``4GiB``, ``4 G``, ``1T``."""
    match = re.fullmatch(r"([0-9]{1,5}) *(g|t)(ib)?", text.lower())
    if not match:
        raise Wrong(f"{short(text)} is not the size of a disk", "write GiB or TiB: 4GiB")
    size_mib = int(match[1]) * (1024 if match[2] == "g" else 1 << 20)
    if not MIN_DISK_MIB <= size_mib <= MAX_DISK_MIB:
        raise Wrong(f"{short(text)} is no size for a blade's disk", "give it from 1GiB to 16TiB")
    return size_mib


def version(text: str) -> str:
    """A release of a system, by its number: it is a folder's name and a part of URLs."""
    if text in ("latest", "current"):
        fix = "leave the line out: then the blades boot the release that was chosen last"
        raise Wrong(f"{text} is no version, since what it means changes", fix)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", text):
        raise Wrong(f"{short(text)} is not a version", "write it as the release is called, like 4593.2.5")
    return text


UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
LONGEST_S = 365 * 86400


def duration(text: str) -> float:
    """A length of time in seconds: ``90 s``, ``15min``, ``2h``, ``1 d``."""
    match = re.fullmatch(r"([0-9]{1,9}) *(s|min|h|d)", text.lower())
    if not match:
        raise Wrong(f"{short(text)} is not a length of time", "write a number with s, min, h or d: 15 min")
    seconds = int(match[1]) * UNITS_S[match[2]]
    if not 1 <= seconds <= LONGEST_S:
        raise Wrong(f"{text} is no sensible length of time here", "give it from 1 s to 365 d")
    return float(seconds)


RESERVED_LABELS = ("blade", "chassis", "slot", "mac")


def label(text: str) -> str:
    """The name of a node's label, as a constraint can ask for it (``constraint.Parse`` in swarmkit)."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", text):
        raise Wrong(f"{short(text)} cannot be a label", "use up to 63 letters, digits, '_', '.' and '-'")
    if text in RESERVED_LABELS or text.startswith("labkit."):
        fix = f"take another name: {', '.join(RESERVED_LABELS)} and labkit.* are labkit's"
        raise Wrong(f"{short(text)} is a label that labkit writes itself", fix)
    return text


def label_value(text: str) -> str:
    """A label's value, of what a constraint can be compared with (``valuePattern`` in swarmkit's constraint.go)."""
    if len(text) > 255 or not re.fullmatch(r"[A-Za-z0-9:_\s.*()?+\[\]\\^$|/-]+", text):
        fix = "use letters, digits, blanks and - _ . : /"
        raise Wrong(f"{short(text)} is no value that a service can ask for", fix)
    return text


def console(text: str) -> str:
    """A console as the kernel takes it after ``console=``."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(,[A-Za-z0-9]+)*", text):
        raise Wrong(f"{short(text)} is not a console", "write it like tty0 or ttyS1,115200")
    return text


def host(text: str) -> str:
    """A host by name or IPv4 address."""
    if is_address(text):
        return str(address(text))
    if len(text) > 253 or not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?", text):
        raise Wrong(f"{short(text)} is not a host", "write its address or its name")
    return text


def is_address(host: str) -> bool:
    """Whether a host is meant by its address. A name may end in a digit: ``ilo-3``."""
    return re.fullmatch(r"[0-9.]+", host) is not None


LONGEST_USER_B = 16
USER_FIX = "IPMI knows names of 1 to 16 bytes"


def user(text: str) -> str:
    """A user of a BMC: up to 16 bytes (IPMI 2.0, section 22.28)."""
    if not text or len(text.encode("utf-8", "replace")) > LONGEST_USER_B:
        raise Wrong(f"{short(text)} cannot be a BMC's user", USER_FIX)
    return text


def login(text: str) -> str:
    """A name by which a Redfish service knows a user or a machine."""
    if not text or len(text) > 128:
        raise Wrong(f"{short(text)} cannot be a name on a BMC", "write 1 to 128 letters")
    return text


# --- systems of a person's own ---------------------------------------------------------------------------------------


def argument(text: str) -> str:
    """An argument of a kernel, as it is: what loaders would take for words of their own language is none."""
    if not (text and text.isascii() and text.isprintable()):
        raise Wrong(f"{short(text)} is no kernel's argument", "write it in ASCII, without line breaks")
    own = [word for word in text.split(" ") if is_loaders(word)]
    if own:
        what = f"{short(own[0])} would not reach the kernel: loaders take such a word for their own"
        raise Wrong(what, "write the kernel's arguments alone")
    return text


def arguments(text: str) -> tuple[str, ...]:
    """The arguments of a kernel, in a line."""
    return tuple(argument(word) for word in text.split())


def place(text: str) -> str:
    """A file's path in an archive, from its root on."""
    parts = text.removeprefix("/").split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9._+-]{1,255}", part) and part not in (".", "..") for part in parts):
        raise Wrong(f"{short(text)} is no path in an archive", "write it like config.ign or usr/share/oem/config.ign")
    return "/".join(parts)


# --- paths -----------------------------------------------------------------------------------------------------------


def beside(text: str, lab: Path) -> Path:
    """A path in a lab file: from the file's folder, or (``~``) from the home of whoever owns the file.

    The owner's, since ``./lab`` reads the file with sudo as well as without and has to find the same.
    """
    if not text:
        raise Wrong("the path is empty", "write one, or remove the line")
    if text != "~" and not text.startswith("~/"):
        return lab.parent / text
    try:
        return Path(pwd.getpwuid(lab.stat().st_uid).pw_dir) / text[2:]
    except (OSError, KeyError):
        raise Wrong(f"the owner of {lab} has no home", "write the path in full") from None


def existing(text: str, lab: Path) -> Path:
    """`beside`, for a file that must be there."""
    path = beside(text, lab)
    if not path.is_file():
        raise Wrong(f"there is no file {path}", "paths start from the folder of the lab file")
    return path


# --- public keys -----------------------------------------------------------------------------------------------------


def key_lines(text: str, lab: Path) -> tuple[str, ...]:
    """Public keys, a line each: the one in the text itself, or all in the ``.pub`` file that the text names."""
    if text.startswith(("ssh-", "ecdsa-", "sk-", "-----")) and not text.endswith(".pub"):
        return (_key(text, ""),)
    file = beside(text, lab)
    try:
        with file.open("rb") as stream:
            content = stream.read(KEY_FILE_LIMIT_B).decode("utf-8", "replace")
    except OSError as error:
        fix = "make a key with 'ssh-keygen -t ed25519', or write the path of your .pub file"
        raise Wrong(f"the public key {file} cannot be read: {error.strerror}", fix) from None
    lines = [line.strip() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise Wrong(f"{file} holds no public key", "write the path of a .pub file")
    return tuple(_key(line, f"{file}: ") for line in lines)


def _key(line: str, where: str) -> str:
    """A public key's line, checked: RFC 4253, section 6.6, says how the blob begins."""
    if line.startswith("-----BEGIN") and "PRIVATE" in line:
        raise Wrong(f"{where}this is a private key", "give the .pub file beside it; the private key stays with you")
    kind, _, rest = line.partition(" ")
    fix = "write the whole line of a .pub file: ssh-ed25519 AAAA… you@home"
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(f"{where}{short(line)} is not a public key", fix) from None
    if not kind.isascii() or blob[:4] != len(kind).to_bytes(4) or blob[4 : 4 + len(kind)] != kind.encode():
        raise Wrong(f"{where}{short(line)} is not a public key", fix)
    if not line.isprintable():
        raise Wrong(f"{where}this key holds a character that cannot be printed", fix)
    return line

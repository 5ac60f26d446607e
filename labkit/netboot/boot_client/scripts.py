"""What loaders read: PXELINUX's configuration and iPXE's script, as far as they say which files come next. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True)
class Next:
    """What a configuration asks for: a text to show, a kernel and its initrds; or ``chain``, another file to run."""

    kernel: str = ""
    initrds: tuple[str, ...] = ()
    chain: str = ""
    display: str = ""


class ScriptError(ValueError):
    """A configuration that leads nowhere."""


def config_names(mac: str, address: IPv4Address, folder: str = "") -> Sequence[str]:
    """Where PXELINUX looks, in this order: by card, by address, shortened digit by digit, and the default."""
    digits = f"{int(address):08X}"
    names = ["01-" + mac.replace(":", "-"), *(digits[:length] for length in range(8, 0, -1)), "default"]
    return [f"{folder}pxelinux.cfg/{name}" for name in names]


def read_pxelinux(text: str) -> Next:
    """The default entry of a configuration (doc/syslinux.txt). Raises ScriptError without one."""
    default, label, display, entries = "", "", "", {"": dict[str, str]()}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        word, rest = word.lower(), rest.strip()
        if word == "default":
            default = rest
        elif word == "display":
            display = rest
        elif word == "label":
            label = rest
            entries[label] = {}
        elif word in ("kernel", "linux", "initrd", "append"):
            entries[label][word] = rest
    entry = entries.get(default.split(" ")[0]) or next((found for name, found in entries.items() if name), {})
    kernel = entry.get("linux") or entry.get("kernel", "")
    if not kernel:
        raise ScriptError(f"no entry with a kernel; its default is {default!r}")
    appended = entry.get("append", "").split()
    given = entry.get("initrd") or next((word[7:] for word in appended if word.startswith("initrd=")), "")
    return Next(kernel, tuple(given.split(",")) if given else (), display=display)


def read_ipxe(text: str, base: str = "") -> Next:
    """What a script fetches on its straight way, where nothing fails (ipxe.org/cmd). ``base`` is its own URL.

    Raises ScriptError for a script that boots nothing.
    """
    if not text.startswith("#!ipxe"):
        raise ScriptError("it does not begin with #!ipxe")
    settings: dict[str, str] = {}
    kernel = ""
    initrds: list[str] = []
    for line in text.splitlines():
        command = re.split(r"\s(?:\|\||&&)\s", line.strip())[0]
        command = re.sub(r"\$\{([^}]*)\}", lambda found: settings.get(found[1], ""), command)
        word, _, rest = command.partition(" ")
        words = _without_options(rest.split())
        if word == "set" and words:
            settings[words[0].split(":")[0]] = " ".join(words[1:])
        elif word in ("kernel", "imgselect") and words:
            kernel = _whole(words[0], base)
        elif word == "initrd" and words:
            initrds.append(_whole(words[0], base))
        elif word in ("chain", "imgexec") and words:
            return Next(chain=_whole(words[0], base))
        elif word in ("boot", "exit", "shell"):
            break
    if not kernel:
        raise ScriptError("it fetches no kernel")
    return Next(kernel, tuple(initrds))


def read_grub(text: str) -> Next:
    """What GRUB's script fetches on its straight way: the first kernel, and the archives of the line after it.

    Raises ScriptError for a script that boots nothing.
    """
    kernel = ""
    for line in text.splitlines():
        word, _, rest = line.strip().removeprefix("if ").removesuffix("; then").partition(" ")
        try:
            words = [_below_root(path) for path in shlex.split(rest)] if word in ("linux", "initrd") else []
        except ValueError as error:
            raise ScriptError(f"its line {word} … is no line of GRUB's: {error}") from None
        if word == "linux" and words:
            kernel = kernel or words[0]
        elif word == "initrd" and kernel:
            return Next(kernel, tuple(words))
    if not kernel:
        raise ScriptError("it boots no kernel")
    return Next(kernel)


def _below_root(path: str) -> str:
    """A path on the device that GRUB came from."""
    return path.removeprefix("(tftp)").lstrip("/")


def _without_options(words: Sequence[str]) -> Sequence[str]:
    """The words after a command's options; ``--name`` has a value, and so has every option we would write."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in ("-n", "--name", "-t", "--timeout") else 1
    return words[at:]


def _whole(path: str, base: str) -> str:
    """A path as its URL, where it is relative to a script's."""
    if not base or "://" in path:
        return path
    root = "/".join(base.split("/")[:3])
    return f"{root}{path}" if path.startswith("/") else f"{base.rpartition('/')[0]}/{path}"

"""Where a lab keeps what it must remember: one folder, all of which can be deleted after ``./lab down``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import MachineError
from labkit.lab import Lab, NetworkKind
from labkit.lab.secret import Secret

SOCKET_PATH_B = 108


@dataclass(frozen=True)
class State:
    """The folder's layout.

    ``events.jsonl`` the stream; ``wanted.json`` which blades are wanted on; ``saved-BLADE.json`` what chapter 2 has
    changed for a config of a blade's; ``keys/`` (mode 0700) what must not be read by others; ``run/`` sockets and
    process ids; ``logs/`` a log a part and a console a blade; ``inventory/`` what each machine is made of; ``share/``
    the folder all blades see; ``workbook/`` the notebooks that JupyterLab opens. All of it is its owner's, who can
    delete it without root.

    What parts write, each as a user of its own, lies elsewhere, in `data`: ``bootd/`` with ``leases.json``,
    ``boots.json`` and ``inventory/``, the boot server's memory; ``engine/`` the controller's Docker data; ``registry/``
    the images blades pull, ``push/`` the way to put them in, ``cache/`` those of another registry; ``nfs/`` what the
    share's server remembers; ``bmc1/`` and on, and ``chassis/``, what the virtual slots need while they run; ``disks/``
    the virtual blades' disks.
    """

    path: Path

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def inventory(self) -> Path:
        """What each machine told last that it is made of (`labkit.events.kept_inventories`)."""
        return self.path / "inventory"

    @property
    def data(self) -> Path:
        """What this lab's parts write: a folder of root's in ``$LABKIT_DATA``, else ``/var/lib/labkit``.

        Its name is made from the path of the state folder.
        """
        place = Path(os.environ.get("LABKIT_DATA") or "/var/lib/labkit").absolute()
        return place / hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:16]

    @property
    def books(self) -> Path:
        """The boot server's leases and boots."""
        return self.data / "bootd"

    @property
    def roots(self) -> Path:
        """Where parts mount their roots, in namespaces of their own."""
        return self.data / "roots"

    @property
    def disks(self) -> Path:
        """The disks of virtual blades, a file each."""
        return self.data / "disks"

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.run / "control.sock"

    @property
    def docker(self) -> Path:
        """The socket of the controller's engine."""
        return self.run / "docker.sock"

    def manager_socket(self, lab: Lab) -> Path:
        """The engine of the swarm's first manager: the lab's own, or in a real lab this machine's."""
        return self.docker if lab.network.kind is NetworkKind.VIRTUAL else Path("/var/run/docker.sock")

    @property
    def slots(self) -> Path:
        """The supervisor's socket for the buttons of its chassis alone."""
        return self.run / "slots.sock"

    @property
    def configd(self) -> Path:
        return self.run / "configd.sock"

    @property
    def redfish(self) -> Path:
        """The socket of the virtual slots' Redfish service."""
        return self.run / "redfish.sock"

    @property
    def sensord(self) -> Path:
        return self.run / "sensord.sock"

    @property
    def push(self) -> Path:
        """The registry's socket for who may put images in: the lab's owner alone."""
        return self.data / "push/socket"

    @property
    def swarmd(self) -> Path:
        return self.run / "swarmd.sock"

    @property
    def bootd(self) -> Path:
        return self.run / "bootd.sock"

    @property
    def pid(self) -> Path:
        """Holds the supervisor's process id and start time, so that a number used again is not mistaken for it."""
        return self.run / "supervisor.pid"

    @property
    def ca(self) -> Path:
        """The certificate of the lab's own authority (`labkit.lab.certificates`)."""
        return self.keys / "ca.crt"

    @property
    def unlock_keys(self) -> Path:
        """The keys of a swarm that is locked (`labkit.swarm.membership.autolock`)."""
        return self.keys / "swarm-unlock"

    @property
    def trusted(self) -> Path:
        """Notes which file of this machine's own Docker the lab has written, in a real lab."""
        return self.path / "trusted.json"

    @property
    def wanted(self) -> Path:
        """The blades that somebody wants on (`labkit.servers.at_boot.wanted`)."""
        return self.path / "wanted.json"

    @property
    def ssh_key(self) -> Path:
        return self.keys / "ssh"

    def console(self, blade: str) -> Path:
        """All a blade's serial port has said since the lab came up."""
        return self.logs / f"{blade}.console.log"

    @property
    def tag(self) -> str:
        """Six hexadecimal digits that tell this lab's network interface from another lab's on the same machine."""
        return hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:6]

    def make(self) -> None:
        """Create the folders. The owner is whoever owns the nearest existing folder above, also when root makes them.

        Raises MachineError when the path is too long for the sockets in it.
        """
        if any(unicodedata.category(letter) == "Cc" for letter in str(self.path)):
            raise MachineError(
                "the state folder's path has a line break or another control character in it",
                where=repr(str(self.path)),
                fix="choose another one with --state or LABKIT_STATE",
            )
        longest = len(os.fsencode(self.run.absolute() / "blade99.qmp"))
        if longest >= SOCKET_PATH_B:
            raise MachineError(
                f"the state folder's path is {longest - SOCKET_PATH_B + 1} bytes too long for Unix sockets (unix(7))",
                where=str(self.path),
                fix="choose a shorter one with --state or LABKIT_STATE",
            )
        owner = owner_of(self.path)
        for folder, mode in ((self.path, 0o755), (self.run, 0o755), (self.keys, 0o700), (self.logs, 0o755)):
            for missing in [place for place in (*reversed(folder.parents), folder) if not place.exists()]:
                missing.mkdir(mode=mode)
                os.chown(missing, *owner)

    @property
    def bmc_password(self) -> Secret:
        """The password of the virtual slots' controllers: 16 bytes, all that every IPMI version takes."""
        return Secret(self.key("bmc").reveal()[:16])

    def key(self, name: str) -> Secret:
        """A secret of this lab's own, made on first use: 32 hexadecimal digits in ``keys/<name>``, mode 0600.

        Raises MachineError for a file that holds none: nobody is to be let in by an empty one.
        """
        path = self.keys / name
        if not path.exists():
            fresh = path.with_name(f".{name}.{os.getpid()}")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_hex(16) + "\n")
            os.chown(fresh, *owner_of(path.parent))
            with contextlib.suppress(FileExistsError):  # another was quicker: there is one value for all
                os.link(fresh, path)
            fresh.unlink()
        text = path.read_bytes().strip()
        if not re.fullmatch(rb"[0-9a-f]{32}", text):
            fix = "remove it, with the lab down: the next ./lab up makes another one"
            raise MachineError("this file is damaged: it holds no secret of labkit's", where=str(path), fix=fix)
        return Secret(text.decode())


def owner_of(path: Path) -> tuple[int, int]:
    """User and group of a file, or of the nearest folder above it that exists."""
    for place in (path, *path.absolute().parents):
        if place.exists():
            status = place.stat()
            return status.st_uid, status.st_gid
    return os.getuid(), os.getgid()


def write_whole(path: Path, text: str | bytes, *, mode: int = 0o644) -> None:
    """Replace a file so that a reader, or a power cut, sees the old text or the new, never a part (rename(2)).

    It belongs to whoever the folder belongs to, also when root writes it.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), *owner_of(path.parent))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def text_of(path: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def remove_unfinished(path: Path) -> None:
    """Remove what a writer of this file left beside it when it was killed. Nobody else may be writing it now."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """`write_whole` of a value as JSON."""
    write_whole(path, json.dumps(value, indent=1, sort_keys=True) + "\n", mode=mode)

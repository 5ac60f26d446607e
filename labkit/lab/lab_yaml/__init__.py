"""``lab.yaml`` → `Lab`: everything that is wrong with it at once, each mistake with its place and its fix.

Every key has its entry in docs/lab-yaml.md. What blades have in common is written once, at the top of the file, and a
blade's own entry overrides it; a virtual lab needs nothing but its blades' names.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from labkit.errors import FileError, LabFileError, Mistake
from labkit.lab import Lab
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.blades import SHARED, Reader
from labkit.lab.lab_yaml.images import IMAGES, MIRROR, read_images
from labkit.lab.lab_yaml.network import read_chassis, read_network
from labkit.lab.lab_yaml.positions import Kind, Notes, Section
from labkit.lab.lab_yaml.storage import STORAGE, read_storage
from labkit.lab.lab_yaml.swarm import SWARM, read_swarm

__all__ = ["load", "parse", "read_bytes"]

SIZE_LIMIT_B = 1 << 20

TOP = Kind(
    "a lab",
    ("name", "network", "chassis", "swarm", "storage", "images", "ssh_keys", "bmc", "blades", *SHARED),
    {
        **dict.fromkeys(("interface", "subnet", "server", "controller", "dhcp", "pool"), "under 'network:'"),
        **dict.fromkeys(("http_port", "registry_port", "tls", "https_port", "discover"), "under 'network:'"),
        **dict.fromkeys(("slot", "macs", "address"), "to each blade, under 'blades:'"),
        **dict.fromkeys(SWARM.keys, "under 'swarm:'"),
        **dict.fromkeys(STORAGE.keys, "under 'storage:'"),
        **dict.fromkeys(IMAGES.keys, "under 'images:'"),
        **dict.fromkeys(MIRROR.keys, "under 'mirror:' of 'images:'"),
        "slots": "under 'chassis:'",
        "kind": "under 'network:' or 'chassis:'",
    },
)


def load(path: Path) -> Lab:
    """The lab in a file. Raises LabFileError with every mistake, also when the file cannot be read at all."""
    return _read(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """What is in a lab file. Raises LabFileError where it cannot be read, or is too large to be one."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT_B + 1)
    except FileNotFoundError:
        fix = "give the path of a lab file; the one that ships is lab.yaml"
        raise LabFileError(str(path), [Mistake(1, 1, "there is no such file", fix)]) from None
    except OSError as error:
        fix = f"name the file in it: {path / 'lab.yaml'}" if path.is_dir() else FileError.of(error, path).fix
        raise LabFileError(str(path), [Mistake(1, 1, f"it cannot be read: {error.strerror}", fix)]) from None
    if len(data) > SIZE_LIMIT_B:
        raise LabFileError(str(path), [Mistake(1, 1, "it is larger than 1 MiB", "is this really a lab file?")])
    return data


def parse(text: str, path: Path) -> Lab:
    """The lab in a text. ``path`` is what messages call it, and the paths in it start from its folder.

    Files that the text names (public keys, configs) are looked at. Raises LabFileError with every mistake.
    """
    return _read(text.encode("utf-8", "surrogatepass"), path)


def _read(data: bytes, path: Path) -> Lab:
    notes = Notes(str(path))
    root = positions.compose(data, notes)
    top = Section(root, root, TOP, notes)
    if top.broken:
        notes.check()
    net = read_network(top, notes)
    blades = Reader(top, net, path, notes).read()
    lab = Lab(
        name=top.take("name", positions.name, "lab"),
        path=path,
        network=net.value,
        chassis=read_chassis(top, net, blades, notes),
        blades=tuple(blade for blade, _ in blades),
        ssh_keys=_ssh_keys(top, path, notes),
        swarm=read_swarm(top, net, notes),
        storage=read_storage(top, net, path, notes),
        images=read_images(top, notes),
    )
    notes.check()
    return lab


def _ssh_keys(top: Section, path: Path, notes: Notes) -> tuple[str, ...]:
    first: dict[str, yaml.Node] = {}
    for node, lines in top.take_all("ssh_keys", lambda text: values.key_lines(text, path)) or ():
        for line in lines:
            if line in first:
                notes.add(node, f"this key is already given on line {first[line].start_mark.line + 1}", "remove one")
            first.setdefault(line, node)
    return tuple(first)

"""Every piece of lab.yaml that people are shown can be written there: in the docs, the notebooks, and in messages.

A piece may stand at the top of a file, in one of its sections or in a blade, in a virtual lab or a real one: the real
reader has to take it in one of these places.
"""

from __future__ import annotations

import copy
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import labkit
from labkit.errors import LabFileError
from labkit.lab import lab_yaml
from labkit.lab.lab_yaml import blades, bmcs, custom, images, network, storage, swarm
from labkit.lab.lab_yaml.positions import Kind
from tests.rig.messages import messages

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(labkit.__file__).parent
PAGES = [path for pattern in ("*.md", "docs/*.md", "notebooks/*.ipynb") for path in sorted(ROOT.glob(pattern))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
MODULES_OF_KEYS = (lab_yaml, blades, bmcs, custom, images, network, storage, swarm)
KINDS = [one for module in MODULES_OF_KEYS for one in vars(module).values() if isinstance(one, Kind)]
KEYS = {key for kind in KINDS for key in kind.keys}
SECTIONS = {
    "network": network.NETWORK, "chassis": network.CHASSIS, "swarm": swarm.SWARM, "storage": storage.STORAGE,
    "bmc": bmcs.SHARED_BMC, "custom": custom.CUSTOM, "images": images.IMAGES,
}  # fmt: skip
OTHERS = {
    "variant": "Butane", "version": "Butane", "enabled": "a unit in Butane", "type": "an option of a Docker volume",
    "o": "an option of a Docker volume",
    **dict.fromkeys(("build", "configs", "constraints", "driver", "environment", "external", "mode"), "Compose"),
    "update_config": "Compose",
}  # fmt: skip
"""Keys of other files that the prose shows, with whose they are."""
PROSE = {
    "NO", "a", "and", "blades", "bring", "build", "command", "dmesg", "images", "in", "it", "its", "left", "list",
    "logs", "make", "mirror", "move", "no", "nodes", "none", "not", "proxy", "run", "say", "see", "take",
    "that", "to", "under", "with", "write",
}  # fmt: skip
"""Words that follow a colon in a sentence of a message, where it is no piece of YAML."""
BASES: list[dict[str, Any]] = [
    yaml.load(text, yaml.BaseLoader)  # values as they are written
    for text in (
        "blades: [{name: blade1}]",
        "{network: {pool: [10.77.0.100, 10.77.0.149]}, blades: [{name: blade1}]}",
        "{os: flatcar, blades: [{name: blade1}]}",
        "{os: custom, custom: {kernel: mine.bu}, blades: [{name: blade1}]}",
        """
        network: {kind: interface, interface: eth1, subnet: 10.77.0.0/24, server: 10.77.0.2}
        bmc: {password_file: bmc.password}
        blades: [{name: blade1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.77.0.201}}]
        """,
    )
]
"""The least virtual lab, one with a pool, two with another system, and the least real one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the pieces name."""
    for name in ("mine.bu", "common.bu", "manager.bu", "flatcar.bu", "rack.bu"):
        (tmp_path / name).write_text("variant: flatcar\nversion: 1.1.0\n")
    for name in ("bmc.password", "vmlinuz", "initrd.gz"):
        (tmp_path / name).write_text("x\n")
    (tmp_path / "pages").mkdir()
    blob = b64encode(b"".join(len(part).to_bytes(4) + part for part in (b"ssh-ed25519", bytes(32)))).decode()
    (tmp_path / "id_ed25519.pub").write_text(f"ssh-ed25519 {blob}\n")
    return tmp_path


def is_taken(text: str, folder: Path) -> bool:
    try:
        lab_yaml.parse(text.replace("~/.ssh/", f"{folder}/"), folder / "lab.yaml")
    except LabFileError:
        return False
    return True


def merged(into: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    """Another mapping with what a piece says, section by section."""
    made = copy.deepcopy(into)
    for key, value in piece.items():
        old = made.get(key)
        made[key] = merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return made


def labs(piece: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Labs with the piece wherever its keys may stand: at the top, in a section, in a blade."""
    for base in BASES:
        if piece.keys() <= set(lab_yaml.TOP.keys):
            yield merged(base, piece)
        for name, kind in SECTIONS.items():
            if piece.keys() <= set(kind.keys):
                yield merged(base, {name: piece})
        if piece.keys() <= set(custom.ARCHIVE.keys):
            yield merged(base, {"custom": {"config": piece}})
        if piece.keys() <= set(blades.BLADE.keys):
            yield {**base, "blades": [merged(base["blades"][0], piece)]}


def fits(piece: str, folder: Path) -> bool:
    """Whether it is a lab, or some lab may have it."""
    if is_taken(piece, folder):
        return True
    read = yaml.load(piece, yaml.BaseLoader)
    return isinstance(read, dict) and any(is_taken(yaml.safe_dump(lab), folder) for lab in labs(read))


def prose_of(page: Path) -> str:
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(page: Path) -> list[str]:
    return [body for language, body in FENCE.findall(prose_of(page)) if language == "yaml"]


def pieces(page: Path) -> list[str]:
    """What stands in backticks and begins as a line of YAML does, but for what a blade prints on its screen."""
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", prose_of(page)))
    return sorted({span for span in spans if re.match(r"(?!labos|labkit)[a-z_]+:( |$)", span)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_and_every_piece_of_a_page_can_be_written(page: Path, folder: Path) -> None:
    wrong = []
    for text in [*blocks(page), *pieces(page)]:
        read = yaml.load(text, yaml.BaseLoader)
        assert isinstance(read, dict), text
        if read.keys() <= OTHERS.keys() or "volumes" in read:  # a Compose file's
            continue
        alone = "…" in text or all(value == "" for value in read.values())  # no value is told: it has to be a key
        if not (read.keys() <= KEYS if alone else fits(text, folder)):
            wrong.append(text)
    assert wrong == []


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_a_lab(example: Path, folder: Path) -> None:
    assert is_taken(example.read_text(), folder)


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if not path.is_relative_to(PACKAGE / "ignition")]
ENVIRONMENT = {"https_proxy", "http_proxy", "no_proxy"}
PIECE = re.compile(r"(?<![\w.:/-])([a-z_]+): (\{[^{}…]*\}|\[[^][…]*\]|\w[\w.-]*)")
FIELD = re.compile(r"\{\w+\}")
NAMED = re.compile(r"(?:\bset|\bwrite|\bgive|\bor) ([a-z]+_[a-z_]+)\b|\b([a-z]+_[a-z_]+) in lab\.yaml")


def test_every_piece_in_a_message_can_be_written(folder: Path) -> None:
    tried, wrong = set(), []
    for module in MODULES:
        for text in messages(module):
            for key, value in PIECE.findall(text):
                if key in KEYS and value not in PROSE and not text.startswith("…") and not FIELD.fullmatch(value):
                    tried.add(f"{key}: {value}")
            named = {name for found in NAMED.findall(text) for name in found if name}
            wrong += [(module.name, name) for name in named - KEYS - ENVIRONMENT]
    assert len(tried) > 12, "the messages have no pieces any more, or this does not find them"
    assert wrong == [], "keys that lab.yaml does not have"
    assert [piece for piece in sorted(tried) if not fits(piece, folder)] == []


@pytest.mark.parametrize("piece", ["chassis: ipmi", "memory_mib: 2048", "boot: tftp", "network: {dhcp: maybe}"])
def test_what_cannot_be_written_is_found(piece: str, folder: Path) -> None:
    assert not fits(piece, folder)

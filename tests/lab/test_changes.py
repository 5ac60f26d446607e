"""What of a changed lab file a lab that is up can take, and what waits for a restart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from labkit.lab import Lab, lab_yaml
from labkit.lab.changes import KEYS, OTHERS, SECTIONS, changes
from labkit.lab.lab_yaml import TOP
from labkit.lab.lab_yaml.blades import BLADE
from labkit.lab.lab_yaml.images import IMAGES
from labkit.lab.lab_yaml.network import NETWORK
from labkit.lab.lab_yaml.storage import STORAGE
from labkit.lab.lab_yaml.swarm import SWARM

TWO = "blades: [{name: a}, {name: b}]\n"


def lab(text: str) -> Lab:
    return lab_yaml.parse(text, Path("/nowhere/lab.yaml"))


def test_blades_come_and_go() -> None:
    old, new = lab(TWO), lab("blades: [{name: c, slot: 3}, {name: b, slot: 2}]\n")
    found = changes(old, new)
    assert (found.added, found.removed, found.keys) == ((new.blade("c"),), (old.blade("a"),), ())
    assert changes(old, old) == changes(old, lab(f"# a comment\n{TWO}chassis: {{slots: 9}}\n"))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"name: x\n{TWO}", ("name",)),
        (f"network: {{dns: [10.77.0.1], http_port: 81}}\n{TWO}", ("network: dns", "network: http_port")),
        (f"swarm: {{lost_after: never, controller: active}}\n{TWO}", ("swarm: controller", "swarm: lost_after")),
        (f"storage: {{share: true}}\n{TWO}", ("storage: share",)),
        (f"images: {{mirror: {{flatcar: 'https://mirror.test/'}}}}\n{TWO}", ("images: mirror",)),
        ("blades: [{name: a, memory: 3G}, {name: b}, {name: c}]\n", ("memory of a",)),
        ("blades: [{name: a, slot: 4, os: flatcar}, {name: b}]\n", ("address of a",)),
    ],
)
def test_all_else_is_named(text: str, keys: tuple[str, ...]) -> None:
    assert set(keys) <= set(changes(lab(TWO), lab(text)).keys)


def test_every_field_is_called_as_the_file_calls_it() -> None:
    """A key that somebody is to look for in lab.yaml must be one."""
    kinds = {"network": NETWORK, "swarm": SWARM, "storage": STORAGE, "images": IMAGES}
    one = lab(TWO)
    for value, known, but in (
        (one, TOP, OTHERS),
        (one.blades[0], BLADE, ("config",)),
        *((getattr(one, section), kinds[section], ()) for section in SECTIONS),
    ):
        fields = [field.name for field in dataclasses.fields(value) if field.name not in but]
        assert {KEYS.get(name, name) for name in fields} - {""} <= set(known.keys)


def test_a_config_is_looked_up_at_each_boot(tmp_path: Path) -> None:
    (tmp_path / "mine.bu").write_text("variant: flatcar\nversion: 1.0.0\n")
    plain = lab_yaml.parse(TWO, tmp_path / "lab.yaml")
    own = lab_yaml.parse("blades: [{name: a, config: mine.bu}, {name: b}]\n", tmp_path / "lab.yaml")
    assert changes(plain, own).keys == ()

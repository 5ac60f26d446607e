"""lab.yaml by its own keys, and by damage: a lab that can be adopted into, or mistakes with their places and fixes."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import yaml

from labkit.errors import LabFileError, LabkitError
from labkit.lab import lab_yaml
from labkit.lab.lab_yaml import adopt
from tests.rig.fuzzing import Fuzz, mutated

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/lab-yaml.md").read_text(), re.DOTALL)
SEEDS = [path.read_text() for path in (ROOT / "lab.yaml", *sorted((ROOT / "examples").glob("*.yaml")))] + SNIPPETS
WORDS = """~ '' 0 1 -1 3 50 999 1e9 010 0x1 1:20 yes no true off x blade1 ilo-3 ü “a” 10.77.0.11 10.77.0.0/24
    10.77.0.300 ::1 fe80::1 52:54:00:4d:00:01 52-54-00-4D-00-02 00:00:00:00:00:00 server proxy none virtual interface
    ipmi redfish manual wol uefi bios pxelinux ipxe grub labos flatcar custom stable 4230.2.3 2GiB 10G 90s 5m never
    drain active /dev/sda /dev/vda ../x /etc/passwd oem.yaml https://x.example/y ${NAME} {{blade.name}} !!int|3
    !!python/object:x &a *a << [] {} [~] {a:1} '\\e[2J' "\\u202e" """.split()
MAC = "00:00:5e:00:53:77"
ODD = (
    "\t",
    "\u00a0",
    "\r",
    "\ufeff",
    "\0",
    "\x1b[31m",
    "# é\n",
    "---\n",
    "...\n",
    "\n\n",
    "  ",
    ": ",
    "- ",
    "'",
    '"',
    "|\n",
    "? ",
)


def tree(seed: str) -> Any:
    """A seed as nodes, so that words stay as they were written."""
    return yaml.compose(seed, Loader=yaml.SafeLoader)


def changed(node: yaml.Node, chance: random.Random, all_keys: list[str]) -> yaml.Node:
    """The nodes with some of their values, keys and parts otherwise."""
    if isinstance(node, yaml.ScalarNode):
        if chance.random() < 0.06:
            return yaml.ScalarNode(node.tag, chance.choice(WORDS), style=chance.choice((None, None, "'", '"')))
        return node
    dice = chance.random()
    if dice < 0.02:
        return yaml.ScalarNode("tag:yaml.org,2002:str", chance.choice(WORDS))
    if isinstance(node, yaml.SequenceNode):
        items = [changed(item, chance, all_keys) for item in node.value if chance.random() > 0.04]
        items += [item for item in items if chance.random() < 0.04]
        return yaml.SequenceNode(node.tag, items, flow_style=chance.random() < 0.3)
    pairs = [(key, changed(value, chance, all_keys)) for key, value in node.value if chance.random() > 0.05]
    if chance.random() < 0.15:
        key = yaml.ScalarNode("tag:yaml.org,2002:str", chance.choice(all_keys))
        pairs.append(
            (
                key,
                chance.choice(pairs)[1]
                if pairs and chance.random() < 0.3
                else yaml.ScalarNode("", chance.choice(WORDS)),
            )
        )
    if dice < 0.04:
        chance.shuffle(pairs)
    return yaml.MappingNode(node.tag, pairs, flow_style=chance.random() < 0.2)


def keys_of(node: yaml.Node) -> set[str]:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value) for key, _ in node.value}.union(*(keys_of(value) for _, value in node.value), set())
    return set().union(*map(keys_of, node.value)) if isinstance(node, yaml.SequenceNode) else set()


def written(node: yaml.Node, chance: random.Random) -> str:
    """As text, by hand: the library's own writer would quote what must not stay as it is."""
    return "".join(_lines(node, 0, chance))


def _lines(node: yaml.Node, depth: int, chance: random.Random) -> list[str]:
    if is_short(node):
        return ["  " * depth + _flow(node) + "\n"]
    lines = []
    for item in node.value:
        mark, value = ("-", item) if isinstance(node, yaml.SequenceNode) else (_flow(item[0]) + ":", item[1])
        comment = "  # a note of mine" if chance.random() < 0.1 else ""
        if is_short(value):
            lines.append("  " * depth + f"{mark} {_flow(value)}{comment}\n")
        else:
            lines += ["  " * depth + mark + comment + "\n", *_lines(value, depth + 1, chance)]
    return lines


def is_short(node: yaml.Node) -> bool:
    return not isinstance(node, yaml.CollectionNode) or bool(node.flow_style) or not node.value


def _flow(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        quote = node.style if node.style in ("'", '"') else ""
        return f"{quote}{node.value}{quote}"
    if isinstance(node, yaml.SequenceNode):
        return "[" + ", ".join(map(_flow, node.value)) + "]"
    return "{" + ", ".join(f"{_flow(key)}: {_flow(value)}" for key, value in node.value) + "}"


def test_lab_yaml(tmp_path: Path, fuzz: Fuzz) -> None:
    path, trees = tmp_path / "lab.yaml", [tree(seed) for seed in SEEDS]
    all_keys = sorted(set().union(*map(keys_of, trees)) | {"nothing", "<<", "Name", "näme"})
    for chance in fuzz.rounds():
        for _ in range(6):
            at = chance.randrange(len(SEEDS))
            text = written(changed(trees[at], chance, all_keys), chance) if chance.random() < 0.7 else SEEDS[at]
            if chance.random() < 0.3:
                here = chance.randrange(len(text) + 1)
                text = text[:here] + chance.choice(ODD) + text[here:]
            data = mutated(text.encode(), chance) if chance.random() < 0.3 else text.encode()
            path.write_bytes(data)
            began = time.process_time()
            fuzz.count(read(path))
            assert time.process_time() - began < 2


def read(path: Path) -> str:
    """A lab, which can be adopted into, or its mistakes."""
    try:
        lab = lab_yaml.load(path)
    except LabFileError as error:
        lines = path.read_bytes().count(b"\n") + path.read_bytes().count(b"\r") + 2
        assert error.mistakes
        for mistake in error.mistakes:
            assert 1 <= mistake.line <= lines and mistake.column >= 1 and mistake.what and mistake.fix
        assert all(line.isprintable() for line in str(error).splitlines())
        return "refused"
    source = adopt.read(path.read_bytes().decode(), path)
    try:
        with_one = adopt.adopt(source, (MAC,), name="newcomer")
    except LabkitError as error:
        assert isinstance(error, LabFileError) or (error.what and error.fix)
        return "a lab that takes no more"
    assert [blade.name for blade in with_one.blades] == [*(blade.name for blade in lab.blades), "newcomer"]
    assert re.findall("#.*", source.text) == [note for note in re.findall("#.*", with_one.text) if note in source.text]
    without = adopt.forget(with_one, "newcomer")
    assert [blade.name for blade in without.blades] == [blade.name for blade in lab.blades]
    return "a lab"

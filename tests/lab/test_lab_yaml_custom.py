"""``custom:`` in a lab file: what it means, and each mistake with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import ConfigBy, Custom, Flavour, Lab, lab_yaml


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("linux", "initrd.gz", "own.bu"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, text: str) -> Lab:
    return lab_yaml.parse(text, folder / "lab.yaml")


def test_a_system_of_ones_own(folder: Path) -> None:
    text = """\
custom: {kernel: linux, initrds: [initrd.gz], arguments: priority=low quiet}
blades:
  - {name: a, os: custom}
  - {name: b, os: custom, custom: {kernel: linux, arguments: [a=1, "dyndbg='file x +p'"], config: url}}
  - {name: c, os: custom, custom: {kernel: linux, config: {archive: /config.ign}}}
  - {name: d}
"""
    a, b, c, d = read(folder, text).blades
    assert a.custom == Custom(folder / "linux", (folder / "initrd.gz",), ("priority=low", "quiet"))
    assert b.custom == Custom(folder / "linux", (), ("a=1", "dyndbg='file x +p'"), ConfigBy.URL)
    assert c.custom == Custom(folder / "linux", (), (), ConfigBy.ARCHIVE, "config.ign")
    assert (d.os, d.custom) == (Flavour.LABOS, None)
    assert [blade.is_node for blade in (a, b, c, d)] == [False, True, True, True]


HEAD = "blades:\n  - name: a\n    os: custom\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "what", "fix"),
    [
        (HEAD, 3, 9, "nothing says what os: custom boots", "kernel: vmlinuz"),
        (HEAD + "    custom: {}\n", 4, 13, "custom has no 'kernel'", "name its file"),
        (HEAD + "    custom: linux\n", 4, 13, "custom must be a mapping", "kernel"),
        (HEAD + "    custom: {kernel: none}\n", 4, 22, "there is no file", "paths start from"),
        (HEAD + "    custom: {kernel: linux, initrds: [x.gz]}\n", 4, 39, "there is no file", "paths start from"),
        (HEAD + "    custom: {kernel: linux, initrds: initrd.gz}\n", 4, 38, "must be a list", "in brackets"),
        (HEAD + "    custom: {kernel: linux, initrd: initrd.gz}\n", 4, 29, "no key 'initrd'", "initrds: [initrd.gz]"),
        (HEAD + "    custom: {kernel: linux, config: dhcp}\n", 4, 37, "no way for a config", "config: url"),
        (HEAD + "    custom: {kernel: linux, config: {}}\n", 4, 37, "has no 'archive'", "archive: config.ign"),
        (HEAD + "    custom: {kernel: linux, config: {archive: ../x}}\n", 4, 47, "no path in an archive", "config.ign"),
        (HEAD + "    custom: {kernel: linux, arguments: a || b}\n", 4, 40, "would not reach the kernel", "alone"),
        (HEAD + "    custom: {kernel: linux, arguments: ['x=${y}']}\n", 4, 41, "would not reach the kernel", "alone"),
        (HEAD + "    custom: {kernel: linux}\n    config: own.bu\n", 5, 13, "no config reaches this", "config: url"),
        (HEAD + "    custom: {kernel: linux}\n    version: 1\n", 5, 14, "no releases of custom", "remove this line"),
        ("blades:\n  - name: a\n    custom: {kernel: linux}\n", 3, 13, "not of your own making", "os: custom"),
        ("custom: {kernel: linux}\nblades: [{name: a}]\n", 1, 9, "no blade has os: custom", "where it is meant"),
    ],
)
def test_a_mistake_is_said_once_with_its_place(
    folder: Path, text: str, line: int, column: int, what: str, fix: str
) -> None:
    with pytest.raises(LabFileError) as caught:
        read(folder, text)
    [mistake] = caught.value.mistakes
    assert (mistake.line, mistake.column) == (line, column)
    assert what in mistake.what and fix in mistake.fix


def test_a_config_for_all_does_not_disturb_a_blade_without(folder: Path) -> None:
    text = "config: own.bu\nblades: [{name: a}, {name: b, os: custom, custom: {kernel: linux}}]\n"
    assert [blade.is_node for blade in read(folder, text).blades] == [True, False]


def test_the_manuals_examples_are_labs(tmp_path: Path) -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs/lab-yaml.md").read_text()
    section = manual.partition("### A system of your own")[2].partition("### Hardware")[0]
    examples = section.split("```\n")[1::2]
    assert len(examples) == 2
    for example in examples:
        text = re.sub(r"/(?=usr/lib|boot)", f"{tmp_path}/", example)
        for name in re.findall(r"[\w./+-]+/(?:linux|initrd\.\w+|vmlinuz|[\w+]+\.bin)\b", text):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert all(blade.custom is not None for blade in read(tmp_path, text).blades)

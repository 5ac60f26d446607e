"""Whatever it is fed, the package answers with a config, a report or its own error, and soon."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import ignition
from labkit.ignition import IgnitionError
from labkit.ignition.spec3 import BUTANE

CASES = sorted((Path(__file__).parent / "cases").glob("*.bu")) + sorted((Path(__file__).parent / "cases").glob("*.clc"))
HEAD = "variant: flatcar\nversion: 1.1.0\n"
BOMB = (
    HEAD
    + "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
)
ALIASED = (
    HEAD + "storage:\n  files:\n    - &x {path: /a, append: [" + "{inline: a}, " * 99 + "]}\n" + "    - *x\n" * 3000
)


def feed(source: str | bytes) -> str:
    """Put a source through everything that takes one; returns the first complaint."""
    complaint = ""
    for notation in ("butane", "clc"):
        try:
            made = ignition.transpile(source, notation=notation)
        except IgnitionError as error:
            complaint = complaint or str(error)
            continue
        config = json.loads(made.config)
        assert not ignition.validate(made.config).is_fatal
        ignition.lint(config)
        try:
            ignition.explain(config)
        except IgnitionError as error:
            assert "cannot be carried over" in error.summary
    ignition.validate(source)
    return complaint


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (ALIASED, "excessive aliasing"),
        (HEAD + "a: " + "[" * 10_001, "exceeded max depth"),
        (HEAD + "a: " + "x" * 9_000_000, "larger than the limit"),
        (HEAD + "storage: &a {<<: *a}", "contains itself"),
        (b"\x00", "control characters"),
        (b"\xff\xfe\xff", "yaml"),
    ],
)
def test_what_cannot_be_read_gets_a_clear_error(source: str | bytes, words: str) -> None:
    started = time.monotonic()
    assert words in feed(source)
    assert time.monotonic() - started < 5


def test_a_bomb_in_a_place_nobody_reads_does_no_harm() -> None:
    started = time.monotonic()
    assert ignition.transpile(BOMB).version == "3.4.0"
    assert time.monotonic() - started < 1


def test_json_that_is_too_deep_or_too_large_is_refused() -> None:
    assert "exceeded max depth" in ignition.validate("[" * 50_000).raw()
    assert "larger than the limit" in ignition.validate('"' + "x" * 9_000_000 + '"').raw()


WORDS = st.sampled_from(
    [
        "/a",
        "a.service",
        "0644",
        "644",
        "yes",
        "~",
        "x y",
        "http://x",
        "data:,x",
        "oem:///x",
        "%zz",
        "{HOSTNAME}",
        "1.5GiB",
        "ext4",
        "-1",
        "raid1",
        "&x",
        "*x",
        "<<",
        "!!int 3",
        "é",
        "[Unit]",
        "1e3",
        "''",
    ]
)
KEYS = st.sampled_from(
    [
        "storage",
        "files",
        "path",
        "contents",
        "inline",
        "mode",
        "systemd",
        "units",
        "name",
        "enabled",
        "passwd",
        "users",
        "disks",
        "partitions",
        "etcd",
        "version",
        "variant",
        "boot_device",
        "mirror",
        "devices",
        "dropins",
        "luks",
        "append",
        "ignition",
        "config",
        "merge",
        "filesystems",
        "with_mount_unit",
        "format",
        "size",
        "label",
        "update",
        "remote",
        "url",
    ]
)
TREES: Any = st.recursive(
    WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=2000)
@given(TREES, st.sampled_from(["", *(f"variant: {variant}\nversion: {number}\n" for variant, number in BUTANE)]))
def test_generated_documents(tree: Any, head: str) -> None:
    body = (
        json.dumps(tree) if not isinstance(tree, dict) else "\n".join(f"{k}: {json.dumps(v)}" for k, v in tree.items())
    )
    feed(head + body)


@settings(max_examples=150, deadline=2000)
@given(st.sampled_from(CASES), st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6)), min_size=1, max_size=4))
def test_damaged_documents(case: Path, changes: list[tuple[int, bytes]]) -> None:
    data = case.read_bytes()
    for at, replacement in changes:
        at %= len(data)
        data = data[:at] + replacement + data[at + len(replacement) // 2 :]
    feed(data)

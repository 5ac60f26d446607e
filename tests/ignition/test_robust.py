"""Whatever it is fed, the package answers with a config, a report or its own error, and soon."""

from __future__ import annotations

import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from labkit import ignition
from labkit.ignition import IgnitionError
from labkit.ignition.clc.fields import container_linux
from labkit.ignition.spec import v2, v3
from labkit.ignition.spec.schema import Struct, Type
from labkit.ignition.spec.v3 import BUTANE

FOLDER = Path(__file__).parent / "cases"
SHARED = Path(os.environ["LABKIT_IGNITION_CASES"]) if "LABKIT_IGNITION_CASES" in os.environ else None
CASES = sorted(path for suffix in ("bu", "clc", "ign", "yaml") for path in (SHARED or FOLDER).rglob(f"*.{suffix}"))
HEAD = "variant: flatcar\nversion: 1.1.0\n"
HEADS = ("variant", "version")
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


def feed(source: str | bytes) -> list[str]:
    """Put a source through everything that takes one; the complaints of Butane and of Container Linux Config."""
    complaints = []
    for notation in ("butane", "clc"):
        try:
            made = ignition.transpile(source, notation=notation)
        except IgnitionError as error:
            complaints.append(str(error))
            continue
        config = json.loads(made.config)
        assert not ignition.validate(made.config).is_fatal
        ignition.lint(config)
        try:
            ignition.explain(config)
        except IgnitionError as error:
            assert "cannot be carried over" in error.summary
    ignition.validate(source)
    found = ignition.review(source)
    assert found.entries or found.config is not None
    for variant in ("flatcar", "fcos"):
        try:
            ignition.migrate(source, variant)
        except IgnitionError as error:
            assert str(error)
    return complaints


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
    assert words in feed(source)[0]


def test_a_bomb_in_a_place_nobody_reads_does_no_harm() -> None:
    assert ignition.transpile(BOMB).version == "3.4.0"


def test_json_that_is_too_deep_or_too_large_is_refused() -> None:
    assert "exceeded max depth" in ignition.validate("[" * 50_000).raw()
    assert "larger than the limit" in ignition.validate('"' + "x" * 9_000_000 + '"').raw()


WORDS = st.sampled_from(
    """/a /a/../b a.service a@1.service 0644 644 -1 yes ~ http://x http://%zz data:,x data:;base64,x oem:///x %zz
    {HOSTNAME} {FOO} 1.5GiB 1G ext4 swap raid1 &x *x << !!int!3 é [Unit] 1e3 '' "[Unit]\\nA=b\\n" x86_64 gzip sha512-ab
    /etc/systemd/system/a.service 99999999999999999999 3.5.0 v3 Thu!04:00 {"ignition":{"version":"3.4.0"}} /dev/sda
    root boot 2048 "\\ud800" !!binary!aGk= .inf 2001-01-01 tpm2 quiet""".split()
).map(lambda word: word.replace("!3", " 3").replace("!04", " 04").replace("!aGk", " aGk"))


ODDS = 12
"""So many values of the right kind to one that may be of another: a document has many, and some shall be whole."""


def tree(struct: Struct, names: str) -> st.SearchStrategy[Any]:
    """Values of a struct's shape, now and then of another."""
    return st.fixed_dictionaries(
        {}, optional={getattr(field, names): value(field.type, names) for field in struct.fields}
    )


def value(kind: Type, names: str) -> st.SearchStrategy[Any]:
    if kind.struct is not None:
        struct = kind.struct
        inner: st.SearchStrategy[Any] = st.deferred(lambda: tree(struct, names))
    elif kind.item is not None:
        inner = st.lists(value(kind.item, names), max_size=3)
    else:
        inner = {"bool": st.booleans(), "int": st.integers(-1, 4096), "uint": st.integers(-1, 9)}.get(
            kind.scalar, WORDS
        )
    return st.one_of(*[inner] * ODDS, WORDS | st.none() | st.integers() | st.just([]))


def in_yaml(tree: Any) -> str:
    """Flow YAML; the words stay as they are, so that some of them are tags, anchors and mistakes."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{name}: {in_yaml(item)}" for name, item in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(in_yaml, tree)) + "]"
    return tree if isinstance(tree, str) else json.dumps(tree)


@cache
def butane_documents() -> st.SearchStrategy[str]:
    def document(name: tuple[str, str]) -> st.SearchStrategy[str]:
        head = f"variant: {name[0]}\nversion: {name[1]}\n"
        body = tree(v3.dialect(*name).source, "yaml")
        return body.map(
            lambda drawn: head + "".join(f"{k}: {in_yaml(v)}\n" for k, v in drawn.items() if k not in HEADS)
        )

    return st.sampled_from(list(BUTANE)).flatmap(document)


@cache
def clc_documents() -> st.SearchStrategy[str]:
    return tree(container_linux(), "yaml").map(in_yaml)


@cache
def ignition_documents() -> st.SearchStrategy[str]:
    def document(version: str) -> st.SearchStrategy[str]:
        struct = v2.ignition(version) if version.startswith("2.") else v3.ignition(version)

        def finished(drawn: Any) -> str:
            section = drawn.get("ignition")
            return json.dumps(
                {**drawn, "ignition": {**(section if isinstance(section, dict) else {}), "version": version}}
            )

        return tree(struct, "json").map(finished)

    return st.sampled_from([*v2.VERSIONS, *v3.IGNITION]).flatmap(document)


def damaged_cases() -> st.SearchStrategy[bytes]:
    changes = st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6)), min_size=1, max_size=4)

    def damage(case: Path, changes: list[tuple[int, bytes]]) -> bytes:
        data = case.read_bytes()
        for at, replacement in changes:
            at %= max(len(data), 1)
            data = data[:at] + replacement + data[at + len(replacement) // 2 :]
        return data

    return st.builds(damage, st.sampled_from(CASES), changes)


def feed_within_a_second(source: str | bytes) -> list[str]:
    """A second of this process, so that a busy machine does not fail it. tests/fuzz feeds it all night."""
    began = time.process_time()
    complaints = feed(source)
    assert time.process_time() - began < 1
    return complaints

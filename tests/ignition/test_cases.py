"""Each config of the project's corpus gives the answer that stands beside it: Ignition JSON, report, or both."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from labkit.ignition import IgnitionError, Report, data_url, transpile
from labkit.ignition.clc.transpile import raw as raw_clc

CASES = Path(__file__).parent / "cases"
SHARED = os.environ.get("LABKIT_IGNITION_CASES", "")


def decoded(value: Any) -> Any:
    """The JSON with contents in place of data: URLs, since compressors differ."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {name: decoded(item) for name, item in value.items()}
    if str(result.get("source", "")).startswith("data:"):
        result["source"] = data_url.decode(result["source"], result.pop("compression", "") or "")
    return result


def answer(source: bytes, notation: str, **options: Any) -> tuple[bytes, str]:
    """The config (empty if it is refused) and the report in the reference's layout."""

    def shown(report: Report) -> str:
        return report.raw() if notation == "butane" else raw_clc(report)

    try:
        made = transpile(source, notation=notation, **options)  # type: ignore[arg-type]
    except IgnitionError as error:
        return b"", shown(error.report) + error.summary
    return made.config, shown(made.report)


@pytest.mark.parametrize("path", sorted([*CASES.glob("*.bu"), *CASES.glob("*.clc")]), ids=lambda path: path.name)
def test_a_config_gives_the_recorded_answer(path: Path) -> None:
    config, report = answer(path.read_bytes(), "butane" if path.suffix == ".bu" else "clc")
    wanted, words = Path(f"{path}.ign"), Path(f"{path}.txt")
    if wanted.exists():
        assert decoded(json.loads(config)) == decoded(json.loads(wanted.read_bytes()))
    else:
        assert config == b""
    expected = words.read_text() if words.exists() else ""
    assert sorted(report.splitlines()) == sorted(expected.splitlines())


@pytest.mark.parametrize("path", sorted(CASES.glob("*.clc")), ids=lambda path: path.name)
def test_the_same_text_twice_gives_the_same_answer(path: Path) -> None:
    """What was read is remembered, so nothing may change it."""
    assert answer(path.read_bytes(), "clc") == answer(path.read_bytes(), "clc")


REMOTE = b"storage: {files: [{path: a, filesystem: root, mode: 0644, contents: {remote: {url: 'httpz://x'}}}]}\n"


def test_a_remote_file_is_told_in_its_place_each_time() -> None:
    first = answer(REMOTE, "clc")
    assert first == answer(REMOTE, "clc") and "error at line 1, column 84" in first[1]


if SHARED:  # a further check, for those who have the recorded answers

    def test_the_recorded_answers_of_the_reference_tools() -> None:
        differing = []
        for case in json.loads((Path(SHARED) / "MANIFEST.json").read_text()):
            arguments = case.get("args") or []
            if case["tool"] not in ("butane", "ct") or "-d" in arguments:
                continue
            source = (Path(SHARED) / f"{case['id']}.yaml").read_bytes()
            platform = arguments[1] if "-platform" in arguments else None
            config, _ = answer(source, "clc" if case["tool"] == "ct" else "butane", platform=platform)
            wanted = Path(SHARED) / f"{case['id']}.ign"
            expected = decoded(json.loads(wanted.read_bytes())) if case["rc"] == 0 else None
            if (decoded(json.loads(config)) if config else None) != expected:
                differing.append(case["id"])
        assert differing == []

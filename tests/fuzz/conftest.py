"""Each fuzzer twice: a few rounds among the fast tests, and half an hour of them among those for the night."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.fuzzing import ONLY, Fuzz

TOTALS: list[str] = []


@pytest.fixture(params=[pytest.param(False, id="few"), pytest.param(True, id="night", marks=pytest.mark.soak)])
def fuzz(request: pytest.FixtureRequest) -> Iterator[Fuzz]:
    fuzz = Fuzz(request.node.name.removeprefix("test_"), night=request.param)
    yield fuzz
    print(f"the last round was {fuzz.round}; LABKIT_FUZZ_ROUND={fuzz.round} runs it alone")
    if request.param or ONLY:
        TOTALS.append(fuzz.total())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in TOTALS:
        terminalreporter.write_line(line)

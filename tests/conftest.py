"""What every test can rely on: quick tests run first, and a test whose needs are not met is skipped with the reason.

With ``LABKIT_EXPECT_ALL=1``, as CI sets it, nothing may be skipped: a skip counts as a failure.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.rig.person import Person
    from tests.rig.releases import Ring, Server

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)

NEEDS = {
    "setup": (),
    "netns": ("ip", "unshare", "nsenter"),
    "engine": ("ip", "unshare", "nsenter"),
    "ignition": (),
    "qemu": ("qemu-system-x86_64", "ipmi_sim"),
    "notebook": ("qemu-system-x86_64", "ipmi_sim"),
    "browser": ("qemu-system-x86_64", "ipmi_sim", "chromium"),
    "soak": (),
}
"""The slower kinds of test, from quick to slow, and the programs each needs."""

AS_ANYBODY = {"setup", "soak"}
"""The kinds that do not need root."""


def pytest_configure() -> None:
    # A shell's background job ignores SIGINT, and so would all that the tests start and then interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() == 0:  # what the tests' labs keep goes with them
        os.environ["LABKIT_DATA"] = tempfile.mkdtemp(prefix="labkit-data-")
        Path(os.environ["LABKIT_DATA"]).chmod(0o755)
    # As Hypothesis itself has it in CI: its 200 ms for an example are wall clock, and a busy machine took them from one
    # that needs a tenth of a millisecond. A test that is about time says so itself.
    settings.register_profile("labkit", settings(deadline=None))
    settings.load_profile("labkit")


def pytest_unconfigure() -> None:
    if os.geteuid() == 0:
        shutil.rmtree(os.environ["LABKIT_DATA"])


def pytest_collectstart() -> None:
    # Imports and collection make a million objects that stay: no look for garbage finds any among them.
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    kinds = list(NEEDS)

    def place(item: pytest.Item) -> tuple[int, int]:
        apart, engine = item.get_closest_marker("apart"), item.get_closest_marker("engine")
        kind = max((kinds.index(kind) + 1 for kind in _kinds(item)), default=0)
        if apart is not None:
            kind = kinds.index("qemu") + 1
        # Where several run at once, what is long begins first: begun last, it would run alone at the end.
        return kind, -max((mark.kwargs.get("minutes", 1) for mark in (apart, engine) if mark is not None), default=0)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    # What was imported stays to the end, and each look for garbage would go through all of it: a fifth of a second.
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    kinds = _kinds(item)
    if os.geteuid() != 0 and not AS_ANYBODY.issuperset(kinds):
        pytest.skip("needs root")
    missing = [program for kind in kinds for program in NEEDS[kind] if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; ./lab setup installs it")


def _kinds(item: pytest.Item) -> list[str]:
    return [mark.name for mark in item.iter_markers() if mark.name in NEEDS]


@pytest.fixture(scope="session")
def person() -> Iterator[Person]:
    """An ordinary user with sudo, who has a clone of his own."""
    from tests.rig.person import ordinary_user

    with ordinary_user() as person:
        yield person


@pytest.fixture(scope="session")
def ring() -> Iterator[Ring]:
    """A publisher's keys, and some that are not right."""
    from tests.rig.releases import ring

    with ring() as found:
        yield found


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of releases, which no proxy of this machine stands before."""
    from tests.rig.releases import publisher

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with publisher() as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _expected(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _expected(report)


def _expected(report: R) -> R:
    """A skip as a failure, where everything is expected to run."""
    if os.environ.get("LABKIT_EXPECT_ALL") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason} (LABKIT_EXPECT_ALL=1: nothing may be skipped)"
    return report

"""``./lab up --enable`` and what belongs to it, on a machine whose units and systemctl are the test's own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cli import main
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.machines.host import systemd, unit
from labkit.servers import client, lifecycle
from labkit.servers.at_boot import switch_on
from tests.rig.odd import ODD

REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {user: ADMIN, password_env: RACK_PASSWORD}
blades: [{name: red1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.40.201}}]
"""


class Place:
    """A folder with labs in it, and the machine's units."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys, self.calls = folder, capsys, list[tuple[str, ...]]()
        self.units, self.runs = folder / "units", folder / "runs"
        self.units.mkdir()
        self.runs.mkdir()

    def lab(self, name: str, text: str = "blades: [{name: blade1}]\n") -> Path:
        path = self.folder / name / "lab.yaml"
        path.parent.mkdir()
        path.write_text(text)
        return path

    def run(self, lab: Path, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = main(["--lab", str(lab), *words])
        said = self.capsys.readouterr()
        assert status == 0 or "fix: " in said.err
        return status, said.out, said.err

    def written(self) -> list[str]:
        return sorted(path.name for path in self.units.iterdir())


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path, capsys)
    for name in ("LABKIT_STATE", *client.KEPT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(systemd, "FOLDER", place.units)
    monkeypatch.setattr(systemd, "RUNS", place.runs)
    monkeypatch.setattr(systemd, "systemctl", lambda *words: place.calls.append(words))
    return place


def name_of(lab: Path) -> str:
    return unit.name_of(State(lab.parent / ".lab").tag)


def test_two_labs_have_two_units(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", "/big/cache")
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy:3128")
    one, other = place.lab(ODD), place.lab("other")
    assert place.run(one, "up", "--enable")[0] == 0 and place.run(other, "up", "--enable")[0] == 0
    assert place.written() == sorted([name_of(one), name_of(other)])
    text = (place.units / name_of(one)).read_text()
    assert unit.starts(text) == (str(Path(lifecycle.__file__).parents[2] / "lab"), str(one))
    assert f"Environment={unit.value(f'LABKIT_STATE={one.parent}/.lab')}\n" in text
    assert 'Environment="LABKIT_CACHE=/big/cache"\n' in text and "secret" not in text and "docker" not in text
    assert place.calls == [("daemon-reload",), ("enable", name_of(one)), ("daemon-reload",), ("enable", name_of(other))]
    assert not (one.parent / ".lab").exists()
    assert place.run(one, "up", "--disable")[1] == f"removed: {place.units / name_of(one)}\n"
    assert "nothing to remove" in place.run(one, "up", "--disable")[1]
    assert place.written() == [name_of(other)]


def test_a_dry_run_says_what_it_would_do(place: Place) -> None:
    lab = place.lab("one")
    status, out, _ = place.run(lab, "up", "--enable", "--dry-run")
    assert status == 0 and out.startswith(f"would write {place.units / name_of(lab)}, and enable it:\n\n# Written")
    assert unit.is_ours(out.partition("\n\n")[2])
    assert place.written() == [] and place.calls == []
    place.run(lab, "up", "--enable")
    assert (
        place.run(lab, "up", "--disable", "--dry-run")[1] == f"would disable and remove {place.units / name_of(lab)}\n"
    )
    assert place.written() == [name_of(lab)]


def test_a_real_lab_comes_after_docker_and_needs_a_yes(place: Place) -> None:
    lab = place.lab("real", REAL)
    status, _, err = place.run(lab, "up", "--enable")
    assert status == 1 and "needs your yes" in err and "./lab up --enable --yes" in err and place.written() == []
    status, _, err = place.run(lab, "up", "--enable", "--yes")
    assert status == 0 and "will not have the password in $RACK_PASSWORD" in err
    assert "After=network-online.target docker.service\n" in (place.units / name_of(lab)).read_text()


def test_without_systemd_it_says_what_to_run_instead(place: Place) -> None:
    place.runs.rmdir()
    lab = place.lab("one")
    for words in (("up", "--enable"), ("up", "--enable", "--dry-run")):
        status, _, err = place.run(lab, *words)
        assert status == 1 and "as in a container" in err and f"LABKIT_LAB={lab}" in err and "up --at-boot --yes" in err
    assert place.written() == []


def test_a_persons_unit_is_refused_and_outlives_a_clean(place: Place) -> None:
    lab = place.lab("one")
    path = place.units / name_of(lab)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    for words in (("up", "--enable"), ("up", "--disable"), ("up", "--disable", "--dry-run")):
        status, _, err = place.run(lab, *words)
        assert status == 1 and str(path) in err and "labkit did not write" in err
    status, _, err = place.run(lab, "clean", "--yes")
    assert status == 0 and f"kept: {path}" in err
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"


def test_a_clean_takes_the_unit_along(place: Place) -> None:
    lab = place.lab("one")
    place.run(lab, "up", "--enable")
    assert f"removed: {place.units / name_of(lab)}\n" in place.run(lab, "clean", "--yes")[1]
    assert place.written() == []


def test_the_status_tells_of_it(place: Place) -> None:
    lab = place.lab("one")
    main(["--lab", str(lab), "status"])
    assert "at boot: nothing starts it" in place.capsys.readouterr().out
    place.run(lab, "up", "--enable")
    (place.units / systemd.WANTS).mkdir()
    (place.units / systemd.WANTS / name_of(lab)).symlink_to(place.units / name_of(lab))
    main(["--lab", str(lab), "status"])
    assert f"at boot: {name_of(lab)} starts it when this machine boots\n" in place.capsys.readouterr().out
    moved = lab.parent.rename(place.folder / "moved") / "lab.yaml"
    main(["--lab", str(moved), "status"])
    out = place.capsys.readouterr().out
    assert f"at boot: {name_of(lab)} starts what is no more (was it moved?): {lab}\n  fix: systemctl disable" in out


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("handler")
def test_the_unit_is_ready_once_the_lab_is_up_and_its_end_takes_it_down(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, did = place.lab("one"), list[str]()

    def ensure(path: Path, **given: object) -> client.RunningLab:
        assert given["own_engine"]
        did.append("up")
        return client.RunningLab(lab_yaml.load(path), State(path.parent / ".lab"))

    def stay(running: client.RunningLab, say: object) -> bool:
        did.append("stays")
        if ends:
            return ends.pop()
        os.kill(os.getpid(), signal.SIGTERM)  # as systemd stops it
        time.sleep(20)  # which it breaks off
        return False

    ends = [False, True]
    monkeypatch.setattr(client, "ensure_lab", ensure)
    monkeypatch.setattr(systemd, "tell_ready", lambda: did.append("ready"))
    monkeypatch.setattr(switch_on, "stay", stay)
    monkeypatch.setattr(lifecycle, "down", lambda state, say: did.append("down"))
    assert [main(["--lab", str(lab), "up", "--at-boot", "--yes"]) for _ in range(3)] == [0, 1, 0]
    assert did == [*["up", "ready", "stays"] * 3, "down"]

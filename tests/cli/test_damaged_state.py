"""A state folder with a file that is cut off, empty, noise, gone, or a folder: each verb says so in a sentence."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import LabkitError, MachineError
from labkit.lab import certificates
from labkit.lab.state import State
from labkit.machines.virtual import nat, network
from labkit.servers import lifecycle
from tests.cli.test_commands import VERBS, Place, place

__all__ = ["place"]

GOES_ON = ("up", "run", "workbook", "doctor", "clean")
"""They would start something, or end what this test looks at."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def noise(path: Path) -> None:
    path.write_bytes(b"[" * 100_000 + b"\n" + random.Random(7).randbytes(3000))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": cut,
    "empty": lambda path: path.write_bytes(b""),
    "noise": noise,
    "other JSON": lambda path: path.write_text('{"kind": "dhcp", "time": "x", "mac": {}}\n[1]\nnull\n'),
    "a folder": folder,
    "gone": Path.unlink,
    "a link to itself": loop,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The state folder of a lab that was up once."""
    state = State(tmp_path_factory.mktemp("whole") / ".lab")
    state.make()
    lifecycle.make_ssh_key(state)
    certificates.ensure_registry(state, "10.77.0.1")
    for name in ("bmc", "tickets"):
        state.key(name)
    stream = events.Stream(state.events)
    for number, event in enumerate((
        events.LabEvent(state="up"),
        events.UnknownMachine(mac="52:54:00:aa:bb:cc", adopt="x", client="pxe"),
        events.BootStarted(blade="blade1", boot="b1", cause="power"),
    ), start=1):  # fmt: skip
        stream.write(events.decode(events.encode(event)[:-1] + f',"seq":{number},"time":1700000000.5}}') or event)
    (state.path / "id").write_text("1\n")
    (state.path / "trusted.json").write_text('{"files": ["/etc/hostname"]}')
    (state.run / "supervisor.pid").write_text('{"pid": 4194304, "started": 1}')
    (state.run / "up.lock").touch()
    for name in ("supervisor.log", "bootd.log", "blade1.console.log"):
        (state.logs / name).write_text("a line\n")
    (state.path / "share").mkdir()
    (state.path / "share/page.html").write_text("of value\n")
    return state


def files(state: State) -> list[str]:
    return sorted(str(path.relative_to(state.path)) for path in state.path.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_verb_ends_in_a_sentence(place: Place, whole: State, damage: str) -> None:
    verbs = [verb for verb in (*VERBS, "machines", "adopt --all --dry-run") if verb.split()[0] not in GOES_ON]
    names = files(whole)
    for number, name in enumerate(names):
        shutil.rmtree(place.state, ignore_errors=True)
        shutil.copytree(whole.path, place.state)
        DAMAGES[damage](place.state / name)
        kept = {other: (place.state / other).read_bytes() for other in names if other != name}
        # All read the events, and few any other file: those have their turn with one or the other.
        for verb in verbs if name == "events.jsonl" else verbs[number % 12 :: 12]:
            status, out, err = place(*verb.split())
            assert status in (0, 1, 2), f"{damage} {name}: {verb}: {err}"
            assert "Traceback" not in out + err
            assert status == 0 or any(word in out + err for word in ("fix: ", "next: ", "up")), f"{verb}: {out}{err}"
        lost = {other for other in kept if not (place.state / other).is_file()}
        assert lost <= {"run/supervisor.pid", "trusted.json"}  # `down` was among the verbs
        assert all((place.state / other).read_bytes() == kept[other] for other in kept if other not in lost)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["keys/bmc", "keys/ssh", "keys/ssh.pub", "keys/ca.key", "keys/ca.crt"])
def test_what_up_needs_is_made_anew_or_named(tmp_path: Path, whole: State, name: str, damage: str) -> None:
    state = State(tmp_path / ".lab")
    shutil.copytree(whole.path, state.path)
    DAMAGES[damage](state.path / name)
    if name == "keys/ca.key":
        (state.path / "keys/registry/tls.crt").unlink()  # a sound one would not ask for it
    try:
        state.key("bmc").reveal()
        lifecycle.make_ssh_key(state)
        certificates.ensure_registry(state, "10.77.0.1")
    except (LabkitError, OSError) as error:
        said = str(error if isinstance(error, LabkitError) else error.filename)
        assert Path(name).name in said or "keys/" in said
    assert len(state.key("bmc").reveal()) == 32 if name != "keys/bmc" else True


def test_an_empty_secret_is_none(tmp_path: Path) -> None:
    state = State(tmp_path / ".lab")
    state.make()
    (state.keys / "tickets").write_text("\n")
    with pytest.raises(MachineError, match="damaged") as caught:
        state.key("tickets")
    assert caught.value.where == str(state.keys / "tickets") and "remove it" in caught.value.fix


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["mark", "note"])
def test_a_damaged_mark_costs_no_swarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, which: str
) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    state = State(tmp_path / ".lab")
    state.make()
    lifecycle._make_data(state)
    swarm = state.data / "engine/swarm"
    swarm.mkdir(parents=True)
    events.Stream(state.events)
    lifecycle._make_data(state)
    DAMAGES[damage]((state.path if which == "mark" else state.data) / "id")
    with pytest.raises(MachineError, match="damaged") as caught:
        lifecycle._make_data(state)
    assert swarm.is_dir() and "cp " in caught.value.fix
    shutil.rmtree(state.path)  # which is how a person says that all may go
    state.make()
    if which == "mark":
        lifecycle._make_data(state)
        assert not swarm.exists()


def test_a_half_line_of_a_power_cut_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(events.encode(events.Note(seq=1, detail="x")) + '\n{"v":1,"kind":"no')
    events.Stream(path).write(events.Note(seq=2, detail="y"))
    assert [event.seq for event in events.read(path)] == [1, 2]
    path.write_bytes(b"x" * 200_000)
    events.Stream(path).write(events.Note(seq=3, detail="z"))
    assert [event.seq for event in events.read(path)] == [3]


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"dhcp","mac":1,"message":"x"}', '{"kind":"note","detail":"x","time":"now"}', "[" * 100_000,
        '{"kind":"note","detail":"x","time":1e99}', '{"kind":"note","detail":"x","time":NaN}', '{"kind":"stuck"}',
        '{"kind":"stuck","step":"x","what":"x","causes":"x"}', '{"kind":"note","detail":' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_what_is_no_event_is_told_before_it_is_believed(line: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        events.decode(line)


def test_root_follows_no_link_and_believes_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, victim = State(tmp_path / ".lab"), tmp_path / "victim"
    state.make()
    victim.touch()
    (state.logs / "x.log").symlink_to(victim)
    (state.path / "trusted.json").write_text(f'{{"files": ["{victim}"]}}')
    given: list[tuple[str, bool]] = []

    def chown(path: Path, *_: int, follow_symlinks: bool = True) -> None:
        given.append((Path(path).name, follow_symlinks))

    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("close_way_out", "host_link"):
        monkeypatch.setattr(nat if name == "close_way_out" else network, name, lambda *_: "")
    monkeypatch.setattr(network, "remove_way_in", lambda tag: False)
    lifecycle._remove_leftovers(state)
    assert given == [("x.log", False)] and victim.exists()

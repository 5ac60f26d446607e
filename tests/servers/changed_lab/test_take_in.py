"""A lab that is up takes in the blades that its file has gained and lost, and nothing else."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import ControlError, LabFileError
from labkit.events import Blades
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE, take
from labkit.lab.state import State
from labkit.machines.host.sandbox import Users
from labkit.servers.changed_lab import take_in
from labkit.servers.changed_lab.tell import have_taken_in, in_words
from labkit.servers.parts.handed import Handed
from labkit.servers.supervisor import Supervisor

ONE = "blades:\n  - name: blade1\n"
TWO = f"{ONE}  - name: blade2\n"


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    (tmp_path / "lab.yaml").write_text(ONE)
    state = State(tmp_path / "state")
    state.make()
    return Supervisor(lab_yaml.load(tmp_path / "lab.yaml"), state, Users(0))


def test_blades_are_taken_in_and_out_with_one_event_each(supervisor: Supervisor) -> None:
    file = supervisor.lab.path
    file.write_text(TWO)
    assert asyncio.run(supervisor._reload({})) == {"added": ["blade2"], "removed": [], "silent": []}
    assert [blade.name for blade in supervisor.lab.blades] == ["blade1", "blade2"]
    assert [one.part for one in supervisor._listeners][-2:] == ["bmc1", "bmc2"]
    assert asyncio.run(supervisor._reload({})) == {"added": [], "removed": []}
    file.write_text(ONE)
    assert asyncio.run(supervisor._reload({}))["removed"] == ["blade2"]
    told = [event for event in events.read(supervisor.state.events) if isinstance(event, Blades)]
    assert [(event.added, event.removed) for event in told] == [(("blade2",), ()), ((), ("blade2",))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{TWO}name: other\n", "is another in lab.yaml: name"),
        (f"{TWO}    os: container-linux\n", "files that blade2 boot from: coreos/"),
    ],
)
def test_what_waits_for_a_restart_is_named_and_nothing_is_taken(supervisor: Supervisor, text: str, words: str) -> None:
    supervisor.lab.path.write_text(text)
    with pytest.raises(ControlError, match=words) as caught:
        asyncio.run(supervisor._reload({}))
    assert caught.value.fix == take_in.RESTART
    assert [blade.name for blade in supervisor.lab.blades] == ["blade1"]
    supervisor.lab.path.write_text("blades: [")
    with pytest.raises(LabFileError):
        asyncio.run(supervisor._reload({}))


def test_a_part_is_handed_the_lab_anew_and_one_that_is_away_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed, now = Handed(), ["old"]
    monkeypatch.setenv(VARIABLE, str(handed.lay("here", tmp_path / "here", lambda: now[0])))
    handed.lay("away", tmp_path / "away", lambda: now[0])
    taken: list[str] = []

    async def reload(request: dict[str, object]) -> dict[str, object]:
        taken.append(take(str))
        return {}

    async def anew() -> list[str]:
        server = await rpc.serve(rpc.listen(tmp_path / "here"), {"reload": reload})
        now[0] = "new"
        try:
            return await handed.anew()
        finally:
            server.close()

    assert asyncio.run(anew()) == ["away"] and taken == ["new"]


def test_what_a_person_is_told(tmp_path: Path) -> None:
    assert have_taken_in(State(tmp_path)) == (False, ""), "no lab is up"
    words = in_words(
        {"added": ["a", "b"], "removed": ["c"], "on": ["c"], "off": ["b"], "silent": ["bootd"]}
    ).splitlines()
    assert words[0] == "The lab that is up knows a, b now." and "does not answer c" in words[1]
    assert "slot of c stays on" in words[2] and "a machine for b, which is off" in words[3] and "bootd" in words[4]
    assert in_words({"added": [], "removed": []}) == "The lab that is up knew this already."


@pytest.mark.netns
def test_the_file_is_read_with_the_rights_of_the_labs_owner(tmp_path: Path) -> None:
    """What root alone may read is not told to who may ask the supervisor to read it."""
    file = tmp_path / "lab.yaml"
    file.write_text("a secret of root's\n")
    file.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    with pytest.raises(LabFileError, match="Permission denied"):
        take_in.read(file, (65534, 65534))
    with pytest.raises(LabFileError, match="a lab is a mapping|secret"):
        take_in.read(file, (0, 0))

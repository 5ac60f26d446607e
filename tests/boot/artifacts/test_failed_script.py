"""The scripts that tell of a unit which is down, and that wait for Docker, with programs that stand in for systemd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from labkit.boot.artifacts.text import render_text
from labkit.boot.artifacts.units import SCRIPTS

CURL = """\
#!/bin/sh
# The engine says what is in "state", a line a look; the lab hears the form as curl would send it.
case "$*" in
*/info) line=$(head -n 1 state); sed -i 1d state; [ -z "$line" ] || echo "{\\"LocalNodeState\\":\\"$line\\"}"; exit ;;
*/v1/join*) echo asks >>asked; echo "{}"; exit ;;
*swarm/join*) cat >/dev/null; echo joins >>asked; exit ;;
*/v1/stage*) exit ;;
esac
[ ! -s deaf ] || { sed -i 1d deaf; exit 22; }
for word; do
    case $word in
    said@*) printf '&said=%s' "$(od -An -v -tx1 "${word#said@}" | tr -d '\\n' | tr ' ' %)" ;;
    *=*) printf '&%s' "$word" ;;
    esac
done >>told
echo >>told
"""
SYSTEMCTL = """\
#!/bin/sh
case "$*" in
"show --property=ActiveState "*)
    echo "ActiveState=$(head -n 1 active)"
    [ "$(wc -l <active)" = 1 ] || sed -i 1d active ;;
"show --property=LoadState "*) echo LoadState=loaded ;;
"show --property=Result "*) echo Result=exit-code ;;
"show --property=ExecMainStatus "*) echo ExecMainStatus=1 ;;
"list-units --failed"*) echo "docker.service loaded failed failed Docker"; echo "b.service loaded failed failed B" ;;
*) echo "systemctl $*" >>asked ;;
esac
"""
JOURNALCTL = """\
#!/bin/sh
case "$*" in
*_SYSTEMD_UNIT=*) cat own ;;
*--unit=*) echo "docker.service: Control process exited, code=exited, status=1/FAILURE" ;;
*--priority=err*) echo "Dependency failed for /data." ;;
esac
"""


class Blade:
    """A blade's folder, which is also where its programs look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        programs = {
            "curl": CURL,
            "systemctl": SYSTEMCTL,
            "journalctl": JOURNALCTL,
            "sleep": "#!/bin/sh\necho >>slept\n",
        }
        for name, text in programs.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        places = {"folder": ".", "scripts": ".", "console": "/dev/null", "data": ".", "run": "."}
        for name in SCRIPTS:
            text = render_text(f"scripts/{name}", root="http://lab", clear="http://lab", ca="", disk=False, **places)
            (folder / name).write_text(text)
        self.put("own", "")

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def read(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def run(self, *words: str) -> int:
        env = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", *words], cwd=self.folder, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == ""
        return done.returncode

    def failed(self, unit: str = "docker.service") -> list[dict[str, list[str]]]:
        """What the lab hears when ``unit`` has failed."""
        assert self.run("./failed", unit) == 0
        return [parse_qs(line) for line in self.read("told")]


@pytest.fixture
def blade(tmp_path: Path) -> Blade:
    return Blade(tmp_path)


def test_what_docker_said_last_is_told_once_it_stays_down(blade: Blade) -> None:
    blade.put("active", "activating\nfailed\nactivating\nfailed\n")
    blade.put("own", "starting\nunable to configure the Docker daemon: it's “no JSON”\n")
    [told] = blade.failed()
    assert told["unit"] == ["docker.service"] and told["result"] == ["exit-code"] and told["status"] == ["1"]
    assert told["others"] == ["docker.service b.service"]
    assert told["said"] == ["starting\nunable to configure the Docker daemon: it's “no JSON”\n"]
    assert len(blade.read("slept")) == 3 + 5, "it counts anew from the last restart"


def test_a_unit_that_wrote_nothing_is_told_in_systemds_words(blade: Blade) -> None:
    blade.put("active", "inactive\n")
    assert blade.failed()[0]["said"] == ["docker.service: Control process exited, code=exited, status=1/FAILURE\n"]


@pytest.mark.parametrize("states", ["active", "failed\nfailed\nactivating\nactive"])
def test_a_failure_that_systemd_mends_is_not_told(blade: Blade, states: str) -> None:
    blade.put("active", f"{states}\n")
    assert blade.failed() == []


def test_a_long_journal_is_cut(blade: Blade) -> None:
    blade.put("active", "failed\n")
    blade.put("own", "".join(f"line {number} {'x' * 900}\n" for number in range(10)))
    assert len(blade.failed()[0]["said"][0]) == 3000


def test_an_emergency_is_told_at_once_with_what_failed(blade: Blade) -> None:
    [told] = blade.failed("emergency.target")
    assert told["said"] == ["Dependency failed for /data.\n"] and blade.read("slept") == []


def test_a_lab_that_does_not_answer_is_told_again_and_not_for_ever(blade: Blade) -> None:
    blade.put("active", "failed\n")
    blade.put("deaf", "x\n" * 3)
    assert len(blade.failed()) == 1
    blade.put("deaf", "x\n" * 99)
    assert blade.run("./failed", "docker.service") == 1 and len(blade.read("told")) == 1


def test_nothing_is_asked_of_the_lab_before_there_is_an_engine(blade: Blade) -> None:
    blade.put("state", "\n" * 4 + "inactive\nactive\n")
    assert blade.run("./join") == 0 and blade.read("asked") == ["asks", "joins"]


def test_a_docker_that_nobody_starts_is_told_once(blade: Blade) -> None:
    start = "systemctl --no-block start labkit-failed@docker.service.service"
    blade.put("state", "\n" * 70 + "active\n")
    assert blade.run("./join") == 0 and blade.read("asked") == [start]
    blade.put("labkit-failed", "")
    blade.put("state", "\n" * 70 + "active\n")
    assert blade.run("./join") == 0 and blade.read("asked") == [start], "it was told when it failed"
    assert not (blade.folder / "labkit-failed").exists(), "the next time it is told again"

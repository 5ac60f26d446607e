"""The blades' scripts as a shell runs them, with programs that only write down what they are asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from labkit.boot.artifacts.text import render_text
from labkit.boot.artifacts.units import SCRIPTS
from labkit.events import Phoned

CURL = """\
#!/bin/sh
case "$*" in
*"--head "*) # the lab's server, where it is there
    [ ! -e "$ASKED.date" ] || printf 'HTTP/1.1 200 OK\\r\\nDate: %s\\r\\nServer: x\\r\\n' "$(cat "$ASKED.date")"
    exit ;;
*/info) cat "$ASKED.info"; exit ;;
*--write-out*) cat "$ASKED.status" ;; # and written down as well
esac
for word; do
    case $word in
    http*) url=$word ;;
    *=*) form="$form&$word" ;;
    esac
done
printf '%s %s\\n' "$url" "${form#&}" >>"$ASKED"
"""
DATE = """\
#!/bin/sh
case "$*" in
*" -s "*) echo "date $*" >>"$ASKED" ;;
"+%s") echo "${NOW:-1700000000}" ;;
*) exec /bin/date "$@" ;;
esac
"""
DF = """\
#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "tmpfs 1000 $((10 * $(cat "$ASKED.percent"))) 9 $(cat "$ASKED.percent")% /var/lib/docker"
"""
DOCKER = """\
#!/bin/sh
echo "docker $*" >>"$ASKED"
case "$*" in
"ps --all --quiet --filter label=com.docker.swarm.task.id") echo task; echo another ;;
"ps --all --quiet --filter status=exited"*) echo old; echo fresh; echo task ;;
"ps --all --quiet") echo old ;;
"inspect --format {{.State.FinishedAt}}"*old) echo "2001-01-01T00:00:00.5Z " ;;
"inspect --format {{.State.FinishedAt}}"*fresh) echo "2023-11-14T22:00:00Z " ;;
"inspect --format {{.State.FinishedAt}}"*task) echo "2001-01-01T00:00:00.5Z abc" ;;
"inspect --format {{.GraphDriver.Data.UpperDir}}"*) echo "$LAYER /writer" ;;
"inspect --format {{.Name}} talker") echo "/web.1.abc" ;;
"image prune"*) [ ! -e "$ASKED.frees" ] || echo 40 >"$ASKED.percent" ;;
esac
"""


SYSTEMCTL = """\
#!/bin/sh
echo "systemctl $*" >>"$ASKED"
"""


class Blade:
    """A blade's folder, and stand-ins for what its scripts call."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, folder / "asked"
        self.bin, self.data = folder / "bin", folder / "docker"
        for path in (self.bin, self.data / "containers/talker", self.data / "overlay2/x/diff", self.data / "volumes"):
            path.mkdir(parents=True)
        for name, text in (("curl", CURL), ("date", DATE), ("df", DF), ("docker", DOCKER), ("systemctl", SYSTEMCTL)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        places = {
            "folder": str(folder),
            "scripts": str(folder),
            "console": "/dev/null",
            "data": str(self.data),
            "run": str(folder),
        }
        for name in SCRIPTS:
            (folder / name).write_text(
                render_text(f"scripts/{name}", root="http://lab", clear="http://lab", ca="", disk=True, **places)
            )

    def prune(self, percent: int, shell: str = "sh") -> list[str]:
        """Run ``prune`` with Docker's memory so full; what was asked for."""
        Path(f"{self.asked}.percent").write_text(str(percent))
        return self.run(f". {self.folder}/prune", shell)

    def run(self, script: str, shell: str = "sh", *, now: int = 1_700_000_000) -> list[str]:
        """Run a piece of shell with the clock at ``now``; what was asked for."""
        self.asked.write_text("")
        env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "ASKED": str(self.asked), "NOW": str(now),
               "LAYER": str(self.data / "overlay2/x/diff")}  # fmt: skip
        done = subprocess.run([shell, "-c", script], env=env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        self.said = done.stdout
        return self.asked.read_text().splitlines()

    def told(self, lines: list[str], path: str = "space") -> dict[str, str]:
        [line] = [line for line in lines if line.startswith(f"http://lab/v1/{path} ")]
        return dict(parse_qsl(line.partition(" ")[2], keep_blank_values=True))


@pytest.fixture
def blade(tmp_path: Path) -> Blade:
    return Blade(tmp_path)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_what_is_old_goes_once_an_hour(blade: Blade, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    lines = blade.prune(30, shell)
    assert "docker rm old" in lines
    assert not [line for line in lines if line.startswith(("docker rm fresh", "docker rm task", "docker image"))]
    assert not [line for line in lines if "volume" in line]
    assert blade.prune(30, shell) == []
    os.utime(blade.folder / "labkit-cleared", (0, 0))
    assert "docker image prune --all --force --filter until=24h" in blade.prune(60, shell)


def test_a_blade_that_runs_full_makes_room_before_it_complains(blade: Blade) -> None:
    Path(f"{blade.asked}.frees").touch()
    lines = blade.prune(95)
    assert "docker image prune --all --force" in lines and not [line for line in lines if line.startswith("http")]


def test_a_full_blade_says_once_with_what_and_once_that_it_is_over(blade: Blade) -> None:
    (blade.data / "containers/talker/talker-json.log").write_bytes(bytes(400_000))
    (blade.data / "overlay2/x/diff/file").write_bytes(bytes(100_000))
    told = blade.told(blade.prune(95))
    assert (told["state"], told["size_kib"], told["used_kib"]) == ("full", "1000", "950")
    assert (told["log_of"], told["layer_of"]) == ("web.1.abc", "writer")
    assert (
        int(told["logs_kib"]) >= int(told["log_kib"]) >= 390 and int(told["layers_kib"]) >= int(told["layer_kib"]) >= 97
    )
    assert not [line for line in blade.prune(96) if line.startswith("http")]
    assert not [line for line in blade.prune(82) if line.startswith("http")]
    assert blade.told(blade.prune(40))["state"] == "room"
    assert not [line for line in blade.prune(40) if line.startswith("http")]


LAB_TIME = "Tue, 14 Nov 2023 22:13:20 GMT"
"""Second 1700000000."""


@pytest.mark.parametrize(
    ("now", "off_s", "words"),
    [(946_684_800, "-753315200", "24 years behind"), (1_700_000_061, "61", "1 minute ahead"),
     (1_700_000_060, "60", ""), (1_699_999_990, "-10", "")],
)  # fmt: skip
def test_a_clock_is_set_where_it_is_off_by_more_than_a_minute(blade: Blade, now: int, off_s: str, words: str) -> None:
    Path(f"{blade.asked}.date").write_text(LAB_TIME)
    lines = blade.run(f". {blade.folder}/clock", now=now)
    assert lines == (["date -u -s @1700000000"] if words else [])
    assert (f"the clock was off by {off_s} s" in blade.said) == bool(words)
    assert blade.run(f". {blade.folder}/clock", now=5) == [], "once a boot: later it may be the lab's that is wrong"
    told = blade.told(blade.run(f". {blade.folder}/lab.sh; stage os"), "stage")
    assert told["clock_off_s"] == off_s
    assert Phoned(stage="os", clock_off_s=float(off_s)).clock == words


def test_without_an_answer_no_clock_is_set(blade: Blade) -> None:
    assert blade.run(f". {blade.folder}/clock.sh; set_clock || echo none") == [] and blade.said == "none\n"
    Path(f"{blade.asked}.date").write_text("tomorrow, perhaps")
    assert blade.run(f". {blade.folder}/clock.sh; set_clock 2>/dev/null || echo none") == []
    assert blade.said == "none\n"
    told = blade.told(blade.run(f". {blade.folder}/lab.sh; stage os"), "stage")
    assert told["clock_off_s"] == ""


KERNEL = """\
[    2.852102] acpiphp: Slot [28] registered
[    4.217381] Run /init as init process
[    4.393278] labos: ignition: started
[    7.017439] labos: ignition: finished
[   39.711572] systemd[1]: Inserted module 'autofs4'
"""


@pytest.mark.parametrize(
    ("log", "init_s", "ignition_s"),
    [
        (KERNEL, "4.217381", "7.017439"),
        (KERNEL.partition("[   39")[0] + "[    9.5] ignition[7]: Ignition finished successfully\n", "4.217381", "9.5"),
        (KERNEL.replace("finished", "failed"), "4.217381", None),
        (KERNEL.partition("[    4.217")[0], None, None),
        ("", None, None),
    ],
)
def test_a_blade_tells_when_its_kernel_came_how_far(
    blade: Blade, log: str, init_s: str | None, ignition_s: str | None
) -> None:
    (blade.bin / "dmesg").write_text(f"#!/bin/sh\ncat <<'EOF'\n{log}EOF\n")
    (blade.bin / "dmesg").chmod(0o755)
    told = blade.told(blade.run(f". {blade.folder}/lab.sh; stage os"), "stage")
    assert (told["stage"], told.get("init_s"), told.get("ignition_s")) == ("os", init_s, ignition_s)
    assert float(told["uptime_s"]) > 0


WORKER = '{"Swarm":{"NodeID":"n","LocalNodeState":"%s","ControlAvailable":false,"Error":""}}'
AGAIN = "systemctl --no-block restart docker-swarm-join.service"


def member(blade: Blade, info: str, status: str) -> list[str]:
    Path(f"{blade.asked}.info").write_text(info)
    Path(f"{blade.asked}.status").write_text(status)
    (blade.data / "swarm/certificates").mkdir(parents=True, exist_ok=True)
    (blade.data / "swarm/certificates/swarm-root-ca.crt").write_text("PEM")
    lines = blade.run(f". {blade.folder}/member")
    return [line.partition(" ")[0] if line.startswith("http") else line for line in lines]


@pytest.mark.parametrize("state", ["active", "error", "pending"])
def test_a_blade_that_is_off_the_list_leaves_and_joins_again(blade: Blade, state: str) -> None:
    lines = member(blade, WORKER % state, "410")
    assert lines == ["http://lab/v1/member", "http://engine/swarm/leave", AGAIN]


@pytest.mark.parametrize("status", ["200", "409", "503", "403", "000", ""])
def test_a_blade_stays_unless_the_lab_says_that_it_is_off_the_list(blade: Blade, status: str) -> None:
    assert member(blade, WORKER % "active", status) == ["http://lab/v1/member"]


@pytest.mark.parametrize("info", ["", WORKER % "inactive", (WORKER % "active").replace("false", "true")])
def test_who_is_no_worker_of_a_swarm_does_not_even_ask(blade: Blade, info: str) -> None:
    assert member(blade, info, "410") == []


def test_a_managers_engine_that_waits_for_its_key_is_given_it(blade: Blade) -> None:
    assert member(blade, WORKER % "locked", "") == ["http://lab/v1/unlock", "http://engine/swarm/unlock"]
    assert not [line for line in blade.asked.read_text().splitlines() if "SWMKEY" in line], "it is on no command line"


INFO = """\
#!/bin/sh
# An engine that is in the swarm from the second time on that it is asked for its place.
case "$*" in
*/info) [ ! -e "$ASKED.joined" ] || state=active; echo "{\\"LocalNodeState\\":\\"${state:-inactive}\\"}" ;;
*/v1/join*) echo "{}" ;;
*swarm/join*) cat >/dev/null; touch "$ASKED.joined"; echo "joins" >>"$ASKED" ;;
esac
"""


def test_the_tasks_of_the_boot_before_go_and_nothing_else_before_a_blade_joins(blade: Blade) -> None:
    (blade.bin / "curl").write_text(INFO)
    found = "docker ps --all --quiet --filter label=com.docker.swarm.task.id"
    lines = blade.run(f". {blade.folder}/join")
    assert lines == [found, "docker rm --force task", "docker rm --force another", "joins"]
    assert blade.run(f". {blade.folder}/join") == [], "a blade that is in the swarm keeps its tasks"


def test_what_became_of_the_disk_goes_with_each_stage(blade: Blade) -> None:
    (blade.folder / "labkit-disk").write_text("used\n0123456789abcdef\nDocker is on /dev/vda\n")
    [line] = blade.run(f'PATH={blade.bin}:$PATH; . {blade.folder}/lab.sh; lab() {{ echo "$*" >>$ASKED; }}; stage os')
    assert line.endswith(f" --data-urlencode disk@{blade.folder}/labkit-disk")

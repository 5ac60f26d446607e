"""What the warm lab of an ordinary user is to him and to others: verbs, owners and modes, and who its parts are."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.images.store import cache_folder
from labkit.lab.state import State
from labkit.machines.host.sandbox import FIRST_USER, LAST_USER
from tests.rig.front_door import FrontDoor
from tests.rig.person import Person

pytestmark = pytest.mark.qemu
Done = subprocess.CompletedProcess[str]
HEARS = ("bootd", "swarmd", "registry", "registry-push", "bmc1", "bmc2", "bmc3")
"""The parts that hear packets, or what came in them."""
VERBS = (
    "status", "doctor", "why blade1", "power status", "events", "events blade2", "swarm", "swarm prune",
    "swarm gc",
    "swarm managers", "explain blade1", "images", "boot-report", "ssh blade2 true", "console blade1 --log", "replay",
)  # fmt: skip


def below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for place in (folder, *folder.rglob("*")):
        yield place, place.lstat()


def statuses(door: FrontDoor) -> dict[str, dict[str, list[int]]]:
    """By part: the numbers in ``/proc/PID/status`` of its process, as its own process namespace knows it."""
    parts = json.loads(door("status", "--json", timeout_s=60).stdout)["parts"]
    enter = ["nsenter", f"--target={max(door.supervisor())}", "--pid", "--mount"]
    found = {}
    for name, pid in parts.items():
        said = subprocess.run([*enter, "cat", f"/proc/{pid}/status"], capture_output=True, text=True, check=True).stdout
        fields = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
        found[name] = {key: [int(word) for word in fields[key].split()] for key in ("Uid", "Gid", "Groups")}
        found[name] |= {key: [int(fields[key], 16)] for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}
        found[name]["pid"] = [int(pid)]
    return found


def test_every_verb_works_for_him(first_run: Done, front_door: FrontDoor) -> None:
    for verb in VERBS:
        runs = ["--runs", str(front_door.folder / "runs")] if verb == "replay" else []
        done = front_door(*verb.split(), *runs, timeout_s=120)
        assert done.returncode == 0, (verb, done.stdout, done.stderr)
        assert "ermission" not in done.stdout + done.stderr and "Traceback" not in done.stderr, (verb, done.stderr)
    tree = front_door.folder / "tree"
    assert front_door("explain", "blade1", "--tree", str(tree), timeout_s=60).returncode == 0
    assert (tree / "pxelinux.0").stat().st_uid == front_door.state.stat().st_uid


def test_nothing_of_roots_is_in_what_is_his(first_run: Done, front_door: FrontDoor, person: Person) -> None:
    """State, runs and checkout: all folders are his, and so are all files but the consoles that machines write to."""
    consoles = {front_door.connect().state.console(f"blade{number}") for number in (1, 2, 3)}
    for folder in (front_door.folder, person.clone):
        for place, status in below(folder):
            if place in consoles:
                assert FIRST_USER <= status.st_uid <= LAST_USER and stat.S_IMODE(status.st_mode) == 0o644
                continue
            assert (status.st_uid, status.st_gid) in {(person.uid, person.gid)} or stat.S_ISSOCK(status.st_mode), place
            assert status.st_uid == person.uid, place
            if not stat.S_ISLNK(status.st_mode) and not stat.S_ISSOCK(status.st_mode):
                assert not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH), place
    for place, status in below(front_door.state / "keys"):
        if place.suffix not in (".pub", ".crt"):
            assert stat.S_IMODE(status.st_mode) == (0o700 if place.is_dir() else 0o600), place


def test_what_is_roots_is_out_of_his_way(first_run: Done, front_door: FrontDoor) -> None:
    """The cache, which root's trees are in, and what the parts keep: nobody but root and they write there."""
    for folder in (cache_folder(), cache_folder() / "labos", State(front_door.state).data):
        status = folder.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755), folder
    for name in os.listdir(State(front_door.state).data):
        place = State(front_door.state).data / name
        assert place.stat().st_uid == 0 or FIRST_USER <= place.stat().st_uid <= LAST_USER, place
        assert not place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), place


def test_what_hears_packets_owns_nothing_but_what_it_writes(first_run: Done, front_door: FrontDoor) -> None:
    found = statuses(front_door)
    users = {name: found[name]["Uid"][0] for name in HEARS}
    for name in HEARS:
        one = found[name]
        assert set(one["Uid"]) == set(one["Gid"]) == {users[name]} and FIRST_USER <= users[name] <= LAST_USER, name
        assert one["Groups"] == [], name
        kept = 1 << 10 if name.startswith("bmc") else 0  # port 623
        assert {one[key][0] for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {kept}, name
    assert len({users["bootd"], users["swarmd"], users["registry"], users["registry-push"], users["bmc1"]}) == 5
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes()
        if words.startswith(b"qemu-system") and os.fsencode(State(front_door.state).data) in words:
            assert FIRST_USER <= process.stat().st_uid <= LAST_USER


@pytest.mark.parametrize("part", ["bootd", "swarmd"])
def test_from_inside_it_writes_to_no_file_of_roots(first_run: Done, front_door: FrontDoor, part: str) -> None:
    """In its namespaces, as its user, with its capabilities: not to root's files, nor to the person's, and it sees
    none of his."""
    one = statuses(front_door)[part]
    outside = ["nsenter", f"--target={max(front_door.supervisor())}", "--pid", "--mount"]
    enter = ["nsenter", f"--target={one['pid'][0]}", "--mount", "--net"]
    user = str(one["Uid"][0])
    become = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ]
    home = front_door.folder.parent
    script = f"""
        for file in /etc/hostname /etc/shadow /root/x /usr/bin/x {front_door.state}/keys/tickets {home}/x; do
            (: >>"$file") 2>/dev/null && echo "wrote $file"
        done
        cat {front_door.state}/keys/tickets /etc/shadow 2>/dev/null && echo "read a secret"
        ls {home}; echo; ls {front_door.state}; find / -xdev -user {user} 2>/dev/null
        true"""
    done = subprocess.run([*outside, *enter, *become, "sh", "-c", script], capture_output=True, text=True, check=True)
    seen, _, owned = done.stdout.partition("\n\n")
    assert "wrote" not in done.stdout and "secret" not in done.stdout
    assert (
        "keys" not in owned.split() and "events.jsonl" not in owned.split() and set(seen.split()) <= {"labkit", "lab"}
    )
    mine = [line for line in owned.splitlines() if line.startswith("/")]
    books = str(State(front_door.state).books)
    assert all(line.startswith(books) for line in mine) and bool(mine) == (part == "bootd")


def test_a_refused_sudo_is_said_and_nothing_is_left(person: Person, tmp_path: Path) -> None:
    """The right taken away for a moment: another lab of his does not come up, with the reason and what to do."""
    allowed = Path("/etc/sudoers.d") / person.name
    folder = person.folder("refused")
    (folder / "lab.yaml").write_text("name: refused\nnetwork: {subnet: 10.96.0.0/24}\nblades: [{name: blade1}]\n")
    door = FrontDoor(folder, person.prefix, person)
    text = allowed.read_text()
    allowed.write_text("")
    try:
        done = door("up", timeout_s=60)
        chapter = door.papermill("01-pxe-setup", folder, str(person.clone / "notebooks"), timeout_s=120)
    finally:
        allowed.write_text(text)
    assert done.returncode != 0 and "sudo" in done.stderr and "fix:" in done.stderr
    assert chapter.returncode != 0 and "sudo" in chapter.stderr and "Traceback (most recent" not in done.stderr
    assert not (folder / "state").exists()


def test_he_can_delete_what_is_his_without_root(person: Person) -> None:
    """After down, also of a lab that was up: nothing of root's has been left, in its folder or in the checkout."""
    folder = person.folder("second lab")
    (folder / "lab.yaml").write_text("name: second\nnetwork: {subnet: 10.97.0.0/24}\nblades: [{name: blade1}]\n")
    door = FrontDoor(folder, person.prefix, person)
    door.own("lab.yaml")
    for verb in ("up", "down"):
        done = door(verb, timeout_s=180)
        assert done.returncode == 0, done.stderr
    assert State(door.state).data.exists()
    for place in (folder, person.clone):
        assert not [found for found, status in below(place) if status.st_uid != person.uid]
    subprocess.run([*person.prefix, "rm", "-r", str(folder)], check=True)
    assert not folder.exists()

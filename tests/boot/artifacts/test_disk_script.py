"""The script that puts Docker's data on a disk, with real signatures in real files; what takes root is stood in for."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.boot.artifacts.text import render_text
from labkit.boot.artifacts.units import DISK_LABEL
from labkit.netboot.http.blade_disk import DiskReport, read_disk

PROGRAMS = ("wipefs", "mke2fs", "e2fsck", "debugfs")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
SIZE_B = 32 << 20
STANDS_IN = {
    "blockdev": 'stat -c %s "$2"',
    "mount": 'echo "mount $*" >>"$ASKED"; [ -z "$FAILS" ] || case $* in *$FAILS*) exit 32 ;; esac',
    "umount": 'echo "umount $*" >>"$ASKED"',
}

pytestmark = pytest.mark.skipif(
    any(shutil.which(program, path=PATH) is None for program in PROGRAMS), reason="needs util-linux and e2fsprogs"
)


class Blade:
    """A blade whose disk is a file."""

    def __init__(self, folder: Path, disk: str = "disk") -> None:
        self.folder, self.disk, self.asked = folder, folder / disk, folder / "asked"
        (folder / "bin").mkdir()
        for name, text in STANDS_IN.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / "bin" / name).chmod(0o755)
        places = {"folder": str(folder), "console": "/dev/null", "data": str(folder / "docker"), "run": str(folder)}
        script = render_text("scripts/disk", **places, disk=str(self.disk), label=DISK_LABEL, wait_s=1)
        (folder / "script").write_text(script)
        self.shell, self.fails = "sh", ""
        with self.disk.open("wb") as file:
            file.truncate(SIZE_B)

    def boot(self, yes: str = "") -> DiskReport:
        """What became of the disk."""
        (self.folder / "disk-wipe").write_text(f"{yes}\n" if yes else "")
        self.asked.write_text("")
        env = {"PATH": f"{self.folder}/bin:{PATH}", "ASKED": str(self.asked), "FAILS": self.fails}
        done = subprocess.run(
            [self.shell, str(self.folder / "script")], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        report = read_disk((self.folder / "labkit-disk").read_text())
        assert report is not None and done.stdout == f"labkit: {report.words}\n"
        assert (report.state == "refused") == ("Docker is in memory" in report.words)
        return report

    def mounted(self) -> list[str]:
        return self.asked.read_text().replace(str(self.folder), "").splitlines()

    def on_it(self, *words: str) -> str:
        return run(*words, str(self.disk))

    def digest(self) -> str:
        return hashlib.sha256(self.disk.read_bytes()).hexdigest()


def run(*words: str) -> str:
    return subprocess.run(
        words, check=True, capture_output=True, text=True, env={"PATH": PATH}, stdin=subprocess.DEVNULL
    ).stdout


@pytest.fixture
def blade(tmp_path: Path) -> Blade:
    return Blade(tmp_path)


MOUNTED = ["mount -t ext4 -o noatime /disk /docker", "mount -t tmpfs -o mode=0700 labkit-swarm /docker/swarm"]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_an_empty_disk_is_formatted_once_and_then_used_as_it_is(blade: Blade, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    blade.shell = shell
    first = blade.boot()
    assert first.state == "formatted" and "was empty" in first.words and blade.mounted() == MOUNTED
    assert f"{DISK_LABEL},ext4" in blade.on_it("wipefs", "--parsable")
    run("debugfs", "-w", "-R", "mkdir precious", str(blade.disk))
    second = blade.boot()
    assert (second.state, second.mark) == ("used", first.mark) and blade.mounted() == MOUNTED
    assert "precious" in run("debugfs", "-R", "ls -p /", str(blade.disk))


def ext4(blade: Blade) -> None:
    blade.on_it("mke2fs", "-q", "-t", "ext4", "-L", 'ph"$(o)\\n')


def nearly_ours(blade: Blade) -> None:
    blade.on_it("mke2fs", "-q", "-t", "ext2", "-L", DISK_LABEL)


def swap(blade: Blade) -> None:
    blade.on_it("mkswap")


def table(blade: Blade) -> None:
    """A partition table as DOS made them, with one partition."""
    entry = bytes((0, 0, 33, 0, 0x83, 254, 255, 255)) + (2048).to_bytes(4, "little") + (32768).to_bytes(4, "little")
    with blade.disk.open("r+b") as file:
        file.seek(446)
        file.write(entry + bytes(48) + b"\x55\xaa")


def lvm(blade: Blade) -> None:
    with blade.disk.open("r+b") as file:
        file.seek(512)
        file.write(b"LABELONE" + (1).to_bytes(8, "little") + bytes(4) + (32).to_bytes(4, "little") + b"LVM2 001")


def nothing_known(blade: Blade) -> None:
    with blade.disk.open("r+b") as file:
        file.seek(3 << 20)
        file.write(b"rows of a database")


def damaged(blade: Blade) -> None:
    """labkit's own, and not as e2fsck can mend it unasked."""
    blade.on_it("mke2fs", "-q", "-t", "ext4", "-L", DISK_LABEL)
    with blade.disk.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xff" * 200_000)


FOREIGN = {
    ext4: "ext4", nearly_ours: f"{DISK_LABEL}, ext2", swap: "swap", table: "dos", lvm: "LVM2_member",
    nothing_known: "is not empty", damaged: "is damaged",
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN, ids=lambda what: what.__name__)
def test_what_labkit_did_not_put_there_stays_byte_for_byte_without_a_yes(blade: Blade, what: object) -> None:
    assert callable(what)
    what(blade)
    before = blade.digest()
    report = blade.boot()
    assert report.state == "refused" and FOREIGN[what] in report.words and blade.mounted() == []
    for yes in ("0123456789abcdef", report.mark[:-1], "*"):
        assert blade.boot(yes).state == "refused"
    assert blade.digest() == before or what is damaged, "e2fsck mends what it can of labkit's own"
    assert blade.boot().mark == report.mark, "the same is known again"
    wiped = blade.boot(report.mark)
    assert wiped.state == "wiped" and blade.mounted() == MOUNTED
    used = blade.boot(report.mark)
    assert used.state == "used" and used.mark == wiped.mark, "the yes was for what is no longer there"


def test_a_yes_counts_for_what_was_found_and_nothing_else(blade: Blade) -> None:
    swap(blade)
    yes = blade.boot().mark
    ext4(blade)
    before = blade.digest()
    report = blade.boot(yes)
    assert "is not what somebody let labkit wipe" in report.words and blade.digest() == before


def test_what_is_unknown_is_told_apart_by_its_bytes(blade: Blade) -> None:
    nothing_known(blade)
    yes = blade.boot().mark
    with blade.disk.open("r+b") as file:
        file.write(b"another")
    assert blade.boot(yes).state == "refused"


def test_without_a_disk_it_waits_and_goes_on(blade: Blade) -> None:
    blade.disk.unlink()
    report = blade.boot()
    assert (report.state, report.mark) == ("refused", "") and f"there is no {blade.disk}" in report.words


def test_what_cannot_be_looked_at_is_left_alone(blade: Blade) -> None:
    for program in ("blockdev", "wipefs"):
        (blade.folder / "bin" / program).write_text("#!/bin/sh\nexit 1\n")
        (blade.folder / "bin" / program).chmod(0o755)
        report = blade.boot()
        assert (report.state, report.mark) == ("refused", "")
        (blade.folder / "bin" / program).write_text(f"#!/bin/sh\n{STANDS_IN['blockdev']}\n")
    assert blade.digest() == hashlib.sha256(bytes(SIZE_B)).hexdigest()


@pytest.mark.parametrize(("fails", "words"), [("ext4", "cannot be mounted"), ("tmpfs", "cannot be kept in memory")])
def test_a_mount_that_fails_leaves_docker_in_memory(blade: Blade, fails: str, words: str) -> None:
    blade.boot()
    blade.fails = fails
    report = blade.boot()
    assert report.state == "refused" and words in report.words
    assert (blade.mounted()[-1] == "umount /docker") == (fails == "tmpfs")


def test_the_script_is_one_a_linter_has_nothing_against(blade: Blade) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "--shell=sh", str(blade.folder / "script")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "text", ["", "used", "used\n\n", "eaten\n\nwords\n", "used\nXYZ\nwords\n", "used\n0123\nwords\n", "a\nb\nc\nd\n"]
)
def test_a_report_that_makes_no_sense_is_none(text: str) -> None:
    assert read_disk(text) is None


def test_a_report_steers_no_terminal() -> None:
    report = read_disk("refused\n0123456789abcdef\n\x1b[31m" + "x" * 1000 + "\n")
    assert report is not None and "\x1b" not in report.words and len(report.words) <= 300

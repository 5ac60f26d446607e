"""A Debian of another suite than this machine's, to try the front door in: a root, and a person with sudo in it.

It has namespaces of its own for mounts and processes, and shares this machine's network and kernel. They end when the
block does, and when the tests die: the kernel ends all processes of a PID namespace with its first, and its mounts with
the last. A chroot would not do: mount propagation cannot be changed there, and mmdebstrap and the lab need that.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labkit.images.build.debian import KEYRING
from labkit.images.build.tools import run_tool
from tests.rig.person import copy_checkout

PERSON = "person"
HOME = f"/home/{PERSON}"
PACKAGES = ("ca-certificates", "git", "python3", "sudo")
SETTINGS = (
    *("etc/apt/auth.conf", "etc/apt/auth.conf.d", "etc/hosts", "etc/pip.conf", "etc/resolv.conf", "etc/xdg/pip"),
    "usr/local/share/ca-certificates",
)
"""How this machine reaches package registries, as far as it is said in files of these names."""
PERSONAL = (".config/pip", ".netrc", ".pip")

# $1 is the root. Its first process says who it is outside, and then only takes in whoever has lost its parent.
ENTER = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
read -r pid _ </proc/self/stat
pivot_root . mnt
umount -l mnt
trap '' CHLD
echo "$pid"
exec sleep infinity
"""

PREPARE = f"""
set -e
update-ca-certificates >/dev/null 2>&1
useradd --shell /bin/sh {PERSON}
echo '{PERSON} ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/{PERSON}
chown -R {PERSON}: {HOME}
"""

LIST = """
for process in /proc/[0-9]*; do
    case $process in /proc/1 | /proc/$$) continue ;; esac
    words=$(tr '\\0' ' ' <"$process/cmdline") 2>/dev/null && [ -z "$words" ] || echo "$words"
done
"""


def codename(os_release: str) -> str:
    """The suite to try where os-release(5) says this. Ubuntu 24.04 has no keys for Debian 13."""
    return "trixie" if "VERSION_CODENAME=bookworm\n" in os_release else "bookworm"


@dataclass(frozen=True)
class Suite:
    """The root while it is entered; ``init`` is its first process, as this machine counts."""

    root: Path
    init: int
    environment: dict[str, str]

    def __call__(self, *words: str, folder: str = HOME, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command as the person, without a terminal."""
        change = ["setpriv", f"--reuid={PERSON}", f"--regid={PERSON}", "--init-groups", "env", f"--chdir={folder}"]
        own = [f"HOME={HOME}", f"USER={PERSON}", "PATH=/usr/local/bin:/usr/bin:/bin"]
        return self.as_root(*change, *own, *words, timeout_s=timeout_s)

    def as_root(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        enter = ["nsenter", f"--target={self.init}", "--mount", "--pid", "env", "--ignore-environment"]
        return subprocess.run(
            [*enter, *(f"{name}={value}" for name, value in self.environment.items()), *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def processes(self) -> list[str]:
        """What runs in there beside its first process and the one that asks."""
        return self.as_root("sh", "-c", LIST).stdout.splitlines()


@contextmanager
def other_suite() -> Iterator[Suite]:
    """The root with the files of this checkout in ``~/labkit``, nothing else installed and nothing cached.

    It takes some gigabytes below ``/var/tmp``, which are free again afterwards.
    """
    folder = Path(tempfile.mkdtemp(prefix="labkit-suite-", dir="/var/tmp"))
    try:
        root = folder / "root"
        make(root)
        with entered(root) as suite:
            done = suite.as_root("sh", "-c", PREPARE)
            assert done.returncode == 0, done.stdout + done.stderr
            yield suite
    finally:
        shutil.rmtree(folder)


def make(root: Path) -> None:
    """Make the root, with the checkout and this machine's settings in it."""
    suite = codename(Path("/etc/os-release").read_text())
    options = ["--mode=root", "--variant=minbase", f"--keyring={KEYRING}", f"--include={','.join(PACKAGES)}"]
    run_tool(["mmdebstrap", *options, suite, str(root)])
    for name in SETTINGS:
        _copy(Path("/", name), root / name)
    for name in PERSONAL:
        _copy(Path.home() / name, root / HOME[1:] / name)
    dumped = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    acquire = [line for line in dumped.splitlines() if re.match("Acquire::(https?|Check-.*|Force.*|Retries)\\b", line)]
    (root / "etc/apt/apt.conf.d/99acquire").write_text("\n".join(acquire))
    copy_checkout(root / HOME[1:] / "labkit")


@contextmanager
def entered(root: Path) -> Iterator[Suite]:
    """The root as the root of namespaces; whatever runs in them ends with the block."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    process = subprocess.Popen(
        [*command, "sh", "-c", ENTER, "enter", str(root)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    init = 0
    with process.stdout:
        try:
            init = int(process.stdout.readline())
            yield Suite(root, init, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **variables(root)})
        finally:
            with suppress(ProcessLookupError):
                os.kill(init or process.pid, signal.SIGKILL)
            process.wait()  # unshare(1) ends when the first process is gone, which goes last of all in there


def variables(root: Path) -> dict[str, str]:
    """The variables that say how package registries are reached, but for those that name files the root lacks."""

    def counts(name: str) -> bool:
        return name.lower().endswith("_proxy") or name.startswith(("PIP_", "SSL_CERT_")) or name.endswith("_CA_BUNDLE")

    found = {name: value for name, value in os.environ.items() if counts(name)}
    return {name: value for name, value in found.items() if value[0:1] != "/" or (root / value[1:]).exists()}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(source, target)

"""The blade OS's first process, by its functions: which arguments it obeys, and where it looks for a config."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.boot import SYSTEMS, BootSecrets, plan
from labkit.boot.artifacts import cpio
from labkit.boot.boot_plan import BootPlan, archive
from labkit.images import labos
from labkit.lab import lab_yaml
from labkit.lab.secret import Secret
from tests.boot.artifacts.test_golden_systems import RELEASES

INIT = labos.recipe().files["initramfs/init"].decode()
SHELLS = ("busybox sh", "dash", "bash --posix")


def function(name: str) -> str:
    [text] = re.findall(rf"^{name}\(\) {{.*?^}}$", INIT, re.MULTILINE | re.DOTALL)
    assert isinstance(text, str)
    return text


class Initramfs:
    """What the kernel unpacked, as a folder, with the command line beside it."""

    def __init__(self, root: Path, shell: str) -> None:
        self.root, self.shell = root, shell.split()
        if shutil.which(self.shell[0]) is None:
            pytest.skip(f"{self.shell[0]} is not installed")

    def unpack(self, archive: bytes) -> None:
        for entry in cpio.unpack(archive):
            target = self.root / entry.name
            if entry.is_folder:
                target.mkdir()
            else:
                target.write_bytes(entry.data)

    def run(self, arguments: tuple[str, ...], then: str) -> str:
        """What the first process says and what ``then`` prints, after it read these arguments."""
        (self.root / "proc").mkdir(exist_ok=True)
        (self.root / "proc/cmdline").write_text(" ".join(arguments) + "\n")
        here = function("read_arguments") + "\n" + function("prepare_ignition")
        for place in ("/proc/cmdline", "/config.ign", "/usr/share/oem", "/run/ignition"):
            here = re.sub(rf"(?<![\w/]){place}", f"{self.root}{place}", here)
        script = f"""
            say() {{ echo "say: $*"; }}
            fail() {{ echo "fail: $1"; exit 0; }}
            mount() {{ :; }}
            {here}
            read_arguments
            {then}
        """
        done = subprocess.run([*self.shell, "-c", script], capture_output=True, text=True, check=False, timeout=10)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def asks(self, *arguments: str) -> tuple[str, str, list[str]]:
        """Whether Ignition may run, the config's URL, and where shells are granted."""
        said = self.run(arguments, 'echo "$first_boot|$url|$autologin"').splitlines()[-1].split("|")
        return said[0], said[1], said[2].split()

    def config(self, *arguments: str) -> str:
        """The config that Ignition is given as a file, or what is said where there is none."""
        return self.run(arguments, f"prepare_ignition; cat {self.root}/run/ignition/config/user.ign")


@pytest.fixture(params=SHELLS)
def initramfs(request: pytest.FixtureRequest, tmp_path: Path) -> Initramfs:
    return Initramfs(tmp_path, str(request.param))


@pytest.mark.parametrize(
    ("arguments", "first_boot", "url", "shells"),
    [
        ("coreos.first_boot=1 coreos.config.url=oem:///raw.ign", "yes", "oem:///raw.ign", []),
        ("flatcar.first_boot=detected flatcar.config.url=http://a/b=c", "yes", "http://a/b=c", []),
        ("ignition.firstboot ignition.platform.id=metal ignition.config.url=tftp://a/b", "yes", "tftp://a/b", []),
        ("ignition.firstboot=1", "yes", "", []),
        ("coreos.first_boot=0 flatcar.first_boot=0 ignition.firstboot=0", "", "", []),
        ("quiet console=ttyS0", "", "", []),
        ("flatcar.autologin", "", "", ["getty@", "serial-getty@"]),
        ("flatcar.autologin=tty1 flatcar.autologin=ttyS1,115200", "", "", ["getty@tty1", "serial-getty@ttyS1"]),
        ("coreos.live.rootfs_url=http://a/b.img ignition.firstboot", "yes", "", []),
    ],
)
def test_the_arguments_of_all_systems(
    initramfs: Initramfs, arguments: str, first_boot: str, url: str, shells: list[str]
) -> None:
    assert initramfs.asks(*arguments.split()) == (first_boot, url, shells)


def test_a_root_that_is_fetched_elsewhere_is_told_of(initramfs: Initramfs) -> None:
    said = initramfs.run(("coreos.live.rootfs_url=http://10.77.0.1/x-live-rootfs.img",), "true")
    assert said.startswith("say: init: the root is in this image; coreos.live.rootfs_url=http://10.77.0.1/")


def planned(os: str) -> BootPlan:
    lab = lab_yaml.parse(f"blades: [{{name: blade1, os: {os}, boot: ipxe}}]\n", Path("lab.yaml"))
    return plan(lab, lab.blades[0], "b1", BootSecrets(Secret("opened sesame")), release=RELEASES[os])


@pytest.mark.parametrize("os", RELEASES)
def test_the_config_of_every_systems_plan_is_found(initramfs: Initramfs, os: str) -> None:
    """By its arguments and in its place, as that system's own image would."""
    made = planned(os)
    assert made.ignition is not None
    initramfs.unpack(archive(made.ignition, SYSTEMS[made.os].config))
    assert initramfs.asks(*made.arguments)[0] == "yes"
    given = initramfs.config(*made.arguments)
    assert given.splitlines()[-1] == made.ignition.reveal()


def test_an_argument_goes_before_a_place(initramfs: Initramfs) -> None:
    """As in Ignition's own order: the command line, then what the system was given."""
    initramfs.unpack(
        cpio.pack({"config.ign": b"root", "usr/share/oem/config.ign": b"oem", "usr/share/oem/x": b"named"})
    )
    assert initramfs.config("flatcar.first_boot=1", "ignition.config.url=oem:///x") == "named"
    assert initramfs.config("flatcar.first_boot=1") == "root"
    (initramfs.root / "config.ign").unlink()
    assert initramfs.config("flatcar.first_boot=1") == "oem"


def test_a_config_that_is_nowhere_is_said(initramfs: Initramfs) -> None:
    said = initramfs.config("coreos.first_boot=1", "coreos.config.url=oem:///raw.ign")
    assert said == f"fail: oem:///raw.ign: no {initramfs.root}/usr/share/oem/raw.ign in any initrd\n"
    assert "kind that can be fetched" in initramfs.config("coreos.config.url=nfs://a/b")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_process_is_shell(shell: str) -> None:
    words = shell.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run([*words, "-n"], input=INIT, text=True, capture_output=True, check=False, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")

"""A checkout of labkit as ``./lab`` sees one: a small project in labkit's place, a small system around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

from .odd import ODD

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ("sh cat chown cut dirname env flock id mkdir printf pwd readlink rm sed sha256sum stat tr true uname").split()

# A project that installs without a network: its one program says what it was given, and waits when asked to.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
PROGRAM = """
import os, sys, time

try:
    print(sys.argv[1:], os.environ["LABKIT_LAB"], flush=True)
    time.sleep(60 if sys.argv[1] == "wait" else 0)
except KeyboardInterrupt:
    sys.exit(42)
sys.exit(7 if sys.argv[1] == "fail" else 0)
"""
BACKEND = f"""\
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "labkit-1.dist-info/"
    with zipfile.ZipFile(folder + "/labkit-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("labkit/__main__.py", {PROGRAM!r})
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: labkit\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "labkit-1-py3-none-any.whl"
"""


class Checkout:
    """A checkout at ``path``, which has all that a path may have, and the programs that its ./lab finds."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ODD
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.elsewhere = folder / "elsewhere"
        for new in (self.path, self.bin, self.elsewhere):
            new.mkdir(parents=True)
        shutil.copy(ROOT / "lab", self.path)
        (self.path / "lab.yaml").touch()
        (self.path / "requirements.lock").touch()
        (self.path / "pyproject.toml").write_text(PYPROJECT)
        (self.path / "backend.py").write_text(BACKEND)
        for name in SYSTEM:
            (self.bin / name).symlink_to(shutil.which(name) or f"/bin/{name}")
        self.have_debian(without="")
        self.have_root()

    def have(self, name: str, script: str) -> None:
        """Put a program of the system in its place."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def have_debian(self, *, without: str) -> None:
        """Be a Debian on which every package is installed but one."""
        leave_out = f"case $name in {without or '/'}) continue ;; esac"
        self.have("dpkg-query", f'shift 3; for name; do {leave_out}; echo "ii  $name"; done')
        self.have("apt-get", f'echo "apt-get $*" >> {self.log}')

    def have_root(self) -> None:
        """Be who we are: root, or somebody whose sudo does it."""
        for name in ("id", "sudo"):
            (self.bin / name).unlink(missing_ok=True)
        (self.bin / "id").symlink_to(shutil.which("id") or "/bin/id")
        if os.geteuid() != 0:
            self.have("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')

    def have_environment(self) -> Path:
        """Have a .venv as ./lab makes it, but for pip, which takes seconds to install. Gives where its packages lie."""
        made, version = self.path / ".venv", "{}.{}".format(*sys.version_info)
        venv.create(made, symlinks=True)
        packages = made / f"lib/python{version}/site-packages"
        (packages / "labkit").mkdir()
        (packages / "labkit/__main__.py").write_text(PROGRAM)
        lock, project = (
            sha256((self.path / name).read_bytes()).hexdigest() for name in ("requirements.lock", "pyproject.toml")
        )
        (made / "made-from-lock").write_text(f"{lock} {version.replace('.', ' ')} {self.path.resolve()}\n")
        (made / "made-from-project").write_text(f"{project}  -\n")
        return packages

    def command(self, *arguments: str) -> list[str]:
        return [str(self.path / "lab"), *arguments]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "PYTHON"))}
        return {**kept, "PATH": str(self.bin)}

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(*arguments), self.environment()
        return subprocess.run(command, cwd=cwd or self.elsewhere, env=environment, capture_output=True, text=True)

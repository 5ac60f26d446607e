"""A blade OS booted directly in QEMU for tests: its serial console read and typed at."""

from __future__ import annotations

import re
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PROMPT = "labos-test$ "


class Console:
    """A machine without disk, from power-on until the block ends; ``network`` is QEMU's ``-nic``.

    ``text`` is all that came from its serial console so far.
    """

    def __init__(self, kernel: Path, initrd: Path, arguments: Sequence[str], network: str = "none") -> None:
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "2048"),
            *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", network),
            *("-kernel", str(kernel), "-initrd", str(initrd), "-append", " ".join(["console=ttyS0", *arguments])),
        ]
        self.text = ""
        self.seconds: list[tuple[float, str]] = []
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for(self, pattern: str, *, timeout_s: float, start: int = 0) -> re.Match[str]:
        """The first match in the text from ``start`` on. Fails with the console's end when it does not come."""
        assert self._process.stdout is not None
        end = time.monotonic() + timeout_s
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.text, start)
            if match:
                return match
            left = end - time.monotonic()
            ready = select.select([self._process.stdout], [], [], max(left, 0))[0]
            data = self._process.stdout.read(65536) if ready else b""
            if not data:
                raise AssertionError(f"{pattern!r} did not come; the console ends with:\n{self.text[-3000:]}")
            new = data.decode(errors="replace").replace("\r", "")
            self.text += new
            self.seconds.append((time.monotonic() - self._started, new))

    def type(self, text: str) -> None:
        """Type at the console."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def take_shell(self, *, timeout_s: float) -> None:
        """Wait for the shell that autologin gives and give it a prompt that nothing else prints.

        The kernel prints on this console too, in the middle of what a command says: it is told not to any more.
        """
        self.wait_for(r"core@\S+\$ ", timeout_s=timeout_s)
        at = len(self.text)
        self.type("sudo dmesg --console-level emerg; ")
        self.type("PS1='labos-test''$ '; bind 'set enable-bracketed-paste off'; stty -echo\n")
        self.wait_for(r"labos-test\$ ", timeout_s=120, start=at)
        self.run("true")

    def run(self, command: str, *, timeout_s: float = 60) -> str:
        """What a command prints on the console."""
        at = len(self.text)
        self.type(command + "\n")
        match = self.wait_for(r"labos-test\$ ", timeout_s=timeout_s, start=at)
        return self.text[at : match.start()].strip()

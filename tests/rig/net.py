"""A boot server and machines on a network of the test's own: namespaces, a bridge, and other people's clients."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from labkit import events
from labkit.errors import ControlError
from labkit.lab.process import rpc
from labkit.lab.state import State
from tests.rig.rpc_server import RpcServer

LAB = """
name: netns
boot: pxelinux
blades:
  - name: blade1
    macs: ["52:54:00:4d:00:01"]
  - name: blade2
    macs: ["52:54:00:4d:00:02"]
"""
BLADE1, BLADE2, STRANGER = "52:54:00:4d:00:01", "52:54:00:4d:00:02", "00:00:5e:00:53:99"
CLONE_NEWNET = 0x40000000  # linux/sched.h
T = TypeVar("T")

IMAGES = ("pxelinux.0", "lpxelinux.0", "ldlinux.c32", "labos/vmlinuz", "labos/labos.cpio")

SET_ADDRESS = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address flush dev "$interface"
ip address add "$ip/24" dev "$interface"
env | grep -E '^(ip|subnet|router|hostname|serverid|siaddr|boot_file|bootfile|lease|tftp|sname)=' > "$RESULT"
"""


def run(*words: str, **env: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, env={**os.environ, **env})
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def wait_until(look: Callable[[], T], within_s: float = 10) -> T:
    """What ``look`` finds, once it finds something."""
    until = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    return found


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_space(space: str, do: Callable[[], T]) -> T:
    """What ``do`` gives in a network namespace: a thread can be in another than its process. Raises what it raises."""

    def enter() -> T:
        with Path("/run/netns", space).open() as net:
            _enter(net.fileno())
        return do()

    with ThreadPoolExecutor(1) as thread:  # which ends here, and nobody else is sent into that namespace
        return thread.submit(enter).result()


class Net:
    """The server's namespace with a bridge, and a namespace for each machine plugged into it."""

    def __init__(self, folder: Path, lab: str = LAB) -> None:
        self.folder, self.tag = folder, f"lkn{os.getpid()}"
        self.state = State(folder / "state")
        self.images = folder / "images"
        for name in IMAGES:
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_bytes(name.encode() * 60_000)
        (folder / "lab.yaml").write_text(lab)
        self.spaces: list[str] = []
        self.server = self._space("s")
        # With a MAC of its own, as the lab's bridge has: else it changes as machines are plugged in and out.
        self.inside(self.server, "ip", "link", "add", "br0", "address", "02:00:0a:4d:00:01", "type", "bridge")
        self.inside(self.server, "ip", "address", "add", "10.77.0.1/24", "dev", "br0")
        self.inside(self.server, "ip", "link", "set", "br0", "up")
        self.process: subprocess.Popen[bytes] | None = None
        self.others: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _space(self, name: str) -> str:
        space = f"{self.tag}{name}"
        run("ip", "netns", "add", space)
        self.spaces.append(space)
        self.inside(space, "ip", "link", "set", "lo", "up")
        return space

    def inside(self, space: str, *words: str, **env: str) -> str:
        return run("ip", "netns", "exec", space, *words, **env)

    def plug(self, name: str, mac: str) -> str:
        """A machine with one card; its namespace."""
        space = self._space(name)
        port = f"p{name}"
        run("ip", "link", "add", port, "netns", self.server, "type", "veth", "peer", "name", "eth0", "netns", space)
        self.inside(space, "ip", "link", "set", "eth0", "address", mac, "up")
        self.inside(self.server, "ip", "link", "set", port, "master", "br0", "up")
        # The kernel hears of a cable a moment later, and until then the bridge drops what a machine sends.
        wait_until(lambda: self._link(self.server, port)["linkinfo"]["info_slave_data"]["state"] == "forwarding", 10)
        wait_until(lambda: self._link(space, "eth0")["operstate"] == "UP", 10)
        return space

    def _link(self, space: str, card: str) -> dict[str, Any]:
        [link] = json.loads(self.inside(space, "ip", "-json", "-details", "link", "show", "dev", card))
        return dict(link)

    def socket(
        self,
        space: str,
        kind: socket.SocketKind = socket.SOCK_DGRAM,
        family: socket.AddressFamily = socket.AF_INET,
        protocol: int = 0,
    ) -> socket.socket:
        """A socket in another namespace: it belongs to the one its thread was in when it was made (setns(2))."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", space).open() as away:
            _enter(away.fileno())
            try:
                return socket.socket(family, kind, protocol)
            finally:
                _enter(home.fileno())

    def background(self, space: str, *words: str | Path, **env: str) -> subprocess.Popen[bytes]:
        """A program that runs in a namespace until the network is closed."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", space, *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env},
        )  # fmt: skip
        self.others.append(process)
        return process

    def start(self) -> None:
        program = Path(__file__).with_name("serve.py")
        words = [self.folder / "lab.yaml", self.state.path, self.images]
        self.process = subprocess.Popen(["ip", "netns", "exec", self.server, sys.executable, program, *map(str, words)])
        wait_until(self._answers, 20)

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None
        try:
            rpc.call(self.state.bootd, "boots")
        except ControlError:
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        for other in self.others:
            other.terminate()
        for other in self.others:
            other.wait(10)
        for space in self.spaces:
            run("ip", "netns", "del", space)

    def lease(self, space: str, *options: str) -> dict[str, str]:
        """Ask with busybox's udhcpc; what its script was told."""
        result, script = self.folder / f"{space}.lease", self.folder / "udhcpc"
        script.write_text(SET_ADDRESS)
        script.chmod(0o755)
        words = ["busybox", "udhcpc", "-i", "eth0", "-s", str(script), "-n", "-q", "-f", "-t", "3", "-T", "1", *options]
        self.inside(space, *words, RESULT=str(result))
        return dict(line.split("=", 1) for line in result.read_text().splitlines())

    def networkd(self, space: str) -> dict[str, Any]:
        """Let systemd-networkd configure a machine, as a distribution does; its link as networkctl would show it.

        It needs no systemd: only a /run of its own, and a /sys it cannot write to, or it would wait for udev.
        """
        done = self.folder / f"{space}.networkd"
        script = f"""
            mount -t tmpfs tmpfs /run && mount -o bind,remount,ro /sys
            mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
            printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\n' >/run/systemd/network/eth0.network
            chown -R systemd-network /run/systemd/netif
            /lib/systemd/systemd-networkd & networkd=$!
            tries=0
            until cat /run/systemd/netif/leases/* 2>/dev/null | grep -q ^ADDRESS= || [ $((tries += 1)) -gt 100 ]; do
                sleep 0.1
            done
            cat /run/systemd/netif/leases/* >{done}
            kill $networkd; wait
        """
        self.inside(space, "unshare", "--mount", "sh", "-c", script)
        return dict(line.split("=", 1) for line in done.read_text().splitlines() if "=" in line)

    def pxe(self, space: str) -> dict[str, str]:
        """Ask as a BIOS PXE ROM does."""
        return self.lease(space, "-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000")

    def curl(self, space: str, path: str, *options: str) -> tuple[int, str]:
        words = ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", *options, f"http://10.77.0.1{path}"]
        body, _, status = self.inside(space, *words).rpartition("\n")
        return int(status), body

    def told(self, kind: type[Any], **fields: object) -> list[Any]:
        """The events of a kind with these fields."""
        found = [event for event in events.read(self.state.events, after=-1) if isinstance(event, kind)]
        return [event for event in found if all(getattr(event, name) == value for name, value in fields.items())]


class Desk:
    """A swarm desk that says yes and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        names = ("join", "joined", "leave", "left", "refused")
        self._server = RpcServer(path, {name: self._verb(name) for name in names})

    def _verb(self, name: str) -> rpc.Handler:
        async def answer(request: dict[str, Any]) -> dict[str, Any]:
            self.asked.append({"verb": name, **request})
            return {"body": {"JoinToken": "SWMTKN-1"}} if name == "join" else {}

        return answer

    def close(self) -> None:
        self._server.close()

"""Real Docker engines, each in a network, mount, process and host-name namespace of its own, joined by a bridge.

An engine stands for a machine: killing it is a power cut, and a blade starts again with nothing on its disk. They run
from the blade OS's tree and leave nothing behind on this machine.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import docker

from labkit.errors import SwarmError
from labkit.lab import Role, certificates
from labkit.lab.state import State
from labkit.machines.host.sandbox import Sandbox, User, give
from labkit.servers.parts.bundled import push_command, registry_command
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, connect
from labkit.swarm.membership import joining
from labkit.swarm.node import find_node

from .net import in_space

T = TypeVar("T")

SUBNET = "10.99.77"
SERVER = f"{SUBNET}.1"
REGISTRY = f"{SERVER}:5000"
READER, WRITER = User(61184, 61184), User(61185, 61185)


def sh(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True, stdin=subprocess.DEVNULL)


def until(condition: Callable[[], T], timeout_s: float = 20, every_s: float = 0.05) -> T:
    """Wait for a condition to become true and return what it said."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}"
        time.sleep(every_s)


class Rooted:
    """A program running in the tree, in namespaces of its own, in the network namespace ``net``."""

    def __init__(self, tree: Path, folder: Path, net: str, name: str, cgroup: str, ca: Path) -> None:
        self.ca = ca
        self.trusts: dict[str, Path] = {}
        self.tree, self.folder, self.net, self.name, self.cgroup = tree, folder, net, name, cgroup
        self.data = folder / "data"
        self.run = folder / "run"
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        for place in (self.data, self.run, folder / "root"):
            place.mkdir(parents=True)

    def start(self, command: list[str], data_at: str) -> None:
        folders = {host: f"root/etc/docker/certs.d/{host}" for host in self.trusts}
        trust = "\n".join(
            f"mkdir {folders[host]}; cp {shlex.quote(str(ca))} {folders[host]}/ca.crt"
            for host, ca in self.trusts.items()
        )
        script = f"""
            set -e
            cd {shlex.quote(str(self.folder / "root"))}
            mount -t tmpfs tmpfs .
            cd "$PWD"
            mkdir root upper work
            ln -s {shlex.quote(str(self.tree))} lower
            mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
            mount -t proc proc root/proc
            mount -t sysfs sysfs root/sys
            mount --rbind /sys/fs/cgroup root/sys/fs/cgroup
            mount --rbind /dev root/dev
            mount -t tmpfs tmpfs root/run
            mkdir -p root/run/host root{data_at} root/tmp root/etc/docker/certs.d/{REGISTRY}
            cp {shlex.quote(str(self.ca))} root/etc/docker/certs.d/{REGISTRY}/ca.crt
            {trust}
            mount --bind {shlex.quote(str(self.data))} root{data_at}
            mount --bind {shlex.quote(str(self.run))} root/run/host
            hostname {self.name}
            cd root
            # Not chroot alone: docker exec enters the mount namespace by its root, which would still be this machine's.
            pivot_root . mnt
            exec chroot . sh -c {shlex.quote(f"umount -l /mnt; exec {shlex.join(command)}")}
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.net}", "unshare", "--mount", "--uts", "--pid", "--fork",
                 "--kill-child", "sh", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL for process 1 of its namespace, and with it for all that runs there; it is gone on return."""
        process = self._process
        if process is None:
            return
        children: list[int] = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = self.inner()
            for pid in children:
                os.kill(pid, signal.SIGKILL)
        if not children:
            process.kill()
        process.wait()  # unshare(1) ends when process 1 of its namespace has, and that when all in it have
        self._process = None

    def inner(self) -> list[int]:
        """Process 1 of its namespace, as this machine knows it."""
        assert self._process is not None
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Machine(Rooted):
    """One engine. ``blade`` and ``boot`` become its labels."""

    blade = ""
    boot = ""
    address = ""

    @property
    def sock(self) -> Path:
        return self.run / "docker.sock"

    @property
    def client(self) -> docker.DockerClient:
        try:
            return connect(self.sock, timeout_s=60)
        except SwarmError:
            print(f"{self.name} (running: {self.running}) said last:\n{self.log.read_text()[-4000:]}")
            raise

    def on(self, boot: str = "") -> None:
        """Start the engine and wait until it answers."""
        self.boot = boot or self.boot
        self.sock.unlink(missing_ok=True)
        labels = [f"--label=blade={self.blade}", f"--label=boot={self.boot}"] if self.blade else []
        self.start(
            ["/usr/sbin/dockerd", "--pidfile=/run/dockerd.pid", "--host=unix:///run/host/docker.sock",
             "--host=unix:///run/docker.sock",
             f"--cgroup-parent=/{self.cgroup}", "--exec-opt=native.cgroupdriver=cgroupfs",
             *labels, *(f"--registry-mirror=https://{host}" for host in self.trusts)],
            "/var/lib/docker",
        )  # fmt: skip
        try:
            until(lambda: not self.running or listens(self.sock), 60)  # the file is there before it listens
            assert self.running
            self.client.close()
        except BaseException:
            print(self.log.read_text()[-2000:])
            raise

    def power_cut(self) -> None:
        self.kill()

    def reboot(self, boot: str) -> None:
        """Power off and on: a diskless blade comes back with nothing."""
        self.kill()
        shutil.rmtree(self.data)
        self.data.mkdir()
        self.on(boot)


class Fleet:
    """A controller, three blades and a registry on one bridge."""

    def __init__(self, tree: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="labkit-fleet-"))
        self._tag = f"lkt{os.getpid()}"
        self._nets: list[str] = []
        self._keys = State(self._folder / "lab")
        self._keys.make()
        certificates.ensure_registry(self._keys, SERVER)
        self._tree = tree
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self.controller = self._machine(tree, "controller", 2)
        self.blades = tuple(self._machine(tree, f"blade{n}", 10 + n) for n in (1, 2, 3))
        for blade in self.blades:
            blade.blade, blade.boot = blade.name, f"{blade.name}a"

    @property
    def net(self) -> str:
        """The network namespace of the bridge, where the registry is."""
        return self._tag

    @property
    def registry_data(self) -> Path:
        return self._keys.data / "registry"

    @property
    def push(self) -> Path:
        """The registry's socket for who puts images in."""
        return self._keys.push

    @contextlib.contextmanager
    def trusting(self, host: str, ca: Path) -> Iterator[None]:
        """Engines that start meanwhile know a registry, and ask it first for what is Docker Hub's."""
        for machine in self.machines:
            machine.trusts[host] = ca
        try:
            yield
        finally:
            for machine in self.machines:
                machine.trusts.clear()

    @property
    def machines(self) -> tuple[Machine, ...]:
        return (self.controller, *self.blades)

    def blade(self, name: str) -> Machine:
        return next(machine for machine in self.blades if machine.name == name)

    def _machine(self, tree: Path, name: str, number: int) -> Machine:
        machine = Machine(tree, self._folder / name, f"{self._tag}-{name}", name, self._tag, self._keys.ca)
        machine.address = f"{SUBNET}.{number}"
        return machine

    def start(self) -> None:
        self._net(self._tag)
        sh(f"ip -n {self._tag} link add br0 address 02:00:0a:63:4d:01 type bridge; ip -n {self._tag} link set br0 up")
        sh(f"ip -n {self._tag} address add {SERVER}/24 dev br0")
        for number, machine in enumerate(self.machines):
            self._net(machine.net)
            sh(
                f"ip -n {self._tag} link add port{number} type veth peer name eth0 netns {machine.net};"
                f"ip -n {self._tag} link set port{number} master br0 up;"
                f"ip -n {machine.net} link set eth0 up;"
                f"ip -n {machine.net} address add {machine.address}/24 dev eth0;"
                f"ip -n {machine.net} route add default via {SERVER}"
            )
        threads = [threading.Thread(target=machine.on) for machine in self.machines]
        for thread in threads:
            thread.start()
        self.start_registry()
        for thread in threads:
            thread.join()
        assert all(machine.running for machine in self.machines)

    def _net(self, name: str) -> None:
        self._nets.append(name)
        sh(f"ip netns add {name}; ip -n {name} link set lo up")

    def start_registry(self) -> None:
        """The lab's own, as blades see it and as its owner does."""
        give(self.registry_data, WRITER, 0o755)
        give(self.push.parent, WRITER, 0o711)
        self._serve("registry", registry_command(self._tree, self._keys, READER, address=REGISTRY))
        self._serve("push", push_command(self._tree, self._keys, WRITER))
        until(lambda: self.inside(lambda: _answers(SERVER, 5000)))
        until(lambda: listens(self.push))

    def _serve(self, name: str, sandbox: Sandbox) -> None:
        words = ["nsenter", f"--net=/run/netns/{self._tag}", *sandbox.words()]
        with (self._keys.logs / f"{name}.log").open("ab") as log:
            self._servers[name] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop_registry(self) -> None:
        while self._servers:
            _, server = self._servers.popitem()
            server.kill()
            server.wait()

    def inside(self, question: Callable[[], T], net_of: str = "") -> T:
        """Run something in the fleet's own network, or a machine's."""
        return in_space(net_of or self._tag, question)

    def readdress(self, machine: Machine, *addresses: str) -> None:
        """Give a machine's card these addresses and no others. Its engine is off meanwhile."""
        added = "; ".join(f"ip -n {machine.net} address add {address}/24 dev eth0" for address in addresses)
        sh(
            f"ip -n {machine.net} address flush dev eth0; {added};"
            f"ip -n {machine.net} route replace default via {SERVER}"
        )

    def listen(self, machine: Machine, port: int) -> socket.socket:
        """A program on a machine that has a TCP port already."""
        return self.inside(lambda: socket.create_server(("0.0.0.0", port)), machine.net)

    def stop(self) -> None:
        for machine in self.machines:
            machine.kill()
        self.stop_registry()
        for net in self._nets:
            sh(f"ip netns delete {net}")
        until(self._cgroups_gone)
        shutil.rmtree(self._folder)

    def _cgroups_gone(self) -> bool:
        """Remove what the engines left of control groups: a container of a killed engine takes a moment to end."""
        for folder in sorted(Path("/sys/fs/cgroup").glob(f"*/{self._tag}/**/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not list(Path("/sys/fs/cgroup").glob(f"*/{self._tag}"))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def listens(path: Path) -> bool:
    """Whether somebody takes connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def heartbeat_s(fleet: Fleet, seconds: int) -> None:
    client = fleet.controller.client
    spec_changes.change_swarm(client, lambda spec: spec.update(Dispatcher={"HeartbeatPeriod": seconds * 1_000_000_000}))
    client.close()


def ensure_joined(fleet: Fleet, machine: Machine, role: Role = Role.WORKER) -> None:
    """Have a blade in the swarm as a Ready node, in a new boot if it is not so already."""
    client = fleet.controller.client
    node = find_node(cluster.nodes(client), machine.blade, machine.boot)
    if not machine.running or node is None or not node.ready or node.role != role:
        machine.reboot(f"{machine.name}{time.monotonic_ns():x}")
        join(fleet, machine, role)
    client.close()


def join(fleet: Fleet, machine: Machine, role: Role = Role.WORKER) -> None:
    """What the blade's own unit does: hand the body it got to the engine."""
    controller, client = fleet.controller.client, machine.client
    post_join(machine, joining.join_body(controller, role=role, address=machine.address))
    until(lambda: find_node(cluster.nodes(controller), machine.blade, machine.boot))
    controller.close()
    client.close()


def post_join(machine: Machine, body: dict[str, object]) -> None:
    """``POST /swarm/join`` with a body as it came, as curl would send it on the blade."""
    client = machine.client
    response = api(client).post(api(client)._url("/swarm/join"), json=body, timeout=60)
    client.close()
    assert response.ok, response.text

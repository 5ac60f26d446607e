"""Looking at a machine: each function finds one fact, and none changes anything."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import labkit
from labkit.diagnosis.doctor import firewall
from labkit.diagnosis.doctor.facts import Holder, Image, Interface, Place
from labkit.diagnosis.doctor.network import reached_ports
from labkit.errors import ImageError, LabkitError, MachineError
from labkit.images import builders, served, store
from labkit.images.ensure import releases
from labkit.images.served import catalogue, missing_loaders
from labkit.lab import Lab, NetworkKind, nfs_share
from labkit.lab.state import State
from labkit.machines.host.programs import needed_programs
from labkit.machines.virtual import network, qemu
from labkit.netboot import configs

STA_UNSYNC, STATUS_AT_B = 0x0040, 40
"""linux/timex.h: the bit that says nobody keeps the clock right, and where the status lies on 64-bit machines."""
MODULES = ("ip_vs", "vxlan")


class NotLooked(Exception):
    """Something that could not be looked at; the text says why."""


def which(program: str) -> str | None:
    """Where a program is, also one for root that an ordinary user has no path to."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))


def run(*words: str) -> str:
    """What a program prints. Raises NotLooked when it is not installed or fails."""
    program = which(words[0])
    if program is None:
        raise NotLooked(f"{words[0]} is not installed")
    command = [program, *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30)
    if done.returncode:
        raise NotLooked(f"{words[0]} failed: {done.stderr.strip()[-200:]}")
    return done.stdout


def interfaces() -> dict[str, Interface]:
    """This machine's cards, by name."""
    found = {}
    for link in json.loads(run("ip", "-json", "address", "show")):
        flags = link.get("flags", ())
        addresses = [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", ()) if a["family"] == "inet"]
        name = link["ifname"]
        found[name] = Interface(name, "UP" in flags, "LOWER_UP" in flags, tuple(addresses), int(link.get("mtu", 1500)))
    return found


def holders(text: str | None = None) -> tuple[Holder, ...]:
    """Who listens where, from ``ss`` (ss(8)); ``text`` is what it printed."""
    printed = run("ss", "-Hlntup") if text is None else text
    found = []
    for line in printed.splitlines():
        words = line.split()
        address, _, port = words[4].rpartition(":")
        who = re.search(r'\(\("([^"]+)",pid=(\d+)', line)
        program, pid = (who[1], int(who[2])) if who else ("", 0)
        found.append(Holder(words[0], int(port), address, program, pid))
    return tuple(found)


def blocked(lab: Lab, state: State) -> tuple[tuple[str, int, str, str], ...]:
    """What a firewall does to the blades' packets: protocol, port, ``drop`` or ``unsure``, and the rule."""
    if os.geteuid() != 0:
        raise NotLooked("reading firewall rules needs root")
    tables = []
    for program, words, read in (
        ("nft", ("nft", "--json", "list", "ruleset"), firewall.read_nftables),
        ("iptables-save", ("iptables-save",), firewall.read_iptables),
    ):
        if which(program) is not None:
            tables += read(run(*words))
        elif program == "nft" and which("iptables-save") is None:
            raise NotLooked("neither nft nor iptables-save is installed")
    is_virtual = lab.network.kind is NetworkKind.VIRTUAL
    link = network.host_link(state.tag) if is_virtual else lab.network.interface
    verdicts = []
    for protocol, port in reached_ports(lab):
        found = firewall.judge(tables, firewall.Packet(link, protocol, port))
        if found.what != firewall.ACCEPT:
            verdicts.append((protocol, port, found.what, found.rule))
    return tuple(verdicts)


def overlap(lab: Lab, state: State) -> str:
    """What of this machine already covers a virtual lab's subnet."""
    try:
        network.check_subnet(lab.network.subnet, network.host_link(state.tag))
    except MachineError as error:
        return error.what
    return ""


def way_in(lab: Lab, state: State) -> str:
    """What this machine's end of the way into a virtual lab that is up has lost."""
    link, found = network.host_link(state.tag), interfaces()
    if link not in found:
        return f"the link {link}, the way to the blades, is gone"
    if not any(address.startswith(f"{lab.network.host}/") for address in found[link].addresses):
        return f"{link}, the way to the blades, has lost its address {lab.network.host}"
    routes = json.loads(run("ip", "-json", "route", "show", "dev", link))
    if not any(route.get("dst") == str(lab.network.subnet) for route in routes):
        return f"{link}, the way to the blades, has lost its route to {lab.network.subnet}"
    return ""


def wrong_configs(lab: Lab) -> tuple[tuple[str, str], ...]:
    """What keeps blades from booting with their configs, each with what to do about it."""
    wrong = configs.wrong_configs(lab)
    return tuple((f"{error.where}: {error.what}", error.fix or "mend the file") for error in wrong)


def look_at_images(lab: Lab) -> tuple[Image, ...]:
    """Each image, compared with the digests that were recorded when it was built."""
    found = []
    missing, packages = missing_loaders()
    wrong = f"not there: {', '.join(missing)}" if missing else ""
    found.append(
        Image("boot loaders", wrong, f"./lab setup, or apt-get install {' '.join(packages)}" if missing else "")
    )
    for builder in builders(lab):
        recipe = builder.recipe()
        try:
            store.verify(store.folder_of(store.cache_folder(), recipe))
            found.append(Image(recipe.name))
        except store.UnseenError as error:
            found.append(Image(recipe.name, unseen=error.what, fix=error.fix))
        except ImageError as error:
            found.append(Image(recipe.name, error.what, error.fix))
    foreign = [path for name, path in catalogue(lab).items() if name.startswith("coreos/")]
    if foreign:
        gone = [str(path) for path in foreign if not path.is_file()]
        fix = "copy the files of a release there; ./lab images lists their names"
        found.append(Image("container-linux", f"not there: {', '.join(gone)}" if gone else "", fix if gone else ""))
    for blade in releases(lab):
        name = f"{blade.os} {blade.version or '(current)'}"
        try:
            served.release_files(blade)
            found.append(Image(name))
        except LabkitError as error:
            found.append(Image(name, error.what, error.fix))
    return tuple(found)


def unservable(lab: Lab, state: State) -> str:
    """Why the lab's shared folder, or the nearest one above that is there, cannot be served over NFS."""
    if not lab.storage.share:
        return ""
    folder = nfs_share.folder_of(lab, state).absolute()
    return nfs_share.unservable(next(place for place in (folder, *folder.parents) if place.is_dir()))


def engine(path: Path) -> str:
    """Why a Docker engine does not answer at a socket; empty when it does (Engine API, /_ping)."""
    try:
        head = _ask_engine(path, "/_ping")
    except PermissionError:
        raise NotLooked(f"{path} may not be opened by this user") from None
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return "" if b" 200 " in head.split(b"\r\n")[0] else f"{path}: {head[:60]!r}"


def mirrors(path: Path) -> tuple[str, ...] | None:
    """The URLs that an engine asks before Docker Hub (Engine API, /info); None where it does not say."""
    try:
        said = json.loads(_ask_engine(path, "/info").partition(b"\r\n\r\n")[2])
        return tuple(said["RegistryConfig"]["Mirrors"] or ())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ask_engine(path: Path, what: str) -> bytes:
    """An engine's whole answer. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(f"GET {what} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        with sock.makefile("rb") as stream:
            return stream.read()


def modules() -> tuple[str, ...]:
    """Which of the swarm's kernel modules are there: loaded, built in, or to be loaded."""
    found = []
    for name in MODULES:
        loaded = Path(f"/sys/module/{name}").exists() or (name == "ip_vs" and Path("/proc/net/ip_vs").exists())
        if loaded or _is_loadable(name):
            found.append(name)
    return tuple(found)


def _is_loadable(name: str) -> bool:
    modprobe = which("modprobe")
    if modprobe is None:
        return False
    return subprocess.run([modprobe, "--dry-run", name], capture_output=True, check=False).returncode == 0


def synchronised() -> bool | None:
    """Whether something keeps the kernel's clock right (adjtimex(2)); None where the kernel does not say."""
    buffer = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None).adjtimex(buffer) < 0:
        return None
    return not int.from_bytes(buffer.raw[STATUS_AT_B : STATUS_AT_B + 4], "little") & STA_UNSYNC


def newest_file() -> float:
    """When labkit's own newest module was written."""
    return max(path.stat().st_mtime for path in Path(labkit.__file__).parent.rglob("*.py"))


def place(path: Path) -> Place:
    """A folder that is or will be, and the space that is free there."""
    there = next(above for above in (path, *path.parents) if above.exists())
    return Place(str(path), shutil.disk_usage(there).free >> 20)


def missing_programs(lab: Lab) -> Mapping[str, str]:
    """Programs that are not here, and the packages that have them."""
    return {
        name: package
        for name, package in needed_programs(lab).items()
        if which(name) is None and not Path(name).is_file()
    }


def has_kvm(lab: Lab) -> bool:
    """Whether the hardware's virtualisation runs a kernel: the blades' own, where it is built already."""
    kernel = served.kernel()
    if qemu.KVM.exists() and not os.access(qemu.KVM, os.R_OK | os.W_OK):
        raise NotLooked(f"{qemu.KVM} may be opened by root, who starts the blades, and not by this user")
    if shutil.which(qemu.BINARY) is None or not kernel.is_file():
        return False
    return qemu.find_accelerator(kernel) == "kvm"

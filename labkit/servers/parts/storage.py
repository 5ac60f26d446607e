"""The parts of a lab that keep something for its blades: its registry, the cache of another one, the shared folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from labkit import images
from labkit.errors import MachineError, SwarmError
from labkit.lab import Lab, NetworkKind, certificates, nfs_share
from labkit.lab.process import rpc
from labkit.lab.state import State, owner_of, text_of
from labkit.machines.host.sandbox import ROOT, User, Users, give, spawn
from labkit.servers.parts.bundled import cache_command, collect_command, push_command, registry_command, share_command
from labkit.servers.parts.processes import PartSpec
from labkit.swarm.registry import link_files

COLLECT_S = 300


def ensure_stores(lab: Lab, state: State) -> str:
    """Have certificates and folders of what `parts` runs. Returns why the lab's own share cannot be served, if so.

    A folder that a person named and that cannot be served raises MachineError, with what to do.
    """
    certificates.ensure_registry(state, str(lab.network.server))
    if lab.storage.cache:
        certificates.ensure_cache(state, str(lab.cache_address))
    if lab.storage.share:
        try:
            nfs_share.ensure_folder(lab, state)
        except MachineError as error:
            if lab.storage.folder is not None:
                raise
            return f"without a shared folder: {error}"
    return ""


def parts(lab: Lab, state: State, users: Users, *, host_net: int | None) -> Iterator[PartSpec]:
    """The parts to run. ``host_net`` is a descriptor of the network the lab was brought up from, None for ours."""
    yield registry(lab, state, users.of("registry"))
    yield push(state, users.of("push"))
    if lab.storage.cache:
        yield _cache(lab, state, users.of("cache"), host_net)
    if lab.storage.share and not nfs_share.unservable(nfs_share.folder_of(lab, state)):
        yield _share(lab, state)


def registry(lab: Lab, state: State, user: User) -> PartSpec:
    """The lab's own registry, as its blades see it: to be read."""
    return PartSpec(
        name="registry",
        sandbox=registry_command(images.tree(), state, user, address=lab.network.registry),
        prepare=lambda: (state.data / "registry").mkdir(parents=True, exist_ok=True),
        log=state.logs / "registry.log",
        ready=lambda: answers_tcp(str(lab.network.server), lab.network.registry_port),
    )


def push(state: State, user: User) -> PartSpec:
    """The lab's own registry, as its owner sees it: a socket that is the owner's alone.

    What is in it belongs to this user, and may be read by all on this machine.
    """

    def prepare() -> None:
        give(state.data / "registry", user, 0o755)
        give(state.push.parent, user, 0o711)
        state.push.unlink(missing_ok=True)

    async def ready() -> bool:
        if not await rpc.listens(state.push):
            return False
        state.push.chmod(0o600)
        os.chown(state.push, *owner_of(state.path))
        return True

    return PartSpec(
        name="registry-push",
        sandbox=push_command(images.tree(), state, user),
        prepare=prepare,
        log=state.logs / "registry-push.log",
        ready=ready,
    )


def _cache(lab: Lab, state: State, user: User, host_net: int | None) -> PartSpec:
    address = str(lab.cache_address)
    outside = lab.network.kind is NetworkKind.VIRTUAL and host_net is not None
    return PartSpec(
        name="cache",
        sandbox=cache_command(
            images.tree(),
            state,
            user,
            address=lab.mirror,
            upstream=lab.storage.cache,
            resolver=text_of(Path("/etc/resolv.conf")),
            net=f"/proc/self/fd/{host_net}" if outside else "",
        ),
        prepare=lambda: give(state.data / "cache", user),
        log=state.logs / "cache.log",
        pass_fds=[host_net] if outside and host_net is not None else [],
        ready=lambda: answers_tcp(address, lab.storage.cache_port),
    )


def _share(lab: Lab, state: State) -> PartSpec:
    server = str(lab.network.server)
    return PartSpec(
        name="share",
        sandbox=share_command(
            images.ganesha_tree(),
            state,
            folder=nfs_share.folder_of(lab, state),
            config=nfs_share.render_config(server, lab.network.subnet),
        ),
        prepare=lambda: give(state.data / "nfs", ROOT),
        log=state.logs / "share.log",
        ready=lambda: answers_tcp(server, nfs_share.PORT),
    )


async def collect(state: State, user: User) -> int:
    """Remove what no manifest of the registry names; the bytes that freed. `push` must not run meanwhile.

    Blades may pull. A blob goes only once it is known that nothing needs it, so one that was cut off leaves a registry
    that works, and the next one does the rest. Raises SwarmError.
    """
    data = state.data / "registry"
    blobs = data / link_files.ROOT / "blobs"
    if not blobs.is_dir():
        return 0  # nothing was ever pushed, and the program takes that for a mistake
    before = size_of(blobs)
    try:
        link_files.mend(data)
        give(data, user, 0o755)
    except OSError as error:
        raise SwarmError(
            f"cannot be removed: {error.strerror}", where=str(error.filename), fix=f"{data} has to be writable"
        ) from None
    status = await _run_collection(state, user)
    if status:
        raise SwarmError(
            f"the registry's garbage collection ended with status {status}; every image that is needed is still there",
            where=str(state.logs / "registry-push.log"),
            fix="./lab swarm gc --yes once more does what is left; the end of that log says why it ended",
        )
    return before - size_of(blobs)


async def _run_collection(state: State, user: User) -> int:
    """The exit status of the program that collects. However this ends, it does not run on beside a push."""
    with (state.logs / "registry-push.log").open("ab") as log:
        process = await spawn(collect_command(images.tree(), state, user), stdout=log, stderr=log)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), COLLECT_S)
    finally:
        if process.returncode is None:
            process.kill()
        status = await process.wait()
    return status


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder, 0 where there is none. What links lead to is not below it."""
    found = (path.lstat() for path in folder.rglob("*"))
    return sum(status.st_size for status in found if stat.S_ISREG(status.st_mode))


async def answers_tcp(host: str, port: int) -> bool:
    """Whether somebody accepts connections on a TCP port."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True

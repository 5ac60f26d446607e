"""Running Docker, the registries and the NFS server from trees of ours, so that the host needs no package of them.

Each runs in a root laid over the tree (`labkit.machines.host.sandbox.Tree`); what it keeps lies in the lab's
`State.data`. The registries are users of their own. The engine is root, as it has to be, with a network and a host
name of its own, as the separate machine that it plays. The NFS server is root with the few privileges of one that
serves files by handles: it becomes the user of each request, and looks at nothing but the folder it serves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from labkit.lab import LOG_LIMITS
from labkit.lab.state import State
from labkit.machines.host.sandbox import Sandbox, Tree, User

CACHE = Path(__file__).with_name("cache.sh")
REGISTRY = "/usr/bin/docker-registry"
CONFIG = "/etc/registry.yml"
NFS_CAPABILITIES = ("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "setgid", "setuid", "sys_resource")
SOCKETS = ("/run/labkit/docker.sock", "/run/docker.sock")
"""Where the engine listens: for the lab, and where containers bind it (a proxy, a dashboard) as on any other node."""


def engine_command(tree: Path, state: State, *, registry: str, mirror: str = "") -> Sandbox:
    """The controller's dockerd, with the lab's ``mirror`` of Docker Hub, ``host:port``, where there is one.

    It waits until its network card is plugged in.
    """
    hosts = [registry, mirror] if mirror else [registry]
    dockerd = ("/usr/sbin/dockerd", *(f"--host=unix://{path}" for path in SOCKETS), "--pidfile", "/run/dockerd.pid")
    limits = [f"--log-opt={key}={value}" for key, value in LOG_LIMITS.items()]
    return Sandbox(
        (*dockerd, *limits, *(("--registry-mirror", f"https://{mirror}") if mirror else ())),
        everything=True,
        namespaces=("net", "uts"),
        hostname="controller",
        waits=True,
        tree=_root(
            tree, state, "engine",
            binds={"/var/lib/docker": state.data / "engine", "/run/labkit": state.run},
            texts={
                "/etc/hostname": "controller\n",  # which containers bind, as on any other node
                **{f"/etc/docker/certs.d/{host}/ca.crt": state.ca.read_text() for host in hosts},
            },
        ),
    )  # fmt: skip


def registry_command(tree: Path, state: State, user: User, *, address: str) -> Sandbox:
    """Debian's docker-registry (Distribution) on ``address``, ``host:port``: the lab's images, for reading only.

    It speaks TLS only, with the certificate that `labkit.lab.certificates.ensure_registry` made.
    """
    config = _read_only(address)
    config["storage"]["maintenance"]["uploadpurging"] = {"enabled": False}
    root = _root(
        tree, state, "registry",
        sees={"/var/lib/registry": state.data / "registry"},
        copies=_certificate(state, "registry"),
        texts={CONFIG: json.dumps(config)},  # JSON is YAML
    )  # fmt: skip
    return Sandbox((REGISTRY, "serve", CONFIG), user, tree=root)


def push_command(tree: Path, state: State, user: User) -> Sandbox:
    """The same images, to be read and written by whoever may open the Unix socket ``state.push``."""
    return Sandbox((REGISTRY, "serve", CONFIG), user, namespaces=("net",), tree=_push_root(tree, state))


def cache_command(
    tree: Path, state: State, user: User, *, address: str, upstream: str, resolver: str, net: str = ""
) -> Sandbox:
    """A second registry that fetches from ``upstream``, a URL, what it is asked for, and keeps it.

    ``resolver`` is the text of a resolv.conf(5); ``net`` the path of a network namespace to run in, empty for ours.
    """
    kept = _read_only(address)
    proxy = {**kept, "proxy": {"remoteurl": upstream}}  # which writes by itself, and deletes what is a week old
    root = _root(
        tree, state, "cache",
        binds={"/var/lib/registry": state.data / "cache"},
        copies=_certificate(state, "cache"),
        texts={
            CONFIG: json.dumps(proxy),
            "/etc/kept.yml": json.dumps(kept),
            "/run/systemd/resolve/stub-resolv.conf": resolver,  # where /etc/resolv.conf points
        },
    )  # fmt: skip
    script = ("/bin/sh", "-c", CACHE.read_text(), "cache.sh", upstream, CONFIG, "/etc/kept.yml")
    return Sandbox(script, user, net_of=net, tree=root)


def collect_command(tree: Path, state: State, user: User) -> Sandbox:
    """What removes the blobs of the registry that no manifest names. Nobody may push meanwhile."""
    return Sandbox((REGISTRY, "garbage-collect", CONFIG), user, namespaces=("net",), tree=_push_root(tree, state))


def _read_only(address: str) -> dict[str, Any]:
    """For whoever reaches an address: TLS, and no verb that changes anything (405 says so)."""
    config = _registry_config({"addr": address, "tls": {"certificate": "/run/tls/tls.crt", "key": "/run/tls/tls.key"}})
    config["storage"]["maintenance"] = {"readonly": {"enabled": True}}
    return config


def _registry_config(http: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
        "http": http,
    }


def _certificate(state: State, name: str) -> dict[str, Path]:
    return {f"/run/tls/{file}": state.keys / name / file for file in ("tls.crt", "tls.key")}


def _push_root(tree: Path, state: State) -> Tree:
    """The root of the registry that writes: its images and its socket, no secret, and a network without a way out."""
    config = _registry_config({"net": "unix", "addr": f"/run/push/{state.push.name}", "relativeurls": True})
    return _root(
        tree, state, "registry-push",
        binds={"/var/lib/registry": state.data / "registry", "/run/push": state.push.parent},
        texts={CONFIG: json.dumps(config)},
    )  # fmt: skip


def share_command(tree: Path, state: State, *, folder: Path, config: str) -> Sandbox:
    """The NFS server, of a ``folder``. What clients hold open it remembers in ``nfs/`` of the data."""
    ganesha = ("/usr/bin/ganesha.nfsd", "-F", "-f", "/etc/ganesha.conf", "-L", "/dev/stdout", "-p", "/run/ganesha.pid")
    return Sandbox(
        ganesha,
        capabilities=NFS_CAPABILITIES,
        tree=_root(
            tree, state, "share",
            binds={"/var/lib/nfs/ganesha": state.data / "nfs", "/share": folder},
            texts={"/etc/ganesha.conf": config},
        ),
    )  # fmt: skip


def _root(
    tree: Path,
    state: State,
    name: str,
    *,
    binds: Mapping[str, Path] = MappingProxyType({}),
    sees: Mapping[str, Path] = MappingProxyType({}),
    copies: Mapping[str, Path] = MappingProxyType({}),
    texts: Mapping[str, str],
) -> Tree:
    bound, seen, copied = ({inside: str(path) for inside, path in these.items()} for these in (binds, sees, copies))
    return Tree(str(tree), str(state.roots / name), bound, seen, copied, dict(texts))

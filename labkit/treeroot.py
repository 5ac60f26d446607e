"""Running Docker, the registries and the NFS server from trees of ours, so that the host needs no package of them.

Each runs in a mount namespace of its own (see ``in_tree.sh``); its data lies in the lab's state folder. The engine also
gets a network and a host name of its own, as the separate machine that it plays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labkit.state import State

SCRIPT = Path(__file__).with_name("in_tree.sh")
CACHE = Path(__file__).with_name("cache.sh")
REGISTRY = "/usr/bin/docker-registry"
CONFIG = "/etc/registry.yml"


def engine_command(tree: Path, state: State, *, registry: str, mirror: str = "") -> list[str]:
    """The controller's dockerd, with the lab's ``mirror`` of Docker Hub, ``host:port``, where there is one.

    Waits on standard input until its network card is plugged in.
    """
    hosts = [registry, mirror] if mirror else [registry]
    return [
        *_root(tree, state, "engine", "--net", "--uts"),
        "--wait",
        *("--hostname", "controller"),
        *("--bind", str(state.path / "engine"), "/var/lib/docker"),
        *("--bind", str(state.run), "/run/labkit"),
        *(word for host in hosts for word in ("--file", f"/etc/docker/certs.d/{host}/ca.crt", state.ca.read_text())),
        *("--", "/usr/sbin/dockerd", "--host", "unix:///run/labkit/docker.sock", "--pidfile", "/run/dockerd.pid"),
        *(("--registry-mirror", f"https://{mirror}") if mirror else ()),
    ]


def registry_command(tree: Path, state: State, *, address: str) -> list[str]:
    """Debian's docker-registry (Distribution) on ``address``, ``host:port``: the state's images, for reading only.

    It speaks TLS only, with the certificate that `labkit.certs.ensure_registry` made.
    """
    config = _read_only(address)
    config["storage"]["maintenance"]["uploadpurging"] = {"enabled": False}
    return [*_registry_root(tree, state, "registry", config, "--bind-ro"), "--", REGISTRY, "serve", CONFIG]


def push_command(tree: Path, state: State) -> list[str]:
    """The same images, to be read and written by whoever may open the Unix socket ``state.push``."""
    return [*_push_root(tree, state), "--", REGISTRY, "serve", CONFIG]


def cache_command(tree: Path, state: State, *, address: str, upstream: str, resolver: str, net: str = "") -> list[str]:
    """A second registry that fetches from ``upstream``, a URL, what it is asked for, and keeps it.

    ``resolver`` is the text of a resolv.conf(5); ``net`` the path of a network namespace to run in, empty for ours.
    """
    kept = _read_only(address)
    proxy = {**kept, "proxy": {"remoteurl": upstream}}  # which writes by itself, and deletes what is a week old
    return [
        *(("nsenter", f"--net={net}") if net else ()),
        *_registry_root(tree, state, "cache", proxy),
        *("--file", "/etc/kept.yml", json.dumps(kept)),
        *("--file", "/run/systemd/resolve/stub-resolv.conf", resolver),  # where /etc/resolv.conf points
        *("--", "/bin/sh", "-c", CACHE.read_text(), "cache.sh", upstream, CONFIG, "/etc/kept.yml"),
    ]


def collect_command(tree: Path, state: State) -> list[str]:
    """What removes the blobs of the registry that no manifest names. Nobody may push meanwhile."""
    return [*_push_root(tree, state), "--", REGISTRY, "garbage-collect", CONFIG]


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


def _push_root(tree: Path, state: State) -> list[str]:
    """The root of the registry that writes: its images and its socket, no secret, and a network without a way out."""
    config = _registry_config({"net": "unix", "addr": f"/run/push/{state.push.name}", "relativeurls": True})
    return [
        *_root(tree, state, "registry-push", "--net"),
        *("--bind", str(state.path / "registry"), "/var/lib/registry"),
        *("--bind", str(state.push.parent), "/run/push"),
        *("--file", CONFIG, json.dumps(config)),  # JSON is YAML
    ]


def _registry_root(tree: Path, state: State, name: str, config: dict[str, Any], bind: str = "--bind") -> list[str]:
    """The root of a registry that keeps its images in ``name/`` of the state and its certificate in ``keys/name/``."""
    return [
        *_root(tree, state, name),
        *(bind, str(state.path / name), "/var/lib/registry"),
        *("--bind-ro", str(state.keys / name), "/run/tls"),
        *("--file", CONFIG, json.dumps(config)),
    ]


def share_command(tree: Path, state: State, *, folder: Path, config: str) -> list[str]:
    """The NFS server, of a ``folder``. What clients hold open it remembers in ``nfs/`` of the state."""
    return [
        *_root(tree, state, "share"),
        *("--bind", str(state.path / "nfs"), "/var/lib/nfs/ganesha"),
        *("--bind", str(folder), "/share"),
        *("--file", "/etc/ganesha.conf", config),
        *("--", "/usr/bin/ganesha.nfsd", "-F", "-f", "/etc/ganesha.conf"),
        *("-L", "/dev/stdout", "-p", "/run/ganesha.pid"),
    ]


def _root(tree: Path, state: State, name: str, *namespaces: str) -> list[str]:
    """A part's own root in a tree, in a mount namespace and in those that unshare(1) is told of."""
    return ["unshare", "--mount", *namespaces, "sh", str(SCRIPT), str(state.roots / name), str(tree)]

"""Running Docker and the registry from the blade OS's own tree, so that the host needs no Docker package.

Each runs in a mount namespace of its own (see ``in_tree.sh``); its data lies in the lab's state folder. The engine also
gets a network and a host name of its own, as the separate machine that it plays.
"""

from __future__ import annotations

import json
from pathlib import Path

from labkit.state import State

SCRIPT = Path(__file__).with_name("in_tree.sh")


def engine_command(tree: Path, state: State, *, registry: str) -> list[str]:
    """The controller's dockerd. Waits on standard input until its network card is plugged in."""
    return [
        *("unshare", "--mount", "--net", "--uts", "sh", str(SCRIPT), str(state.roots / "engine"), str(tree)),
        "--wait",
        *("--hostname", "controller"),
        *("--bind", str(state.path / "engine"), "/var/lib/docker"),
        *("--bind", str(state.run), "/run/labkit"),
        *("--file", f"/etc/docker/certs.d/{registry}/ca.crt", state.ca.read_text()),
        *("--", "/usr/sbin/dockerd", "--host", "unix:///run/labkit/docker.sock", "--pidfile", "/run/dockerd.pid"),
    ]


def registry_command(tree: Path, state: State, *, address: str) -> list[str]:
    """Debian's docker-registry (Distribution) on ``address``, ``host:port``, with its images in the state folder.

    It speaks TLS only, with the certificate that `labkit.certs.ensure_registry` made.
    """
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
        "http": {"addr": address, "tls": {"certificate": "/run/tls/tls.crt", "key": "/run/tls/tls.key"}},
    }
    return [
        *("unshare", "--mount", "sh", str(SCRIPT), str(state.roots / "registry"), str(tree)),
        *("--bind", str(state.path / "registry"), "/var/lib/registry"),
        *("--bind", str(state.keys / "registry"), "/run/tls"),
        *("--file", "/etc/registry.yml", json.dumps(config)),  # JSON is YAML
        *("--", "/usr/bin/docker-registry", "serve", "/etc/registry.yml"),
    ]

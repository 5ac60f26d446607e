"""A manager's certificate that has run out, without waiting for it: signed by an authority whose key is ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from labkit.lab import certificates
from labkit.lab.state import State
from labkit.swarm.engine import api, engine

from .fleet import Machine, until

ENDED = ("20240101000000Z", "20240401000000Z")
CONFIG = """\
[ca]
default_ca = swarm
[swarm]
database = index
new_certs_dir = .
default_md = sha256
policy = names
unique_subject = no
rand_serial = yes
[names]
organizationName = supplied
organizationalUnitName = supplied
commonName = supplied
[node]
basicConstraints = CA:FALSE
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:swarm-manager, DNS:{node}, DNS:swarm-ca
"""


def expire(machine: Machine, folder: Path) -> str:
    """Let the certificate of this machine's node, its swarm's only manager, have run out in 2024; its engine is off
    afterwards. The certificate as it was is returned. Needs root.
    """
    state = State(folder)
    state.make()
    ca = certificates.ensure_ca(state)
    with engine(machine.sock) as client:
        swarm = api(client).inspect_swarm()
        own = {"SigningCACert": ca.certificate.read_text(), "SigningCAKey": ca.key.read_text()}
        config = {**(swarm["Spec"].get("CAConfig") or {}), **own}
        api(client).update_swarm(swarm["Version"]["Index"], swarm_spec={**swarm["Spec"], "CAConfig": config})
        until(lambda: not api(client).inspect_swarm()["RootRotationInProgress"], 60)
        node, cluster = client.info()["Swarm"]["NodeID"], swarm["ID"]
    machine.power_cut()
    place = machine.data / "swarm/certificates/swarm-node.crt"
    before = place.read_text()
    key, request, fresh = folder / "node.key", folder / "node.csr", folder / "node.crt"
    key.write_text(_plain(place.with_suffix(".key").read_text()))
    (folder / "index").touch()
    (folder / "ca.cnf").write_text(CONFIG.format(node=node))
    _openssl(folder, "req", "-new", "-key", key, "-out", request, "-subj", f"/O={cluster}/OU=swarm-manager/CN={node}")
    signer = ("-config", "ca.cnf", "-cert", ca.certificate, "-keyfile", ca.key, "-extensions", "node")
    times = ("-startdate", ENDED[0], "-enddate", ENDED[1])
    _openssl(folder, "ca", "-batch", "-notext", *signer, *times, "-in", request, "-out", fresh)
    place.write_text(fresh.read_text())
    return before


def _plain(key: str) -> str:
    """A key without the headers in which swarmkit keeps the raft log's own keys (ca/keyreadwriter.go)."""
    lines = key.splitlines()
    return "\n".join(line for line in lines if ":" not in line and line) + "\n"


def _openssl(folder: Path, *words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder)

"""The lab's registry alone, on loopback and its socket, and images of a few bytes for it, pushed and pulled."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import json
import socket
import subprocess
from collections.abc import Awaitable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import requests
from docker.transport import UnixHTTPAdapter

from labkit.lab import Lab, certificates, lab_yaml
from labkit.lab.state import State
from labkit.servers.parts import storage
from labkit.servers.parts.processes import PartSpec
from labkit.swarm.registry.link_files import ROOT

from .fleet import READER, WRITER, listens, until

LAB = """\
network: {kind: interface, interface: lo, subnet: 10.81.0.0/24, server: 10.81.0.1}
bmc: {user: admin, password_file: bmc.password}
blades:
  - {name: blade1, slot: 1, macs: ["52:54:00:00:00:01"], bmc: {address: 10.81.0.201}}
"""
IMAGE = "application/vnd.docker.distribution.manifest.v2+json"


def loopback_lab(folder: Path) -> Lab:
    """A lab whose registry is at a free port of 127.0.0.1."""
    lab = lab_yaml.parse(LAB, folder / "lab.yaml")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    return dataclasses.replace(
        lab, network=dataclasses.replace(lab.network, server=IPv4Address("127.0.0.1"), registry_port=port)
    )


class Rig:
    """A registry that is started, killed, and looked at from outside and inside."""

    def __init__(self, folder: Path) -> None:
        self.lab, self.state = loopback_lab(folder), State(folder / "state")
        self.state.make()
        certificates.ensure_registry(self.state, "127.0.0.1")
        self.session = requests.Session()
        self.session.trust_env, self.session.verify = False, str(self.state.ca)
        self.inside = requests.Session()
        self.inside.mount("http+docker://", UnixHTTPAdapter(f"http+unix://{self.state.push}"))
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def data(self) -> Path:
        return self.state.data / "registry" / ROOT

    def url(self, path: str) -> str:
        """As blades reach it."""
        return f"https://{self.lab.network.registry}/v2/{path}"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """As the lab's owner does, by the socket."""
        return self.inside.request(method, f"http+docker://registry/v2/{path}", timeout=60, **more)

    def start(self) -> None:
        for spec in (storage.registry(self.lab, self.state, READER), storage.push(self.state, WRITER)):
            assert spec.prepare is not None
            spec.prepare()
            with spec.log.open("ab") as log:
                process = subprocess.Popen(spec.sandbox.words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.processes.append(process)
            until(functools.partial(is_ready, spec))

    def close(self) -> None:
        self.kill()
        self.session.close()
        self.inside.close()

    def kill(self) -> None:
        """As `kill -9` does, both."""
        while self.processes:
            process = self.processes.pop()
            process.kill()
            process.wait()

    def answers(self) -> bool:
        """Whether it takes images."""
        return listens(self.state.push)

    def push(self, tag: str, layers: Sequence[bytes]) -> str:
        """An image of these layers as ``app:tag``; its digest."""
        config, *rest = [self._blob(layer) for layer in (json.dumps({"tag": tag}).encode(), *layers)]
        body = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": rest}).encode()
        answer = self.ask("PUT", f"app/manifests/{tag}", data=body, headers={"Content-Type": IMAGE})
        assert answer.status_code == 201, answer.text
        return digest_of(body)

    def _blob(self, data: bytes) -> dict[str, object]:
        digest = digest_of(data)
        if not self.ask("HEAD", f"app/blobs/{digest}").ok:
            place = self.ask("POST", "app/blobs/uploads/").headers["Location"].removeprefix("/v2/")
            answer = self.ask("PUT", f"{place}&digest={digest}", data=data)
            assert answer.status_code == 201, answer.text
        return {"mediaType": "application/octet-stream", "size": len(data), "digest": digest}

    def pull(self, tag: str) -> set[str]:
        """The digests of all that ``app:tag`` is made of, each of which was fetched whole."""
        manifest = self.session.get(self.url(f"app/manifests/{tag}"), headers={"Accept": IMAGE}, timeout=20)
        assert manifest.ok, manifest.text
        found = {digest_of(manifest.content)}
        for one in (manifest.json()["config"], *manifest.json()["layers"]):
            blob = self.session.get(self.url(f"app/blobs/{one['digest']}"), timeout=20)
            assert blob.ok and digest_of(blob.content) == one["digest"]
            found.add(one["digest"])
        return found

    def delete(self, digest: str) -> int:
        return self.ask("DELETE", f"app/manifests/{digest}").status_code

    def tags(self) -> set[str]:
        return set(self.session.get(self.url("app/tags/list"), timeout=20).json()["tags"])

    def blobs(self) -> set[str]:
        """What lies there, by digest."""
        return {f"sha256:{path.parent.name}" for path in self.data.glob("blobs/sha256/*/*/data")}


def is_ready(spec: PartSpec) -> bool:
    assert spec.ready is not None
    return asyncio.run(_true(spec.ready()))


async def _true(answer: Awaitable[bool]) -> bool:
    return await answer


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"

"""Who may put an image into the lab's registry: its owner, by a socket. Whoever reaches a port may read, no more."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import lzma
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cli.swarm import verbs as swarm
from labkit.errors import SwarmError
from labkit.lab.state import State
from labkit.machines.host.sandbox import Sandbox
from labkit.servers import client
from labkit.servers.parts import bundled
from labkit.swarm.engine import api, engine
from labkit.swarm.registry import image_archive
from labkit.swarm.registry.push_client import PushClient, split
from tests.rig.failures import as_nobody
from tests.rig.fleet import READER, REGISTRY, WRITER, Fleet, listens
from tests.rig.intruder import files, let_in
from tests.rig.known import causes
from tests.rig.registry import Rig, digest_of

LAYERS = (b"the lower", b"the upper")


def saved(*, layers: tuple[bytes, ...] = LAYERS, images: int = 1, names: tuple[str, ...] = ("app:1",)) -> bytes:
    """What ``docker save`` writes."""
    config = json.dumps({"rootfs": {"diff_ids": [digest_of(layer) for layer in LAYERS]}}).encode()
    members = {"config.json": config, **{f"{n}/layer.tar": layer for n, layer in enumerate(layers)}}
    entry = {"Config": "config.json", "RepoTags": names, "Layers": list(members)[1:]}
    members["manifest.json"] = json.dumps([entry] * images).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


# --- what is configured


def config_of(sandbox: Sandbox, path: str = bundled.CONFIG) -> dict[str, Any]:
    assert sandbox.tree is not None
    found = json.loads(sandbox.tree.texts[path])
    assert isinstance(found, dict)
    return found


def test_what_a_port_is_opened_for_reads_only(tmp_path: Path) -> None:
    state, tree = State(tmp_path), Path("/tree")
    own = bundled.registry_command(tree, state, READER, address="10.77.0.1:5000")
    upstream = "https://example.org"
    cache = bundled.cache_command(tree, state, READER, address="10.77.0.1:5001", upstream=upstream, resolver="")
    for config in (config_of(own), config_of(cache), config_of(cache, "/etc/kept.yml")):
        assert config["storage"]["maintenance"]["readonly"] == {"enabled": True}
        assert "net" not in config["http"] and config["http"]["tls"]
    assert own.tree is not None and not own.tree.binds
    assert own.tree.sees == {"/var/lib/registry": str(state.data / "registry")}


def test_what_writes_has_no_port_and_no_secret(tmp_path: Path) -> None:
    state, tree = State(tmp_path), Path("/tree")
    for sandbox in (bundled.push_command(tree, state, WRITER), bundled.collect_command(tree, state, WRITER)):
        http = config_of(sandbox)["http"]
        assert http["net"] == "unix" and http["addr"] == "/run/push/socket" and "net" in sandbox.namespaces
        assert sandbox.tree is not None and str(state.push.parent) in sandbox.tree.binds.values()
        assert not [word for word in sandbox.words() if str(state.keys) in word]


# --- archives and names


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("app", "app", "latest"),
        ("app:1", "app", "1"),
        ("team/app:1.0-b", "team/app", "1.0-b"),
        ("10.77.0.1:5000/app:1", "app", "1"),
        ("localhost/app", "app", "latest"),
        ("docker.io/library/nginx:1", "library/nginx", "1"),
    ],
)
def test_names(reference: str, repository: str, tag: str) -> None:
    assert split(reference) == (repository, tag)


@pytest.mark.parametrize(
    "name", ["", "App:1", "a:b:c", "app@sha256:00", "../app", "app:", "app:1?x=y", "a b", "app:-1"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(SwarmError, match="is not the name of an image") as error:
        split(name)
    assert "app:1" in error.value.fix


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_a_layer_is_packed_the_same_way_each_time(wrap: Any) -> None:
    """Also one that came packed, as newer engines save them."""
    packed = []
    for _ in range(2):
        into = io.BytesIO()
        assert image_archive.pack(io.BytesIO(wrap(LAYERS[0])), into) == digest_of(LAYERS[0])
        assert gzip.decompress(into.getvalue()) == LAYERS[0]
        packed.append(into.getvalue())
    assert packed[0] == packed[1]


@pytest.mark.parametrize("wrap", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_an_archive_may_be_packed(wrap: Any) -> None:
    with image_archive.read(io.BytesIO(wrap(saved())), "app.tar") as image:
        assert image.names == ("app:1",)
        assert [image.open(layer).read() for layer in image.layers] == list(LAYERS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an image in a tar file"),
        (b"a root file system, or anything else" * 99, "not an image in a tar file"),
        (saved()[:700], "not an image in a tar file"),
        (gzip.compress(saved())[:300], "not an image in a tar file"),
        (lzma.compress(saved())[:300], "not an image in a tar file"),
        (lzma.compress(saved())[:200] + bytes(400), "not an image in a tar file"),
        (saved(images=2), "there are 2 images in it"),
        (saved(images=0), "there are 0 images in it"),
    ],
)
def test_what_is_no_image(content: bytes, words: str) -> None:
    with pytest.raises(SwarmError, match=words) as error, image_archive.read(io.BytesIO(content), "app.tar"):
        pass
    assert error.value.where == "app.tar" and "save" in error.value.fix


# --- who comes in


def test_nobody_is_there(tmp_path: Path) -> None:
    with causes("registry-unreachable"):
        PushClient(tmp_path / "socket")


def test_somebody_else_does_not_come_in(tmp_path: Path) -> None:
    shut = tmp_path / "push"
    shut.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    with as_nobody(), causes("registry-forbidden"):
        PushClient(shut / "socket")
    shut.chmod(0o700)


@pytest.fixture
def rig(tree: Path, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.start()
    try:
        yield rig
    finally:
        rig.close()


@pytest.mark.engine
def test_the_owner_pushes_and_all_pull(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the verb, from a file and from standard input; what was pushed is read at once, and twice is as once."""
    monkeypatch.setattr(client, "connect", lambda *_: client.RunningLab(rig.lab, rig.state))
    (tmp_path / "app.tar").write_bytes(saved())
    options = argparse.Namespace(lab=None, state=None, file=tmp_path / "app.tar", name=None)
    assert swarm.push(options) == 0
    name, _, digest = capsys.readouterr().out.strip().partition("@")
    assert name == f"{rig.lab.network.registry}/app:1" and digest in rig.pull("1")
    held = rig.blobs()
    with (tmp_path / "app.tar").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert swarm.push(argparse.Namespace(**{**vars(options), "file": swarm.STDIN, "name": "app:2"})) == 0
    assert rig.pull("2") == rig.pull("1") and rig.blobs() == held
    for content, given, words in (
        (saved(layers=(b"the lower", b"another")), "app:3", "the layer 1/layer.tar is not what the image says"),
        (saved(layers=LAYERS[:1]), "app:3", "not an image in a tar file"),
        (saved(names=()), None, "saved without a name"),
        (saved(), "a b", "is not the name of an image"),
    ):
        (tmp_path / "bad.tar").write_bytes(content)
        with pytest.raises(SwarmError, match=words):
            swarm.push(argparse.Namespace(lab=None, state=None, file=tmp_path / "bad.tar", name=given))
    with pytest.raises(SwarmError, match="cannot be read"):
        swarm.push(argparse.Namespace(**{**vars(options), "file": tmp_path / "none.tar"}))
    assert rig.tags() == {"1", "2"}
    with pytest.raises(SwarmError, match="would not GET it: 404"):
        PushClient(rig.state.push).tag("app", digest_of(b"nothing"), "4")


@pytest.mark.engine
def test_the_socket_is_the_owners_alone(tree: Path, tmp_path: Path) -> None:
    """The lab's owner is whoever has its folder, also where root starts it."""
    os.chown(tmp_path, 4711, 4712)
    rig = Rig(tmp_path)
    rig.start()
    try:
        socket, folder = rig.state.push.stat(), rig.state.push.parent.stat()
        assert (socket.st_uid, socket.st_gid, socket.st_mode & 0o777) == (4711, 4712, 0o600)
        assert (folder.st_uid, folder.st_mode & 0o777) == (WRITER.uid, 0o711)
        with as_nobody(), pytest.raises(SwarmError, match="you may not put images"):
            PushClient(rig.state.push)
    finally:
        rig.close()


# --- who does not


@pytest.mark.engine
def test_who_reaches_the_port_only_reads(rig: Rig) -> None:
    """Every verb of the API that changes something, also for an upload that was begun inside, and what lies there."""
    digest = rig.push("1", LAYERS)
    upload = rig.ask("POST", "app/blobs/uploads/").headers["Location"].removeprefix("/v2/")
    before = files(rig.data)
    assert let_in(rig.session, rig.url(""), "app", digest, upload) == []
    assert rig.session.post(rig.url("app/blobs/uploads/"), timeout=20).status_code == 405
    assert files(rig.data) == before
    assert rig.pull("1")
    reader, _ = rig.processes
    with pytest.raises(OSError, match="Read-only file system"):
        Path(f"/proc/{reader.pid}/root/var/lib/registry/new").touch()


@pytest.mark.engine
def test_a_blade_pulls_and_cannot_push(fleet: Fleet, web: str) -> None:
    """From a blade's own network, by its engine."""
    blade = fleet.blade("blade1")
    if not listens(blade.sock):  # a test before this one has cut its power
        blade.reboot("blade1p")  # its node of before has the boot of before
    before = files(fleet.registry_data)
    with engine(blade.sock) as docker:
        api(docker).pull(f"{REGISTRY}/web", tag="1")
        api(docker).tag(web, f"{REGISTRY}/web", "mine")
        said = "".join(str(line) for line in api(docker).push(f"{REGISTRY}/web", tag="mine", stream=True, decode=True))
    assert "Method not allowed" in said
    assert files(fleet.registry_data) == before

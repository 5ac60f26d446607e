"""The folder that blades see over NFS: whether it can be served, and how."""

from __future__ import annotations

import os
import re
import subprocess
import time
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from labkit import images
from labkit.errors import MachineError
from labkit.images import ganesha
from labkit.images.ensure import build
from labkit.lab import Lab, lab_yaml, nfs_share
from labkit.lab.state import State
from labkit.machines.virtual import network
from labkit.servers.parts.bundled import share_command
from labkit.servers.parts.storage import ensure_stores
from labkit.swarm.services import volume_demo


def lab(said: str = "storage: {share: true}") -> Lab:
    return lab_yaml.parse(f"blades: [{{name: blade1}}]\n{said}\n", Path("lab.yaml"))


def test_only_nfs_4_over_tcp_at_one_address_for_the_blades() -> None:
    text = nfs_share.render_config("10.77.0.1", IPv4Network("10.77.0.0/24"))
    said = dict(re.findall(r"(\w+) = ([^;]+);", text))
    assert said["Bind_addr"] == "10.77.0.1" and said["Clients"] == "10.77.0.0/24"
    assert set(re.findall(r"Protocols = ([^;]+);", text)) == {"4"}
    assert [said[key] for key in ("Enable_UDP", "Enable_NLM", "Enable_RQUOTA")] == ["false"] * 3
    assert said["Squash"] == "All_Squash" and said["Anonymous_Uid"] == "65534"
    assert re.search(r"EXPORT_DEFAULTS \{ Access_Type = None", text)
    assert text.count("{") == text.count("}")


def test_a_blade_mounts_it_without_a_program_of_its_own() -> None:
    (bind, nfs) = volume_demo.mounts(lab(), share=True)
    body = nfs.body()
    assert body["VolumeOptions"]["NoCopy"] is True
    options = body["VolumeOptions"]["DriverConfig"]["Options"]
    assert (options["type"], options["device"]) == ("nfs", ":/share")
    assert {"addr=10.77.0.1", "nfsvers=4.1", "actimeo=1"} <= set(options["o"].split(","))
    assert volume_demo.mounts(lab(), share=False) == (bind,)


def test_the_folder_is_made_and_is_its_owners(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.make()
    before = os.umask(0o077)
    try:
        assert ensure_stores(lab(), state) == ""
    finally:
        os.umask(before)
    folder = tmp_path / "state/share"
    assert folder.stat().st_uid == tmp_path.stat().st_uid and folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_served_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the state the lab comes up without it; one that a person named is a mistake."""
    state = State(tmp_path / "state")
    state.make()
    monkeypatch.setattr(nfs_share, "unservable", lambda folder: "its file system has no file handles")
    assert "cannot be shared over NFS: its file system has no file handles" in ensure_stores(lab(), state)
    (tmp_path / "mine").mkdir()
    with pytest.raises(MachineError, match="no file handles") as error:
        ensure_stores(lab(f"storage: {{share: {tmp_path}/mine}}"), state)
    assert "ext4, XFS, btrfs or tmpfs" in error.value.fix


@pytest.mark.netns
def test_overlayfs_cannot_be_served_and_its_lower_layer_can(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "over"):
        (tmp_path / name).mkdir()
    look = (
        "import pathlib, sys; from labkit.lab import nfs_share; print(nfs_share.unservable(pathlib.Path(sys.argv[1])))"
    )
    script = (
        "mount -t tmpfs tmpfs upper; mkdir upper/u upper/w; "
        "mount -t overlay o -o lowerdir=lower,upperdir=upper/u,workdir=upper/w over; "
        f'for one in over lower upper; do "$0" -c "{look}" "$PWD/$one"; done'
    )
    python = str(Path(__file__).resolve().parents[2] / ".venv/bin/python")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script, python], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    over, lower, upper = done.stdout.splitlines()
    assert "overlayfs" in over and (lower, upper) == ("", "")


@pytest.mark.netns
def test_the_server_listens_at_one_address_and_nowhere_else(tmp_path: Path) -> None:
    """The real nfs-ganesha, in a network of its own: TCP 2049 at the lab's address is all that it opens."""
    build(ganesha, print)
    state, net = State(tmp_path / "state"), f"lks{os.getpid()}"
    state.make()
    (tmp_path / "folder").mkdir()
    (state.data / "nfs").mkdir(parents=True)
    config = nfs_share.render_config("10.99.88.1", IPv4Network("10.99.88.0/24"))
    command = share_command(images.ganesha_tree(), state, folder=tmp_path / "folder", config=config)
    network.run_ip(f"netns add {net}")
    log = (tmp_path / "log").open("w+")
    try:
        network.run_ip(
            "link set lo up", "link add br0 type bridge", "link set br0 up", "addr add 10.99.88.1/24 dev br0",
            prefix=("ip", "netns", "exec", net),
        )  # fmt: skip
        server = subprocess.Popen(["ip", "netns", "exec", net, *command.words()], stdout=log, stderr=log)
        try:
            deadline, listed = time.monotonic() + 30, ""
            while ":2049" not in listed and time.monotonic() < deadline and server.poll() is None:
                time.sleep(0.1)
                words = ["ip", "netns", "exec", net, "ss", "-Hlntu"]
                listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            sockets = [line.split() for line in listed.splitlines()]
            assert [(words[0], words[4]) for words in sockets] == [("tcp", "[::ffff:10.99.88.1]:2049")], listed
            assert "No export entries" not in (tmp_path / "log").read_text()
        finally:
            server.terminate()
            server.wait(10)
    finally:
        log.close()
        network.run_ip(f"netns delete {net}")

"""A lab with TLS between network namespaces: what a blade's own archive tells it is enough to get its token, sealed."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from labkit.boot.artifacts.cpio import unpack
from labkit.events import Ticket
from labkit.lab.process import rpc
from tests.rig.net import BLADE1, LAB, Desk, Net

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with Net(tmp_path_factory.mktemp("tls"), LAB + "network: {tls: true, https_port: 8443}\n") as net:
        net.start()
        yield net


@pytest.fixture(scope="module")
def blade1(net: Net) -> str:
    space = net.plug("b1", BLADE1)
    net.pxe(space)
    rpc.call(net.state.bootd, "power_on", blade="blade1")
    return space


def own_files(net: Net, space: str) -> dict[str, str]:
    """The files that Ignition would write, by path, from the archive that the blade's loader fetches over HTTP."""
    archive = net.folder / "oem"
    assert net.curl(space, "/labos/oem.cpio.gz", "-o", str(archive))[0] == 200
    (raw,) = (entry.data for entry in unpack(archive.read_bytes()) if not entry.is_folder)
    files = json.loads(raw)["storage"]["files"]
    return {file["path"]: unquote(file["contents"]["source"].removeprefix("data:,")) for file in files}


def sealed(net: Net, space: str, path: str, *options: str | Path) -> tuple[int, str]:
    words = ["curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *map(str, options), f"https://10.77.0.1:8443{path}"]
    body, _, status = net.inside(space, *words).rpartition("\n")
    return int(status), body


def test_a_blade_gets_its_token_over_tls_only(net: Net, blade1: str) -> None:
    files = own_files(net, blade1)
    ca, ticket = net.folder / "ca.crt", ("-X", "POST", "-H", files["/etc/labkit/ticket"].strip())
    ca.write_text(files["/etc/labkit/ca.crt"])
    desk = Desk(net.state.swarmd)
    try:
        status, said = net.curl(blade1, "/v1/join", *ticket)
        assert status == 403 and "https://10.77.0.1:8443" in said and "SWMTKN" not in said
        assert desk.asked == []
        status, body = sealed(net, blade1, "/v1/join", "--cacert", ca, *ticket)
        assert (status, json.loads(body)) == (200, {"JoinToken": "SWMTKN-1"})
    finally:
        desk.close()
    assert [request["verb"] for request in desk.asked] == ["join"]
    assert [event.state for event in net.told(Ticket)] == ["refused", "redeemed"]
    assert 'https://10.77.0.1:8443/v1/$path"' in files["/etc/labkit/lab.sh"]


def test_files_go_to_the_same_addresses_as_over_http(net: Net, blade1: str) -> None:
    ca, got = net.state.ca, net.folder / "got"
    assert sealed(net, blade1, "/labos/labos.cpio", "--cacert", ca, "-o", got)[0] == 200
    assert got.read_bytes() == (net.images / "labos/labos.cpio").read_bytes()
    other = net.plug("x", "00:00:5e:00:53:77")
    net.inside(other, "ip", "address", "add", "10.77.0.99/24", "dev", "eth0")
    assert sealed(net, other, "/labos/oem.cpio.gz", "--cacert", ca)[0] == 404
    assert sealed(net, other, "/healthz", "--cacert", ca) == (200, "ok\n")


def test_only_the_labs_address_is_listened_on(net: Net) -> None:
    listening = net.inside(net.server, "ss", "-Hltn").splitlines()
    assert sorted(line.split()[3] for line in listening) == ["10.77.0.1:80", "10.77.0.1:8443"]


def test_killed_and_started_again_it_has_the_certificate_it_had(net: Net, blade1: str) -> None:
    places = [net.state.ca, net.state.keys / "https" / "tls.crt", net.state.keys / "https" / "tls.key"]
    before = [place.read_bytes() for place in places]
    net.stop(signal.SIGKILL)
    net.start()
    assert [place.read_bytes() for place in places] == before
    assert sealed(net, blade1, "/healthz", "--cacert", net.state.ca) == (200, "ok\n")


def test_it_ends_cleanly_with_connections_open(net: Net, blade1: str) -> None:
    trusting = ssl.create_default_context(cafile=net.state.ca)
    with net.socket(blade1, socket.SOCK_STREAM) as sock, net.socket(blade1, socket.SOCK_STREAM) as silent:
        silent.connect(("10.77.0.1", 8443))
        sock.connect(("10.77.0.1", 8443))
        with trusting.wrap_socket(sock, server_hostname="10.77.0.1") as talk:
            talk.sendall(b"GET /healthz HTTP/1.1\r\nHost: lab\r\n\r\n")
            assert talk.recv(15) == b"HTTP/1.1 200 OK"
            assert net.stop() == 0
    net.start()

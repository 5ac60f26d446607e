"""How long a node is certified for; with a server of our own in the place of a manager."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.membership import managers
from labkit.swarm.recovery import certificate
from tests.rig.fleet import Fleet

DAY_S = 86400


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A certificate for ten days, with its key in the same file."""
    path, signed = tmp_path / "node.pem", tmp_path / "node.crt"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj"]
    subprocess.run([*words, "/CN=n1", "-days", "10", "-keyout", path, "-out", signed], check=True, capture_output=True)
    path.write_text(path.read_text() + signed.read_text())
    return path


def test_a_manager_shows_how_long_it_is_certified(node: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(node)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            with context.wrap_socket(server.accept()[0], server_side=True):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        ends = certificate.served_until("127.0.0.1", port)
        thread.join()
    assert ends is not None and 9.9 * DAY_S < ends - time.time() <= 10 * DAY_S
    assert certificate.served_until("127.0.0.1", port) is None  # nobody is there any more


def test_what_is_no_certificate_has_no_end() -> None:
    assert certificate.read_end(b"") is None and certificate.read_end(b"no certificate") is None


@pytest.mark.parametrize(
    ("before", "after_days"),
    [({}, 730), ({"CAConfig": {"NodeCertExpiry": 90 * DAY_S * 10**9, "ForceRotate": 1}}, 730),
     ({"CAConfig": {"NodeCertExpiry": DAY_S * 10**9}}, 1)],
)  # fmt: skip
def test_a_time_that_somebody_chose_stays(before: dict[str, Any], after_days: int) -> None:
    spec = {"Name": "default", **before}
    certificate.ensure_long(spec)
    assert spec["CAConfig"]["NodeCertExpiry"] == after_days * DAY_S * 10**9 and spec["Name"] == "default"
    assert {**spec["CAConfig"], "NodeCertExpiry": 0} == {**before.get("CAConfig", {}), "NodeCertExpiry": 0}


def test_an_authority_is_one_for_twenty_years() -> None:
    made, other = certificate.new_authority(), certificate.new_authority()
    assert made != other and set(made) == {"SigningCACert", "SigningCAKey"}
    words = ["openssl", "x509", "-noout", "-text"]
    text = subprocess.run(words, input=made["SigningCACert"], capture_output=True, text=True, check=True).stdout
    assert (
        "CA:TRUE" in text and "Certificate Sign, CRL Sign" in text and "CN = swarm-ca" in text.replace("CN=", "CN = ")
    )
    assert "ecdsa-with-SHA256" in text and "PRIVATE KEY" in made["SigningCAKey"]
    ends = certificate.read_end(ssl.PEM_cert_to_DER_cert(made["SigningCACert"]))
    assert ends is not None and ends > time.time() + 19 * 365 * DAY_S


@pytest.mark.engine
def test_a_swarm_that_is_made_certifies_its_controller_for_two_years(fleet: Fleet) -> None:
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock, timeout_s=60) as client:
        cluster.ensure_swarm(client, advertise=machine.address)
        swarm = api(client).inspect_swarm()
        assert not swarm["RootRotationInProgress"] and not swarm["Spec"]["CAConfig"].get("ForceRotate")
        assert swarm["Spec"]["CAConfig"]["NodeCertExpiry"] == certificate.EXPIRY_S * 10**9
        ends = fleet.inside(lambda: certificate.served_until(machine.address), machine.net)
        assert ends is not None and ends > time.time() + 700 * DAY_S
        managers.force_alone(client, advertise=machine.address)
        assert not api(client).inspect_swarm()["RootRotationInProgress"]
        assert api(client).inspect_swarm()["TLSInfo"]["TrustRoot"] == swarm["TLSInfo"]["TrustRoot"]
    machine.power_cut()

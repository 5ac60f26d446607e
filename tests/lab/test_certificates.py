"""The lab's authority and its servers' certificates: made once, for one address, and good for a strict client."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.errors import MachineError
from labkit.lab import certificates
from labkit.lab.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


def shake_hands(made: certificates.Certificate, ca: Path, host: str) -> str:
    """A TLS handshake over a pair of sockets; what the client says of the server's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as talk:
                talk.recv(1)
        except OSError:  # the client hung up on us
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=host) as talk:
            talk.sendall(b"x")
            return "good"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("ensure", [certificates.ensure_registry, certificates.ensure_boot_server])
def test_a_client_that_knows_the_authority_believes_the_server(
    state: State, ensure: Callable[[State, str], certificates.Certificate]
) -> None:
    made = ensure(state, "10.77.0.1")
    assert shake_hands(made, state.ca, "10.77.0.1") == "good"
    assert "10.77.0.2" in shake_hands(made, state.ca, "10.77.0.2")


def test_another_labs_authority_is_not_believed(state: State, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.make()
    certificates.ensure_ca(other)
    said = shake_hands(certificates.ensure_registry(state, "10.77.0.1"), other.ca, "10.77.0.1")
    assert "unable to get local issuer certificate" in said or "signature failure" in said


def test_it_is_made_once_and_again_for_another_address(state: State) -> None:
    first = certificates.ensure_registry(state, "10.77.0.1")
    before = (first.certificate.read_bytes(), state.ca.read_bytes())
    again = certificates.ensure_registry(state, "10.77.0.1")
    assert (again.certificate.read_bytes(), state.ca.read_bytes()) == before
    moved = certificates.ensure_registry(state, "10.99.0.1")
    assert moved.certificate.read_bytes() != before[0] and state.ca.read_bytes() == before[1]
    assert shake_hands(moved, state.ca, "10.99.0.1") == "good"


def test_keys_are_for_nobody_else_to_read(state: State) -> None:
    made = certificates.ensure_registry(state, "10.77.0.1")
    for key in (made.key, certificates.ensure_ca(state).key):
        assert key.stat().st_mode & 0o777 == 0o600
    assert made.key.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in made.key.parent.iterdir()) == ["tls.crt", "tls.key"]


def verifies(made: certificates.Certificate, ca: Path, *wanted: str) -> bool:
    words = ["openssl", "verify", "-x509_strict", "-CAfile", str(ca), *wanted, str(made.certificate)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_a_blade_whose_clock_stands_at_2000_believes_them(state: State) -> None:
    made = certificates.ensure_boot_server(state, "10.77.0.1")
    assert verifies(made, state.ca)
    assert verifies(made, state.ca, "-attime", "949363200")  # 2000-02-01
    assert not verifies(made, state.ca, "-attime", "915148800")  # 1999


def test_each_is_made_again_before_it_expires(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority with its old key: who knows its old certificate only believes what it signs now."""
    monkeypatch.setattr(certificates, "DAYS", 29)
    made = certificates.ensure_boot_server(state, "10.77.0.1")
    old, key = made.certificate.read_bytes(), (state.keys / "ca.key").read_bytes()
    known = state.path / "known.crt"
    known.write_bytes(state.ca.read_bytes())
    monkeypatch.undo()
    made = certificates.ensure_boot_server(state, "10.77.0.1")
    assert made.certificate.read_bytes() != old and state.ca.read_bytes() != known.read_bytes()
    assert (state.keys / "ca.key").read_bytes() == key
    assert verifies(made, state.ca) and verifies(made, known)
    new = made.certificate.read_bytes()
    assert certificates.ensure_boot_server(state, "10.77.0.1").certificate.read_bytes() == new


def test_a_broken_certificate_is_made_again(state: State) -> None:
    made = certificates.ensure_registry(state, "10.77.0.1")
    for broken in (made.certificate, made.key, state.ca):
        broken.write_text("")
        if broken == made.key:
            made.certificate.unlink()
        assert shake_hands(certificates.ensure_registry(state, "10.77.0.1"), state.ca, "10.77.0.1") == "good"


def test_without_openssl_it_says_what_to_install(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match="not installed: openssl") as error:
        certificates.ensure_ca(state)
    assert "apt-get install openssl" in error.value.fix

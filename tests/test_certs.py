"""The lab's authority and its registry's certificate: made once, for one address, and good for a strict client."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from labkit import certs
from labkit.errors import MachineError
from labkit.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


def shake_hands(made: certs.Certificate, ca: Path, host: str) -> str:
    """A TLS handshake over a pair of sockets; what the client says of the server's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=ca)
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


def test_a_client_that_knows_the_authority_believes_the_registry(state: State) -> None:
    made = certs.ensure_registry(state, "10.77.0.1")
    assert shake_hands(made, state.ca, "10.77.0.1") == "good"
    assert "10.77.0.2" in shake_hands(made, state.ca, "10.77.0.2")


def test_another_labs_authority_is_not_believed(state: State, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.make()
    certs.ensure_ca(other)
    said = shake_hands(certs.ensure_registry(state, "10.77.0.1"), other.ca, "10.77.0.1")
    assert "unable to get local issuer certificate" in said or "signature failure" in said


def test_it_is_made_once_and_again_for_another_address(state: State) -> None:
    first = certs.ensure_registry(state, "10.77.0.1")
    before = (first.certificate.read_bytes(), state.ca.read_bytes())
    again = certs.ensure_registry(state, "10.77.0.1")
    assert (again.certificate.read_bytes(), state.ca.read_bytes()) == before
    moved = certs.ensure_registry(state, "10.99.0.1")
    assert moved.certificate.read_bytes() != before[0] and state.ca.read_bytes() == before[1]
    assert shake_hands(moved, state.ca, "10.99.0.1") == "good"


def test_keys_are_for_nobody_else_to_read(state: State) -> None:
    made = certs.ensure_registry(state, "10.77.0.1")
    for key in (made.key, certs.ensure_ca(state).key):
        assert key.stat().st_mode & 0o777 == 0o600
    assert made.key.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in made.key.parent.iterdir()) == ["tls.crt", "tls.key"]


def test_without_openssl_it_says_what_to_install(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match="not installed: openssl") as error:
        certs.ensure_ca(state)
    assert "apt-get install openssl" in error.value.fix

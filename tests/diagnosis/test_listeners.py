"""How listeners are asked: each kind by a server of its kind on loopback, and by one that only takes connections."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from labkit.cli.commands import main
from labkit.diagnosis import listeners
from labkit.diagnosis.listeners import Listener, ask_all, silent
from labkit.lab import certificates, lab_yaml, nfs_share
from labkit.lab.process import control, rpc
from labkit.lab.state import State

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"


def ask(question: Callable[[], Awaitable[object]], *, timeout_s: float = 5) -> str:
    """Why a listener does not answer, from inside a running loop."""
    return asyncio.run(ask_all([Listener("part", "it", question)], timeout_s=timeout_s))["part"]["it"]


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path)
    state.make()
    return state


def test_every_listener_of_a_lab_is_asked(tmp_path: Path) -> None:
    text = "name: lab\nnetwork: {tls: true}\nstorage: {share: true}\nblades:\n  - name: blade1\n  - name: blade2\n"
    lab = lab_yaml.parse(text, tmp_path / "lab.yaml")
    names = {(one.part, one.name) for one in listeners.listeners(lab, State(tmp_path))}
    assert names == {
        ("bootd", "DHCP"), ("bootd", "TFTP"), ("bootd", "HTTP"), ("bootd", "HTTPS"), ("bootd", "control"),
        ("swarmd", "control"), ("configd", "control"), ("registry", "TLS"), ("registry-push", "API"), ("share", "NFS"),
        ("engine", "API"), ("bmc1", "IPMI"), ("bmc2", "IPMI"),
    }  # fmt: skip


def test_in_a_real_lab_one_asks_the_controllers(tmp_path: Path) -> None:
    text = "network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}\nblades: []\n"
    names = {one.part for one in listeners.listeners(lab_yaml.parse(text, tmp_path / "lab.yaml"), State(tmp_path))}
    assert names == {"bootd", "swarmd", "configd", "registry", "registry-push", "sensord"}


def test_whoever_only_takes_connections_does_not_answer(tmp_path: Path, state: State) -> None:
    """The kernel takes connections, and datagrams, for a process that is stopped."""
    certificates.ensure_registry(state, HOST)
    with (
        socket.socket() as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        rpc.listen(tmp_path / "sock"),
    ):
        for one in (stream, datagram):
            one.bind((HOST, 0))
        stream.listen()
        port, udp = stream.getsockname()[1], datagram.getsockname()[1]
        shares_port, nfs_share.PORT = nfs_share.PORT, port
        try:
            asked = {
                "HTTP": lambda: listeners._healthz(HOST, port),
                "TLS": lambda: listeners._handshake(HOST, port, state.ca),
                "NFS": lambda: listeners._nfs(HOST),
                "IPMI": lambda: listeners._bmc(HOST, udp),
                "control": lambda: listeners._ping(tmp_path / "sock"),
                "API": lambda: listeners._local_http(tmp_path / "sock", "/_ping"),
            }
            found = asyncio.run(ask_all([Listener("it", name, ask) for name, ask in asked.items()], timeout_s=0.3))
        finally:
            nfs_share.PORT = shares_port
    assert found == {"it": dict.fromkeys(asked, "nothing within 0.3 s")}
    assert silent(found, "it").startswith("HTTP does not answer (nothing within 0.3 s), TLS does not answer (")


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    assert "Connect call failed" in ask(lambda: listeners._healthz(HOST, port)) or "refused" in ask(
        lambda: listeners._healthz(HOST, port)
    )
    assert ask(lambda: listeners._bmc(HOST, port)) == "Connection refused"
    assert ask(lambda: listeners._ping(tmp_path / "gone")) == "No such file or directory"


def with_server(
    answer: bytes, question: Callable[[int], Awaitable[object]], context: ssl.SSLContext | None = None
) -> str:
    """Ask a server that answers with these bytes, whatever it hears."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        writer.close()

    async def asking() -> str:
        server = await asyncio.start_server(talk, HOST, 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        found = await ask_all([Listener("part", "it", lambda: question(port))], timeout_s=5)
        server.close()
        return found["part"]["it"]

    return asyncio.run(asking())


def test_http() -> None:
    assert with_server(b"HTTP/1.1 200 OK\r\n\r\nok\n", lambda port: listeners._healthz(HOST, port)) == ""
    why = with_server(b"HTTP/1.1 500 Internal Server Error\r\n\r\n", lambda port: listeners._healthz(HOST, port))
    assert why == "it answers HTTP/1.1 500 Internal Server Error"
    assert with_server(b"", lambda port: listeners._healthz(HOST, port)) == "it answers nothing"


def test_tls_is_judged_as_a_blade_judges_it(tmp_path: Path, state: State) -> None:
    """By the rules of RFC 5280 to the letter, as Python 3.13 and newer have it, whatever Python this is."""
    context = certificates.server_context(certificates.chain(certificates.ensure_registry(state, HOST)))
    other = State(tmp_path / "other")
    other.make()
    certificates.ensure_ca(other)
    assert with_server(b"", lambda port: listeners._handshake(HOST, port, state.ca), context) == ""
    why = with_server(b"", lambda port: listeners._handshake(HOST, port, other.ca), context)
    assert "CERTIFICATE_VERIFY_FAILED" in why


def test_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = await reader.readexactly(44)
        assert call[:4] == bytes.fromhex("80000028") and call[8:28] == bytes.fromhex(
            "0000000000000002000186a30000000400000000"
        )
        writer.write(bytes.fromhex("80000018") + call[4:8] + (1).to_bytes(4, "big") + bytes(16))
        writer.close()

    async def asking() -> None:
        server = await asyncio.start_server(talk, HOST, 0)
        monkeypatch.setattr(nfs_share, "PORT", server.sockets[0].getsockname()[1])
        await listeners._nfs(HOST)
        server.close()

    asyncio.run(asking())
    assert "Connect call failed" in ask(lambda: listeners._nfs(HOST)) or "refused" in ask(lambda: listeners._nfs(HOST))


@pytest.mark.parametrize(
    ("changed", "status", "shown"),
    [
        ({}, 0, "parts: bootd, swarmd\n"),
        ({"answers": {"bootd": {"HTTP": "", "TFTP": "nothing within 3 s"}, "swarmd": {"control": ""}}}, 1,
         "parts: bootd, swarmd\nbootd: TFTP does not answer (nothing within 3 s)\n"),
        ({"parts": {"bootd": 7, "swarmd": 0}}, 1, "parts: bootd, swarmd DOWN\n"),
        ({"unwritten": "2 events: No space left on device"}, 1, "\nunwritten: 2 events: No space left on device\n"),
    ],
)  # fmt: skip
def test_status_tells_and_has_a_status_for_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    changed: dict[str, object], status: int, shown: str,
) -> None:  # fmt: skip
    (tmp_path / "lab.yaml").write_text("name: lab\nblades:\n  - name: blade1\n")
    well = {
        "name": "lab", "lab": str(tmp_path / "lab.yaml"), "accelerator": "tcg", "parts": {"bootd": 7, "swarmd": 8},
        "answers": {"bootd": {"HTTP": "", "TFTP": ""}, "swarmd": {"control": ""}}, "unwritten": "",
    }  # fmt: skip
    monkeypatch.setattr(control, "status", lambda state, ask=False: {**well, **changed})
    words = ["--lab", str(tmp_path / "lab.yaml"), "--state", str(tmp_path / "state"), "status"]
    assert main(words) == status
    said = capsys.readouterr().out
    assert shown in said and "\nswarm: not looked at" in said
    assert main([*words, "--json"]) == status
    assert json.loads(capsys.readouterr().out)["parts"] == {**well, **changed}["parts"]

"""The boot server over TLS, with curl as blades have it: what is served, what is refused, and that nobody waits."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest

from labkit.boot.artifacts.text import render_text
from labkit.events import BootStarted, Phoned, Ticket, Transfer, Trouble
from labkit.lab import certificates
from labkit.lab.state import State
from labkit.netboot.boot_client import transport
from labkit.netboot.http.phone_home import HEADER
from labkit.netboot.http.queue import Queue
from labkit.netboot.http.tls import MOST_REASONS, Handshakes
from tests.rig.http_server import IMAGE, Rig
from tests.rig.known import shows


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path, tls=True)


async def run(*words: str | Path, text: bytes = b"") -> tuple[int, bytes, str]:
    """A program's exit status, and what it printed on either stream."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, words), stdin=pipe, stdout=pipe, stderr=pipe)
    out, errors = await asyncio.wait_for(process.communicate(text), 30)
    assert process.returncode is not None
    return process.returncode, out, errors.decode()


async def curl(rig: Rig, path: str, *options: str, ca: Path | None = None) -> tuple[int, bytes, str]:
    ca = ca or rig.state.ca
    return await run("curl", "-sS", "-m", "20", "--cacert", ca, *options, f"{rig.private}{path}")


def test_the_same_files_by_the_same_rules(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        assert await curl(rig, "/labos/vmlinuz") == (0, IMAGE, "")
        assert await curl(rig, "/pxelinux.cfg/default") == (0, b"menu of blade1\n", "")
        for path, status in (("/labos/none", b"404"), ("/..%2fetc/passwd", b"404"), ("/healthz", b"200")):
            assert (await curl(rig, path, "-o", "/dev/null", "-w", "%{http_code}"))[1] == status
        head = (await curl(rig, "/labos/vmlinuz", "-I"))[1].decode()
        assert f"Content-Length: {len(IMAGE)}\r\n" in head
        numbers = (await curl(rig, "/metrics"))[1].decode()
        assert f'labkit_transfer_bytes_total{{protocol="https"}} {len(IMAGE) + 15}\n' in numbers

    rig.run(talk)
    done = [event for event in rig.seen.of(Transfer) if event.state == "done"]
    assert [(event.protocol, event.path, event.sent_b) for event in done] == [
        ("https", "labos/vmlinuz", len(IMAGE)),
        ("https", "pxelinux.cfg/default", 15),
    ]
    assert {event.protocol for event in rig.seen.of(Transfer) if event.state == "missing"} == {"https"}
    assert rig.seen.of(Trouble) == []


def test_parts_and_conditions(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        assert (await curl(rig, "/labos/vmlinuz", "-r", "256-259"))[1] == b"\0\1\2\3"
        assert (await curl(rig, "/labos/vmlinuz", "-r", "5000001-"))[1] == IMAGE[5_000_001:]
        assert (await curl(rig, "/labos/vmlinuz", "-r", "99999999-", "-f"))[0] == 22
        head = (await curl(rig, "/labos/vmlinuz", "-I"))[1].decode()
        (etag,) = (line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("etag"))
        condition = f"If-None-Match: {etag.strip()}"
        assert (await curl(rig, "/labos/vmlinuz", "-H", condition, "-w", "%{http_code}"))[1] == b"304"
        got = rig.state.path / "part"
        got.write_bytes(IMAGE[:7_000_000])
        await curl(rig, "/labos/vmlinuz", "-C", "-", "-o", str(got))
        assert got.read_bytes() == IMAGE

    rig.run(talk)


def begun(rig: Rig) -> BootStarted:
    """That the blade's boot began."""
    return BootStarted(blade="blade1", boot=rig.boot.id, cause="pxe")


def test_another_labs_authority_is_not_believed(rig: Rig, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.make()
    ca = certificates.ensure_ca(other).certificate

    async def talk(client: aiohttp.ClientSession) -> None:
        assert (await curl(rig, "/healthz", ca=ca))[:2] == (60, b"")
        assert (await curl(rig, "/v1/join", "-X", "POST", ca=ca))[:2] == (60, b"")

    rig.run(talk)
    assert rig.desk.verbs() == [] and rig.seen.of(Ticket) == []
    [told] = rig.seen.of(Trouble)
    assert (told.blade, told.boot, told.part) == ("blade1", rig.boot.id, "tls")
    assert told.detail.startswith("blade1 does not trust the lab's authority") and "switch it off and on" in told.fix
    shows("not-believed", [begun(rig), told], "blade1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-attime", "0"), "its clock is before the year 2000"),  # a battery that is empty
        (("-attime", "4000000000"), "its clock is years ahead"),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "speaks a TLS older than 1.2"),
        (("-tls1_2", "-cipher", "AES128-SHA"), "has no cipher in common with the lab"),  # RSA, and our key is not
    ],
)
def test_why_a_blade_hung_up_is_told(rig: Rig, options: tuple[str, ...], said: str) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        trust = ("-CAfile", str(rig.state.ca), "-verify_return_error")
        where = rig.private.removeprefix("https://")
        status, _, _ = await run("openssl", "s_client", "-connect", where, *trust, *options)
        assert status == 1
        await asyncio.to_thread(rig.seen.wait_for, Trouble)

    rig.run(talk)
    [told] = rig.seen.of(Trouble)
    assert said in told.detail and told.fix and (told.blade, told.part) == ("blade1", "tls")
    if "clock" in said:
        shows("clock-wrong", [begun(rig), told], "blade1")


def test_a_flood_of_bad_handshakes_is_told_once_a_boot(rig: Rig) -> None:
    """And not at all where it comes from no blade; whoever goes away without a word is not told of either."""

    distrusting = ssl.create_default_context()
    distrusting.check_hostname = False

    def flooding() -> None:
        for source in ("127.0.0.1", "127.0.0.9") * 10:
            where = ("127.0.0.1", int(rig.private.rpartition(":")[2]))
            with socket.create_connection(where, 5, (source, 0)) as sock, pytest.raises(ssl.SSLCertVerificationError):
                distrusting.wrap_socket(sock)
            socket.create_connection(where, 5, (source, 0)).close()

    async def flood() -> None:
        await asyncio.to_thread(flooding)
        assert await curl(rig, "/healthz") == (0, b"ok\n", "")

    async def talk(client: aiohttp.ClientSession) -> None:
        await flood()
        assert [event.blade for event in rig.seen.of(Trouble)] == ["blade1"]
        rig.boot = rig.clients.boots.begin("blade1", "power")
        await flood()

    rig.run(talk)
    first, second = rig.seen.of(Trouble)
    assert first.detail == second.detail and first.boot != second.boot == rig.boot.id


def test_so_many_reasons_are_told_of_a_boot(rig: Rig) -> None:
    handshakes = Handshakes(rig.clients)
    for number in range(3 * MOST_REASONS):
        error = ssl.SSLError(1, "")
        error.reason = f"REASON_{number}"
        handshakes.failed("127.0.0.1", error)
    assert len(rig.seen.of(Trouble)) == MOST_REASONS
    assert "is no TLS of ours: reason 3" in rig.seen.of(Trouble)[3].detail


def test_a_rehearsal_says_whom_a_blade_would_not_believe(rig: Rig, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.make()
    wrong = certificates.ensure_ca(other).certificate.read_text()

    async def talk(client: aiohttp.ClientSession) -> None:
        url = f"{rig.private}/healthz"
        for ca, said in ((wrong, "would not believe this server"), ("nonsense", "no authority to believe")):
            with pytest.raises(transport.Failed, match=said) as caught:
                await asyncio.to_thread(transport.get, url, 1.0, ca)
            assert url in caught.value.what and "./lab up" in caught.value.fix
        got = await asyncio.to_thread(transport.get, url, 1.0, rig.state.ca.read_text())
        assert (got.data, got.protocol, got.path) == (b"ok\n", "https", "healthz")

    rig.run(talk)


def test_a_ticket_in_clear_is_worth_nothing(rig: Rig) -> None:
    """It is told once, however often it comes, and the join token stays; over TLS the same ticket is good."""

    async def talk(client: aiohttp.ClientSession) -> None:
        for verb in ("join", "stage", "leave", "left", "join"):
            async with client.post(f"{rig.root}/v1/{verb}", headers=rig.ticket, data={"stage": "os"}) as answer:
                assert answer.status == 403
                assert await answer.text() == "it came in clear, and this lab hears blades at https://10.77.0.1 only\n"
        assert rig.desk.verbs() == [] and rig.seen.of(Phoned) == []
        [refused] = rig.seen.of(Ticket)
        assert (refused.state, refused.blade, refused.address) == ("refused", "blade1", "127.0.0.1")
        ticket = f"{HEADER}: {rig.ticket[HEADER]}"
        assert b"SWMTKN" in (await curl(rig, "/v1/join", "-f", "-X", "POST", "-H", ticket))[1]

    rig.run(talk)
    assert rig.desk.verbs() == ["join"]
    assert [event.state for event in rig.seen.of(Ticket)] == ["refused", "redeemed"]


def test_a_wrong_ticket_over_tls_is_the_desks_business(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        assert (await curl(rig, "/v1/join", "-f", "-X", "POST"))[0] == 22
        await asyncio.sleep(0.05)

    rig.run(talk)
    assert rig.desk.verbs() == ["refused"]


def test_tls_before_1_2_is_refused(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        old = ssl.create_default_context(cafile=rig.state.ca)
        old.set_ciphers("ALL:@SECLEVEL=0")
        port = int(rig.private.rpartition(":")[2])
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(ConnectionResetError):  # by the server: asyncio sends no alert before it hangs up
            await asyncio.open_connection("127.0.0.1", port, ssl=old)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=old)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.close()

    with pytest.warns(DeprecationWarning, match="deprecated"):
        rig.run(talk)


def test_clients_that_say_nothing_or_nonsense_hold_up_nobody(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        port = int(rig.private.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        nonsense = (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"\0" * 99)
        for sock, said in zip(silent[:3], nonsense, strict=True):
            sock.sendall(said)
        assert await curl(rig, "/labos/vmlinuz") == (0, IMAGE, "")
        for sock in silent:
            sock.close()

    rig.run(talk)
    assert [record.getMessage() for record in caplog.records] == []
    told = [event.detail for event in rig.seen.of(Trouble)]
    assert "blade1 speaks HTTP without TLS to the port of HTTPS" in told
    assert len(told) == 2 and all("blade1" in detail for detail in told)


def test_blades_that_go_away_in_the_middle_leave_nothing_behind(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.put_image(IMAGE * 3)  # more than the buffers of both ends hold

    async def talk(client: aiohttp.ClientSession) -> None:
        trusting = ssl.create_default_context(cafile=rig.state.ca)
        port = int(rig.private.rpartition(":")[2])
        for number in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, limit=4096)
            writer.write(b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n")
            await reader.readexactly(20 + 997 * number)
            writer.transport.abort()
        await asyncio.to_thread(rig.seen.wait_for, Transfer, 6, where=lambda event: event.state == "failed")
        assert await curl(rig, "/labos/vmlinuz") == (0, IMAGE * 3, "")

    rig.run(talk)
    failed = [event for event in rig.seen.of(Transfer) if event.state == "failed"]
    assert all(event.reason.startswith("the connection broke") for event in failed)
    assert [record.getMessage() for record in caplog.records] == [] and rig.seen.of(Trouble) == []
    assert (rig.files.queue.running, rig.files.queue.waiting) == (0, 0)


def test_large_files_queue_and_a_connection_is_kept(rig: Rig) -> None:
    rig.files.queue = Queue(1)

    async def talk(client: aiohttp.ClientSession) -> None:
        trusting = ssl.create_default_context(cafile=rig.state.ca)
        urls = [f"{rig.private}/{path}" for path in ("labos/vmlinuz", "pxelinux.cfg/default", "labos/vmlinuz")]

        async def fetch(own: aiohttp.ClientSession) -> list[bytes]:
            bodies = []
            for url in urls:
                async with own.get(url, ssl=trusting) as answer:
                    bodies.append(await answer.read())
            return bodies

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as other:
            got = [*await asyncio.gather(fetch(client), fetch(other))]
        assert got == [[IMAGE, b"menu of blade1\n", IMAGE]] * 2

    rig.run(talk)


def test_a_blades_own_script_speaks_tls_and_says_why_it_cannot(rig: Rig, tmp_path: Path) -> None:
    folder, console = tmp_path / "etc", tmp_path / "console"
    folder.mkdir()
    (folder / "ticket").write_text(f"{HEADER}: {rig.ticket[HEADER]}\n")
    other = State(tmp_path / "other")
    other.make()

    async def stage(ca: Path) -> tuple[int, bytes, str]:
        script = render_text("scripts/lab.sh", root=rig.private, folder=folder, ca=ca, console=console, run=folder)
        return await run("sh", text=f"{script}\nstage os".encode())

    async def talk(client: aiohttp.ClientSession) -> None:
        told = [await stage(certificates.ensure_ca(other).certificate) for _ in range(2)]
        assert [status for status, _, _ in told] == [60, 60]
        assert "does not believe https://127.0.0.1" in told[0][2] and "labkit" not in told[1][2], "told once"
        assert "switch the blade off and on again" in console.read_text()
        assert (await stage(tmp_path / "none"))[0] in (77, 2)  # curl 8.22 looks for the file before it begins
        assert rig.seen.of(Phoned) == []
        assert await stage(rig.state.ca) == (0, b"", "")

    rig.run(talk)
    assert [event.stage for event in rig.seen.of(Phoned)] == ["os"]

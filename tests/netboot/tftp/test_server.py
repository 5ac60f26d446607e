"""The TFTP server over real sockets: tftpy as an independent client, and one of our own for what tftpy does not do."""

from __future__ import annotations

import io
import threading
import time

import pytest
import tftpy

from labkit.events import Transfer, Trouble
from labkit.netboot import tftp
from labkit.netboot.tftp import Ack, Code, Data, Error, Oack
from labkit.netboot.tftp import server as tftpd
from tests.rig.tftp_server import IMAGE, MENU, Rig


def test_tftpy_fetches_a_rendered_file_and_an_image(rig: Rig) -> None:
    client = tftpy.TftpClient(*rig.address, options={"blksize": 1428, "tsize": 0})
    for path, content in (("/menu", MENU), ("image", IMAGE), (r"\menu", MENU)):
        got = io.BytesIO()
        client.download(path, got)
        assert got.getvalue() == content


def test_a_long_transfer_is_told_of_while_blocks_arrive(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tftpd, "MOVING_EVERY_S", 0.03)
    with rig.client() as client:
        client.ask("image")
        client.hear()
        for block in (1, 2):
            client.say(Ack(block))
            rig.seen.wait_for(Transfer, block, where=lambda event: event.state == "moving")
        client.say(Error(Code.UNDEFINED, "that is enough"))
        rig.seen.wait_for(Transfer, where=lambda event: event.state == "failed")
    told = [(event.state, event.sent_b, event.size_b) for event in rig.seen.of(Transfer)]
    states = [("started", 0), ("moving", 512), ("moving", 1024), ("failed", 1024)]
    assert told == [(state, sent_b, len(IMAGE)) for state, sent_b in states]


def test_tftpy_is_told_what_is_not_there(rig: Rig) -> None:
    with pytest.raises(tftpy.TftpShared.TftpException, match="File not found"):
        tftpy.TftpClient(*rig.address).download("pxelinux.cfg/01-52-54-00", io.BytesIO())
    [event] = rig.seen.wait_for(Transfer, where=lambda event: event.state == "missing")
    assert (event.path, event.address, event.protocol) == ("pxelinux.cfg/01-52-54-00", "127.0.0.1", "tftp")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"blksize": "8"},
        {"blksize": "1428"},
        {"blksize": "65464"},
        {"windowsize": "4"},
        {"windowsize": "64", "blksize": "1428"},
        {"windowsize": "7", "blksize": "9000", "tsize": "0", "timeout": "1"},
    ],
    ids=str,
)
def test_a_file_arrives_whole_under_any_terms(rig: Rig, options: dict[str, str]) -> None:
    assert rig.get("menu", **options) == MENU
    if options.get("blksize") != "8":  # 87,500 round trips add nothing
        assert rig.get("image", **options) == IMAGE
    assert rig.get("multiple", **options) == IMAGE[: 512 * 8]


def test_windows_arrive_without_segmentation_offload(rig: Rig) -> None:
    rig.server._has_offload = False
    assert rig.get("image", windowsize="16", blksize="1428") == IMAGE


def test_a_kernel_that_refuses_offload_is_asked_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tftpd, "UDP_SEGMENT", 9999)  # no such option: the kernel says so
    assert rig.get("image", windowsize="16", blksize="1428") == IMAGE
    assert not rig.server._has_offload


def test_transfers_tell_bytes_and_seconds(rig: Rig) -> None:
    rig.get("image", blksize="1428")
    [done] = rig.seen.wait_for(Transfer, where=lambda event: event.state == "done")
    [started] = [event for event in rig.seen.of(Transfer) if event.state == "started"]
    assert (started.path, started.size_b) == ("image", len(IMAGE))
    assert (done.sent_b, done.size_b, done.reason) == (len(IMAGE), len(IMAGE), "")
    assert 0 < done.seconds < 10


def test_a_wrong_tid_gets_error_5_and_the_transfer_goes_on(rig: Rig) -> None:
    with rig.client() as client, rig.client() as other:  # as a client does whose port a gateway has changed
        client.ask("multiple")
        assert client.hear() == Data(1, IMAGE[:512])
        other.peer = client.peer
        other.say(Ack(1))
        assert other.hear() == Error(Code.UNKNOWN_TID, "not your transfer")
        client.say(Ack(1))
        assert client.hear() == Data(2, IMAGE[512:1024])


def test_an_error_is_never_answered(rig: Rig) -> None:
    with rig.client() as client:
        client.sock.sendto(tftp.encode(Error(Code.ILLEGAL, "x")), rig.address)
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.hear()


def test_a_size_question_is_no_failure(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("image", {"tsize": "0", "blksize": "1468"})
        packet = client.hear()
        assert packet == Oack({"tsize": str(len(IMAGE)), "blksize": "1468"})
        client.say(Error(Code.OPTIONS, "User aborted the transfer"))
    [done] = rig.seen.wait_for(Transfer, where=lambda event: event.state != "started")
    assert (done.state, done.sent_b, done.reason) == ("done", 0, "User aborted the transfer")


def test_lost_packets_are_sent_again(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("multiple", {"blksize": "1024"})
        assert [client.hear(), client.hear()] == [Oack({"blksize": "1024"})] * 2
        client.say(Ack(0))
        assert [client.hear(), client.hear()] == [Data(1, IMAGE[:1024])] * 2


def test_the_same_request_again_is_a_duplicate_and_another_replaces_it(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("multiple")
        client.hear()
        first = client.peer
        client.ask("multiple")
        client.hear()
        assert client.peer == first
        client.ask("menu")
        while client.hear() != Data(1, MENU):
            pass
        assert client.peer != first
        client.say(Ack(1))
    [replaced] = rig.seen.wait_for(Transfer, where=lambda event: event.state == "failed")
    assert replaced.reason == "the client asked anew"


def test_the_last_ack_counts_before_the_same_request_again(rig: Rig) -> None:
    """A client that has everything may ask for the same file again from the same port, and be heard in one go."""
    with rig.client() as client, rig.client() as other:
        client.ask("multiple", {"blksize": "4096", "tsize": "0"})
        client.hear()
        client.say(Ack(0))
        assert client.hear() == Data(1, IMAGE[:4096])
        client.say(Ack(1))
        assert client.hear() == Data(2, b"")
        first = client.peer
        other.ask("slow")
        time.sleep(0.1)  # the server is held up now
        client.say(Ack(2))
        client.ask("multiple", {"blksize": "4096", "tsize": "0"})
        rig.slow.set()
        while not isinstance(client.hear(), Oack):
            pass  # the last block again, from the time that the server was held up
        assert client.peer != first


def test_a_client_that_goes_is_noticed(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("image")
        client.hear()
    [failed] = rig.seen.wait_for(Transfer, where=lambda event: event.state == "failed")
    assert failed.reason == "the client's port is closed"


def test_a_dead_client_holds_up_nobody(rig: Rig) -> None:
    dead = [rig.client() for _ in range(20)]
    for client in dead:
        client.ask("image", {"windowsize": "64"})
    began = time.monotonic()
    assert rig.get("image", blksize="1428", windowsize="16") == IMAGE
    assert time.monotonic() - began < 10  # and a dead client is waited for 30 s
    for client in dead:
        client.sock.close()


def test_every_transfer_has_its_own_port(rig: Rig) -> None:
    clients = [rig.client() for _ in range(40)]
    for client in clients:
        client.ask("image")
        client.hear()
    assert len({client.peer for client in clients}) == 40
    for client in clients:
        client.sock.close()


def test_one_address_has_so_many_transfers_and_then_waits_for_room(rig: Rig) -> None:
    clients = [rig.client() for _ in range(tftpd.MOST_PER_ADDRESS)]
    for client in clients:
        client.ask("image")
        client.hear()
    with rig.client() as late:
        late.ask("menu")
        late.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            late.hear()
        clients[0].say(Error(Code.UNDEFINED, "enough"))
        rig.seen.wait_for(Transfer, where=lambda event: event.state in ("failed", "done"))
        late.ask("menu")
        late.sock.settimeout(10)
        assert late.hear() == Data(1, MENU)
    for client in clients:
        client.sock.close()


def test_a_fault_in_a_request_is_told_and_ends_nothing(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("boom")
        port = client.sock.getsockname()[1]
        client.sock.sendto(b"", rig.address)
        client.sock.sendto(b"\0\1nonsense", rig.address)
        assert isinstance(client.hear(), Error)
    [trouble] = rig.seen.wait_for(Trouble)
    assert trouble.detail.startswith(
        f"a packet of kind 1 from 127.0.0.1 port {port}: RuntimeError: a fault in the lookup"
    )
    assert rig.get("menu") == MENU


def test_thirty_clients_at_once(rig: Rig) -> None:
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(rig.get("image", blksize="8192"))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [IMAGE] * 30


def test_a_file_replaced_while_it_is_sent_arrives_as_it_was(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("image", {"blksize": "1428"})
        client.hear()
        fresh = rig.image.with_name("fresh")
        fresh.write_bytes(b"new" * 1000)
        fresh.replace(rig.image)
        client.say(Ack(0))
        content, block = b"", 1
        while len(content) < len(IMAGE):
            packet = client.hear()
            assert isinstance(packet, Data)
            if packet.block == block:
                content += packet.content
                client.say(Ack(block))
                block += 1
    assert content == IMAGE
    assert rig.get("image") == b"new" * 1000

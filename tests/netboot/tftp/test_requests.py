"""What may be asked for, and how: names, modes, and tricks with paths."""

from __future__ import annotations

import pytest

from labkit.netboot.tftp import Ack, Code, Data, Error
from tests.rig.tftp_server import MENU, Rig


def test_netascii_is_for_text(rig: Rig) -> None:
    with rig.client() as client:
        assert client.get("menu", mode="netascii") == MENU.replace(b"\n", b"\r\n")
        client.ask("image", mode="netascii")
        assert client.hear() == Error(Code.ILLEGAL, "image files are sent in octet mode")


@pytest.mark.parametrize("path", ["gone", "folder", "unbuilt"])
def test_an_image_that_is_not_there_is_said_at_once(rig: Rig, path: str) -> None:
    with rig.client() as client:
        client.ask(path)
        packet = client.hear()
    assert isinstance(packet, Error)
    assert packet.code == Code.NOT_FOUND


@pytest.mark.parametrize("name", ["//menu", "./menu", "/./menu", "\\\\menu", ".\\menu", "/" * 200 + "menu", "menu\xff"])
def test_names_as_roms_write_them_are_the_same_file(rig: Rig, name: str) -> None:
    with rig.client() as client:
        client.sock.sendto(b"\0\1" + name.encode("latin-1") + b"\0OCTET\0", rig.address)
        assert client.hear() == Data(1, MENU)
        client.say(Ack(1))


@pytest.mark.parametrize("mode", ["mail", "", "binary"])
def test_no_other_mode_is_spoken(rig: Rig, mode: str) -> None:
    with rig.client() as client:
        client.ask("menu", mode=mode)
        assert client.hear() == Error(Code.ILLEGAL, f"no such mode: {mode}")


PATH_TRICKS = [
    "../etc/passwd", "/../etc/passwd", "..\\..\\etc\\passwd", "menu/..", "x/../menu", "/etc/passwd", "//etc/passwd",
    "%2e%2e/etc/passwd", "..%2fetc/passwd", "....//etc/passwd", ".", "/", "./", "\\", "C:\\menu", "~root", "menu\n",
    "\x7fmenu", "menu ", " menu", "MENU", "menu/", "men\u0301u",
    "\u2024\u2024/etc/passwd", "menu\u200b", "a/" * 400,
    "file:///etc/passwd", "|id", "$(id)", "image/../../image",
]  # fmt: skip


def test_thirty_path_tricks_are_refused(rig: Rig) -> None:
    assert len(PATH_TRICKS) == 30
    with rig.client() as client:
        for path in PATH_TRICKS:
            client.ask(path)
            packet = client.hear()
            if path == "menu/":  # the same file by its plain name
                assert packet == Data(1, MENU)
                client.say(Ack(1))
            else:
                assert isinstance(packet, Error), path
                assert packet.code == Code.NOT_FOUND


def test_nothing_can_be_written(rig: Rig) -> None:
    with rig.client() as client:
        client.ask("menu", write=True)
        assert client.hear() == Error(Code.ACCESS, "this server is read-only")

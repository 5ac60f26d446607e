"""``./lab init``, as a person answers it and as a script calls it."""

from __future__ import annotations

import io
from collections.abc import Callable
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from labkit.cli import commands
from labkit.cli.machines import init
from labkit.lab import DhcpMode, Lab, lab_yaml
from labkit.lab.lab_yaml.first import Card

CARDS = [
    Card("eth0", IPv4Interface("192.168.1.5/24"), is_way_out=True),
    Card("eth1", IPv4Interface("10.0.40.2/24")),
    Card("eth2"),
]
Init = Callable[..., tuple[int, str]]


class Typed(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    """The verb in an empty folder of a machine with three cards; what is typed comes as ``typed``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_LAB", "/elsewhere/lab.yaml")
    monkeypatch.setattr(init, "look", lambda: CARDS)

    def init_lab(*words: str, typed: str | None = None) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO() if typed is None else Typed(typed))
        status = commands.main(["init", *words])
        said = capsys.readouterr()
        return status, said.out + said.err

    return init_lab


def written(folder: Path) -> Lab:
    return lab_yaml.load(folder / "lab.yaml")


def test_enter_takes_what_was_found(run: Init, tmp_path: Path) -> None:
    status, said = run(typed="\n\n\n")
    assert status == 0 and f"written: {tmp_path}/lab.yaml" in said and "./lab machines" in said
    assert "eth0         192.168.1.5/24, the way out" in said and "no address" in said
    network = written(tmp_path).network
    assert (network.interface, str(network.subnet), network.dhcp) == ("eth1", "10.0.40.0/24", DhcpMode.SERVER)
    status, said = run(typed="\n\n\n")
    assert status == 2 and "there is a lab file already" in said


def test_a_wrong_answer_is_asked_again(run: Init, tmp_path: Path) -> None:
    status, said = run(typed="eth7\neth0\nhere\n\nnobody\n\n")
    assert status == 0 and "there is no card 'eth7' here; one of eth0, eth1, eth2" in said
    assert "'here' is no subnet" in said and "'nobody' gives no addresses" in said
    network = written(tmp_path).network
    assert (network.interface, str(network.server), network.dhcp) == ("eth0", "192.168.1.5", DhcpMode.PROXY)


def test_no_answer_writes_nothing(run: Init, tmp_path: Path) -> None:
    status, said = run(typed="eth1\n")
    assert status == 2 and "nothing was written" in said
    status, said = run()
    assert status == 2 and "--interface CARD --dhcp lab|router" in said
    assert list(tmp_path.iterdir()) == []


def test_a_script_answers_by_options(run: Init, tmp_path: Path) -> None:
    status, said = run("--interface", "eth2", "--subnet", "10.50.0.0/24", "--dhcp", "lab")
    assert status == 0 and "sudo ip address add 10.50.0.1/24 dev eth2" in said
    assert str(written(tmp_path).network.server) == "10.50.0.1"


def test_yes_takes_what_was_found(run: Init, tmp_path: Path) -> None:
    assert run("--yes")[0] == 0
    assert written(tmp_path).network.interface == "eth1"


@pytest.mark.parametrize("words", [("--interface", "eth9", "--yes"), ("--subnet", "10.0.40.7/24", "--yes")])
def test_a_wrong_option_writes_nothing(run: Init, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(*words)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_the_cards_of_this_machine() -> None:
    found = init.look()
    assert "lo" not in [card.name for card in found]

"""The machines of chapter 1 that are not in the lab file, and their buttons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.errors import ControlError, NotUpError, ParameterError
from labkit.lab.process import rpc
from labkit.ui import long_cell
from labkit.ui.adoption import Adoption, adopt_machines

LAB = "# mine\nblades:\n  - name: red1 # the first\n"
A, B, C = (f"00:00:5e:00:53:0{digit}" for digit in "abc")
HEARD = [events.UnknownMachine(mac=mac, adopt="", time=at, client="pxe", arch="0") for at, mac in enumerate((A, B, C))]


class Lab:
    """A lab file whose lab has heard of three machines, and what its supervisor says when it is asked."""

    def __init__(self, folder: Path) -> None:
        self.file, self.asked = folder / "lab.yaml", 0
        self.file.write_text(LAB)
        self.answer: Mapping[str, Any] | Exception = NotUpError("the lab is not up")
        (folder / ".lab").mkdir()
        self.hear(*HEARD)

    def hear(self, *heard: events.Event) -> None:
        lines = [events.encode(replace(event, seq=seq)) + "\n" for seq, event in enumerate(heard, 1)]
        (self.file.parent / ".lab/events.jsonl").write_text("".join(lines))

    def call(self, path: Path, verb: str, **_: object) -> Mapping[str, Any]:
        self.asked += verb == "reload"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(tmp_path)
    monkeypatch.setenv("LABKIT_LAB", str(lab.file))
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    monkeypatch.setattr(rpc, "call", lab.call)
    monkeypatch.setattr(long_cell, "DEAF_S", 0.0)
    return lab


def test_three_machines_are_adopted_by_three_clicks(lab: Lab) -> None:
    shown = Adoption()
    assert [button.description for button in shown.buttons.values()] == [f"Adopt {mac}" for mac in (A, B, C)]
    for number, mac in enumerate((A, B, C), 2):
        lab.answer = {"added": [f"red{number}"]}
        shown.buttons[mac].click()
        assert (
            f"The lab that is up knows red{number} now." in shown._said.value and 'role="status"' in shown._said.value
        )
        assert mac not in shown.buttons
    assert lab.file.read_text() == LAB + "".join(
        f'  - name: red{number}\n    slot: {number}\n    macs: ["{mac}"]\n' for number, mac in enumerate((A, B, C), 2)
    )
    assert (lab.asked, shown.buttons) == (3, {})


def test_a_button_that_is_pressed_while_another_works_does_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Adoption()
    seen: list[bool] = []

    def call(*_: object, **__: object) -> Mapping[str, Any]:
        pressed = (shown._again, *before)
        seen.extend(long_cell.BUSY in button._dom_classes and not button.disabled for button in pressed)
        before[1].click()
        raise ControlError("more than its blades is another: name", fix="./lab down, then ./lab up takes it in")

    before = list(shown.buttons.values())
    monkeypatch.setattr(rpc, "call", call)
    monkeypatch.setattr(long_cell, "DEAF_S", 60.0)
    before[0].click()
    assert seen == [True] * 4
    assert "goes on without this" in shown._said.value, "the file is written, and what is left to do is said"
    assert not any(long_cell.BUSY in button._dom_classes for button in (shown._again, *shown.buttons.values()))
    before[1].click()  # as the kernel hears of what was pressed meanwhile
    assert list(shown.buttons) == [B, C] and B not in lab.file.read_text()


def test_the_keyboard_goes_on_to_the_next_machine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, focused = Adoption(), list[str]()
    monkeypatch.setattr("ipywidgets.Button.focus", lambda button: focused.append(button.description))
    rows = shown._rows.children
    for mac in (B, C, A):
        shown.buttons[mac].click()
    assert focused == [f"Adopt {C}", f"Adopt {A}", "Look again"]
    assert shown._rows.children == rows and all(row.layout.display == "none" for row in rows)
    assert shown._none.value


def test_what_fails_is_a_box_and_changes_nothing(lab: Lab) -> None:
    shown = Adoption()
    lab.file.write_text(f"{LAB}# by somebody else\n")
    shown.buttons[A].click()
    assert "Nothing was adopted" in shown._said.value and 'role="alert"' in shown._said.value
    assert lab.file.read_text() == f"{LAB}# by somebody else\n"
    shown._again.click()
    assert shown._said.value == ""
    shown.buttons[A].click()
    assert A in lab.file.read_text()


def test_a_real_machine_is_asked_for_its_bmc(lab: Lab) -> None:
    text = (
        "network: {kind: interface, interface: eth1, subnet: 192.168.7.0/24, server: 192.168.7.2}\n"
        "bmc: {password_env: P}\nblades:\n  - {name: red1, macs: ['00:00:5e:00:53:01'], bmc: {address: 192.168.7.9}}\n"
    )
    lab.file.write_text(text)
    shown = Adoption()
    shown.buttons[A].click()
    assert "nothing says the address of red2&#x27;s BMC" in shown._said.value or "red2's BMC" in shown._said.value
    field = shown._rows.children[0].children[1].children[0]
    assert field.description == f"BMC of {A}"
    field.value = "192.168.7.10"
    shown.buttons[A].click()
    assert "192.168.7.10" in lab.file.read_text()


def test_without_a_browser_the_parameter_does_it_and_can_be_repeated(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = adopt_machines()
    assert shown._repr_mimebundle_()["text/plain"].splitlines()[0].startswith(f"{A}: ")
    assert lab.file.read_text() == LAB
    adopt_machines([B, B.upper()])
    assert f"red2: slot 2, 10.77.0.12, {B}" in capsys.readouterr().out
    adopt_machines([B])
    assert f"{B} is red2's already" in capsys.readouterr().out
    lab.hear()
    assert Adoption()._repr_mimebundle_()["text/plain"].endswith("the lab is not up, and hears none: ./lab up")
    lab.answer = {"up": True}
    assert Adoption()._repr_mimebundle_()["text/plain"] == "no machine has asked that is not in lab.yaml"
    with pytest.raises(ParameterError, match="blade9"):
        adopt_machines(["blade9"])

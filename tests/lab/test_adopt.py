"""Machines taken into a lab file and out of it: what is written where, and that all the rest stays as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.errors import LabFileError, ParameterError
from labkit.lab.lab_yaml import adopt
from labkit.lab.lab_yaml.adopt import Source

FILE = Path("/lab/lab.yaml")
MAC, OTHER = "52:54:00:12:34:56", "52:54:00:12:34:57"
REAL = """\
network: {kind: interface, interface: eth1, subnet: 192.168.7.0/24, server: 192.168.7.2}
bmc: {password_env: BMC}
blades:
  - {name: red1, slot: 3, macs: ["52:54:00:00:00:01"], bmc: {address: 192.168.7.201}}
"""


def read(text: str) -> Source:
    return adopt.read(text, FILE)


def adopted(text: str, name: str = "red1", *macs: str, slot: int = 0) -> str:
    return adopt.adopt(read(text), macs or (MAC,), name=name, slot=slot).text


# --- where it is written ----------------------------------------------------------------------------------------------

PLACES: dict[str, tuple[str, str]] = {
    "lines below a dash": (
        "blades:\n  - name: a # first\n    role: worker\n\n# next\nname: x\n",
        "blades:\n  - name: a # first\n    role: worker\n"
        "  - name: red1\n    slot: 2\n    macs: [M]\n\n# next\nname: x\n",
    ),
    "a dash under its key": (
        "blades:\n- name: a\n# next\nname: x\n",
        "blades:\n- name: a\n- name: red1\n  slot: 2\n  macs: [M]\n# next\nname: x\n",
    ),
    "a wide dash": (
        "blades:\n  -   name: a\n",
        "blades:\n  -   name: a\n  -   name: red1\n      slot: 2\n      macs: [M]\n",
    ),
    "a dash on a line of its own": (
        "blades:\n  -\n    name: a\n",
        "blades:\n  -\n    name: a\n  - name: red1\n    slot: 2\n    macs: [M]\n",
    ),
    "a comment that is the last entry's": (
        "blades:\n  - name: a\n    # role: manager\n  # no more\n",
        "blades:\n  - name: a\n    # role: manager\n  - name: red1\n    slot: 2\n    macs: [M]\n  # no more\n",
    ),
    "blank lines between": (
        "blades:\n  - name: a\n\n  - name: b\nname: x\n",
        "blades:\n  - name: a\n\n  - name: b\n\n  - name: red1\n    slot: 3\n    macs: [M]\nname: x\n",
    ),
    "braces below a dash": (
        "blades:\n  - {name: a} # first\n",
        "blades:\n  - {name: a} # first\n  - {name: red1, slot: 2, macs: [M]}\n",
    ),
    "brackets": ("blades: [{name: a}] # all\n", "blades: [{name: a}, {name: red1, slot: 2, macs: [M]}] # all\n"),
    "brackets, a comma at the end": (
        "blades: [{name: a},]\n",
        "blades: [{name: a}, {name: red1, slot: 2, macs: [M]},]\n",
    ),
    "brackets over lines": (
        "blades: [\n  {name: a}, # one\n  {name: b} # two\n]\n",
        "blades: [\n  {name: a}, # one\n  {name: b}, # two\n  {name: red1, slot: 3, macs: [M]}\n]\n",
    ),
    "brackets over lines, a comma at the end": (
        "blades: [\n  {name: a}, # one\n  # no more\n]\n",
        "blades: [\n  {name: a}, # one\n  {name: red1, slot: 2, macs: [M]},\n  # no more\n]\n",
    ),
    "brackets over lines, closed behind the last": (
        "blades: [\n  {name: a}]\n",
        "blades: [\n  {name: a},\n  {name: red1, slot: 2, macs: [M]}]\n",
    ),
    "commas in front": (
        "blades: [\n    {name: a}\n  , {name: b} # two\n]\n",
        "blades: [\n    {name: a}\n  , {name: b}, {name: red1, slot: 3, macs: [M]} # two\n]\n",
    ),
    "JSON": (
        '{"blades": [{"name": "a"}]}\n',
        '{"blades": [{"name": "a"}, {"name": "red1", "slot": 2, "macs": [M]}]}\n',
    ),
    "no end of line": ("blades:\n  - name: a", "blades:\n  - name: a\n  - name: red1\n    slot: 2\n    macs: [M]\n"),
    "lines as Windows ends them": (
        "blades:\r\n  - name: a\r\nname: x\r\n",
        "blades:\r\n  - name: a\r\n  - name: red1\r\n    slot: 2\r\n    macs: [M]\r\nname: x\r\n",
    ),
    "a list above its entries": (
        "blades:\n  - name: a\n    console:\n      - tty0\n      - ttyS0\nname: x\n",
        "blades:\n  - name: a\n    console:\n      - tty0\n      - ttyS0\n"
        "  - name: red1\n    slot: 2\n    macs: [M]\nname: x\n",
    ),
    "a dash in text": (
        "name: x # - name: a\nblades:\n  - name: a # ]\n",
        "name: x # - name: a\nblades:\n  - name: a # ]\n  - name: red1\n    slot: 2\n    macs: [M]\n",
    ),
    # no blade yet
    "an empty list": ("blades: [] # none\n", "blades: # none\n  - name: red1\n    slot: 1\n    macs: [M]\n"),
    "an empty list in braces": ("{blades: [], name: x}\n", "{blades: [{name: red1, slot: 1, macs: [M]}], name: x}\n"),
    "an empty list between keys": (
        "boot: ipxe\nblades: [ ]\n# behind\nname: x\n",
        "boot: ipxe\nblades:\n  - name: red1\n    slot: 1\n    macs: [M]\n# behind\nname: x\n",
    ),
    "an empty list over lines": ("blades: [ # none\n]\n", "blades: [{name: red1, slot: 1, macs: [M]} # none\n]\n"),
    "nothing behind the key": (
        "blades: # none\n  # nor here\nname: x\n",
        "blades: # none\n  # nor here\n  - name: red1\n    slot: 1\n    macs: [M]\nname: x\n",
    ),
    "null": ("blades: ~ # none\nname: x\n", "blades: # none\n  - name: red1\n    slot: 1\n    macs: [M]\nname: x\n"),
    "no key": ("name: x # y\n", "name: x # y\n\nblades:\n  - name: red1\n    slot: 1\n    macs: [M]\n"),
    "no key and no end of line": ("name: x", "name: x\n\nblades:\n  - name: red1\n    slot: 1\n    macs: [M]\n"),
    "no key in braces": ("{name: x} # y\n", "{name: x, blades: [{name: red1, slot: 1, macs: [M]}]} # y\n"),
    "nothing in braces": ("{}\n", "{blades: [{name: red1, slot: 1, macs: [M]}]}\n"),
    "null in braces": ("{blades: , name: x}\n", "{blades: [{name: red1, slot: 1, macs: [M]}] , name: x}\n"),
    "a document's end": ("name: x\n...\n", "name: x\n\nblades:\n  - name: red1\n    slot: 1\n    macs: [M]\n...\n"),
    "comments alone": ("# mine\n", "# mine\nblades:\n  - name: red1\n    slot: 1\n    macs: [M]\n"),
    "nothing at all": ("", "blades:\n  - name: red1\n    slot: 1\n    macs: [M]\n"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_it_is_written_as_its_neighbour_is(kind: str) -> None:
    before, after = PLACES[kind]
    assert adopted(before) == after.replace("M", f'"{MAC}"')


@pytest.mark.parametrize("kind", [kind for kind, (before, _) in PLACES.items() if "a" in before])
def test_forgetting_undoes_it(kind: str) -> None:
    before = PLACES[kind][0]
    if not read(before).blades:
        return
    after = adopt.forget(read(adopted(before)), "red1").text
    assert after == (before if before.endswith("\n") else before + "\n")


FORGOTTEN: dict[str, tuple[str, str]] = {
    "lines": (
        "blades:\n  # left\n  - name: a # first\n    role: worker # its\n  # right\n  - name: b # second\n",
        "blades:\n  # left\n  # right\n  - name: b # second\n    slot: 2\n",
    ),
    "braces below a dash": (
        "blades:\n  - {name: a} # first\n  - {name: b} # second\n", "blades:\n  - {name: b, slot: 2} # second\n",
    ),
    "brackets": ("blades: [{name: a}, {name: b}] # all\n", "blades: [{name: b, slot: 2}] # all\n"),
    "brackets over lines": (
        "blades: [\n  {name: a}, # one\n  # two\n  {name: b}\n]\n", "blades: [\n  # two\n  {name: b, slot: 2}\n]\n",
    ),
    "commas in front": (
        "blades: [\n    {name: a} # one\n  , {name: b} # two\n]\n", "",  # the comment is behind what would be cut
    ),
    "blank lines between": (
        "blades:\n  - name: b\n\n  - name: a\n\n  - name: c\n    slot: 9\n",
        "blades:\n  - name: b\n\n  - name: c\n    slot: 9\n",
    ),
    "a slot that is said": (
        "blades:\n  - name: a\n  - name: b\n    slot: 2\n", "blades:\n  - name: b\n    slot: 2\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGOTTEN)
def test_the_others_keep_their_slots_and_their_comments(kind: str) -> None:
    before, after = FORGOTTEN[kind]
    if not after:
        with pytest.raises(ParameterError, match="without writing other lines anew"):
            adopt.forget(read(before), "a")
        return
    new = adopt.forget(read(before), "a")
    assert new.text == after
    assert new.blades == tuple(blade for blade in read(before).blades if blade.name != "a")


# --- every comment, every other line ----------------------------------------------------------------------------------


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A lab file whose every line has a comment of its own; those inside a blade's entry name the blade."""
    names = [f"n{number}" for number in range(draw(st.integers(0, 4)))]
    number = iter(range(1000))

    def note(of: str = "other") -> str:
        return f" # {of}-{next(number)}" if of != "other" or draw(st.booleans()) else ""

    def comments(indent: int) -> list[str]:
        return [f"{' ' * indent}# other-{next(number)}" for _ in range(draw(st.integers(0, 2)))]

    indent, gap = draw(st.sampled_from([0, 2, 4])), draw(st.sampled_from([2, 2, 4]))
    style = draw(st.sampled_from(["lines", "braces", "brackets", "brackets over lines"]))
    lines = [f"blades:{note()}"]
    if not names and draw(st.booleans()):
        lines = [f"blades: {draw(st.sampled_from(['[]', '~', 'null', '[ ]']))}{note()}"]
    elif not names and draw(st.booleans()):
        lines = []
    elif names and style == "brackets":
        lines = [f"blades: [{', '.join('{name: ' + name + '}' for name in names)}]{note()}"]
    elif names and style == "brackets over lines":
        comma = draw(st.sampled_from(["", ","]))
        lines = [f"blades: [{note()}"]
        for name in names:
            lines += [*comments(4), f"    {{name: {name}}}{comma if name == names[-1] else ','}{note(name)}"]
        lines += [*comments(4), f"]{note()}"]
    for name in names if not style.startswith("brackets") else ():
        lead = f"{' ' * indent}-{' ' * (gap - 1)}"
        lines += comments(indent) if draw(st.booleans()) else [""]
        if style == "braces":
            lines.append(f"{lead}{{name: {name}, role: worker}}{note(name)}")
            continue
        pad = " " * (indent + gap)
        lines.append(f"{lead}name: {name}{note(name)}")
        lines += draw(st.sampled_from([
            [], [f"{pad}role: worker{note(name)}"], [f"{pad}# {name}-{next(number)}", f"{pad}boot: ipxe{note(name)}"],
            [f"{pad}labels:{note(name)}", f"{pad}  disk: none{note(name)}", f"{pad}  # {name}-{next(number)}"],
        ]))  # fmt: skip
    above = [*comments(0), f"name: lab{note()}", ""] if draw(st.booleans()) else []
    below = ["", *comments(0), f"storage:{note()}", f"  share: true{note()}", *comments(2)]
    below = below if draw(st.booleans()) or not lines + above else []
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join([*above, *lines, *below])
    return text + end if draw(st.booleans()) else text


OURS = r" *(- +name: \w+|slot: \d+|macs: \[.*\])"
"""What an earlier step has written into an entry, or as one."""


def comments_of(text: str) -> list[str]:
    return re.findall(r"# (\w+-\d+)", text)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts(), st.data())
def test_every_comment_and_every_other_line_stays(text: str, data: st.DataObject) -> None:
    source = read(text)
    for step in range(2):
        names = [blade.name for blade in source.blades]
        if len(names) > 1 and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(names))
            new = adopt.forget(source, gone)
            assert new.blades == tuple(blade for blade in source.blades if blade.name != gone)
            its = {comment for comment in comments_of(source.text) if comment.startswith(f"{gone}-")}
            assert [one for one in comments_of(source.text) if one not in its] == [
                one for one in comments_of(new.text) if one not in its
            ]
            lost = [line for line in source.text.splitlines() if line.strip() and line not in new.text.splitlines()]
            others = [line for line in lost if f"# {gone}-" not in line and f"{{name: {gone}" not in line]
            others = [line for line in others if not re.fullmatch(OURS, line)]
            assert len(others) <= 2 and all("{name: " in line for line in others)  # a comma, and a slot
        else:
            new = adopt.adopt(source, (f"52:54:00:ff:ff:{step:02x}", f"52:54:01:ff:ff:{step:02x}"))
            assert new.blades[:-1] == source.blades
            assert comments_of(new.text) == comments_of(source.text)
            before, after = source.text.splitlines(), new.text.splitlines()
            lost = [line for line in before if line not in after]
            assert len(lost) <= 1 and all("blades:" in line or "{" in line for line in lost)
            rest = iter(after)
            assert all(line in rest for line in before if line not in lost), "they are there in another order"
            assert ("\r\n" in new.text) == ("\r\n" in source.text)
            assert "\n" not in new.text.replace("\r\n", "") or "\r\n" not in new.text
        source = new


# --- what is chosen, and what is refused ------------------------------------------------------------------------------


def test_names_and_slots_are_the_next_that_are_free() -> None:
    source = read("blades: [{name: red1}, {name: red3, slot: 3}, {name: red2, slot: 4}]")
    [*_, blade] = adopt.adopt(source, (MAC, OTHER)).blades
    assert (blade.name, blade.slot, blade.macs) == ("red4", 2, (MAC, OTHER))
    assert adopt.adopt(source, (MAC,), prefix="blue").blades[-1].name == "blue2"
    taken = read("network: {server: 10.77.0.12}\nblades: [{name: a, address: 10.77.0.13}]")
    assert adopt.adopt(taken, (MAC,)).blades[-1].slot == 4


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        ({"name": "red1"}, "there is a blade 'red1'", "--name red2 is free"),
        ({"name": "Red"}, "cannot be a name", "letters a to z"),
        ({"prefix": "-"}, "cannot be a name", "letters a to z"),
        ({"slot": 3}, "slot 3 is red1's", "--slot 1 is free"),
        ({"bmc": "1.2.3"}, "not an IPv4 address", "write it like"),
        ({}, "nothing says the address of red2's BMC", "--bmc ADDRESS; or --bmc manual or --bmc wol"),
        ({"macs": ("52:54:00:00:00:01",)}, "52:54:00:00:00:01 is red1's already", "./lab forget red1"),
    ],
)
def test_what_cannot_be_is_said_with_its_fix(given: dict[str, object], what: str, fix: str) -> None:
    macs = given.pop("macs", (MAC,))
    with pytest.raises(ParameterError) as caught:
        adopt.adopt(read(REAL), macs, **({"slot": 2} | given))  # type: ignore[arg-type]
    assert what in caught.value.what and fix in caught.value.fix


def test_what_would_be_no_lab_is_refused_with_its_mistakes() -> None:
    with pytest.raises(LabFileError, match="192.168.7.201") as caught:
        adopt.adopt(read(REAL), (MAC,), bmc="192.168.7.201")
    assert "as it would be; nothing was written" in str(caught.value)
    with pytest.raises(LabFileError, match="has no key 'nope'"):
        read("nope: 1\nblades: [{name: a}]")
    with pytest.raises(LabFileError, match="must be a list"):
        read("blades: {name: a}")


@pytest.mark.parametrize(
    ("shared", "bmc", "written"),
    [
        ("password_env: BMC", "192.168.7.202", "bmc: {address: 192.168.7.202}"),
        ("password_env: BMC", "manual", "bmc: {kind: manual}"),
        ("kind: wol", "", ""),
        ("kind: wol", "wol", ""),
        ("{kind: wol, password_env: BMC}", "red2-bmc", "bmc: {kind: ipmi, address: red2-bmc}"),
    ],
)
def test_a_bmc_is_written_as_its_kind_needs_it(shared: str, bmc: str, written: str) -> None:
    head, _, _ = REAL.partition("bmc:")
    top = f"{head}bmc: {shared if shared.startswith('{') else '{' + shared + '}'}\nblades: []\n"
    text = adopt.adopt(read(top), (MAC,), name="red2", bmc=bmc).text
    entry = text.partition("blades:")[2]
    assert (written in entry) if written else "bmc" not in entry


def test_a_word_that_yaml_would_take_for_another_is_quoted() -> None:
    assert 'name: "no"' in adopted("name: x\n", "no")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("blades: [{name: a}]", "blades: []"),
        ("# top\nblades: # mine\n  # the first\n  - name: a # it\n    slot: 3\nbmc: {user: x}\n",
         "# top\nblades: [] # mine\n  # the first\nbmc: {user: x}\n"),
        ("blades:\n- {name: a}\n", "blades: []\n"),
        ("blades: [\n  {name: a},\n]\n", "blades: [\n]\n"),
        ('{"blades": [{"name": "a"}]}', '{"blades": []}'),
    ],
)  # fmt: skip
def test_without_its_only_blade_a_lab_has_none(text: str, left: str) -> None:
    assert adopt.forget(read(text), "a").text == left


def test_who_is_not_there_is_not_forgotten() -> None:
    with pytest.raises(ParameterError, match="there is no blade 'b'"):
        adopt.forget(read("blades: [{name: a}]"), "b")
    with pytest.raises(ParameterError, match="there is no blade 'a'") as caught:
        adopt.forget(read("blades: []"), "a")
    assert caught.value.fix == "it has no blade yet: there is nothing to take out"


def test_what_nobody_writes_is_left_to_a_person() -> None:
    text = "blades: [{name: a, labels: &its {disk: none}}, {name: b, labels: *its}]\n"
    with pytest.raises(ParameterError) as caught:
        adopt.forget(read(text), "a")
    assert caught.value.fix == "take its lines out yourself"

"""docs/real-blades.md, which people read beside a rack: what it says of the doctor, the stages and a screen is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import labkit
from labkit.boot import held
from labkit.boot.boot_plan import Rendered
from labkit.diagnosis import circles, stuck
from labkit.diagnosis.doctor import checks, findings, network
from labkit.events.stages import STAGES
from labkit.images.ensure import MINUTES
from labkit.lab import lab_yaml
from labkit.lab.lab_yaml import adopt

PAGE = (Path(__file__).resolve().parents[1] / "docs/real-blades.md").read_text()
WHERE = ("boot/artifacts/templates", "images/files/labos")
OURS = re.compile(r"^(labos: |labkit: |the clock|this blade)")


def rows(heading: str) -> list[list[str]]:
    """The cells of every table below a heading, up to the next heading of its rank or above."""
    rank = re.match("#+", heading)
    assert rank is not None
    part = re.split(rf"^#{{1,{len(rank[0])}}} ", PAGE.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.M)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_each_thing_that_the_doctor_looks_at_has_its_row_by_the_name_that_it_prints() -> None:
    told = [name for row in rows("### 4. The doctor") for name in coded(row[0])]
    source = "".join(inspect.getsource(module) for module in (checks, findings, network))
    assert set(told) == set(re.findall(r'Finding\(\s*"([a-z ]+)"', source))
    assert "2,000 MiB" in PAGE and "1,500 for" in PAGE and (checks.CACHE_MIB, checks.STATE_MIB) == (2000, 1500)


def test_every_stage_has_its_row() -> None:
    told = [name for row in rows("### 6. Boot") for name in coded(row[0])]
    assert told == ["off", *STAGES, "joined", "left"]
    assert stuck.PATIENCE * stuck.REAL_FIRMWARE_S == 360 and stuck.SHORTEST_LIMIT_S == 30


def test_what_is_said_of_a_screen_is_printed_somewhere() -> None:
    """Word by word, but for what stands in for a value: the blade's name, a number, an ellipsis."""
    package = Path(labkit.__file__).parent
    files = [path for where in WHERE for path in sorted((package / where).rglob("*")) if path.is_file()]
    printed = "\n".join(path.read_text(errors="replace") for path in files)
    said = [text for row in rows("## What its screen says") for text in coded(row[0]) if OURS.match(text)]
    assert len(said) > 12
    for text in said:
        for part in re.split(r"…|red1|\d+|https?://|e1000e|; no (?=cable|driver)|[:;] ", text.removesuffix(".")):
            words = part.strip(" ;:()").removeprefix("labos").strip(": ")
            assert words in printed or words.startswith(("eth", "has", "c32")), (text, words)


def test_a_held_blade_is_shown_as_its_loader_shows_it() -> None:
    lab = lab_yaml.parse("blades: [{name: red1}]", Path("lab.yaml"))
    why = f"it boots again and again, {circles.BOOTS} times in 12 min, and never got to the swarm"
    screen = held.resources(lab, lab.blades[0], why, {})["boot.msg"]
    assert isinstance(screen, Rendered)
    lines = [line.removeprefix("  ") for line in screen.content.decode().splitlines() if line]
    assert "\n".join(lines) in PAGE


def test_the_images_are_built_in_the_time_that_is_told() -> None:
    assert MINUTES[2] in PAGE, "labos and nginx"


def test_the_piece_for_bmcs_is_what_an_adoption_asks_for() -> None:
    network = "network: {kind: interface, interface: eth1, subnet: 192.168.7.0/24, server: 192.168.7.2}\n"
    (piece,) = re.findall(r"^```yaml\n(bmc:\n.*?)^```$", PAGE, re.M | re.S)
    source = adopt.read(f"{network}{piece}blades: []\n", Path("lab.yaml"))
    new = adopt.adopt(source, ["00:00:5e:00:53:01"], name="red1", slot=1, bmc="192.168.7.201")
    assert new.blades[0].bmc.user == "ADMIN"

"""The whole of labkit on the virtual chassis: what README.md promises, tried as a person would."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import ParameterError, SwarmError
from labkit.events.stages import STAGES
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.netboot.dhcp import leases
from labkit.netboot.dhcp.leases import LeaseBook
from labkit.servers import lifecycle
from labkit.servers.client import bmc_password, ensure_blades, shut_down, wait_blades
from labkit.swarm import cluster
from labkit.swarm.engine import api
from labkit.swarm.services import deploy
from labkit.swarm.services.http_probe import probe
from labkit.swarm.services.nginx import ask_blades, ensure_nginx, joined_addresses, nginx_spec
from labkit.workbook import BRING_UP
from tests.rig.front_door import FRONT_DOOR, FrontDoor, new_lab
from tests.rig.known import causes, shows

pytestmark = pytest.mark.qemu
Done = subprocess.CompletedProcess[str]


def test_the_first_run_ends_with_nginx_on_every_blade(first_run: Done, front_door: FrontDoor) -> None:
    assert first_run.returncode == 0, first_run.stdout + first_run.stderr
    rows = {line.split()[0]: line.split() for line in first_run.stdout.splitlines() if line.startswith("blade")}
    for name in ("blade1", "blade2", "blade3"):
        assert rows[name][-1] == "200"
        assert "ready" in rows[name]
        assert f"http://10.79.0.1{name[-1]}:8080" in rows[name], "a terminal makes a link of it"
    assert "Next:\n  http://10.79.0.11:8080 " in first_run.stdout and "./lab down" in first_run.stdout
    for stage in STAGES:
        assert stage in first_run.stdout
    executed = sorted((front_door.folder / "runs").glob("*/*.ipynb"))
    assert len(executed) == 4
    assert "every blade served the new page" in next(path for path in executed if "nginx" in path.name).read_text()
    assert str(front_door.folder / "runs") in first_run.stdout
    assert "blade1: joined after" in first_run.stderr, "the terminal tells how far each blade is"
    assert "without encryption" not in first_run.stderr


def test_a_run_is_kept_and_can_be_told_again(first_run: Done, front_door: FrontDoor) -> None:
    (folder,) = (front_door.folder / "runs").iterdir()
    kept = json.loads((folder / "run.json").read_text())
    assert (kept["status"], kept["answered"]) == ("done", True)
    assert [row["name"] for row in kept["chapters"]] == list(BRING_UP)
    assert all(set(row["seconds"]) == set(STAGES) for row in kept["blades"].values())
    report = (folder / "report.html").read_text()
    assert "Boot timeline" in report and "answered through" in report
    assert kept["pages"]["blade2"] == "http://10.79.0.12:8080" and f'href="{kept["pages"]["blade2"]}"' in report
    assert "It works, from a blade without a disk.&lt;/h1&gt;" in report, "the page itself, as chapter 4 shows it"
    status = front_door("status", timeout_s=60).stdout
    assert re.search(r"^  http://10\.79\.0\.11:8080 +the page of 'web'$", status, re.M), status
    told = front_door("replay", str(folder), "--runs", str(front_door.folder / "runs"), timeout_s=60)
    assert "joined after" in told.stdout and "service web: 2 replicas" in told.stdout


def test_a_second_run_finds_everything_in_place(first_run: Done, front_door: FrontDoor) -> None:
    again = front_door("run", "--runs", str(front_door.folder / "again"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "was up already" in again.stdout + again.stderr
    one, two = (str(next((front_door.folder / name).iterdir())) for name in ("runs", "again"))
    compared = front_door("run", "--compare", one, two, timeout_s=60)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "What was served: no difference" in compared.stdout


@pytest.mark.parametrize(("blade", "protocol", "never"), [("blade1", "tftp", "http"), ("blade3", "http", "tftp")])
def test_each_boot_method_fetches_its_own_way(
    first_run: Done, front_door: FrontDoor, blade: str, protocol: str, never: str
) -> None:
    running = front_door.connect()
    boot = running.stages().blade(blade).boot
    mine = [event for event in running.events() if event.blade == blade and event.boot == boot]
    done = [event for event in mine if isinstance(event, events.Transfer) and event.state == "done"]
    assert {event.protocol for event in done if event.path == "labos/labos.cpio"} == {protocol}
    assert never not in {event.protocol for event in done if event.sent_b > 1_000_000}
    assert [event.stage for event in mine if isinstance(event, events.Phoned)] == ["os", "joined"]


def test_uefi_firmware_fetches_its_own_loader_and_joins(first_run: Done, front_door: FrontDoor) -> None:
    running = front_door.connect()
    blade = running.stages().blade("blade2")
    mine = [event for event in running.events() if event.blade == "blade2" and event.boot == blade.boot]
    asked = [(event.client, event.arch, event.file) for event in mine if isinstance(event, events.Dhcp) and event.file]
    assert list(dict.fromkeys(asked)) == [
        ("pxe", "7", "snponly.efi"),
        ("ipxe", "7", "http://10.79.0.1/boot.ipxe"),
    ]
    assert blade.stage == "joined"


def test_ssh_with_the_labs_own_key(first_run: Done, front_door: FrontDoor) -> None:
    done = front_door("ssh", "blade1", "cat /etc/hostname; id -un", timeout_s=60)
    assert done.stdout.split() == ["blade1", "core"]


def test_autologin_gives_a_shell_on_the_console(first_run: Done, front_door: FrontDoor) -> None:
    said = front_door("console", "blade1", "--log", timeout_s=60).stdout
    assert "(automatic login)" in said or re.search(r"core@blade1[:~ ]", said), said[-800:]


def test_no_secret_is_in_a_log_or_an_executed_notebook(first_run: Done, front_door: FrontDoor) -> None:
    key = (front_door.state / "keys" / "tickets").read_text().strip()
    places = [front_door.state / "events.jsonl", *(front_door.state / "logs").iterdir()]
    places += front_door.folder.glob("runs/*/*")
    for place in places:
        text = place.read_text(errors="replace")
        assert key not in text, place
        assert not re.search(r"SWMTKN-1-[0-9a-z]{20}", text), place


def test_ipmitool_agrees_on_the_power(first_run: Done, front_door: FrontDoor) -> None:
    running = front_door.connect()
    blade = running.lab.blades[0]
    password = bmc_password(running.lab, running.state, blade).reveal()
    command = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", blade.bmc.address, "-U", blade.bmc.user, "-P", password]
    done = subprocess.run([*command, "power", "status"], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "Chassis Power is on"


def test_a_blade_that_is_up_is_well_and_not_rehearsed(first_run: Done, front_door: FrontDoor) -> None:
    told = front_door("why", "blade1", timeout_s=60)
    assert told.returncode == 0 and "all is well: it joined the swarm" in told.stdout, told.stdout
    refused = front_door("rehearse", "blade1", timeout_s=60)
    assert refused.returncode == 1 and "blade1 is on" in refused.stderr
    picture = front_door.folder / "boots.svg"
    report = front_door("boot-report", "--svg", str(picture), timeout_s=60)
    assert report.stdout.count("joined after") == 3 and picture.read_text().count("joined after") >= 3


def test_the_doctor_finds_nothing_in_the_way(first_run: Done, front_door: FrontDoor) -> None:
    found = front_door("doctor", timeout_s=60)
    assert found.returncode == 0, found.stdout
    assert "no other DHCP server answers" in found.stdout and "the swarm's manager answers" in found.stdout


def test_an_orderly_shutdown_is_a_conversation(first_run: Done, front_door: FrontDoor) -> None:
    """IPMI soft-off: asked, drained, left, removed, in this order; nobody is listed for it afterwards."""
    running = front_door.connect()
    blade = running.lab.blade("blade3")
    since, began = max(event.seq for event in running.events()), time.time()
    with causes("power-stuck"):  # it leaves the swarm first, which takes its time
        shut_down(running, blade, timeout_s=0)
    running.wait_power(blade, "off", timeout_s=150)
    with causes("blade-off"):  # whoever waits for it hears so at once
        wait_blades(running, [blade], since=began)
    after = [event for event in running.events() if event.seq > since and event.blade == blade.name]
    leave = [event for event in after if isinstance(event, events.Leave)]
    assert [event.step for event in leave] == ["asked", "drained", "left", "removed"]
    assert leave[3].time - leave[2].time < 3
    off = [event for event in after if isinstance(event, events.Power) and event.state == "off"]
    assert off[-1].time > leave[3].time
    with running.engine() as engine:
        assert blade.name not in [node.blade for node in cluster.nodes(engine)]
    assert {answer.blade for answer in ask_blades(running, 8080)} == {"blade1", "blade2"}


def test_a_blade_that_is_off_is_rehearsed(first_run: Done, front_door: FrontDoor) -> None:
    """With the real images, and without a trace in its books."""

    def books() -> tuple[str, LeaseBook]:
        folder = State(front_door.state).books
        return (folder / "boots.json").read_text(), leases.load(folder / "leases.json")

    before = books()
    tried = front_door("rehearse", "blade3", timeout_s=120)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "blade3 would boot" in tried.stdout and "labos/labos.cpio" in tried.stdout
    assert tried.stdout.count("as built") == 2 and "with an Ignition" in tried.stdout
    assert books() == before
    assert front_door.connect().stages().blade("blade3").stage == "off"


def test_it_comes_back_under_its_name_without_a_ghost(first_run: Done, front_door: FrontDoor) -> None:
    running = front_door.connect()
    blade = running.lab.blade("blade3")
    running.power(blade, "on")
    with causes("blade-silent"):  # its firmware is at its self-test
        wait_blades(running, [blade], timeout_s=0)
    shows("no-carrier", running.events(), blade.name)
    while not running.stages().blade(blade.name).dhcp:
        time.sleep(0.2)
    with causes("boot-late"):
        wait_blades(running, [blade], timeout_s=0)
    ensure_blades(running, [blade], until="joined")
    with running.engine() as engine:
        cluster.wait_nodes(engine, [blade.name], 60)
        mine = [node for node in cluster.nodes(engine) if node.blade == blade.name]
    assert [(node.hostname, node.state) for node in mine] == [("blade3", "ready")]


def test_another_port_ends_with_the_page_at_that_one(first_run: Done, front_door: FrontDoor) -> None:
    """There and back again, on a service that runs; what is no port, or the lab's own, changes nothing."""
    running = front_door.connect()
    inside = joined_addresses(running)
    for port, old in ((8081, 8080), (8080, 8081)):
        assert ensure_nginx(running, replicas=2, port=port).converged
        assert all(answer.ok for answer in ask_blades(running, port, rounds=4))
        assert {answer.error for answer in probe(inside, old)} == {"Connection refused"}
    other = replace(nginx_spec(running, replicas=1, port=8082, text="another"), name="other")
    with running.engine() as engine:
        before = api(engine).inspect_service("web")
        deploy.ensure_service(engine, other)
    with pytest.raises(SwarmError, match="port '8082' is already in use by service 'other'"):
        ensure_nginx(running, replicas=2, port=8082)
    for wrong in (99999, 0, -1, True, "abc", 22, 2377, 7946):
        with pytest.raises(ParameterError, match="the published port"):
            ensure_nginx(running, replicas=2, port=wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="cannot have 0 replicas"):
        ensure_nginx(running, replicas=0, port=8080)
    with running.engine() as engine:
        assert api(engine).inspect_service("web") == before, "nothing was changed"
        assert deploy.remove_service(engine, "other")
    assert all(answer.ok for answer in ask_blades(running, 8080))


def test_day_two_on_the_warm_lab(first_run: Done, front_door: FrontDoor) -> None:
    """A reboot, a pulled plug, maintenance, an update and the way back; the list is in order at the end."""
    done = front_door.papermill("05-day-two", front_door.root, "notebooks", timeout_s=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    listed = front_door("swarm", "nodes", timeout_s=60).stdout
    members = [line.split() for line in listed.splitlines() if line.startswith(("blade", "controller"))]
    assert [words[3] for words in members] == ["ready"] * 4
    assert front_door("swarm", "prune", timeout_s=60).stdout == "every node is Ready: nothing to prune\n"


def test_another_lab_cannot_have_its_folder(first_run: Done, front_door: FrontDoor, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text((front_door.folder / "lab.yaml").read_text())
    with causes("other-lab"):
        lifecycle.up(lab_yaml.load(tmp_path / "lab.yaml"), State(front_door.state), print)


def test_a_parameter_that_is_no_blade_fails_before_anything_starts(front_door: FrontDoor) -> None:
    done = front_door("run", "-p", 'blades=["blade9"]', timeout_s=60)
    assert done.returncode == 2
    assert "blade9" in done.stderr and "blade1, blade2, blade3" in done.stderr


@pytest.mark.notebook  # the last of those that share the warm lab
def test_killing_the_supervisor_ends_all_of_it(first_run: Done, front_door: FrontDoor) -> None:
    inside = front_door.supervisor()
    assert len(inside) == 2  # unshare(1) and the supervisor itself
    subprocess.run(["kill", "-9", str(max(inside))], check=True)
    done = front_door("down", timeout_s=60)
    assert done.returncode == 0, done.stderr
    assert front_door.leftovers() == []


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[FrontDoor]:
    text = "name: cold\nboot: ipxe\nnetwork: {subnet: 10.80.0.0/24}\nblades: [{name: blade1}]\n"
    with new_lab(tmp_path, text) as door:
        yield door


@pytest.mark.soak  # in CI the front door of another Debian is what starts from nothing: test_other_suite.py
def test_the_last_chapter_alone_from_a_cold_machine(cold: FrontDoor) -> None:
    """Papermill by hand, for a person who wants the last chapter only."""
    for _ in range(2):  # cold, and again right after
        done = cold.papermill("04-nginx-service", FRONT_DOOR.parent, "notebooks", "replicas=1", "mounts=False")
        assert done.returncode == 0, done.stderr[-3000:]
    unknown = cold.papermill("04-nginx-service", FRONT_DOOR.parent, "notebooks", 'blades=["blade9"]')
    assert unknown.returncode != 0
    assert "its blades are blade1" in unknown.stderr
    assert cold("down", timeout_s=60).returncode == 0
    assert cold.leftovers() == []


@pytest.mark.notebook
@pytest.mark.apart
def test_ctrl_c_in_the_middle_of_a_run_leaves_nothing(cold: FrontDoor) -> None:
    run = cold.start("run", "--runs", str(cold.folder / "runs"), stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not any(isinstance(event, events.Dhcp) for event in events.read(cold.state / "events.jsonl")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert cold.leftovers() == []

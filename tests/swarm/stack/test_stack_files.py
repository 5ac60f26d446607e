"""Six stacks modelled on what people run, and what is said of each: ``files/NAME.yaml``, as a person writes it.

``files/NAME.config.yaml`` is the same as ``docker stack config`` gives it, which a test with Docker's client holds.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.servers import stack
from labkit.servers.client import RunningLab
from labkit.swarm.stack.as_written import dropped, refused
from labkit.swarm.stack.explain import There, explain
from tests.swarm.stack.test_explain import BLADES, CONTROLLER

FILES = Path(__file__).parent / "files"
HOME = "/home/me"
MIB = 1 << 20
THERE = There(
    stack="x", nodes=(CONTROLLER, *BLADES), taken={22: "SSH to the blades"}, taken_udp={53: "the blades' resolver"},
    lacks=frozenset({"/etc/localtime", "cifs"}), server="10.99.77.1", shares=True,
    plain=frozenset({f"{HOME}/traefik.yml"}), sizes_b={f"{HOME}/admin": None, f"{HOME}/prometheus.yml": 100},
    room={node.id: (2.0, 2048 * MIB) for node in BLADES},
    plugins={node.id: frozenset({"Log/json-file", "Volume/local"}) for node in BLADES},
)  # fmt: skip

SAID: dict[str, list[tuple[str, str, str]]] = {
    "proxy": [
        ("proxy.yaml:19", "TAG is not set", "export TAG"),
        ("proxy.yaml:9: services.proxy.ports", "published on every address of every node", "leave ports: out"),
        ("proxy", "the volume certificates is each blade's own", "NFS"),
        ("! proxy", "traefik.yml is bound, a file of the node", "configs: [{source: traefik, target: /etc/traefik/"),
        ("! proxy (node.role == manager)", "take no tasks: controller", "./lab swarm managers BLADE"),
        ("whoami", "depends_on is not waited for", "try again"),
        ("whoami", "Traefik", "deploy: labels:"),
        ("! networks: public", "public is said to be there already", "--driver overlay public"),
    ],
    "dashboard": [
        ("! server (node.role == manager)", "take no tasks: controller", "./lab swarm managers BLADE"),
        ("! secrets: admin", "/home/me/admin cannot be read", "put the file there"),
    ],
    "visualizer": [
        ("! visualizer", "/etc/localtime is bound, and blades have none: their time is UTC", "TZ"),
        ("! visualizer (node.role==manager)", "take no tasks: controller", "--availability active controller"),
        ("visualizer", "leaves out container_name, restart", "by their names"),
    ],
    "metrics": [
        ("cadvisor", "a stack has no devices, privileged", "cap_add"),
        ("node-exporter", "a stack has no network_mode, pid", "networks: {outside: {external: true, name: host}}"),
        ("prometheus", "the volume numbers is each blade's own", "NFS"),
        ("! prometheus", "it reserves 0 processors and 8192 MiB, and nodes have 2 processors and 2048 MiB", "less"),
        ("! prometheus", "no node has the logging driver loki", "logging:"),
    ],
    "registry": [
        ("page", "swarm builds no images", "./lab swarm push"),
        ("! page", "no node can have the image me/registry-page:1: manifest unknown", "correct its name"),
        ("! registry", "/srv/registry is bound, a folder of the node", "NFS"),
        ("! registry (node.labels.disk == ssd)", "no node meets node.labels.disk == ssd", "--label-add"),
        ("! page", "port 22 is for SSH to the blades", "another"),
        ("! page", "port 53 is for the blades' resolver", "another"),
        ("! networks: back", "driver: bridge makes a network of one node", "overlay"),
        ("! secrets: users", "registry_users is said to be there already", "registry_users"),
    ],
    "files": [
        ("! store", "the volume nowhere is NFS and names no server", "addr=SERVER"),
        ("! store", "the volume other names :/pages, and this lab serves :/share", ":/share"),
        ("! store", "the volume old asks for NFSv3", "nfsvers=4.1"),
        ("! store", "blades mount no cifs, as the volume windows asks", "NFS"),
    ],
}  # fmt: skip
"""For each file all that is said: where, a part of it, and of the way out; ``!`` before what will not work."""


@cache
def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FILES / f"{name}.config.yaml").read_text())
    return found


@pytest.mark.parametrize("name", SAID)
def test_all_that_is_said_of_a_stack(name: str) -> None:
    there = replace(THERE, images={"me/registry-page:1": "manifest unknown"})
    text = (FILES / f"{name}.yaml").read_text()
    found = (*dropped(f"{name}.yaml", text, {"HOME"}), *explain(config(name), there))
    assert [f"{'! ' if one.fatal else ''}{one.where}" for one in found] == [where for where, _, _ in SAID[name]]
    for one, (_, what, fix) in zip(found, SAID[name], strict=True):
        assert what in one.what and fix in one.fix, one


def test_a_stack_that_was_mended_runs() -> None:
    managing = replace(BLADES[0], role="manager", raft=True, manager="10.0.0.3:2377")
    there = replace(THERE, nodes=(CONTROLLER, managing, *BLADES[1:]), sizes_b={f"{HOME}/admin": 8})
    assert explain(config("dashboard"), there) == ()


def test_all_that_a_stack_has_not_is_told_by_its_line() -> None:
    found = refused("c.yaml", (FILES / "written_for_compose.yaml").read_text())
    assert [str(one).replace("a stack has no ", "").split("\n")[0] for one in found] == [
        "c.yaml:2: name", "c.yaml:3: include", "c.yaml:7: services.web.profiles",
        "c.yaml:8: services.web.depends_on with conditions", "c.yaml:9: services.web.env_file with required:",
        "c.yaml:10: services.web.mem_limit", "c.yaml:11: services.web.ports: published: as a text",
        "c.yaml:11: services.web.ports: host_ip", "c.yaml:13: services.db.extends",
        "c.yaml:14: services.db.deploy.resources.reservations.devices", "c.yaml:15: secrets.key.environment",
        "c.yaml:16: configs.page.content",
    ]  # fmt: skip
    assert all(one.fix and one.fatal for one in found)


@pytest.mark.parametrize("text", ["", "[1", "a: &a [*a]", "services: [web]", "services: {web: *b}", "a: &a {<<: *a}"])
def test_what_is_no_compose_file_is_docker_s_to_tell(text: str) -> None:
    assert refused("c", text) == () or "a stack has no a" in str(refused("c", text)[0])
    assert dropped("c", text, ()) == ()


def test_aliases_of_aliases_are_gone_through_once() -> None:
    """Nine levels of nine: a stack's file with that in it never came to an end."""
    levels = [f"  {new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in itertools.pairwise("abcdefghijkl")]
    merges = [
        f"  m{new}: &m{new} {{<<: [{', '.join(['*m' + old] * 9)}]}}\n"
        for old, new in itertools.pairwise("abcdefghijkl")
    ]
    bomb = "x-deep:\n  a: &a [x]\n" + "".join(levels) + "  ma: &ma {x: y}\n" + "".join(merges)
    began = time.process_time()
    assert refused("stack.yaml", bomb) == () and dropped("stack.yaml", bomb, ()) == ()
    used = "services:\n  web: {image: a, deploy: {x: *l}, environment: {y: *ml}, nothing: 1}\n"
    assert [one.what for one in refused("stack.yaml", bomb + used)] == ["a stack has no services.web.nothing"]
    assert dropped("stack.yaml", bomb + used, ()) == ()
    assert time.process_time() - began < 5


def test_variables_as_docker_reads_them() -> None:
    text = """\
x-base: &base {image: "a:${TAG}", environment: [A=$HOME, B=$$B, "C=${C:-1}", "D=${D}${D}"]}
services: {web: {<<: *base, command: "${E:?no E}"}}  # ${COMMENT}
"""
    found = dropped("c", text, {"HOME"}, {"TAG"})
    assert [one.what.split()[0] for one in found] == ["TAG", "D"]
    assert "set -a; . ./.env; set +a" in found[0].fix and "${D:-VALUE}" in found[1].fix
    assert not any(one.fatal for one in found)


@pytest.mark.engine
@pytest.mark.parametrize("name", SAID)
def test_docker_reads_the_files_so(name: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.images.tree", lambda: tree)
    state = State(tmp_path / "state")
    state.make()
    running = RunningLab(lab_yaml.parse("blades: [{name: blade1}]\n", tmp_path / "lab.yaml"), state)
    found = stack.read_config(running, [FILES / f"{name}.yaml"])
    found.pop("version")  # the newest that this client knows
    assert found == yaml.safe_load((FILES / f"{name}.config.yaml").read_text().replace(HOME, str(FILES)))

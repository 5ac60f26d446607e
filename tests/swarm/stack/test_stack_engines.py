"""Stacks from files on real engines, by Docker's own client: explained, started, updated, and found wanting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import images
from labkit.cli.commands import main
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.servers import client
from labkit.servers import stack as servers
from labkit.servers.client import RunningLab
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.services.deploy import look, remove_service
from tests.rig.fleet import Fleet, until

pytestmark = pytest.mark.engine(minutes=4)

LAB = "name: test\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"
SHOP = """\
services:
  web:
    image: %(image)s
    ports: ["8087:80"]
    configs: [{source: page, target: /www/page}]
    secrets: [key]
    deploy: {replicas: 2, update_config: {failure_action: rollback, monitor: 5s}}
  job:
    image: %(image)s
    command: [/bin/sh, -c, "test -e /run/secrets/key && sleep 1000"]
    secrets: [key]
configs: {page: {file: ./page, name: "page_${PAGE:-1}"}}
secrets: {key: {file: ./key}}
"""

Deploy = Callable[..., tuple[int, str, str]]


@pytest.fixture
def deploy(
    swarm: Fleet, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Deploy]:
    """``./lab swarm deploy`` of a text, called ``shop``; all of it is removed in the end."""
    state = State(tmp_path / "state")
    state.make()
    state.docker.symlink_to(swarm.controller.sock)
    lab = RunningLab(lab_yaml.parse(LAB, tmp_path / "lab.yaml"), state)
    monkeypatch.setattr(client, "connect", lambda *paths: lab)
    monkeypatch.setattr(images, "tree", lambda: tree)
    monkeypatch.setattr(servers, "WATCH_S", 90.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in (("page", "hello\n"), ("key", "open sesame")):
        (tmp_path / name).write_text(text)

    def call(text: str, *words: str) -> tuple[int, str, str]:
        (tmp_path / "compose.yaml").write_text(text)
        status = main(["swarm", "deploy", "--name", "shop", *words, str(tmp_path / "compose.yaml")])
        said = capsys.readouterr()
        return status, said.out, said.err

    yield call
    with engine(swarm.controller.sock) as docker:
        for raw in api(docker).services({"label": "com.docker.stack.namespace=shop"}):
            remove_service(docker, raw["Spec"]["Name"])
        until(lambda: not api(docker).tasks(), 30)
        for raw in (*api(docker).configs(), *api(docker).secrets()):
            kind = "config" if "Data" in raw["Spec"] else "secret"
            getattr(api(docker), f"remove_{kind}")(raw["ID"])
        for raw in api(docker).networks(names=["shop_default"]):
            api(docker).remove_network(raw["Id"])


def test_a_stack_comes_up_is_updated_and_found_again(
    deploy: Deploy, swarm: Fleet, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said, _ = deploy(SHOP % {"image": web})
    assert status == 0 and "the stack 'shop' runs: shop_job, shop_web" in said
    with engine(swarm.controller.sock) as docker:
        assert (look(docker, "shop_web").running, look(docker, "shop_job").running) == (2, 1)
    (tmp_path / "page").write_text("another\n")
    status, said, wrong = deploy(SHOP % {"image": web})
    assert status == 1 and "page_1 is there with another content" in said and "was not started" in wrong
    monkeypatch.setenv("PAGE", "2")
    assert deploy(SHOP % {"image": web})[0] == 0, "a config is rotated by its name"
    assert deploy(SHOP % {"image": web}, "--dry-run")[:2] == (0, "nothing is in the way of it\n")


def test_what_will_not_work_is_said_before_it_starts(deploy: Deploy, swarm: Fleet, web: str) -> None:
    text = f"""\
services:
  proxy:
    image: {web}
    volumes: ["/var/run/docker.sock:/var/run/docker.sock", "/home/me/conf:/conf"]
    ports: ["22:22"]
    deploy: {{placement: {{constraints: [node.role == manager]}}}}
  app: {{image: "{web.rpartition("/")[0]}/missing:1"}}
  built: {{build: .}}
"""
    status, said, wrong = deploy(text)
    assert status == 1 and "was not started: 5 of the above will not work" in wrong
    for words in (
        "the only nodes that meet this take no tasks: controller", "port 22 is for SSH to the blades",
        "app: no node can have the image", "built: swarm builds no images",
    ):  # fmt: skip
        assert words in said, words
    with engine(swarm.controller.sock) as docker:
        assert api(docker).services() == []


def test_a_manager_that_takes_tasks_is_found(deploy: Deploy, swarm: Fleet, web: str) -> None:
    text = f"""\
services:
  proxy:
    image: {web}
    command: [/bin/sh, -c, "test -S /var/run/docker.sock && sleep 1000"]
    volumes: ["/var/run/docker.sock:/var/run/docker.sock"]
    deploy: {{placement: {{constraints: [node.role == manager]}}}}
"""
    assert deploy(text, "--dry-run")[0] == 1
    with engine(swarm.controller.sock) as docker:
        own = next(node for node in cluster.nodes(docker) if node.raft)
        cluster.activate(docker, own.id)
        try:
            assert deploy(text)[0] == 0
        finally:
            cluster.drain(docker, own.id)


def test_what_looks_at_every_node_runs_on_every_node(deploy: Deploy, swarm: Fleet, web: str) -> None:
    text = f"""\
services:
  agent:
    image: {web}
    command: [/bin/sh, -c, "test -S /var/run/docker.sock && sleep 1000"]
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - /var/lib/docker/volumes:/var/lib/docker/volumes
      - /:/host:ro
      - /proc:/host/proc:ro
      - /lib/modules:/lib/modules:ro
    ports: [{{target: 80, published: 8088, mode: host}}]
    deploy: {{mode: global}}
  exporter: {{image: "{web}", networks: [outside], deploy: {{mode: global}}}}
networks: {{outside: {{external: true, name: host}}}}
"""
    status, said, wrong = deploy(text)
    assert status == 0 and "is bound" not in said, wrong
    with engine(swarm.controller.sock) as docker:
        assert (look(docker, "shop_agent").running, look(docker, "shop_exporter").running) == (3, 3)


def test_what_is_to_end_has_come_up_when_it_has(deploy: Deploy, swarm: Fleet, web: str) -> None:
    text = f"""\
services:
  migrate: {{image: "{web}", command: [/bin/sh, -c, "exit 0"], deploy: {{restart_policy: {{condition: on-failure}}}}}}
  once: {{image: "{web}", command: [/bin/sh, -c, "exit 0"], deploy: {{mode: replicated-job, replicas: 2}}}}
  everywhere: {{image: "{web}", command: [/bin/sh, -c, "sleep 1000"], deploy: {{mode: global-job}}}}
  resting: {{image: "{web}", deploy: {{replicas: 0}}}}
"""
    status, said, wrong = deploy(text)
    assert status == 0 and "shop_migrate: 0 of 1 running, 1 done" in said, wrong
    status, _, wrong = deploy(text.replace("exit 0", "exit 3"))
    assert status == 1 and "shop_migrate" in wrong and "status 3" in wrong


def test_a_secret_that_was_changed_needs_another_name(deploy: Deploy, web: str, tmp_path: Path) -> None:
    text = SHOP % {"image": web}
    assert deploy(text)[0] == 0
    (tmp_path / "key").write_text("another")
    status, _, wrong = deploy(text)
    assert status == 1 and "only updates to Labels are allowed" in wrong and "as in key_2" in wrong


def test_a_stack_that_dies_and_an_update_that_is_taken_back_fail(deploy: Deploy, swarm: Fleet, web: str) -> None:
    dying = f"services: {{web: {{image: '{web}', command: [/bin/sh, -c, 'echo oh no; exit 3']}}}}\n"
    status, _, wrong = deploy(dying)
    assert status == 1 and "service 'shop_web' does not come up" in wrong and "oh no" in wrong
    with engine(swarm.controller.sock) as docker:
        remove_service(docker, "shop_web")
    good = SHOP % {"image": web}
    assert deploy(good)[0] == 0
    bad = good.replace("    configs: [{source", "    command: [/bin/sh, -c, 'exit 4']\n    configs: [{source", 1)
    status, _, wrong = deploy(bad)
    # Whichever is seen first: that the new replicas die, or that swarm has taken the update back for it.
    assert status == 1
    assert ("does not come up" in wrong and "status 4" in wrong) or "was not updated: swarm took it back" in wrong
    with engine(swarm.controller.sock) as docker:
        until(lambda: look(docker, "shop_web").running == 2, 60)

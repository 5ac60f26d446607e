"""A stack read by Docker's client, which is one that says what it is told to here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.cli import commands
from labkit.errors import ParameterError, SwarmError
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.servers import client, stack
from labkit.servers.client import RunningLab
from labkit.swarm.services.health import ServiceState
from labkit.swarm.stack import surroundings
from labkit.swarm.stack.explain import There
from tests.rig.nodes import node

CLIENT = """#!/bin/sh
printf '%s\\n' "$*" >>"$SAID"
case "$2" in
config) cat "$CONFIG" ;;
deploy) echo "Creating service shop_web"; exit "${DEPLOYS:-0}" ;;
esac
"""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningLab:
    docker = tmp_path / "docker"
    docker.write_text(CLIENT)
    docker.chmod(0o755)
    state = State(tmp_path / "s")
    state.make()
    lab = RunningLab(lab_yaml.parse("blades: [{name: blade1}]\n", tmp_path / "lab.yaml"), state)
    monkeypatch.setattr(client, "connect", lambda *paths: lab)
    monkeypatch.setattr(stack, "docker_command", lambda lab: [str(docker)])
    for name in ("SAID", "CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "CONFIG").write_text("services:\n  web:\n    image: app:1\n")
    (tmp_path / "SAID").write_text("")
    return lab


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What is around, without an engine."""

    def put(**more: Any) -> None:
        made = There(stack="shop", nodes=(node("1"),), **more)
        monkeypatch.setattr(surroundings, "look_around", lambda *given: made)

    put()
    return put


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("shop/docker-compose.yml", "shop"), ("My Shop/compose.yaml", "my-shop"), ("shop/web.yaml", "web"),
        ("x/compose.prod.yaml", "x"), ("x/docker-stack.yml", "x"), ("x/A.B.yml", "a-b"),
    ],
)  # fmt: skip
def test_a_stack_has_a_name(file: str, name: str) -> None:
    assert stack.stack_name(Path("/home/me") / file) == name


def test_a_stack_whose_file_gives_no_name_needs_one() -> None:
    with pytest.raises(ParameterError, match="has no name"):
        stack.stack_name(Path("/home/日本/compose.yaml"))


def test_the_clients_word_is_taken_and_told(
    running: RunningLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert stack.read_config(running, files) == {"services": {"web": {"image": "app:1"}}}
    said = (tmp_path / "SAID").read_text()
    assert said == f"stack config --compose-file {files[0]} --compose-file {files[1]}\n"
    (tmp_path / "CONFIG").write_text("networks: {}\n")
    with pytest.raises(SwarmError, match="it has no services"):
        stack.read_config(running, files)
    (tmp_path / "CONFIG").unlink()
    files[1].write_text("services:\n  web: {image: a, mem_limit: 1g}\n")
    with pytest.raises(SwarmError, match="Docker does not take this: .*No such file") as error:
        stack.read_config(running, files)
    assert f"{files[1]}:2: a stack has no services.web.mem_limit\n  fix: deploy: {{resources:" in error.value.what
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'unknown command: docker stack config' >&2; exit 1\n")
    with pytest.raises(SwarmError) as error:
        stack.read_config(running, files)
    assert "23 or newer" in error.value.fix


def outcome(error: str = "") -> stack.Outcome:
    state = ServiceState(id="s", name="shop_web", image="app:1", wanted=1, running=1, places={})
    return stack.Outcome("shop_web", state, SwarmError(error, fix="mend it") if error else None)


def test_what_will_not_work_is_said_and_nothing_starts(
    running: RunningLab, there: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    there(images={"app:1": "manifest unknown"})
    file = tmp_path / "compose.yaml"
    assert commands.main(["swarm", "deploy", "--name", "shop", str(file)]) == 1
    said = capsys.readouterr()
    assert "web: no node can have the image app:1: manifest unknown" in said.out
    assert "the stack 'shop' was not started: 1 of the above will not work" in said.err and "--anyway" in said.err
    assert commands.main(["swarm", "deploy", "--name", "shop", "--dry-run", str(file)]) == 1
    assert "nothing was started" in capsys.readouterr().out
    assert "stack deploy" not in (tmp_path / "SAID").read_text()
    monkeypatch.setattr(stack, "updates_of", lambda *given: {})
    monkeypatch.setattr(stack, "watch_stack", lambda *given: (outcome(),))
    assert commands.main(["swarm", "deploy", "--name", "shop", "--anyway", "--prune", str(file)]) == 0
    assert "stack deploy --compose-file" in (tmp_path / "SAID").read_text()
    assert (tmp_path / "SAID").read_text().endswith("--prune shop\n")
    assert "the stack 'shop' runs: shop_web" in capsys.readouterr().out


def test_a_stack_that_does_not_come_up_fails(
    running: RunningLab, there: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = str(tmp_path / "compose.yaml")
    assert commands.main(["swarm", "deploy", "--dry-run", file]) == 0
    assert "nothing is in the way of it" in capsys.readouterr().out
    monkeypatch.setattr(stack, "updates_of", lambda *given: {})
    monkeypatch.setattr(stack, "watch_stack", lambda *given: (outcome("replicas ended"), outcome("it too")))
    assert commands.main(["swarm", "deploy", file]) == 1
    said = capsys.readouterr()
    assert "replicas ended\nit too" in said.err and "fix: mend it" in said.err
    monkeypatch.setenv("DEPLOYS", "1")
    assert commands.main(["swarm", "deploy", file]) == 1
    assert "Docker could not deploy the stack" in capsys.readouterr().err


def test_an_update_that_was_taken_back_is_a_failure(running: RunningLab, monkeypatch: pytest.MonkeyPatch) -> None:
    began = {"shop_web": "2", "shop_db": "1", "shop_old": ""}
    states = {
        name: ServiceState(id=name, name=name, image="i", wanted=1, running=1, places={}, update="rollback_completed")
        for name in began
    }
    monkeypatch.setattr(stack, "updates_of", lambda *given: began)
    monkeypatch.setattr("labkit.servers.stack.deploy.watch", lambda engine, name, *given, **more: states[name])
    monkeypatch.setattr(RunningLab, "engine", lambda self: NoEngine())
    services = [{"Spec": {"Name": "shop_old", "Mode": {"Replicated": {"Replicas": 0}}}}]
    monkeypatch.setattr(stack, "_services", lambda *given: services)
    db, old, web = stack.watch_stack(running, "shop", {"shop_web": "1", "shop_db": "1"}, print)
    assert db.error is None, "that was another day's"
    assert old == stack.Outcome("shop_old", None), "it is to have no replica, and is not waited for"
    assert web.error is not None and "swarm took it back" in web.error.what
    assert json.dumps(web.name) == '"shop_web"'
    monkeypatch.setattr(stack, "updates_of", lambda *given: {})
    with pytest.raises(SwarmError, match="has no services"):
        stack.watch_stack(running, "shop", {}, print)


class NoEngine:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *given: object) -> None:
        return None

"""Compose files by what a stack may have, and by damage: each finding has its place and its fix, and soon."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from labkit.swarm.node import Node
from labkit.swarm.stack.as_written import SERVICE, dropped, refused
from labkit.swarm.stack.explain import LEFT_OUT, There, explain, images_of
from tests.rig.fuzzing import Fuzz, mutated
from tests.rig.nodes import node

FILES = Path(__file__).parents[1] / "swarm/stack/files"
SEEDS = [path.read_text() for path in sorted(FILES.glob("*.yaml"))]
CONFIGS = [yaml.safe_load(path.read_text()) for path in sorted(FILES.glob("*.config.yaml"))]
BLADES = (node("blade1", "b1"), replace(node("blade2", "b2"), availability="drain"), node("blade3", "b3"))
CONTROLLER = Node(id="c", hostname="controller", role="manager", state="ready", availability="drain", leader=True)
WORDS = [
    "web",
    "10.77.0.1:5000/web:1",
    "nginx",
    "docker.io/library/nginx@sha256:" + "0" * 64,
    "",
    "a b",
    "ü",
    "\x1b[2J",
    "\u202e",
]
WORDS += [
    "/var/run/docker.sock",
    "/home/me/x",
    "/etc/localtime",
    "node.role == manager",
    "node.labels.disk==ssd",
    "node.x !=",
]
WORDS += [
    "host",
    "ingress",
    "nfs",
    "addr=10.77.0.1,rw",
    ":/share",
    "global",
    "replicated-job",
    "start-first",
    "127.0.0.1:80:80",
]
NUMBERS = [0, 1, 2, 3, 22, 80, 5000, 65535, 65536, -1, 10**20, 0.5, 1e300]
DAMAGE = ("${X}", "$", "${", "${X:?no}", "<<: *a\n", "&a ", "*a ", "!!binary x", "\t", "\0", "- ", ": ", "? ", "{", "]")


def service(chance: random.Random) -> dict[str, Any]:
    """A service as ``docker stack config`` gives one: the types are those of its schema, the values anything."""

    def word() -> str:
        return chance.choice(WORDS)

    def number() -> float:
        return chance.choice(NUMBERS)

    def some(make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(chance.randrange(3))]

    def mount() -> dict[str, Any]:
        kind = chance.choice(("bind", "volume", "tmpfs", "npipe", ""))
        return {"type": kind, "source": word(), "target": word(), "read_only": chance.random() < 0.5}

    def port() -> dict[str, Any]:
        protocol, mode = chance.choice(("tcp", "udp", "sctp")), chance.choice(("host", "ingress", ""))
        return {"target": number(), "published": number(), "protocol": protocol, "mode": mode}

    whole: dict[str, Any] = {
        "image": word(),
        "build": {"context": word()},
        "command": some(word),
        "depends_on": some(word),
        "ports": some(port),
        "volumes": some(mount),
        "labels": {word(): word(), "traefik.enable": "true"},
        "networks": {word(): None},
        "configs": some(lambda: {"source": word()}),
        "secrets": some(lambda: {"source": word()}),
        "environment": {word(): None},
        "deploy": {
            "mode": word(),
            "replicas": number(),
            "labels": {word(): word()},
            "endpoint_mode": word(),
            "placement": {"constraints": some(word), "max_replicas_per_node": number()},
            "resources": {
                "limits": {"cpus": str(number()), "memory": str(number())},
                "reservations": {"cpus": str(number()), "memory": str(number())},
            },
            "update_config": {"order": word(), "parallelism": number()},
        },
    }
    whole |= {key: chance.choice((word(), True, some(word))) for key in chance.sample(sorted(LEFT_OUT), 2)}
    return {key: value for key, value in whole.items() if chance.random() < 0.6}


def there(chance: random.Random) -> There:
    nodes = tuple(chance.sample((CONTROLLER, *BLADES), chance.randrange(5)))
    room = {
        one.id: (chance.choice((0.0, 1.0, 8.0)), chance.choice((0, 1 << 30))) for one in nodes if chance.random() < 0.5
    }
    return There(
        stack=chance.choice(WORDS),
        nodes=nodes,
        taken={80: "nginx"},
        taken_udp={69: "TFTP"},
        published={(5000, "tcp"): "web"},
        networks=frozenset({"web"}),
        secrets=frozenset({"web"}),
        contents={"web": b"x"},
        volumes={"web": ("local", {"type": "nfs"})},
        files={"/home/me/x": b"y"},
        sizes_b={"/home/me/x": chance.choice((None, 1, 1 << 20))},
        images={word: chance.choice(("", "denied")) for word in WORDS},
        forgets=chance.random() < 0.5,
        own=chance.random() < 0.5,
        cached=chance.random() < 0.5,
        room=room,
        lacks=frozenset({"/etc/localtime"}),
        server="10.77.0.1",
        shares=chance.random() < 0.5,
        plugins={one.id: frozenset({"Volume/local"}) for one in nodes if chance.random() < 0.5},
    )


def config(chance: random.Random) -> dict[str, Any]:
    """A whole file, or one of a stack that people run with some of its parts otherwise."""
    services = {chance.choice(WORDS) or "x": service(chance) for _ in range(chance.randrange(4))}
    external = {"external": True, "name": chance.choice(WORDS)}
    volume = chance.choice(
        (None, {}, external, {"driver": chance.choice(WORDS), "driver_opts": {"type": "nfs", "o": "x"}})
    )
    made = {"services": services, "volumes": {"web": volume}, "networks": {"web": chance.choice((None, external))}}
    made["configs"] = made["secrets"] = {"web": chance.choice((external, {"file": chance.choice(WORDS)}))}
    base = dict(chance.choice(CONFIGS)) if chance.random() < 0.3 else {"version": "3.13"}
    return {**base, **{key: value for key, value in made.items() if chance.random() < 0.8}}


def text(chance: random.Random) -> bytes:
    """A file as somebody wrote it, with keys that are none, or damaged."""
    seed = chance.choice(SEEDS)
    for _ in range(chance.randrange(4)):
        here = chance.randrange(len(seed) + 1)
        key = chance.choice([*sorted(SERVICE), "mem_limit", "extends", "gpus", "x-own", "Image"])
        seed = (
            seed[:here] + chance.choice((chance.choice(DAMAGE), f"\n    {key}: {chance.choice(WORDS)}\n")) + seed[here:]
        )
    return mutated(seed.encode(), chance) if chance.random() < 0.3 else seed.encode()


def test_compose(fuzz: Fuzz) -> None:
    for chance in fuzz.rounds():
        began = time.process_time()
        for _ in range(20):
            whole = config(chance)
            found = explain(whole, there(chance))
            images_of(whole)
            fuzz.count("explained" if found else "nothing to say")
            for one in found:
                assert one.where is not None and one.what and one.fix
        for _ in range(5):
            written = text(chance).decode(errors="replace")
            said = (*refused("stack.yaml", written), *dropped("stack.yaml", written, {"HOME"}, {"X"}))
            fuzz.count("told by its lines" if said else "as it may be")
            lines = len(written.splitlines()) + 2
            for one in said:
                assert one.what and one.fix and 1 <= int(one.where.split(":")[1]) <= lines
        assert time.process_time() - began < 5

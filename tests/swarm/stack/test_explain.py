"""Stacks as people write them, and what is said of each before it starts: nothing, where it would run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labkit.swarm.node import Node
from labkit.swarm.stack.explain import Finding, There, explain, images_of
from tests.rig.nodes import node

BLADES = tuple(node(name, name) for name in ("blade1", "blade2", "blade3"))
CONTROLLER = Node(id="c", hostname="controller", role="manager", state="ready", availability="drain", raft=True,
                  manager="10.0.0.2:2377", leader=True)  # fmt: skip
THERE = There(stack="shop", nodes=(CONTROLLER, *BLADES), taken={22: "SSH to the blades"})


def told(config: dict[str, Any], there: There = THERE) -> list[Finding]:
    found = list(explain(config, there))
    for finding in found:
        assert finding.fix and finding.where in str(finding) and finding.fix in str(finding)
    return found


def one(service: dict[str, Any], there: There = THERE, **more: Any) -> list[Finding]:
    return told({"services": {"web": {"image": "10.77.0.1:5000/web:1", **service}}, **more}, there)


def placed(*constraints: str) -> dict[str, Any]:
    return {"deploy": {"placement": {"constraints": list(constraints)}}}


def test_a_stack_that_runs_is_not_spoken_of() -> None:
    nfs = {"driver": "local", "driver_opts": {"type": "nfs", "o": "addr=10.77.0.1", "device": ":/share"}}
    config = {
        "version": "3.12",
        "services": {
            "proxy": {
                "image": "10.77.0.1:5000/proxy:1", "ports": [{"target": 80, "published": 80, "protocol": "tcp"}],
                "configs": [{"source": "site"}], "volumes": [{"type": "tmpfs", "target": "/run/x"}],
            },
            "app": {"image": "10.77.0.1:5000/app:1", "ports": [{"target": 8000}], **placed("node.role == worker")},
            "store": {"image": "10.77.0.1:5000/db:1", "volumes": [{"type": "volume", "source": "data"}]},
            "agent": {
                "image": "10.77.0.1:5000/agent:1", "deploy": {"mode": "global"},
                "volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}],
            },
        },
        "volumes": {"data": nfs}, "configs": {"site": {"file": "/home/me/site.conf"}},
    }  # fmt: skip
    there = replace(THERE, files={"/home/me/site.conf": b"x"}, contents={"shop_site": b"x"},
                    published={(80, "tcp"): "shop_proxy"})  # fmt: skip
    assert told(config, there) == []
    assert images_of(config) == tuple(f"10.77.0.1:5000/{name}:1" for name in ("proxy", "app", "db", "agent"))


def test_a_folder_of_a_persons_own_is_on_no_blade() -> None:
    bind = {"volumes": [{"type": "bind", "source": "/home/me/conf", "target": "/etc/x"}]}
    (found,) = one(bind)
    assert found.fatal and "/home/me/conf is bound" in found.what and "NFS" in found.fix
    there = replace(THERE, nodes=(replace(CONTROLLER, availability="active"), *BLADES))
    on_it = {**bind, **placed("node.role==manager")}
    assert one(on_it, replace(there, own=True)) == [], "it runs where that person's folders are"
    (found,) = one(on_it, there)
    assert "is bound" in found.what, "a virtual lab's controller has none of them"


@pytest.mark.parametrize(
    "source", ["/var/run/docker.sock", "/proc", "/etc/localtime", "/", "/var/lib/docker/", "/run/udev"]
)
def test_what_every_node_has_may_be_bound(source: str) -> None:
    assert one({"volumes": [{"type": "bind", "source": source, "target": "/x"}]}) == []


def test_a_volume_in_a_blades_memory_is_told_and_is_no_reason_not_to_start() -> None:
    data = {"volumes": [{"type": "volume", "source": "data", "target": "/d"}]}
    (found,) = one(data, volumes={"data": {}})
    assert not found.fatal and "the volume data is each blade's own" in found.what and "way out" in str(found)
    (found,) = one({"volumes": [{"type": "volume", "target": "/anon"}]})
    assert "the volume at /anon" in found.what
    assert one(data, volumes={"data": {"driver": "rexray"}}) == []
    assert one(data, replace(THERE, forgets=False), volumes={"data": {}}) == []


def test_a_manager_that_takes_no_tasks_is_told_with_the_ways() -> None:
    (found,) = one(placed("node.role == manager"))
    assert found.fatal and found.where == "web (node.role == manager)"
    assert "the only nodes that meet this take no tasks: controller" in found.what
    assert "./lab swarm managers BLADE" in found.fix and "--availability active controller" in found.fix
    managing = replace(BLADES[0], role="manager", raft=True, manager="10.0.0.3:2377")
    assert one(placed("node.role == manager"), replace(THERE, nodes=(CONTROLLER, managing))) == []


def test_a_label_that_no_node_has_and_what_no_node_meets_at_once() -> None:
    (found,) = one(placed("node.labels.disk == ssd"))
    assert "no node meets node.labels.disk == ssd" in found.what and "--label-add" in found.fix
    (found,) = one(placed("node.labels.slot == 1", "node.hostname == blade2"))
    assert found.what == "no node meets all of this at once"
    drained = replace(THERE, nodes=(CONTROLLER, *(replace(one, availability="drain") for one in BLADES)))
    (found,) = one(placed("node.labels.slot == 1"), drained)
    assert "take no tasks: blade1" in found.what and "managers" not in found.fix
    assert one(placed("node.platform.os == linux")) == []


@pytest.mark.parametrize(
    ("image", "why", "fix"),
    [
        ("nginx:1", "dial tcp: lookup registry-1.docker.io: no such host", "cache: true under storage:"),
        ("me/app:1", "no answer within 10 s", "cache: true under storage:"),
        ("10.77.0.1:5000/app:1", "manifest unknown", "correct its name; or, where you have it, docker save 10.77"),
        ("ghcr.io/me/app:1", "denied", "docker login here"),
        ("me/private:1", "unauthorized: authentication required", "--with-registry-auth"),
    ],
)
def test_an_image_that_no_node_can_have(image: str, why: str, fix: str) -> None:
    (found,) = told({"services": {"app": {"image": image}}}, replace(THERE, images={image: why}))
    assert found.fatal and f"no node can have the image {image}: {why}" in found.what and fix in found.fix
    assert told({"services": {"app": {"image": image}}}, replace(THERE, images={image: ""})) == []


def test_what_the_cache_may_have_is_no_reason_not_to_start() -> None:
    why = "dial tcp: lookup registry-1.docker.io: no such host"
    cached = replace(THERE, images={"nginx:1": why, "10.77.0.1:5000/x:1": why}, cached=True)
    found = told({"services": {"a": {"image": "nginx:1"}, "b": {"image": "10.77.0.1:5000/x:1"}}}, cached)
    assert [finding.fatal for finding in found] == [False, True]


def test_swarm_builds_nothing() -> None:
    (found,) = told({"services": {"app": {}}})
    assert found.fatal and found.what == "it names no image"
    (found,) = told({"services": {"app": {"build": {"context": "."}}}})
    assert found.fatal and "names none" in found.what and "./lab swarm push" in found.fix
    (found,) = told({"services": {"app": {"build": {"context": "."}, "image": "app:1"}}})
    assert not found.fatal and "app:1 is taken as it is" in found.what
    both = told({"services": {"app": {"build": {}, "image": "app:1"}}}, replace(THERE, images={"app:1": "denied"}))
    assert [finding.fatal for finding in both] == [True]


def test_ports_that_somebody_has() -> None:
    def port(number: int, protocol: str = "tcp") -> dict[str, Any]:
        return {"ports": [{"target": 80, "published": number, "protocol": protocol}]}

    assert one(port(22))[0].what == "port 22 is for SSH to the blades"
    assert one(port(22, "udp")) == []
    there = replace(THERE, published={(80, "tcp"): "web", (81, "tcp"): "shop_web"})
    (found,) = one(port(80), there)
    assert found.what == "port 80 is published by the service web" and "./lab docker service rm web" in found.fix
    assert one(port(81), there) == [], "it is this stack's own"
    assert one(port(80, "udp"), there) == []
    twice = {"services": {"a": {"image": "i", **port(90)}, "b": {"image": "i", **port(90)}, "c": {"image": "i"}}}
    (found,) = told(twice)
    assert (found.where, found.what) == ("b", "port 90 is published by a too")


def test_what_docker_leaves_out() -> None:
    found = one({"privileged": True, "devices": ["/dev/ttyUSB0"], "restart": "always", "container_name": "x",
                 "depends_on": ["db"]})  # fmt: skip
    assert [finding.fatal for finding in found] == [False] * 3
    assert "devices, privileged" in found[0].what and "container_name, restart" in found[1].what
    assert "starts all services at once" in found[2].what


def test_what_is_said_to_be_there_and_is_not() -> None:
    more: dict[str, Any] = {
        "networks": {"outer": {"name": "outer", "external": True}, "inner": None},
        "secrets": {"pw": {"name": "the_pw", "external": True}}, "configs": {"site": {"external": True}},
    }  # fmt: skip
    found = one({}, **more)
    assert [finding.where for finding in found] == ["networks: outer", "secrets: pw", "configs: site"]
    assert found[0].fix.endswith("--driver overlay outer") and "the_pw is said to be there" in found[1].what
    there = replace(THERE, networks=frozenset({"outer"}), secrets=frozenset({"the_pw"}), contents={"site": b""})
    assert one({}, there, **more) == []


def test_a_config_that_was_changed_needs_another_name() -> None:
    there = replace(THERE, files={"/s": b"new"}, contents={"shop_site": b"old", "site_2": b"old"})
    (found,) = one({}, there, configs={"site": {"file": "/s"}})
    assert found.fatal and "swarm changes no config" in found.what and "name: shop_site_2" in found.fix
    assert one({}, there, configs={"site": {"file": "/s", "name": "site_3"}}) == []
    (found,) = one({}, there, configs={"site": {"file": "/s", "name": "site_2"}})
    assert "site_2 is there with another content" in found.what


def test_an_empty_file_has_nothing_to_say() -> None:
    assert told({}) == [] and images_of({}) == ()


def deployed(**deploy: Any) -> dict[str, Any]:
    return {"deploy": deploy}


def host_port(number: int, **more: Any) -> dict[str, Any]:
    return {"image": "i", "ports": [{"mode": "host", "target": 80, "published": number}], **more}


def test_a_port_of_the_node_s_own_is_there_once_on_each() -> None:
    def said(**services: dict[str, Any]) -> list[str]:
        return [str(one) for one in told({"services": services})]

    assert said(a=host_port(80, **deployed(replicas=3))) == []
    assert said(a=host_port(80, **deployed(replicas=2)), b=host_port(80)) == [], "beside each other on three nodes"
    (found,) = said(a=host_port(80, **deployed(replicas=5)))
    assert (
        found.startswith("a: port 80 is each node's own (mode: host): 5 replicas, 3 nodes") and "2 would wait" in found
    )
    (found,) = said(a=host_port(80, **deployed(mode="global")), b=host_port(80))
    assert found.startswith("a, b: port 80") and "4 replicas" in found
    (found,) = said(a=host_port(80, **deployed(mode="global", update_config={"order": "start-first"})))
    assert "an update starts the new replica first" in found and "way out: update_config" in found
    (found,) = said(a=host_port(80), b={"image": "i", "ports": [{"target": 80, "published": 80}]})
    assert "published by a too" in found
    (meshed,) = one({"ports": [{"target": 80, "mode": "ingress"}], **deployed(endpoint_mode="dnsrr")})
    assert meshed.fatal and "dnsrr" in meshed.what and "mode: host" in meshed.fix


def test_replicas_that_no_node_has_a_place_for() -> None:
    (found,) = one(deployed(replicas=4, placement={"max_replicas_per_node": 1}))
    assert found.fatal and found.what.endswith("1 would wait for ever") and found.fix == "replicas: 3"
    assert one(deployed(replicas=3, placement={"max_replicas_per_node": 1})) == []
    assert one(deployed(replicas=0, resources={"reservations": {"memory": "1", "cpus": "9"}})) == [], "nothing is known"


def test_drivers_that_no_node_has() -> None:
    there = replace(THERE, plugins={node.id: frozenset({"Log/loki:latest", "Volume/local"}) for node in BLADES})
    volume = {"volumes": [{"type": "volume", "source": "data", "target": "/d"}]}
    (found,) = one(volume, there, volumes={"data": {"driver": "rexray"}})
    assert found.fatal and "no node has rexray, the driver of the volume data" in found.what
    assert one({"logging": {"driver": "loki"}}, there) == [] == one({"logging": {"driver": "none"}}, there)


def test_a_volume_that_is_there_with_other_options() -> None:
    options = {"type": "nfs", "o": "addr=192.0.2.1", "device": ":/a"}
    there = replace(THERE, volumes={"shop_data": ("local", options)})
    volume = {"volumes": [{"type": "volume", "source": "data", "target": "/d"}]}
    assert one(volume, there, volumes={"data": {"driver_opts": options}}) == []
    (found,) = one(volume, there, volumes={"data": {"driver_opts": {**options, "device": ":/b"}}})
    assert found.fatal and "shop_data is there with other options" in found.what and "shop_data-2" in found.fix


@pytest.mark.parametrize("size", [0, 512000, None])
def test_a_secret_that_swarm_would_not_keep(size: int | None) -> None:
    (found,) = one({}, replace(THERE, sizes_b={"/s": size}), secrets={"key": {"file": "/s"}})
    assert found.fatal and "/s" in found.what
    assert one({}, replace(THERE, sizes_b={"/s": 511999}), secrets={"key": {"file": "/s"}}) == []


def test_a_device_is_no_folder() -> None:
    (found,) = one({"volumes": [{"type": "bind", "source": "/dev/ttyUSB0", "target": "/dev/ttyUSB0"}]})
    assert found.fatal and "/dev/ttyUSB0 is bound, a device" in found.what and "by hand" in found.fix


@pytest.mark.parametrize("source", ["/etc/timezone", "/etc/localtime"])
def test_blades_have_no_zone(source: str) -> None:
    bind = {"volumes": [{"type": "bind", "source": source, "target": source}]}
    (found,) = one(bind, replace(THERE, lacks=frozenset({"/etc/localtime"})))
    assert found.fatal and "UTC" in found.what and "TZ" in found.fix

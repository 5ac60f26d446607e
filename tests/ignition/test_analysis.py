"""What is said of configs beside errors: remarks, explanations, differences, and how they move to another system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labkit import ignition
from labkit.ignition import IgnitionError


def config(version: str = "3.3.0", **sections: Any) -> dict[str, Any]:
    return {"ignition": {"version": version}, **sections}


UNIT = """[Unit]
{unit}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
{service}
[Install]
WantedBy=a.target
"""


def linted(unit: str = "", service: str = "") -> list[str]:
    text = UNIT.format(unit=unit, service=service)
    value = config(systemd={"units": [{"name": "leave.service", "enabled": True, "contents": text}]})
    return [f"{entry.message} [{entry.fix}]" for entry in ignition.lint(value)]


def test_a_unit_that_stops_without_an_order_is_found() -> None:
    found = linted("Before=shutdown.target", "ExecStop=/usr/bin/docker swarm leave")
    assert len(found) == 1 and "not ordered after docker.service" in found[0]
    assert "After=docker.service and Requires=docker.service" in found[0]
    assert linted("After=docker.service", "ExecStop=/usr/bin/docker swarm leave") == []


def test_unknown_keys_are_found_with_what_was_meant() -> None:
    assert linted(service="execstop=/bin/true") == [
        "unknown key execstop= in section [Service] of leave.service, systemd ignores it [write ExecStop=]"
    ]
    assert "move it to [Unit]" in linted(service="After=a.target")[0]
    assert "unknown section [Servise]" in linted(service="[Servise]\nA=b")[0]
    assert linted(service="X-Mine=1") == []


ARTICLE = (Path(__file__).resolve().parents[2] / "notebooks/article.yaml").read_text()


def test_the_mistakes_of_the_article_are_found_where_they_stand() -> None:
    found = ignition.review(ARTICLE)
    assert [(entry.line, entry.column, entry.fix.split()[0]) for entry in found.entries] == [
        (18, 46, "put"), (18, 53, "let"), (33, 9, "add"),
    ]  # fmt: skip
    assert found.config is not None and found.version == "2.3.0"
    for system in ("flatcar", "fcos"):
        moved = ignition.review(ignition.migrate(ARTICLE, system))
        assert [entry.message for entry in moved.entries] == [entry.message for entry in found.entries]


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ("[Service]\nExecStart=/x\n", "enabled but has no [Install] section"),
        ("[Service]\nExecStart=/x\nType=once\n[Install]\nWantedBy=a.target\n", "Type=once of a.service is no value"),
        ("[Service]\nExecStart=/x\nExecStart=/y\n[Install]\nWantedBy=a.target\n", "more than one ExecStart="),
        (
            "[Service]\nType=oneshot\nExecStart=/x\nExecStop=/y\n[Install]\nWantedBy=a.target\n",
            "ExecStop= runs at once and not at shutdown",
        ),
        (
            "[Service]\nExecStart=docker swarm leave\n[Install]\nWantedBy=shutdown.target\n",
            "systemd stops docker.service before it starts this",
        ),
        (
            "[Service]\nExecStart=docker swarm join --tokn x h\n[Install]\nWantedBy=a.target\n",
            "docker swarm join knows no option --tokn",
        ),
    ],
)
def test_units_are_linted(contents: str, words: str) -> None:
    value = config(systemd={"units": [{"name": "a.service", "enabled": True, "contents": contents}]})
    assert [words in entry.message for entry in ignition.lint(value)] == [True]


@pytest.mark.parametrize(
    ("text", "notation", "line", "message"),
    [
        ("variant: flatcar\nversion: 1.0.0\nstorage: [\n", "butane", 3, "did not find expected node content"),
        ("passwd: {users: 3}", "clc", 1, "cannot unmarshal"),
        ("variant: x\nversion: 1.0.0", "butane", 1, "No translator exists"),
        ('{"ignition": {"version": "3.3.0"}', "ignition", 1, "unexpected end of JSON input"),
        ("etcd: {version: x}", "clc", 0, "not in dotted-tri format"),
        ("systemd:\n\tunits: []\n", "clc", 2, "cannot start any token"),
    ],
)
def test_a_text_that_is_refused_is_told_line_by_line(text: str, notation: str, line: int, message: str) -> None:
    found = ignition.review(text)
    assert (found.notation, found.config) == (notation, None)
    assert [(entry.line, message in entry.message) for entry in found.entries] == [(line, True)]


def test_units_differ_by_what_systemd_does() -> None:
    old, new = (
        config(systemd={"units": [{"name": "a.service", "contents": f"[Unit]\nAfter={after}\n# {after}\n"}]})
        for after in ("b.service c.service", "c.service d.service")
    )
    assert ignition.diff(old, new) == "~ a.service: After=b.service becomes d.service"


def test_any_notation_becomes_butane() -> None:
    source = '{"ignition": {"version": "3.4.0"}, "kernelArguments": {"shouldExist": ["quiet"]}}'
    assert ignition.migrate(source, "flatcar").startswith("variant: flatcar\nversion: 1.0.0\n")
    again = ignition.migrate(ignition.migrate(source, "flatcar"), "fcos")
    assert ignition.transpile(again).version == "3.3.0" and "quiet" in again


def test_explanations_say_what_the_blade_will_do() -> None:
    value = config(
        storage={
            "files": [{"path": "/a", "mode": 0o600, "user": {"id": 7}, "contents": {"source": "data:,abc"}}],
            "links": [{"path": "/l", "target": "a"}],
        },
        passwd={"users": [{"name": "core", "groups": ["docker"], "sshAuthorizedKeys": ["k"]}]},
        systemd={
            "units": [
                {"name": "a.service", "enabled": True, "contents": UNIT.format(unit="After=b.service", service="")},
                {"name": "c.service", "mask": True},
            ]
        },
    )
    told = ignition.explain(value)
    for line in (
        "/a: 3 bytes, mode 0600, owned by 7:root",
        "/l is a symbolic link to a",
        "user core: member of docker, 1 SSH key(s) may log in",
        "a.service is written and is enabled",
        "starts after b.service",
        "a.target starts a.service",
        "c.service comes with the system and is masked: nothing can start it",
    ):
        assert line in told
    other = json.loads(json.dumps(value).replace("abc", "abcd").replace('"mode": 384', '"mode": 420'))
    assert ignition.diff(value, other) == "~ /a: mode 0600 becomes 0644; its content changes (3 to 4 bytes)"
    assert ignition.diff(value, value) == "no difference: the same machine"


# --- what cannot be moved is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "what", "fix"),
    [
        ("etcd: {version: 3.3.9, name: a}", "etcd-member.service", "container"),
        ("flannel: {version: 0.7.0, etcd_prefix: /a}", "flanneld.service", "container"),
        ("locksmith: {reboot_strategy: reboot}", "update.conf", "zincati"),
        ("update: {group: beta}", "update.conf", "zincati"),
        ("docker: {flags: [--debug]}", "DOCKER_OPTS", "daemon.json"),
        ("networkd: {units: [{name: a.network, contents: '[Match]'}]}", "systemd-networkd", "NetworkManager"),
        ("systemd: {units: [{name: locksmithd.service, enabled: true}]}", "locksmithd.service", "Zincati"),
        ('systemd: {units: [{name: a.service, contents: "[Service]\\nEnvironmentFile=/run/metadata/coreos"}]}',
         "/run/metadata/coreos", "AFTERBURN_"),
    ],
)  # fmt: skip
def test_services_that_fedora_coreos_lacks_are_not_moved_there(config: str, what: str, fix: str) -> None:
    with pytest.raises(IgnitionError, match="lacks services") as caught:
        ignition.migrate(config, "fcos")
    assert any(what in entry.message and fix in entry.fix for entry in caught.value.report)
    assert ignition.migrate(config, "flatcar").startswith("variant: flatcar")


def test_a_mask_and_a_unit_of_ones_own_move() -> None:
    config = "systemd: {units: [{name: locksmithd.service, mask: true}, {name: flanneld.service, contents: '[Unit]'}]}"
    assert "flanneld.service" in ignition.migrate(config, "fcos")


def test_what_a_variant_cannot_say_is_not_written_in_it() -> None:
    head = "variant: fcos\nversion: 1.4.0\nstorage: {luks: [{name: a, device: /dev/vdb, clevis: {tpm2: true}}]}\n"
    assert "clevis" in ignition.migrate(head, "fcos")
    with pytest.raises(IgnitionError, match="flatcar 1.0.0 cannot say") as caught:
        ignition.migrate(head, "flatcar")
    assert "clevis is not supported" in str(caught.value.report)
    newer = "variant: fcos\nversion: 1.7.0\nstorage: {files: [{path: /a, mode: 04755, contents: {inline: a}}]}\n"
    with pytest.raises(IgnitionError, match=r"no released version of flatcar writes Ignition 3.6.0"):
        ignition.migrate(newer, "flatcar")


def test_an_experimental_config_that_says_nothing_new_is_carried_over() -> None:
    source = "variant: fcos\nversion: 1.8.0-experimental\nkernel_arguments: {should_exist: [quiet]}\n"
    config = json.loads(ignition.transpile(source).config)
    assert ignition.lowest(config) == "3.3.0"
    assert ignition.migrate(source, "flatcar").startswith("variant: flatcar\nversion: 1.0.0\n")
    assert ignition.merge_all([("a.bu", config)]).config["ignition"]["version"] == "3.6.0"
    quadlet = "systemd: {quadlets: [{name: a.container, contents: '[Container]'}]}\n"
    assert "/a.container" in ignition.migrate("variant: fcos\nversion: 1.8.0-experimental\n" + quadlet, "flatcar")


@pytest.mark.parametrize(("variant", "version"), [("r4e", "1.0.0"), ("r4e", "1.1.0"), ("fiot", "1.0.0")])
def test_variants_whose_installers_make_disks_take_files_and_no_disks(variant: str, version: str) -> None:
    head = f"variant: {variant}\nversion: {version}\n"
    assert ignition.transpile(
        head + "storage: {disks: [], files: [{path: /a}]}\nkernel_arguments: {should_exist: []}\n"
    )
    disks = "storage: {disks: [{device: /dev/vda}], raid: [{name: a, level: raid0, devices: [/dev/vdb]}]}\n"
    with pytest.raises(IgnitionError, match="source config is invalid") as caught:
        ignition.transpile(head + disks + "kernel_arguments: {should_exist: [quiet]}\n")
    assert [(entry.where, entry.line) for entry in caught.value.report] == [
        ("$.kernel_arguments", 4),
        ("$.storage.disks", 3),
        ("$.storage.raid", 3),
    ]
    assert all(entry.fix for entry in caught.value.report)


def unit(text: str) -> str:
    return f"systemd: {{units: [{{name: a.service, contents: {json.dumps(text)}}}]}}"


def command(word: str, *settings: str) -> str:
    """A unit that says a word, with more lines in its service."""
    return unit("\n".join(["[Service]", *settings, f"ExecStart=/bin/echo {word}", "[Install]", "WantedBy=a.target"]))


@pytest.mark.parametrize(
    ("piece", "found"),
    [
        ("storage: {files: [{path: /etc/a, contents: {inline: 'a=${TOKEN}'}}]}", "${TOKEN} in the file /etc/a"),
        ("passwd: {users: [{name: core, ssh_authorized_keys: ['ssh-ed25519 ${KEY}']}]}", "${KEY} in the config"),
        ("storage: {links: [{path: /a, target: '/b/${HOST}'}]}", "${HOST} in the link /a"),
        ("storage: {files: [{path: /a, contents: {source: 'http://a/${HOST}'}}]}", "${HOST} in the file /a"),
        (unit("[Unit]\nDescription=${NAME}"), "${NAME} in the unit a.service"),
        (command("${MINE}"), "${MINE} in the unit a.service"),
        (command("${MINE}", "Environment=MINE=1"), ""),
        (command("${MINE}", "EnvironmentFile=/a"), ""),
        (command("${MAINPID} $${MINE}"), ""),
        ("storage: {files: [{path: /opt/a, contents: {inline: '#!/bin/sh\\necho ${TOKEN}'}}]}", ""),
        ("storage: {files: [{path: /opt/compose.yaml, contents: {inline: 'image: a:${TAG}'}}]}", ""),
        ("storage: {files: [{path: /opt/a, mode: 0755, contents: {inline: 'echo ${TOKEN}'}}]}", ""),
        ("storage: {files: [{path: /etc/nginx.conf, contents: {inline: 'set $a ${host}'}}]}", ""),
    ],
)  # fmt: skip
def test_a_placeholder_that_nobody_fills_in_is_a_finding(piece: str, found: str) -> None:
    looked = ignition.review(f"variant: flatcar\nversion: 1.0.0\n{piece}\n")
    said = [entry for entry in looked.entries if "never filled in" in entry.message]
    assert looked.config is not None, looked.entries
    assert [entry.message.startswith(found) and entry.line == 3 for entry in said] == ([True] if found else []), said
    linted = [entry for entry in ignition.lint(looked.config).entries if "never filled in" in entry.message]
    assert len(linted) == len(said)

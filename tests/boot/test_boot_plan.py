"""A blade's boot as one value: pure, without its secret in sight, and always something its Ignition reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from labkit import ignition
from labkit.boot import BaseConfig, BootPlan, BootSecrets, Rendered, plan, plan_bare, resources, tree
from labkit.boot.artifacts.cpio import unpack
from labkit.errors import PlanError
from labkit.lab import ChassisKind, Lab, Storage, lab_yaml
from labkit.lab.secret import Secret
from labkit.netboot.boot_client.firmware import FIRMWARES, default_firmware, discover
from labkit.netboot.dhcp.replies import boot_file_of

TICKET = "0123456789abcdef0123456789abcdef"
HEAD = "variant: flatcar\nversion: 1.0.0\n"
MOTD = "storage:\n  files:\n    - path: /etc/motd\n      contents:\n        inline: hello\n"
CLC = (
    "passwd:\n  users:\n    - name: core\n      ssh_authorized_keys: [ssh-ed25519 AAAA me]\n"
    "storage:\n  files:\n    - path: /etc/motd\n      filesystem: root\n      contents: {inline: hello}\n"
)


@pytest.fixture
def lab() -> Lab:
    return lab_yaml.parse(
        "name: lab\nblades:\n  - name: blade1\n  - name: blade2\n    os: container-linux\n", Path("lab.yaml")
    )


def boot(lab: Lab, blade: str = "blade1", base: BaseConfig | None = None, ticket: str = TICKET) -> BootPlan:
    return plan(lab, lab.blade(blade), "boot-1", BootSecrets(Secret(ticket)), base)


def test_a_plan_in_words_has_no_secret(lab: Lab) -> None:
    said = str(boot(lab))
    assert [line.split()[0] for line in said.splitlines()] == [
        "blade",
        "boot",
        "loader",
        "kernel",
        "archives",
        "arguments",
    ]
    assert "labos/vmlinuz" in said and TICKET not in said


def written(source: str) -> BaseConfig:
    return BaseConfig("own.yaml", json.loads(ignition.transpile(source).config))


def config_of(made: BootPlan) -> dict[str, Any]:
    assert made.ignition is not None
    config = json.loads(made.ignition.reveal())
    assert isinstance(config, dict)
    return config


def files_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {file["path"]: file for file in config["storage"]["files"]}


def test_a_blade_knows_the_authority_of_the_labs_registry(lab: Lab) -> None:
    made = plan(lab, lab.blades[0], "b", BootSecrets(Secret(TICKET)), ca="-----BEGIN CERTIFICATE-----\n")
    files = files_of(config_of(made))
    known = files["/etc/docker/certs.d/10.77.0.1:5000/ca.crt"]
    assert known["contents"]["source"] == "data:,-----BEGIN%20CERTIFICATE-----%0A"
    assert "insecure" not in files["/etc/docker/daemon.json"]["contents"]["source"]
    assert not [path for path in files_of(config_of(boot(lab))) if "certs.d" in path]


def test_a_blade_asks_the_labs_cache_first_and_trusts_it(lab: Lab) -> None:
    cached = dataclasses.replace(lab, storage=Storage(cache="https://registry-1.docker.io"))
    made = plan(cached, cached.blades[0], "b", BootSecrets(Secret(TICKET)), ca="-----BEGIN CERTIFICATE-----\n")
    files = files_of(config_of(made))
    daemon = json.loads(unquote(files["/etc/docker/daemon.json"]["contents"]["source"].removeprefix("data:,")))
    assert daemon["registry-mirrors"] == [f"https://{cached.mirror}"]
    assert f"/etc/docker/certs.d/{cached.mirror}/ca.crt" in files
    plain = files_of(config_of(boot(lab)))["/etc/docker/daemon.json"]["contents"]["source"]
    assert "mirror" not in plain


def test_with_tls_a_blade_speaks_https_and_knows_whom_to_believe(lab: Lab) -> None:
    sealed = dataclasses.replace(lab, network=dataclasses.replace(lab.network, tls=True, https_port=8443))
    ca = "-----BEGIN CERTIFICATE-----\n"
    for blade in sealed.blades:
        made = plan(sealed, blade, "b", BootSecrets(Secret(TICKET)), ca=ca)
        files = files_of(config_of(made))
        assert files["/etc/labkit/ca.crt"]["contents"]["source"] == "data:,-----BEGIN%20CERTIFICATE-----%0A"
        script = unquote(files["/etc/labkit/lab.sh"]["contents"]["source"])
        (line,) = (line for line in script.splitlines() if "/v1/" in line)
        assert "--cacert /etc/labkit/ca.crt " in line and line.endswith('"https://10.77.0.1:8443/v1/$path"')
        for name, file in resources(sealed, blade, made).items():  # loaders and kernels know no authority
            assert not (isinstance(file, Rendered) and not file.secret and b"https:" in file.content), name
    plain = files_of(config_of(plan(lab, lab.blades[0], "b", BootSecrets(Secret(TICKET)), ca=ca)))
    assert "/etc/labkit/ca.crt" not in plain
    script = unquote(plain["/etc/labkit/lab.sh"]["contents"]["source"])
    assert '"http://10.77.0.1/v1/$path"' in script and "cacert" not in script


def test_a_plan_is_repeatable(lab: Lab) -> None:
    one, two = boot(lab, base=written(HEAD + MOTD)), boot(lab, base=written(HEAD + MOTD))
    assert one == two
    assert resources(lab, lab.blades[0], one) == resources(lab, lab.blades[0], two)
    assert boot(lab, ticket="other") != one


def test_a_plan_leaves_the_persons_config_alone(lab: Lab) -> None:
    base = written(HEAD + MOTD)
    before = json.dumps(base.config)
    boot(lab, base=base)
    assert json.dumps(base.config) == before


@pytest.mark.parametrize("blade", ["blade1", "blade2"])
def test_the_ticket_is_in_the_archive_only(lab: Lab, blade: str) -> None:
    made = boot(lab, blade)
    assert TICKET not in repr(made) and TICKET not in str(made) and TICKET not in repr(dataclasses.asdict(made))
    shelf = resources(lab, lab.blade(blade), made)
    assert [name for name, file in shelf.items() if isinstance(file, Rendered) and file.secret] == [made.initrds[-1]]
    for name, file in shelf.items():
        if isinstance(file, Rendered) and not file.secret:
            assert TICKET.encode() not in file.content, name
    archive = shelf[made.initrds[-1]]
    assert isinstance(archive, Rendered)
    (raw,) = (entry for entry in unpack(archive.content) if not entry.is_folder)
    assert (raw.name, raw.mode & 0o777) == ("usr/share/oem/raw.ign", 0o600)
    assert TICKET in raw.data.decode()
    ticket = files_of(json.loads(raw.data))["/etc/labkit/ticket"]
    assert ticket["mode"] == 0o600


def test_a_bare_boot_has_no_config(lab: Lab) -> None:
    made = plan_bare(lab, lab.blade("blade1"))
    assert made.ignition is None and made.arguments == ("coreos.first_boot=1",)
    shelf = resources(lab, lab.blade("blade1"), made)
    assert not [name for name, file in shelf.items() if "oem" in name or (isinstance(file, Rendered) and file.secret)]


FIRST_FILES = [
    ("bios", "pxelinux", "pxelinux.0", "pxelinux.0"),
    ("bios", "lpxelinux", "lpxelinux.0", "pxelinux.0"),
    ("bios", "ipxe", "undionly.kpxe", "http://10.0.40.2/boot.ipxe"),
    ("uefi", "pxelinux", "syslinux.efi", "syslinux.efi"),
    ("uefi", "lpxelinux", "snponly.efi", "snponly.efi"),
    ("uefi", "ipxe", "snponly.efi", "snponly.efi"),
    ("bios", "grub", "pxelinux.0", "pxelinux.0"),
    ("uefi", "grub", "shimx64.efi", "shimx64.efi"),
    ("uefi-secure", "grub", "shimx64.efi", "shimx64.efi"),
    ("uefi-http", "lpxelinux", "http://10.0.40.2/snponly.efi", "http://10.0.40.2/snponly.efi"),
    ("uefi-http", "ipxe", "http://10.0.40.2/snponly.efi", "http://10.0.40.2/snponly.efi"),
]
"""Firmware, method, and what a real blade and a virtual one, whose BIOS has an iPXE ROM, are told first."""


@pytest.mark.parametrize(("firmware", "method", "real", "virtual"), FIRST_FILES)
def test_a_plan_names_what_the_firmware_is_told(firmware: str, method: str, real: str, virtual: str) -> None:
    network = "network: {subnet: 10.0.40.0/24, server: 10.0.40.2, controller: 10.0.40.3}\n"
    text = network + f"blades: [{{name: a, boot: {method}, firmware: {firmware}}}]\n"
    lab = lab_yaml.parse(text, Path("lab.yaml"))
    for kind, told in ((ChassisKind.VIRTUAL, virtual), (ChassisKind.IPMI, real)):
        its = dataclasses.replace(lab, chassis=dataclasses.replace(lab.chassis, kind=kind))
        (blade,) = its.blades
        assert boot(its, "a").nbp == plan_bare(its, blade).nbp == told
        asked = discover(FIRMWARES[default_firmware(its, blade)], blade.macs[0], 1)
        assert boot_file_of(asked, blade, its.network).file == told, "as DHCP answers"


SYSTEM = {"labos/vmlinuz", "labos/labos.cpio", "labos/oem.cpio.gz"}


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ("boot: pxelinux", {"pxelinux.0", "ldlinux.c32", "boot.msg", "pxelinux.cfg/default"}),
        ("boot: lpxelinux", {"lpxelinux.0", "ldlinux.c32", "boot.msg", "pxelinux.cfg/default"}),
        ("boot: ipxe", {"undionly.kpxe", "boot.ipxe"}),
        ("boot: pxelinux, firmware: uefi", {"syslinux.efi", "ldlinux.e64", "boot.msg", "pxelinux.cfg/default"}),
        ("boot: lpxelinux, firmware: uefi", {"snponly.efi", "boot.ipxe"}),
        ("boot: ipxe, firmware: uefi", {"snponly.efi", "boot.ipxe"}),
        ("boot: ipxe, firmware: uefi-http", {"snponly.efi", "boot.ipxe"}),
        ("boot: grub", {"pxelinux.0", "ldlinux.c32", "boot.msg", "pxelinux.cfg/default"}),
        ("boot: grub, firmware: uefi", {"shimx64.efi", "grubx64.efi", "grub/grub.cfg"}),
        ("boot: grub, firmware: uefi-secure", {"shimx64.efi", "grubx64.efi", "grub/grub.cfg"}),
    ],
)
def test_a_tree_has_the_loader_of_the_blades_firmware(keys: str, names: set[str]) -> None:
    lab = lab_yaml.parse(f"blades: [{{name: a, {keys}}}]\n", Path("lab.yaml"))
    assert tree(lab, lab.blades[0], boot(lab, "a")).keys() == names | SYSTEM


BASES = {
    "nothing": None,
    "butane 1.0.0": HEAD + MOTD,
    "butane 1.1.0": HEAD.replace("1.0.0", "1.1.0") + MOTD,
    "container linux config": CLC,
    "a unit": HEAD + "systemd:\n  units:\n    - name: docker.service\n      enabled: false\n",
    "a user": HEAD + "passwd:\n  users:\n    - name: core\n      ssh_authorized_keys: [ssh-ed25519 AAAA me]\n",
}


@pytest.mark.parametrize("source", BASES.values(), ids=list(BASES))
def test_ignition_accepts_every_labos_config(lab: Lab, source: str | None) -> None:
    lab = dataclasses.replace(lab, ssh_keys=("ssh-ed25519 AAAA lab",))
    made = boot(lab, base=written(source) if source else None)
    assert made.ignition is not None
    assert not list(ignition.validate(made.ignition.reveal()))
    config = config_of(made)
    assert config["ignition"]["version"] == "3.3.0"
    assert {unit["name"] for unit in config["systemd"]["units"]} >= {
        "docker-swarm-join.service", "docker-swarm-leave.service", "labkit-hello.service",
    }  # fmt: skip
    assert "/etc/docker/daemon.json" in files_of(config)


def test_container_linux_reads_version_2(lab: Lab) -> None:
    for base in (None, written(CLC)):
        made = boot(lab, "blade2", base)
        assert made.ignition is not None
        assert not ignition.validate(made.ignition.reveal()).is_fatal
        assert config_of(made)["ignition"]["version"].startswith("2.")


def test_a_container_linux_config_is_carried_over(lab: Lab) -> None:
    base = written(CLC)
    assert base.config["ignition"]["version"].startswith("2.")
    config = config_of(boot(dataclasses.replace(lab, ssh_keys=("ssh-ed25519 BBBB lab",)), base=base))
    assert config["ignition"]["version"] == "3.3.0"
    assert files_of(config)["/etc/motd"]["contents"]["source"] == "data:,hello"
    (core,) = config["passwd"]["users"]
    assert set(core["sshAuthorizedKeys"]) == {"ssh-ed25519 AAAA me", "ssh-ed25519 BBBB lab"}


def test_a_newer_config_is_carried_back_or_refused(lab: Lab) -> None:
    head = HEAD.replace("1.0.0", "1.1.0")
    base = written(head + MOTD)
    assert base.config["ignition"]["version"] == "3.4.0"
    assert config_of(boot(lab, base=base))["ignition"]["version"] == "3.3.0"
    newer = head + "storage:\n  luks:\n    - name: data\n      device: /dev/vda\n      discard: true\n"
    with pytest.raises(PlanError, match=r"Ignition 3\.4\.0 cannot be carried over to 3\.3\.0 for labos") as caught:
        boot(lab, base=written(newer))
    assert "discard" in str(caught.value) and "own.yaml" in str(caught.value)


def test_container_linux_cannot_read_version_3(lab: Lab) -> None:
    with pytest.raises(PlanError) as caught:
        boot(lab, "blade2", written(HEAD + MOTD))
    assert caught.value.where == "own.yaml (for blade2)"
    assert "Ignition 3.3.0" in caught.value.what and "container-linux reads 2.0.0 to 2.3.0" in caught.value.what
    assert "Container Linux Config" in caught.value.fix


def daemon_of(made: BootPlan) -> dict[str, Any]:
    source = files_of(config_of(made))["/etc/docker/daemon.json"]["contents"]["source"]
    said = json.loads(unquote(source.removeprefix("data:,")))
    assert isinstance(said, dict)
    return said


def writing(daemon: str, head: str = HEAD) -> BaseConfig:
    where = "      filesystem: root\n" if head == "" else ""
    return written(
        f"{head}storage:\n  files:\n    - path: /etc/docker/daemon.json\n{where}      contents:\n"
        f"        inline: {json.dumps(daemon)}\n    - path: /etc/motd\n{where}      contents: {{inline: hello}}\n"
    )


def test_logs_are_limited(lab: Lab) -> None:
    for blade in ("blade1", "blade2"):
        said = daemon_of(boot(lab, blade))
        assert said == {
            "labels": [f"blade={blade}", "boot=boot-1"],
            "log-driver": "json-file",
            "log-opts": {"max-size": "8m", "max-file": "2"},
        }


def test_a_persons_engine_config_is_put_together_with_ours(lab: Lab) -> None:
    theirs = {"debug": True, "labels": ["gpu=no", "blade=x"], "log-opts": {"max-size": "1g"}, "hosts": ["tcp://0"],
              "live-restore": True}  # fmt: skip
    for blade, head in (("blade1", HEAD), ("blade2", "")):
        made = boot(lab, blade, writing(json.dumps(theirs), head))
        assert daemon_of(made) == {
            "debug": True,
            "labels": ["gpu=no", f"blade={blade}", "boot=boot-1"],
            "log-driver": "json-file",
            "log-opts": {"max-size": "1g", "max-file": "2"},
        }
        assert "/etc/motd" in files_of(config_of(made))
        assert len([file for file in config_of(made)["storage"]["files"] if "daemon.json" in file["path"]]) == 1
        label, hosts, live = made.notes
        assert "the label blade=x does not count" in label
        assert "'hosts' does not count" in hosts and "'live-restore' does not count" in live
        assert not ignition.validate(json.dumps(config_of(made))).is_fatal


def test_mirrors_are_asked_after_the_labs(lab: Lab) -> None:
    cached = dataclasses.replace(lab, storage=Storage(cache="https://registry-1.docker.io"))
    base = writing('{"registry-mirrors": ["https://mine"]}')
    made = plan(cached, cached.blades[0], "b", BootSecrets(Secret(TICKET)), base)
    assert daemon_of(made)["registry-mirrors"] == [f"https://{cached.mirror}", "https://mine"] and made.notes == ()


@pytest.mark.parametrize("driver", ["journald", "none"])
def test_another_log_driver_keeps_its_own_options(lab: Lab, driver: str) -> None:
    said = daemon_of(boot(lab, base=writing(json.dumps({"log-driver": driver, "log-opts": {"tag": "x"}}))))
    assert (said["log-driver"], said["log-opts"]) == (driver, {"tag": "x"})
    assert "log-opts" not in daemon_of(boot(lab, base=writing(json.dumps({"log-driver": driver}))))


@pytest.mark.parametrize(
    ("daemon", "what"),
    [("{", "is no JSON"), ("[]", "is no JSON object"), ('{"labels": "a=b"}', "must be a list"),
     ('{"log-opts": []}', "must be an object")],
)  # fmt: skip
def test_an_engine_config_that_is_none_is_told(lab: Lab, daemon: str, what: str) -> None:
    with pytest.raises(PlanError, match=what) as caught:
        boot(lab, base=writing(daemon))
    assert caught.value.where == "own.yaml (for blade1)" and caught.value.fix


def test_an_engine_config_from_elsewhere_is_refused(lab: Lab) -> None:
    source = "https://example.org/daemon.json"
    base = written(
        f"{HEAD}storage:\n  files:\n    - path: /etc/docker/daemon.json\n      contents: {{source: {source}}}\n"
    )
    with pytest.raises(PlanError, match="takes /etc/docker/daemon.json from elsewhere"):
        boot(lab, base=base)


def test_a_long_engine_config_is_read_through_its_compression(lab: Lab) -> None:
    base = writing(json.dumps({"dns": ["10.0.0.1"] * 200}))
    assert "compression" in str(base.config)
    assert len(daemon_of(boot(lab, base=base))["dns"]) == 200


@pytest.mark.parametrize("path", ["/etc/hostname", "/etc/labkit/ticket"])
def test_a_file_of_ours_is_refused(lab: Lab, path: str) -> None:
    with pytest.raises(PlanError, match=f"this config writes {path}") as caught:
        boot(lab, base=written(HEAD + MOTD.replace("/etc/motd", path)))
    assert caught.value.where == "own.yaml (for blade1)" and caught.value.fix

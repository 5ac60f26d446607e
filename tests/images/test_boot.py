"""The blade OS boots in QEMU, takes a config as Container Linux would, and stops where it cannot."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from labkit import images
from labkit.boot import SYSTEMS, BootSecrets, archive, plan
from labkit.boot.artifacts import cpio
from labkit.events import Trouble
from labkit.images import labos, store
from labkit.lab import lab_yaml
from labkit.lab.secret import Secret
from labkit.machines.virtual.consoles import Consoles
from tests.boot.artifacts.test_golden_systems import RELEASES
from tests.images.test_catalogue import LAB
from tests.rig.machine import Console

pytestmark = [pytest.mark.qemu, pytest.mark.apart]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJsYWRlT1NUZXN0S2V5MDAwMDAwMDAwMDAwMDAwMDAw person@desk"
UNIT = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/touch /run/probe

[Install]
WantedBy=multi-user.target
"""
CONFIG: dict[str, Any] = {
    "ignition": {"version": "3.3.0"},
    "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": [KEY]}]},
    "storage": {
        "files": [
            {"path": "/etc/hostname", "mode": 0o644, "contents": {"source": "data:,blade7"}},
            {
                "path": "/etc/docker/daemon.json",
                "contents": {"source": "data:,%7B%22labels%22:%5B%22blade=blade7%22%5D%7D"},
            },
        ]
    },
    "systemd": {"units": [{"name": "probe.service", "enabled": True, "contents": UNIT}]},
}
OEM = ("coreos.first_boot=1", "coreos.config.url=oem:///raw.ign")


@pytest.fixture(scope="module")
def kernel() -> Path:
    """The image's kernel; the image is built when it is not there."""
    images.ensure_images(LAB, progress=print)
    return images.catalogue(LAB)["labos/vmlinuz"]


def with_archive(folder: Path, config: object) -> Path:
    """The image's initramfs with a blade's own archive behind it, as a boot loader lays them into memory."""
    text = config if isinstance(config, str) else json.dumps(config)
    initrd = folder / "initrd"
    base = images.catalogue(LAB)["labos/labos.cpio"].read_bytes()
    initrd.write_bytes(base + cpio.pack_gz({"usr/share/oem/raw.ign": text.encode()}))
    return initrd


def test_a_config_is_applied(kernel: Path, tmp_path: Path) -> None:
    with Console(kernel, with_archive(tmp_path, CONFIG), [*OEM, "coreos.autologin=ttyS0"]) as console:
        console.wait_for(r"labos: ignition: finished", timeout_s=120)
        console.wait_for(r"labos: docker: ready", timeout_s=400)
        console.take_shell(timeout_s=200)
        assert console.run("whoami; hostname") == "core\nblade7"
        assert console.run("cat .ssh/authorized_keys.d/ignition") == KEY
        assert "authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys.d/ignition" in console.run(
            "sudo systemctl start ssh; sudo sshd -T"
        )
        assert console.run("systemctl is-active probe.service ssh.socket systemd-resolved; ls /run/probe") == (
            "active\nactive\nactive\n/run/probe"
        )
        assert console.run("docker info --format '{{.Name}} {{.Driver}} {{.Labels}} {{.SecurityOptions}}'") == (
            "blade7 overlay2 [blade=blade7] [name=seccomp,profile=builtin name=cgroupns]"
        )
        loaded = console.run("cut -d' ' -f1 /proc/modules").split()
        assert {"ip_vs", "vxlan", "br_netfilter"} <= set(loaded)
        assert console.run("systemctl --failed --plain --no-legend") == ""
        assert "provisioningDate" in console.run("sudo cat /etc/.ignition-result.json")
        assert console.run("sudo ls -A /run/ignition") == "ls: cannot access '/run/ignition': No such file or directory"


@pytest.mark.parametrize("os", ["flatcar", "fedora-coreos"])
def test_the_plans_of_other_systems_are_obeyed(kernel: Path, tmp_path: Path, os: str) -> None:
    """Their arguments and their places, under this image's kernel and Ignition."""
    text = f"blades: [{{name: blade7, os: {os}, boot: ipxe, console: [ttyS0]}}]\n"
    lab = lab_yaml.parse(text, Path("lab.yaml"))
    made = plan(lab, lab.blades[0], "b1", BootSecrets(Secret("a ticket")), release=RELEASES[os])
    assert made.ignition is not None
    initrd = tmp_path / "initrd"
    base = images.catalogue(LAB)["labos/labos.cpio"].read_bytes()
    initrd.write_bytes(base + archive(made.ignition, SYSTEMS[made.os].config))
    with Console(kernel, initrd, [*made.arguments, "apparmor=0"]) as console:
        console.wait_for(r"labos: ignition: finished", timeout_s=120)
        console.wait_for(r"labos: docker: ready", timeout_s=400)
        console.take_shell(timeout_s=200)
        assert console.run("whoami; hostname") == "core\nblade7"
        scripts = SYSTEMS[made.os].scripts
        assert console.run(f"test -x {scripts}/join && echo there") == "there"
        assert f"path={scripts}/join " in console.run("systemctl show -P ExecStart docker-swarm-join")
        assert console.run("systemctl is-enabled docker.service docker-swarm-join docker-swarm-leave labkit-hello") == (
            "\n".join(["enabled"] * 4)
        )


UNDISTURBED = ("systemd.mask=docker.service", "systemd.mask=containerd.service")
"""Nothing that this test would have to wait for."""


def test_a_machine_without_a_driver_for_its_card_says_so(kernel: Path, tmp_path: Path) -> None:
    initrd = images.catalogue(LAB)["labos/labos.cpio"]
    log = tmp_path / "blade1.console.log"
    consoles = Consoles({"blade1": log})
    with Console(kernel, initrd, UNDISTURBED, "user,restrict=on,model=pcnet") as console:
        console.wait_for(r"labos: network: NO CARD .*\n", timeout_s=300)
    log.write_text(console.text)
    told = [
        event
        for event in consoles.read()
        if isinstance(event, Trouble) and event.detail.startswith("its system has no driver")
    ]
    assert [event.detail for event in told] == ["its system has no driver for its network card: 1022:2000 (PCI ids)"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"ignition": {"version": "9.9.9"}}, "unsupported config version"),
        ('{"ignition": {"version": "3.3.0"', "config is not valid"),
        ({"ignition": {"version": "3.3.0"}, "kernelArguments": {"shouldExist": ["quiet"]}}, "kargs"),
    ],
)
def test_a_broken_config_stops_the_boot(kernel: Path, tmp_path: Path, config: object, reason: str) -> None:
    with Console(kernel, with_archive(tmp_path, config), OEM) as console:
        stopped = console.wait_for(r"labos: BOOT STOPPED: Ignition failed in its stage '.*'\n", timeout_s=120)
        assert reason in console.text[: stopped.end()]
        assert "Full config" not in console.text  # Ignition's log has it, and it may hold secrets
        with pytest.raises(AssertionError):
            console.wait_for(r"login:|init: finished|Kernel panic", timeout_s=5)


def test_a_config_that_is_nowhere_stops_the_boot(kernel: Path) -> None:
    with Console(kernel, images.catalogue(LAB)["labos/labos.cpio"], OEM) as console:
        console.wait_for(r"BOOT STOPPED: oem:///raw.ign: no /usr/share/oem/raw.ign in any initrd", timeout_s=120)


def test_without_first_boot_the_config_is_left_alone(kernel: Path, tmp_path: Path) -> None:
    with Console(kernel, with_archive(tmp_path, "broken"), OEM[1:]) as console:
        console.wait_for(r"ignition: not run, because coreos.first_boot=1 is not given", timeout_s=120)
        console.wait_for(r"labos: init: finished", timeout_s=60)


def test_a_config_is_fetched(kernel: Path, tmp_path: Path) -> None:
    config = json.dumps({**CONFIG, "storage": {}})
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(config)}\r\nConnection: close\r\n\r\n{config}"
    (tmp_path / "answer").write_bytes(answer.encode())
    server = tmp_path / "server"
    server.write_text(f'#!/bin/sh\nread -r request\necho "$request" >>{tmp_path}/requests\ncat {tmp_path}/answer\n')
    server.chmod(0o755)
    network = f"user,model=virtio-net-pci,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:{shlex.quote(str(server))}"
    arguments = ["flatcar.first_boot=1", "flatcar.config.url=http://10.0.2.100/blade7.ign", "flatcar.autologin"]
    with Console(kernel, images.catalogue(LAB)["labos/labos.cpio"], arguments, network) as console:
        console.wait_for(r"labos: network: asking for an address", timeout_s=120)
        console.wait_for(r"labos: ignition: finished", timeout_s=120)
        assert (tmp_path / "requests").read_text().startswith("GET /blade7.ign ")
        console.take_shell(timeout_s=300)
        assert console.run("cat .ssh/authorized_keys.d/ignition") == KEY


def test_an_image_that_arrives_damaged_boots_again(kernel: Path, tmp_path: Path) -> None:
    initrd = with_archive(tmp_path, CONFIG)
    with initrd.open("r+b") as file:
        file.seek(initrd.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    with Console(kernel, initrd, OEM) as console:
        console.wait_for(
            r"labos: THE IMAGE ARRIVED DAMAGED \(Initramfs unpacking failed.*\); booting again", timeout_s=120
        )
        console.wait_for(r"reboot: Restarting system", timeout_s=60)
    assert "ignition: started" not in console.text


@pytest.mark.soak
def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe = labos.recipe()
    made = []
    for name in ("one", "two"):
        store.build_image(
            tmp_path / name,
            recipe,
            lambda folder, lock: labos.make(recipe, folder, lock, print),
            need_mib=labos.NEED_MIB,
            progress=print,
        )
        made.append(store.read_manifest(store.folder_of(tmp_path / name, recipe)))
    assert made[0] == made[1]

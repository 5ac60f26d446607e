"""What is exported, letter for letter, and what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from labkit.boot import BootSecrets, plan, tree
from labkit.boot.export import Wanted, dnsmasq, isc_dhcp, kea, matchbox, nginx
from labkit.boot.loaders import LOADERS, SECOND_PARTS
from labkit.errors import ParameterError
from labkit.lab import BootMethod, lab_yaml
from labkit.lab.secret import Secret
from tests.boot.export.labs import lab, wanted

GOLDEN = Path(__file__).with_name("golden")
TICKET = "0123456789abcdef"


@pytest.mark.parametrize("server", [dnsmasq, isc_dhcp, kea, nginx], ids=lambda server: server.FILE)
def test_letter_for_letter(server: ModuleType) -> None:
    assert server.render(wanted()) == (GOLDEN / server.FILE).read_text()


def test_beside_a_router() -> None:
    text = dnsmasq.render(wanted("dhcp: proxy"))
    assert "dhcp-range=10.77.0.0,proxy,255.255.255.0\ndhcp-ignore=tag:!known\n" in text
    assert "\npxe-service=tag:blade1,tag:!ipxe,x86PC,labkit,blade1/undionly.kpxe,10.77.0.1\n" in text
    assert "dhcp-option" not in text and "tag:http,tag:!ipxe,tag:efi" not in text
    for server in (isc_dhcp, kea):
        with pytest.raises(ParameterError, match=r"dhcp: proxy(.|\n)*export dnsmasq"):
            server.render(wanted("dhcp: proxy"))


def test_blades_of_a_signed_grub_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"blade1: the signed GRUB reads grub/grub.cfg at"):
        Wanted(lab_yaml.parse("blades: [{name: blade1, boot: grub}]\n", Path("lab.yaml")), "/srv/labkit", 600)


def test_what_a_network_does_not_have_is_not_told() -> None:
    bare = wanted("router: none, dns: [], domain: none")
    text = dnsmasq.render(bare)
    assert "dhcp-option=option:router\ndhcp-option=option:dns-server\n" in text and "domain" not in text
    assert "routers" not in isc_dhcp.render(bare) + kea.render(bare)
    pooled = wanted("pool: [10.77.0.100, 10.77.0.110]")
    assert "dhcp-range=10.77.0.100,10.77.0.110,255.255.255.0,3600\n" in dnsmasq.render(pooled)
    assert "dhcp-ignore" not in dnsmasq.render(pooled)
    assert "pool { deny known-clients; range 10.77.0.100 10.77.0.110; }" in isc_dhcp.render(pooled)
    assert '"pool": "10.77.0.100 - 10.77.0.110"' in kea.render(pooled)


def test_a_folder_is_quoted_or_refused() -> None:
    odd = wanted(files='/srv/my "lab\\')
    assert 'tftp-root="/srv/my \\"lab\\\\"\n' in dnsmasq.render(odd)
    assert 'root "/srv/my \\"lab\\\\/$labkit_blade";\n' in nginx.render(odd)
    assert "--tree '/srv/my \"lab\\/blade1'\n" in nginx.render(odd)
    with pytest.raises(ParameterError, match="variable"):
        nginx.render(wanted(files="/srv/$HOME"))
    for files in ("srv", "/srv/a\nport=53", ""):
        with pytest.raises(ParameterError, match="absolute path"):
            wanted(files=files)


def test_matchbox_gets_a_profile_and_a_group_for_each_card() -> None:
    blade = replace(lab().blades[0], console=())
    one = replace(lab(), blades=(blade,))
    made = plan(one, blade, "b", BootSecrets(Secret(TICKET)))
    made = replace(made, arguments=("root=live:http://10.77.0.1/labos/root.img", "quiet"))
    files = matchbox.render(Wanted(one, matchbox.ASSETS, 3600), lambda: {"blade1": made})
    assert sorted(files) == ["README.txt", "groups/blade1-card2.json", "groups/blade1.json", "profiles/blade1.json"]
    assert json.loads(files["groups/blade1-card2.json"]) == {
        "id": "blade1-card2", "name": "blade1-card2", "profile": "blade1", "selector": {"mac": "52:54:00:4d:01:01"},
    }  # fmt: skip
    assert json.loads(files["profiles/blade1.json"])["boot"] == {
        "kernel": "/assets/blade1/labos/vmlinuz",
        "initrd": [
            "--name labos.cpio /assets/blade1/labos/labos.cpio",
            "--name oem.cpio.gz /assets/blade1/labos/oem.cpio.gz",
        ],
        "args": [
            "initrd=labos.cpio", "initrd=oem.cpio.gz", "root=live:http://10.77.0.1/assets/blade1/labos/root.img",
            "quiet",
        ],
    }  # fmt: skip
    assert "MATCHBOX_ADDRESS=10.77.0.1:80" in files["README.txt"]
    assert TICKET not in "".join(files.values())


def test_matchbox_boots_by_ipxe_alone() -> None:
    with pytest.raises(ParameterError, match=r"blade2: .*boot: pxelinux"):
        matchbox.render(wanted(), dict)


@pytest.mark.parametrize("method", BootMethod)
def test_a_folder_for_every_firmware_has_all_that_is_named(method: BootMethod) -> None:
    blade = replace(lab().blades[0], boot=method)
    one = replace(lab(), blades=(blade,))
    made = plan(one, blade, "b", BootSecrets(Secret(TICKET)))
    files = set(tree(one, blade, made, every_firmware=True))
    named = {file for (its, _, _), file in LOADERS.items() if its is method}
    assert named <= files and {SECOND_PARTS[file] for file in named & set(SECOND_PARTS)} <= files
    assert ("pxelinux.cfg/default" in files) == bool(named & set(SECOND_PARTS))
    assert set(tree(one, blade, made)) < files

"""``storage:`` in lab.yaml: a folder for all blades, and a cache of another registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import NetworkKind, Storage, lab_yaml

LAB = "blades:\n  - name: blade1\n"
REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2, tls: true}
bmc: {password_file: secret}
blades:
  - {name: red1, macs: [00:00:5e:00:53:10], bmc: {address: 10.0.40.201}}
"""


@pytest.mark.parametrize(
    ("said", "storage"),
    [
        ("", Storage()),
        ("storage: {share: true}\n", Storage(share=True)),
        ("storage: {share: off, cache: no}\n", Storage()),
        ("storage: {cache: true}\n", Storage(cache="https://registry-1.docker.io")),
        ("storage: {cache: 'http://10.77.0.254:5002/', cache_port: 5009}\n",
         Storage(cache="http://10.77.0.254:5002", cache_port=5009)),
    ],
)  # fmt: skip
def test_the_storage(said: str, storage: Storage) -> None:
    assert lab_yaml.parse(LAB + said, Path("lab.yaml")).storage == storage


def test_a_shared_folder_is_named_from_the_lab_files_folder(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    lab = lab_yaml.parse(LAB + "storage: {share: pages}\n", tmp_path / "lab.yaml")
    assert lab.storage == Storage(share=True, folder=tmp_path / "pages")


def test_the_cache_listens_where_it_can_reach_its_registry() -> None:
    lab = lab_yaml.parse(LAB + "storage: {cache: true}\n", Path("lab.yaml"))
    assert lab.mirror == "10.77.0.254:5001"
    assert lab_yaml.parse(LAB, Path("lab.yaml")).mirror == ""
    assert replace(lab, network=replace(lab.network, kind=NetworkKind.INTERFACE)).mirror == "10.77.0.1:5001"


@pytest.mark.parametrize(("port", "key"), [(80, "http_port"), (443, "https_port"), (5000, "registry_port")])
def test_the_cache_has_a_port_of_its_own(port: int, key: str) -> None:
    with pytest.raises(LabFileError) as caught:
        lab_yaml.parse(f"{REAL}storage: {{cache: true, cache_port: {port}}}\n", Path("lab.yaml"))
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.what) == (5, f"port {port} is already {key}")

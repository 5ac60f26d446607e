"""A blade's configs: filled in from lab.yaml, merged in order, told of by file, and wrong before anything boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit import ignition
from labkit.diagnosis.doctor import probe
from labkit.errors import PlanError
from labkit.lab import Lab, lab_yaml
from labkit.netboot import configs

HEAD = "variant: flatcar\nversion: 1.0.0\n"
FILES = {
    "all.bu": HEAD
    + """
storage: {files: [{path: /etc/motd, contents: {inline: "{{ blade.name }} of {{ lab.name }}"}}]}
systemd: {units: [{name: docker.service, enabled: true}]}
""",
    "manager.bu": HEAD.replace("1.0.0", "1.1.0")
    + """
storage: {files: [{path: /etc/motd, mode: 0600}, {path: /etc/names, contents: {inline: "{{.Node.Hostname}}"}}]}
systemd: {units: [{name: docker.service, dropins: [{name: m.conf, contents: "[Service]\\nNice=1\\n"}]}]}
""",
    "old.clc": "storage: {files: [{path: /etc/old, filesystem: root, mode: 0644, contents: {inline: x}}]}\n",
    "rack.bu": HEAD + "storage:\n  links:\n    - path: /etc/rack\n      target: '{{ blade.labels.rack }}'\n",
}
LAB = """
config:
  - all.bu
  - {role: manager, config: manager.bu}
  - {os: labos, config: [old.clc]}
blades:
  - {name: blade1, role: manager}
  - {name: blade2, os: flatcar}
  - {name: blade3, os: flatcar, config: [all.bu, rack.bu], labels: {rack: r1}}
  - {name: blade4, config: [all.bu, old.clc, rack.bu]}
  - {name: blade5, config: rack.bu, labels: {rack: r1}}
  - {name: blade6, config: []}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return lab_yaml.parse(LAB, tmp_path / "lab.yaml")


def files(lab: Lab, blade: str) -> list[str]:
    return [path.name for path in lab.blade(blade).config]


def test_each_blade_has_its_files_in_order(lab: Lab) -> None:
    assert files(lab, "blade1") == ["all.bu", "manager.bu", "old.clc"]
    assert files(lab, "blade2") == ["all.bu"]
    assert files(lab, "blade3") == ["all.bu", "rack.bu"]
    assert files(lab, "blade4") == ["all.bu", "old.clc", "rack.bu"]
    assert (files(lab, "blade5"), files(lab, "blade6")) == (["rack.bu"], [])


def test_they_are_merged_as_ignition_merges_in_the_newest_version_of_them(lab: Lab) -> None:
    made = configs.base_config(lab, lab.blade("blade1"))
    assert made is not None
    assert made.config["ignition"]["version"] == "3.4.0"
    motd, names, old = made.config["storage"]["files"]
    assert motd == {
        "path": "/etc/motd",
        "mode": 0o600,
        "contents": {"compression": "", "source": "data:,blade1%20of%20lab"},
    }
    assert names["contents"]["source"] == "data:,%7B%7B.Node.Hostname%7D%7D"
    assert old["path"] == "/etc/old"
    (docker,) = made.config["systemd"]["units"]
    assert docker["enabled"]
    assert docker["dropins"][0]["name"] == "m.conf"


def test_it_is_told_which_file_gave_what(lab: Lab) -> None:
    assert configs.names(lab, lab.blade("blade1")) == "all.bu, manager.bu, old.clc"
    told = dict(line.split("  ", 1) for line in configs.look(lab, lab.blade("blade1")).lines() if "  " in line)
    assert {what.strip(): names.strip() for what, names in told.items() if what} == {
        "file /etc/motd": "all.bu, manager.bu",
        "file /etc/names": "manager.bu",
        "file /etc/old": "old.clc",
        "unit docker.service": "all.bu, manager.bu",
    }
    assert configs.look(lab, lab.blade("blade2")).as_json()["gave"].keys() == {"file /etc/motd", "unit docker.service"}


def test_what_is_wrong_is_known_before_a_boot(lab: Lab) -> None:
    with pytest.raises(PlanError) as caught:
        configs.base_config(lab, lab.blade("blade4"))
    assert caught.value.where.endswith("rack.bu (for blade4)")
    assert "line 6 col 16: blade4 has no label 'rack'" in str(caught.value)
    ((what, fix),) = probe.wrong_configs(lab)
    assert "blade4 has no label 'rack'" in what
    assert fix


def test_a_file_that_labkit_writes_is_known_before_a_boot(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "rack.bu").write_text(HEAD + "storage: {files: [{path: /etc/hostname, contents: {inline: x}}]}\n")
    ((what, _),) = probe.wrong_configs(lab)
    assert f"{tmp_path}/rack.bu (for blade3): this config writes /etc/hostname" in what


def test_a_version_that_another_cannot_be_carried_to_is_named() -> None:
    old = {"ignition": {"version": "2.3.0"}, "networkd": {"units": [{"name": "a.network", "contents": "["}]},
           "storage": {"files": [{"filesystem": "data", "path": "/x"}]}}  # fmt: skip
    with pytest.raises(ignition.IgnitionError, match=r"old.clc cannot be carried over to Ignition 3.3.0"):
        ignition.merge_all([("new.bu", {"ignition": {"version": "3.3.0"}}), ("old.clc", old)])


def test_one_config_alone_stays_as_it_is() -> None:
    config = {"ignition": {"version": "3.3.0"}, "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["a"]}]}}
    merged = ignition.merge_all([("one.bu", config)])
    assert (merged.config, merged.gave) == (config, (("user core", ("one.bu",)),))

"""Validation of Ignition JSON, translation between versions, merging."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from labkit import ignition
from labkit.ignition import IgnitionError
from labkit.ignition.clc import oem
from labkit.ignition.spec import v3


def config(version: str = "3.3.0", **sections: Any) -> dict[str, Any]:
    return {"ignition": {"version": version}, **sections}


def lines(value: dict[str, Any]) -> list[str]:
    return ignition.validate(json.dumps(value)).raw().splitlines()


def files(*items: dict[str, Any], version: str = "3.3.0") -> dict[str, Any]:
    return config(version, storage={"files": list(items)})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (files({"path": "/a"}, {"path": "/a"}), "duplicate entry defined"),
        (files({"path": "/a/../b"}), "path is not fully simplified"),
        (files({"path": "/a", "mode": 0o10000}), "illegal file mode"),
        (files({"path": "/a", "mode": 0o4755}), "setuid/setgid/sticky"),
        (files({"path": "/a", "contents": {"source": "data:;base64,%"}}), "invalid data character"),
        (files({"path": "/a", "contents": {"source": "gs://x"}}, version="3.1.0"), "invalid url scheme"),
        (files({"path": "/a", "contents": {"verification": {"hash": "sha256-0"}}}), "incorrect size for hash sum"),
        (files({"path": "/etc/systemd/system/a.service"}), ""),
        (config(systemd={"units": [{"name": "a"}]}), "invalid systemd unit extension"),
        (config(storage={"raid": [{"name": "a"}]}), "raid level is required"),
        (config(storage={"links": [{"path": "/a", "target": "/b"}], "files": [{"path": "/a/c"}]}), "includes link"),
        (config(kernelArguments={"shouldExist": ["a"], "shouldNotExist": ["a"]}), "duplicate entry defined"),
        (config("2.3.0", storage={"files": [{"path": "a", "filesystem": "root", "mode": 1}]}), "path not absolute"),
        (config("2.3.0", storage={"filesystems": [{"name": "x"}]}), "filesystem is missing mount or path"),
    ],
)
def test_a_broken_rule_is_named(value: dict[str, Any], message: str) -> None:
    found = lines(value)
    assert any(message in line for line in found) if message else found == []


def test_remarks_stand_where_the_value_stands() -> None:
    text = '{"ignition": {"version": "3.3.0"},\n "storage": {"files": [{"path": "a", "paht": 1}]}}'
    report = ignition.validate(text)
    assert report.raw() == (
        "error at $.storage.files.0.path, line 2 col 33: path not absolute\n"
        "warning at $.storage.files.0.paht, line 2 col 38: unused key paht\n"
    )
    assert report.errors[0].fix == "start the path with /"
    assert ignition.validate('{"ignition": {"version": "3.0.0"},}').errors[0].message == (
        "invalid character '}' looking for beginning of object key string"
    )
    assert "cannot unmarshal number" in ignition.validate('{"ignition": {"version": "3.0.0"}, "systemd": 1}').raw()


def test_every_version_knows_the_fields_of_the_one_before() -> None:
    names = [{field.json for field in v3.ignition(version).fields} for version in v3.IGNITION]
    assert all(older <= newer for older, newer in pairwise(names))
    assert "luks" not in v3.ignition("3.1.0").by_json["storage"].type.struct.by_json  # type: ignore[union-attr]
    for variant, version in v3.BUTANE:
        made = ignition.transpile(f"variant: {variant}\nversion: {version}\n")
        assert made.version == v3.BUTANE[variant, version]


def test_spec_2_is_carried_over_with_what_it_implied() -> None:
    old = config(
        "2.3.0",
        storage={
            "filesystems": [{"name": "data", "path": "/var/data"}],
            "files": [
                {"filesystem": "data", "path": "/a", "mode": 0, "contents": {"source": "data:,x", "verification": {}}},
                {"filesystem": "root", "path": "/b", "append": True, "contents": {"source": "data:,y"}},
            ],
            "disks": [{"device": "/dev/sda", "partitions": [{"number": 1, "size": 4096, "start": 2048}]}],
        },
        networkd={"units": [{"name": "a.network", "contents": "[Match]\n"}]},
        systemd={"units": [{"name": "a.service", "enable": True}, {"name": "a.service", "mask": True}]},
        passwd={"users": [{"name": "core", "create": {"uid": 7}}]},
    )
    new = ignition.translate(old, "3.0.0")
    assert new["storage"]["files"] == [
        {"overwrite": True, "path": "/var/data/a", "contents": {"source": "data:,x"}, "mode": 0},
        {"path": "/b", "append": [{"source": "data:,y"}]},
        {"overwrite": True, "path": "/etc/systemd/network/a.network", "contents": {"source": "data:,%5BMatch%5D%0A"}}
        | {"mode": 0o644},
    ]
    assert new["storage"]["disks"][0]["partitions"] == [{"number": 1, "sizeMiB": 2, "startMiB": 1}]
    assert new["systemd"]["units"] == [{"enabled": True, "mask": True, "name": "a.service"}]
    assert new["passwd"]["users"] == [{"name": "core", "uid": 7}]
    assert lines(new) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (config("2.3.0", storage={"files": [{"filesystem": "x", "path": "/a"}]}), "filesystem 'x' has no path"),
        (
            config("2.2.0", storage={"disks": [{"device": "/dev/a", "partitions": [{"number": 1, "size": 100}]}]}),
            "not a whole number of MiB",
        ),
        (config("2.3.0", storage={"files": [{"path": "/a", "filesystem": "root"}] * 2}), "written twice"),
        (files({"path": "/a", "mode": 0o4755}, version="3.6.0"), "need spec 3.6.0"),
        (config("3.4.0", storage={"luks": [{"name": "a", "device": "/dev/a", "discard": True}]}), "has no discard"),
        (config("2.3.0", ignition={"version": "2.3.0", "config": {"append": [{"source": "oem:///x"}]}}), "url scheme"),
        (config("1.0.0"), "unsupported config version"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_with_the_reason(value: dict[str, Any], reason: str) -> None:
    with pytest.raises(IgnitionError) as caught:
        ignition.translate(value, "3.3.0")
    assert reason in str(caught.value)


def test_a_config_is_lowered_when_nothing_in_it_needs_more() -> None:
    new = files({"path": "/a", "contents": {"source": "data:,x", "compression": ""}}, version="3.6.0")
    assert ignition.translate(new, "3.0.0")["ignition"]["version"] == "3.0.0"
    assert ignition.lowest(new) == "3.0.0"
    assert ignition.lowest(config(kernelArguments={"shouldExist": ["quiet"]})) == "3.3.0"


def test_oem_is_carried_as_each_system_reads_it() -> None:
    assert oem.carry("oem:///raw.ign", "flatcar") == oem.Carried(
        "usr/share/oem/raw.ign", "ignition.config.url=oem:///raw.ign"
    )
    assert oem.carry("oem:///raw.ign", "fcos") == oem.Carried("config.ign", "")
    with pytest.raises(IgnitionError):
        oem.carry("http://x/raw.ign", "fcos")
    old = config("2.3.0", ignition={"version": "2.3.0", "config": {"append": [{"source": "oem:///x"}]}})
    assert ignition.translate(old, oem=True)["ignition"]["config"]["merge"] == [{"source": "oem:///x"}]


def test_merging_goes_by_key() -> None:
    base = config(
        storage={"files": [{"path": "/a", "mode": 1, "contents": {"source": "data:,a"}}, {"path": "/b"}]},
        systemd={"units": [{"name": "a.service", "enabled": True, "dropins": [{"name": "1.conf", "contents": "[A]"}]}]},
        passwd={"users": [{"name": "core", "sshAuthorizedKeys": ["one"]}]},
    )
    overlay = config(
        storage={"files": [{"path": "/c"}, {"path": "/a", "mode": 2}], "links": [{"path": "/b", "target": "/x"}]},
        systemd={"units": [{"name": "a.service", "dropins": [{"name": "2.conf"}, {"name": "1.conf", "contents": ""}]}]},
        passwd={"users": [{"name": "core", "sshAuthorizedKeys": ["two", "one"], "uid": 0}]},
    )
    merged = ignition.merge(base, overlay)
    assert merged["storage"]["files"] == [{"path": "/a", "contents": {"source": "data:,a"}, "mode": 2}, {"path": "/c"}]
    assert merged["storage"]["links"] == [{"path": "/b", "target": "/x"}]
    unit = merged["systemd"]["units"][0]
    assert unit["enabled"] is True and [each["name"] for each in unit["dropins"]] == ["1.conf", "2.conf"]
    assert merged["passwd"]["users"] == [{"name": "core", "sshAuthorizedKeys": ["one", "two"], "uid": 0}]
    with pytest.raises(IgnitionError, match=r"cannot merge 3\.0\.0"):
        ignition.merge(base, config("3.0.0"))


def test_versions_are_read_from_text_and_values() -> None:
    assert ignition.version_of(b'{"ignition": {"version": "2.3.0"}}') == "2.3.0"
    wrongs: list[Any] = [b"", b"[]", b'{"ignition": {"version": 3}}', {}]
    for wrong in wrongs:
        with pytest.raises(IgnitionError):
            ignition.version_of(wrong)

"""What a machine boots that is not in the lab: labos that looks at it, with nothing of a blade's and no Docker."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from labkit import ignition
from labkit.boot import ImageFile, Rendered
from labkit.boot.artifacts.text import render_text
from labkit.boot.discovery import discovery_files, discovery_plan
from labkit.lab import Lab, lab_yaml

TEXT = "network: {pool: [10.77.0.100, 10.77.0.149], discover: true}\nblades: [{name: blade1}]\n"


@pytest.fixture
def lab() -> Lab:
    return lab_yaml.parse(TEXT, Path("lab.yaml"))


def test_it_has_no_docker_no_secret_and_no_name_of_a_blade(lab: Lab) -> None:
    plan = discovery_plan(lab)
    assert {f"systemd.mask={unit}.service" for unit in ("docker", "containerd")} <= set(plan.arguments)
    assert plan.ignition is not None
    config = json.loads(plan.ignition.reveal())
    assert ignition.validate(plan.ignition.reveal().encode()).entries == ()
    files = {one["path"]: unquote(one["contents"]["source"]) for one in config["storage"]["files"]}
    assert set(files) == {"/etc/hostname", "/etc/labkit/inventory", "/etc/labkit/discover"}
    assert "http://10.77.0.1/v1/$path" in files["/etc/labkit/discover"]
    assert [unit["name"] for unit in config["systemd"]["units"]] == ["labkit-discover.service"]
    assert "passwd" not in config and "blade1" not in plan.ignition.reveal()
    assert not any("autologin" in argument for argument in plan.arguments)


def test_it_speaks_on_the_usual_consoles_and_on_those_of_the_blades() -> None:
    lab = lab_yaml.parse(
        TEXT.replace("{name: blade1}", "{name: a, console: [tty0, 'ttyS1,9600']}, {name: b}"), Path("x")
    )
    consoles = [word for word in discovery_plan(lab).arguments if word.startswith("console=")]
    assert consoles == ["console=tty0", "console=ttyS0,115200", "console=ttyS1,9600"]


def test_every_loader_finds_what_it_asks_for(lab: Lab) -> None:
    files = discovery_files(lab)
    assert isinstance(files["labos/vmlinuz"], ImageFile) and isinstance(files["lpxelinux.0"], ImageFile)
    for name in ("pxelinux.cfg/default", "boot.ipxe"):
        menu = files[name]
        assert isinstance(menu, Rendered) and b"systemd.mask=docker.service" in menu.content
    archive = files["labos/oem.cpio.gz"]
    assert isinstance(archive, Rendered) and b"labkit-discover" in gzip.decompress(archive.content)


CURL = """\
#!/bin/sh
for word; do case $word in http*) echo "$word" >>"$ASKED" ;; esac; done
case "$*" in
*/v1/machine) # fails the first time
    cat >"$ASKED.report"
    [ -e "$ASKED.again" ] || { touch "$ASKED.again"; exit 7; }
    printf 'found: 4 cores\\nadopt it\\n'
    ;;
*/v1/waiting) [ -e "$ASKED.twice" ] && echo adopted || { touch "$ASKED.twice"; echo wait; } ;;
esac
"""


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_it_tells_waits_and_boots_again_once_it_is_taken_in(tmp_path: Path, shell: str) -> None:
    programs = {"curl": CURL, "sleep": "#!/bin/sh\n", "systemctl": '#!/bin/sh\necho "$*" >>"$ASKED"\n'}
    (tmp_path / "bin").mkdir()
    for name, text in (*programs.items(), ("../inventory", "#!/bin/sh\necho facts\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    log = tmp_path / "kmsg"
    (tmp_path / "discover").write_text(
        render_text("scripts/discover", root="http://lab", scripts=str(tmp_path), log=str(log))
    )
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}
    subprocess.run([shell, tmp_path / "discover"], env=env, check=True, timeout=60)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [*["http://lab/v1/machine"] * 2, *["http://lab/v1/waiting"] * 2, "reboot"]
    assert (tmp_path / "asked.report").read_text() == "facts\n"
    said = log.read_text()
    assert "nothing of it is changed" in said and "<5>labkit: found: 4 cores\n<5>labkit: adopt it\n" in said

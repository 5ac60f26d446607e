"""What labkit makes of a person's daemon.json, read by the engine that has to start with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from labkit.boot.engine_config import engine_config, merge
from labkit.lab import lab_yaml
from tests.rig.fleet import Fleet

pytestmark = pytest.mark.engine

LAB = lab_yaml.parse("storage: {cache: true}\nblades: [{name: blade1}]\n", Path("lab.yaml"))


@pytest.mark.parametrize("theirs", [{}, {"debug": True, "log-opts": {"max-size": "1m", "compress": "true"}},
                                    {"log-driver": "local"}, {"log-driver": "journald", "log-opts": {"tag": "x"}},
                                    {"hosts": ["tcp://0.0.0.0:1"], "live-restore": True}])  # fmt: skip
def test_an_engine_takes_it(swarm: Fleet, theirs: dict[str, object]) -> None:
    machine = swarm.blade("blade1")
    root = Path(f"/proc/{machine.inner()[0]}/root")
    merged, _ = merge(theirs, engine_config(LAB, LAB.blades[0], "a"))
    (root / "etc/docker/tried.json").write_text(json.dumps(merged))
    words = ["chroot", str(root), "/usr/sbin/dockerd", "--validate", "--config-file=/etc/docker/tried.json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "configuration OK" in done.stdout + done.stderr) == (0, True), done.stderr

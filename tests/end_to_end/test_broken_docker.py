"""A blade whose Docker does not start says so in seconds, and one whose Docker starts at the third try joins."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from labkit.errors import PowerError
from labkit.events import Phoned, UnitFailed
from labkit.servers.client import RunningLab, ensure_blades
from labkit.swarm import cluster
from tests.rig.front_door import new_lab
from tests.rig.known import shows

LAB = """\
boot: ipxe
network: {subnet: 10.87.0.0/24}
blades: [{name: blade1, config: mine.bu}]
"""
HEAD = "variant: flatcar\nversion: 1.0.0\n"
WRONG_KEY = (
    HEAD
    + """\
storage:
  files:
    - {path: /etc/docker/daemon.json, contents: {inline: '{"no-such-key": true}'}}
"""
)
THIRD_TRY = (
    HEAD
    + """\
systemd:
  units:
    - name: docker.service
      dropins:
        - name: tries.conf
          contents: |
            [Service]
            ExecStartPre=/bin/sh -c 'echo >>/run/tries; [ "$(wc -l </run/tries)" -gt 2 ]'
"""
)


def since_os_s(running: RunningLab, moment: float) -> float:
    return moment - max(event.time for event in running.events() if isinstance(event, Phoned) and event.stage == "os")


@pytest.mark.qemu
@pytest.mark.apart
def test_a_docker_that_does_not_start_ends_the_wait_and_one_that_does_late_ends_none(tmp_path: Path) -> None:
    (tmp_path / "mine.bu").write_text(WRONG_KEY)
    with new_lab(tmp_path, LAB) as door:
        running = door.up()
        with running.engine() as engine:
            cluster.ensure_swarm_of(engine, running.lab)
        with pytest.raises(PowerError, match="blade1: Docker did not start .*no-such-key") as caught:
            ensure_blades(running, running.lab.blades, until="joined", timeout_s=1200)
        ended = time.time()
        [told] = [event for event in running.events() if isinstance(event, UnitFailed)][:1]
        print(f"\ntold {since_os_s(running, told.time):.0f} s after the system was up, and the wait ended "
              f"{ended - told.time:.1f} s later: {caught.value}")  # fmt: skip
        assert since_os_s(running, told.time) < 120 and ended - told.time < 5
        shows("unit-failed", running.events(), "blade1")
        why = door("why", "blade1")
        assert why.returncode == 1 and "no-such-key" in why.stdout and "journalctl" in why.stdout
        assert "no Docker" in door("status").stdout

        running.power(running.lab.blade("blade1"), "off")
        running.wait_power(running.lab.blade("blade1"), "off", timeout_s=30)
        (tmp_path / "mine.bu").write_text(THIRD_TRY)
        before = len([event for event in running.events() if isinstance(event, UnitFailed)])
        ensure_blades(running, running.lab.blades, until="joined", timeout_s=1200)
        assert door("ssh", "blade1", "wc -l </run/tries", timeout_s=120).stdout.strip() == "3"
        assert len([event for event in running.events() if isinstance(event, UnitFailed)]) == before
        assert door("why", "blade1").returncode == 0

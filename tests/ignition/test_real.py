"""The real Ignition is the judge: what it makes of a config on an empty root is what `describe` promised.

Debian's package ignition 2.14 reads specs up to 3.3.0. It runs as root on a folder; nothing outside that changes.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from labkit import ignition
from labkit.ignition.analysis.describe import describe

BINARY = Path("/usr/lib/dracut/modules.d/30ignition/ignition")

pytestmark = [
    pytest.mark.ignition,
    pytest.mark.skipif(os.geteuid() != 0, reason="Ignition changes owners and needs root"),
    pytest.mark.skipif(not BINARY.exists(), reason="the binary of Debian's package ignition is not installed"),
]

CONFIGS = {
    "files": """
variant: flatcar
version: 1.0.0
storage:
  directories:
    - {path: /opt/lab/deep, mode: 0750, user: {id: 7}, group: {id: 8}}
  files:
    - {path: /etc/hostname, mode: 0644, contents: {inline: blade1}}
    - {path: /opt/lab/secret, mode: 0600, user: {id: 1000}, contents: {inline: "a\\nb ü <&>\\n"}}
    - {path: /opt/lab/big, contents: {inline: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}
    - {path: /opt/lab/empty, contents: {inline: ""}}
    - {path: /opt/lab/log, append: [{inline: "one\\n"}, {inline: "two\\n"}]}
  links:
    - {path: /opt/lab/link, target: secret}
    - {path: /opt/lab/hard, target: /opt/lab/big, hard: true}
""",
    "units": """
variant: fcos
version: 1.4.0
systemd:
  units:
    - name: join.service
      enabled: true
      contents: |
        [Service]
        ExecStart=/bin/true
        [Install]
        WantedBy=multi-user.target
    - {name: off.service, enabled: false}
    - {name: gone.service, mask: true}
    - name: docker.service
      dropins: [{name: 10-lab.conf, contents: "[Service]\\nEnvironment=A=b\\n"}]
""",
    "blade": """
variant: flatcar
version: 1.0.0
storage:
  directories:
    - {path: /etc/labkit, mode: 0700}
    - {path: /srv/www, mode: 0755, user: {id: 33}, group: {id: 33}}
  files:
    - {path: /etc/labkit/ticket, mode: 0600, contents: {inline: "X-Labkit-Ticket: 0f4e8c1a\\n"}}
    - {path: /etc/labkit/join, mode: 0755, contents: {inline: "#!/bin/sh\\nexec curl -sf http://10.0.0.1/ticket\\n"}}
    - path: /etc/docker/daemon.json
      overwrite: true
      mode: 0644
      contents: {source: "data:;base64,eyJsb2ctZHJpdmVyIjogImpvdXJuYWxkIn0K"}
    - {path: /srv/www/index.html, user: {id: 33}, group: {id: 33}, contents: {inline: "<p>hello, wörld</p>"}}
  links:
    - {path: /etc/localtime, target: ../usr/share/zoneinfo/Asia/Tokyo, overwrite: true}
systemd:
  units:
    - name: docker.service
      enabled: true
      dropins:
        - {name: 10-after.conf, contents: "[Unit]\\nAfter=time-sync.target\\n"}
        - {name: 20-env.conf, contents: "[Service]\\nEnvironment=DOCKER_OPTS=--debug\\n"}
    - {name: update-engine.service, mask: true}
    - name: leave@.service
      contents: "[Service]\\nExecStart=/bin/true\\nExecStop=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n"
""",
    "mount": """
variant: fcos
version: 1.4.0
storage:
  files:
    - {path: /etc/sysctl.d/90-lab.conf, contents: {inline: "net.ipv4.ip_forward = 1\\n"}}
    - {path: /etc/motd, append: [{inline: "lab\\n"}, {source: "data:,bench%0A"}]}
    - {path: /usr/local/bin/run, mode: 0755, contents: {inline: "#!/bin/sh\\n"}}
  links:
    - {path: /usr/local/bin/start, target: run}
    - {path: /usr/local/bin/hard, target: /usr/local/bin/run, hard: true}
systemd:
  units:
    - name: var-lib-docker.mount
      enabled: true
      contents: "[Mount]\\nWhat=tmpfs\\nWhere=/var/lib/docker\\nType=tmpfs\\n[Install]\\nRequiredBy=local-fs.target\\n"
    - {name: sleep.socket, contents: "[Socket]\\nListenStream=/run/sleep\\n[Install]\\nWantedBy=sockets.target\\n"}
    - name: tick.timer
      enabled: true
      contents: "[Timer]\\nOnCalendar=hourly\\n[Install]\\nWantedBy=timers.target\\n"
""",
    "article": (Path(__file__).parent / "cases/article.clc").read_text(),
    "clc": """
docker: {flags: [--debug]}
storage:
  files:
    - {path: /etc/lab.conf, filesystem: root, mode: 0640, contents: {inline: "x=1"}}
networkd:
  units: [{name: 00-lab.network, contents: "[Match]\\nName=eth0\\n"}]
""",
}


def run_ignition(config: dict[str, Any], tmp_path: Path) -> Path:
    """Run Ignition's fetch and files stages on an empty root; returns the root."""
    root, tools, source = tmp_path / "root", tmp_path / "bin", tmp_path / "config.ign"
    (root / "etc/selinux").mkdir(parents=True)
    (root / "etc/selinux/config").write_text("SELINUXTYPE=targeted\n")
    (root / "etc/passwd").touch()
    tools.mkdir()
    (tools / "setfiles").symlink_to(shutil.which("true") or "/bin/true")  # labels mean nothing on this root
    source.write_text(json.dumps(config))
    environment = {**os.environ, "IGNITION_CONFIG_FILE": str(source), "PATH": f"{tools}:{os.environ['PATH']}"}
    for stage in ("fetch-offline", "files"):
        command = [str(BINARY), "--platform=file", f"--stage={stage}", f"--root={root}", "--log-to-stdout"]
        command += [f"--{name}={tmp_path / name}" for name in ("config-cache", "state-file", "neednet")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    return root


@pytest.mark.parametrize("name", CONFIGS)
def test_ignition_makes_what_was_promised(name: str, tmp_path: Path) -> None:
    config = json.loads(ignition.transpile(CONFIGS[name]).config)
    config = ignition.translate(config, "3.0.0" if name == "clc" else "3.3.0")
    config.pop("passwd", None)  # the root has no useradd
    told = describe(config)
    root = run_ignition(config, tmp_path)
    for node in told.nodes:
        made = root / node.path.lstrip("/")
        status = made.lstat()
        if node.kind == "link":
            assert status.st_ino == (root / node.target.lstrip("/")).lstat().st_ino if node.hard else made.is_symlink()
            continue
        assert stat.S_IMODE(status.st_mode) == node.mode
        if node.kind == "file":
            added = b"".join(each for each in node.appended if isinstance(each, bytes))
            assert made.read_bytes() == (node.content or b"") + added
        assert ":".join("root" if owner == 0 else str(owner) for owner in (status.st_uid, status.st_gid)) == node.owner
    presets = root / "etc/systemd/system-preset/20-ignition.preset"
    lines = presets.read_text().splitlines() if presets.exists() else []
    for unit in told.units:
        folder = root / "etc/systemd/system"
        if unit.contents is not None:
            assert (folder / unit.name).read_text() == unit.contents
        for dropin, text in unit.dropins:
            assert (folder / f"{unit.name}.d" / dropin).read_text() == text
        if unit.masked:
            assert (folder / unit.name).readlink() == Path("/dev/null")
        if unit.enabled is not None:
            assert f"{'enable' if unit.enabled else 'disable'} {unit.name}" in lines

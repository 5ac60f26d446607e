"""A Redfish service on the loopback: the emulator of sushy-tools, with its fake machines, over TLS."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labkit.lab import Bmc, PowerKind
from labkit.lab.secret import Secret

USER, PASSWORD = "admin", Secret("longer-than-ipmi-could-take")
ID = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
START = """
import random, sys
random.randint = lambda low, high: 0  # its machines take up to eleven seconds for anything, and ours none
from werkzeug import serving
from sushy_tools.emulator.main import main
make = serving.make_server
def told(*args, **kwargs):
    server = make(*args, **kwargs)
    print(server.server_port, flush=True)
    return server
serving.make_server = told
sys.exit(main())
"""
"""sushy-emulator, which says on which port it listens once it does."""


@dataclass(frozen=True)
class Service:
    """A running service: what reaches it, and the fingerprint of its certificate."""

    bmc: Bmc
    certificate: str

    def get(self, path: str) -> dict[str, Any]:
        """A resource, asked for without the client that is tested."""
        request = urllib.request.Request(f"https://{self.bmc.address}:{self.bmc.port}/redfish/v1/{path}")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        login = b64encode(f"{USER}:{PASSWORD.reveal()}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
        with urllib.request.urlopen(request, timeout=120, context=context) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def make_certificate(folder: Path) -> str:
    """A certificate that nobody vouches for, in ``crt`` and ``key``; its SHA-256 fingerprint."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bmc",
            "-keyout", folder / "key", "-out", folder / "crt",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((folder / "crt").read_text())).hexdigest()


@contextmanager
def emulator(folder: Path, machines: int = 1) -> Iterator[Service]:
    """The service, with machines that are off and called ``fake1`` and on. Its login is `USER` and `PASSWORD`."""
    pytest.importorskip("sushy_tools", reason="not installed: sushy-tools; ./lab setup installs it")
    import bcrypt

    fingerprint = make_certificate(folder)
    systems = [
        {"uuid": ID[:-1] + str(number), "name": f"fake{number}", "power_state": "Off", "nics": []}
        for number in range(1, machines + 1)
    ]
    known = bcrypt.hashpw(PASSWORD.reveal().encode(), bcrypt.gensalt(4)).decode()
    (folder / "users").write_text(f"{USER}:{known}\n")
    settings = {
        "SUSHY_EMULATOR_FAKE_SYSTEMS": systems,
        "SUSHY_EMULATOR_LISTEN_PORT": 0,
        "SUSHY_EMULATOR_STATE_DIR": str(folder),
        "SUSHY_EMULATOR_AUTH_FILE": str(folder / "users"),
        "SUSHY_EMULATOR_SSL_CERT": str(folder / "crt"),
        "SUSHY_EMULATOR_SSL_KEY": str(folder / "key"),
    }
    (folder / "settings.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    line = [sys.executable, "-c", START, "--fake", "-i", "127.0.0.1", "--config", str(folder / "settings.py")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            while said and not said.strip().isdigit():
                said = process.stdout.readline()
            assert said, (folder / "log").read_text()
            yield Service(Bmc("127.0.0.1", int(said), USER, None, PowerKind.REDFISH), fingerprint)
        finally:
            process.kill()

"""How long the certificate of a node is good for.

Docker's API does not tell: ``GET /swarm`` has the authority's certificate and for how long nodes get theirs
(``CAConfig.NodeCertExpiry``), ``GET /nodes`` who signed it. A manager shows its own to whoever connects to it, though
(TCP port 2377, TLS with a client's certificate only where it has one: swarmkit's ca/config.go), and that needs no
right to read the engine's files.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from labkit.errors import SwarmError

PORT = 2377
WAIT_S = 3.0
AUTHORITY_DAYS = 20 * 365
EXPIRY_S = 2 * 365 * 86400
"""How long nodes of a swarm that labkit makes are certified: for two years, where Docker's default is 90 days. So long
a lab may be off. Not longer: a swarm keeps the names of nodes that were removed until their certificates have run out,
and a blade without a disk is a new node at each boot."""


def served_until(address: str, port: int = PORT) -> float | None:
    """When the certificate of the manager at this address ends, in seconds since the epoch; None when it shows none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, and not believed
    context.set_alpn_protocols(["h2"])
    with (
        contextlib.suppress(OSError),
        socket.create_connection((address, port), timeout=WAIT_S) as sock,
        context.wrap_socket(sock) as tls,
    ):
        return read_end(tls.getpeercert(binary_form=True) or b"")
    return None


def read_end(der: bytes) -> float | None:
    """When a certificate in DER ends (notAfter: RFC 5280, section 4.1.2.5); None when it is none."""
    words = ["openssl", "x509", "-inform", "DER", "-noout", "-enddate"]
    with contextlib.suppress(OSError, ValueError):
        said = subprocess.run(words, input=der, capture_output=True, check=False).stdout.decode()
        return float(ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter=")))
    return None


def new_authority() -> dict[str, str]:
    """A new authority for a swarm, as ``CAConfig`` has it: like the one that the engine makes for itself (swarmkit's
    ca/certificates.go), for twenty years. The key is a secret of the swarm. Raises SwarmError when openssl fails."""
    with tempfile.TemporaryDirectory() as folder:
        key, made = Path(folder, "key"), Path(folder, "crt")
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-subj", "/CN=swarm-ca", "-days", str(AUTHORITY_DAYS), "-keyout", str(key), "-out", str(made)]
        words += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # that it is an authority is openssl's default
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SwarmError("not installed: openssl", fix="./lab setup, or apt-get install openssl") from None
        if done.returncode:
            fix = "is openssl whole, and is there room on the disk?"
            raise SwarmError(f"openssl req failed: {done.stderr.strip()[-300:]}", fix=fix)
        return {"SigningCACert": made.read_text(), "SigningCAKey": key.read_text()}


def ensure_long(spec: dict[str, Any]) -> None:
    """Let a swarm's specification certify its nodes for `EXPIRY_S`, unless somebody chose another time than Docker's
    default of 90 days."""
    given = spec.get("CAConfig") or {}
    if int(given.get("NodeCertExpiry") or DEFAULT_NS) == DEFAULT_NS:
        spec["CAConfig"] = {**given, "NodeCertExpiry": EXPIRY_S * 1_000_000_000}


DEFAULT_NS = 90 * 86400 * 1_000_000_000

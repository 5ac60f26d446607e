"""The lab's own certificate authority, and the certificate of its registry, made with openssl(1).

Blades learn the authority from their config, so that nobody has to call a registry insecure. Key and certificate lie in
the state folder's ``keys/`` and are made once; a certificate is made again when the address it is for has changed.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import MachineError
from labkit.state import State, owner_of

DAYS = 3650
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each a file in PEM."""

    certificate: Path
    key: Path


def ensure_ca(state: State) -> Certificate:
    """The lab's authority, made on first use. Raises MachineError when openssl fails."""
    ca = Certificate(state.ca, state.keys / "ca.key")
    if not (ca.certificate.exists() and ca.key.exists()):
        _openssl(
            "req", "-x509", *CURVE, "-keyout", ca.key, "-out", ca.certificate, "-days", str(DAYS),
            "-subj", "/CN=labkit lab CA",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip
        _hand_over(ca)
    return ca


def ensure_registry(state: State, address: str) -> Certificate:
    """The registry's certificate for an IP address, signed by the lab's authority. Raises MachineError."""
    ca = ensure_ca(state)
    own = Certificate(state.keys / "registry" / "tls.crt", state.keys / "registry" / "tls.key")
    if own.certificate.exists() and own.key.exists() and _is_for(own.certificate, ca.certificate, address):
        return own
    own.key.parent.mkdir(mode=0o700, exist_ok=True)
    request = own.key.with_name("tls.csr")
    extensions = own.key.with_name("tls.ext")
    try:
        _openssl("req", "-new", *CURVE, "-keyout", own.key, "-out", request, "-subj", "/CN=labkit registry")
        extensions.write_text(
            f"subjectAltName=IP:{address}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n", encoding="ascii"
        )
        _openssl(
            "x509", "-req", "-in", request, "-CA", ca.certificate, "-CAkey", ca.key, "-CAcreateserial",
            "-out", own.certificate, "-days", str(DAYS), "-sha256", "-extfile", extensions,
        )  # fmt: skip
    finally:
        request.unlink(missing_ok=True)
        extensions.unlink(missing_ok=True)
    _hand_over(own)
    return own


def _is_for(certificate: Path, authority: Path, address: str) -> bool:
    """Whether a certificate is of this authority, for this address, and good for another day."""
    words = ["openssl", "verify", "-CAfile", str(authority), "-verify_ip", address, str(certificate)]
    later = ["openssl", "x509", "-in", str(certificate), "-checkend", "86400", "-noout"]
    return all(subprocess.run(one, capture_output=True, check=False).returncode == 0 for one in (words, later))


def _openssl(*words: str | Path) -> None:
    before = os.umask(0o077)
    try:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MachineError("not installed: openssl", fix="./lab setup, or apt-get install openssl") from None
    finally:
        os.umask(before)
    if done.returncode:
        raise MachineError(f"openssl {words[0]} failed: {done.stderr.strip()[-300:]}", fix="is openssl whole?")


def _hand_over(made: Certificate) -> None:
    """To the lab's owner; the key for nobody else to read."""
    for path, mode in ((made.certificate, 0o644), (made.key, 0o600)):
        path.chmod(mode)
        os.chown(path, *owner_of(path.parent))

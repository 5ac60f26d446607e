"""The lab's own certificate authority and the certificates it signs, made with openssl(1).

Blades learn the authority from their config. Keys and certificates lie in the state folder's ``keys/`` and are made
once; a certificate is made again when the address it is for has changed, and each one before it expires. All are valid
since `BEGINS`: a blade whose clock has lost its battery says that it is the year 2000, and has to believe us all the
same.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import MachineError
from labkit.lab.secret import Secret
from labkit.lab.state import State, owner_of

BEGINS = "20000101000000Z"
DAYS = 3650
RENEW_S = 30 * 24 * 3600
"""A certificate that expires within this time is made again."""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

CONFIG = """\
[ca]
default_ca = lab
[lab]
database = index
new_certs_dir = .
default_md = sha256
policy = names
unique_subject = no
rand_serial = yes
[names]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""
"""Run where its files are: openssl takes more than a few characters of a path for its own (config(5)).

For openssl-ca(1), which alone takes a date to begin at (in OpenSSL 3.0). RFC 5280 says what stands in it."""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, each a file in PEM."""

    certificate: Path
    key: Path


def ensure_ca(state: State) -> Certificate:
    """The lab's authority, made on first use; renewed with the key it had. Raises MachineError when openssl fails."""
    ca = Certificate(state.ca, state.keys / "ca.key")
    if not _is_good(ca, ca.certificate):
        _make(ca, ca, "authority", "/CN=labkit lab CA")
    return ca


def ensure_registry(state: State, address: str) -> Certificate:
    """The registry's certificate for an IP address, signed by the lab's authority. Raises MachineError."""
    return _ensure_server(state, "registry", address)


def ensure_boot_server(state: State, address: str) -> Certificate:
    """The boot server's certificate for an IP address, signed by the lab's authority. Raises MachineError."""
    return _ensure_server(state, "https", address)


def chain(made: Certificate) -> Secret:
    """A certificate and its key as one text in PEM."""
    return Secret(made.certificate.read_text() + made.key.read_text())


def server_context(chain: Secret) -> ssl.SSLContext:
    """How a server speaks TLS with a certificate and its key in PEM: 1.2 and later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with os.fdopen(os.memfd_create("tls"), "w") as file:  # OpenSSL reads files only
        file.write(chain.reveal())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def ensure_cache(state: State, address: str) -> Certificate:
    """The certificate of the cache of another registry, likewise."""
    return _ensure_server(state, "cache", address)


def ensure_redfish(state: State, addresses: Sequence[str]) -> Certificate:
    """The certificate that virtual slots have in common, for the addresses of all, likewise."""
    return _ensure_server(state, "redfish", *addresses)


def fingerprint(pem: str) -> str:
    """The SHA-256 fingerprint of a certificate, 64 lower-case digits. Raises ValueError for what is none."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def redfish_fingerprint(state: State) -> str:
    """The fingerprint of that certificate. Raises MachineError where it is not there."""
    path = state.keys / "redfish/tls.crt"
    try:
        return fingerprint(path.read_text())
    except (OSError, ValueError) as error:
        what = f"the certificate of the virtual slots cannot be read: {error}"
        raise MachineError(what, where=str(path), fix="./lab down, then ./lab up makes it anew") from None


def _ensure_server(state: State, name: str, *addresses: str) -> Certificate:
    ca = ensure_ca(state)
    own = Certificate(state.keys / name / "tls.crt", state.keys / name / "tls.key")
    if not all(_is_good(own, ca.certificate, "-verify_ip", address) for address in addresses):
        own.key.parent.mkdir(mode=0o700, exist_ok=True)
        os.chown(own.key.parent, *owner_of(state.keys))
        own.key.unlink(missing_ok=True)
        _make(own, ca, "server", f"/CN=labkit {name}", names=",".join(f"IP:{address}" for address in addresses))
    return own


def _is_good(made: Certificate, authority: Path, *wanted: str) -> bool:
    """Whether a certificate is there, of this authority, as wanted, and good for some time to come."""
    if not (made.certificate.exists() and made.key.exists()):
        return False
    words = ["openssl", "verify", "-x509_strict", "-CAfile", str(authority), *wanted, str(made.certificate)]
    later = ["openssl", "x509", "-in", str(made.certificate), "-checkend", str(RENEW_S), "-noout"]
    return all(subprocess.run(one, capture_output=True, check=False).returncode == 0 for one in (words, later))


def _make(made: Certificate, ca: Certificate, kind: str, subject: str, names: str = "IP:0.0.0.0") -> None:
    """A certificate of a kind, with a key of its own where there is none yet. An authority signs itself."""
    with tempfile.TemporaryDirectory(dir=ca.key.parent) as text:
        folder = Path(text)
        config, request, fresh, key = (folder / name for name in ("ca.cnf", "csr", "crt", "key"))
        (folder / "index").touch()
        config.write_text(CONFIG.format(names=names))
        with_key = ("-key", made.key) if made.key.exists() else (*NEW_KEY, "-keyout", key)
        _openssl("req", "-new", *with_key, "-out", request, "-subj", subject)
        if key.exists():
            key.replace(made.key)
        signer = ("-selfsign",) if made is ca else ("-cert", ca.certificate)
        _openssl(
            "ca", "-batch", "-notext", "-config", config, *signer, "-keyfile", ca.key, "-extensions", kind,
            "-startdate", BEGINS, "-days", str(DAYS), "-in", request, "-out", fresh, cwd=folder,
        )  # fmt: skip
        fresh.replace(made.certificate)
    _hand_over(made)


def _openssl(*words: str | Path, cwd: Path | None = None) -> None:
    before = os.umask(0o077)
    try:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False, cwd=cwd)
    except FileNotFoundError:
        raise MachineError("not installed: openssl", fix="./lab setup, or apt-get install openssl") from None
    finally:
        os.umask(before)
    if done.returncode:
        fix = "is there room on the disk? what is damaged in the state folder's keys/ may be removed: it is made anew"
        raise MachineError(f"openssl {words[0]} failed: {done.stderr.strip()[-300:]}", fix=fix)


def _hand_over(made: Certificate) -> None:
    """To the lab's owner; the key for nobody else to read."""
    for path, mode in ((made.certificate, 0o644), (made.key, 0o600)):
        path.chmod(mode)
        os.chown(path, *owner_of(path.parent))

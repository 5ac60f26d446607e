"""Whether a file was signed by whom it should be, by Debian's ``gpgv``.

A key is believed by the fingerprint of its primary key and by nothing else: where its block came from does not matter.
What ``gpgv`` reports on its status descriptor is in GnuPG's doc/DETAILS, section "Format of the --status-fd output".
"""

from __future__ import annotations

import base64
import binascii
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from labkit.errors import ImageError
from labkit.images.build.tools import check_programs

LIMIT_S = 1800


@dataclass(frozen=True)
class Signer:
    """Who signed: fingerprints of the primary key and of the one used, and when, as an ISO date."""

    primary: str
    key: str
    date: str


@dataclass(frozen=True)
class Trust:
    """Whom to believe: ``who`` in messages, the primary keys' fingerprints, and blocks of keys, armoured or not.

    ``is_given`` says that a person named the block: then no other is looked for.
    """

    who: str
    fingerprints: frozenset[str]
    blocks: tuple[bytes, ...] = ()
    is_given: bool = False


class UnknownKeyError(ImageError):
    """The key that signed is in none of the blocks; another block may have it."""


def check_signature(file: Path, signature: Path, trust: Trust) -> Signer:
    """Who signed a file. Raises ImageError, which says why it is not proved, and MachineError without gpgv."""
    check_programs(["gpgv"])
    if not signature.is_file():
        fix = f"put the published {signature.name} beside it"
        raise ImageError(f"there is no signature of {file.name}", where=str(signature), fix=fix)
    with tempfile.TemporaryDirectory(prefix="labkit-keys-") as folder:
        ring = Path(folder) / "keys.gpg"
        ring.write_bytes(b"".join(dearmour(block) for block in trust.blocks))
        command = ["gpgv", "--homedir", folder, "--status-fd", "1", "--keyring", str(ring), str(signature), str(file)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
    return judge(done.stdout.decode("utf-8", "replace").splitlines(), file, signature, trust)


def judge(status: Sequence[str], file: Path, signature: Path, trust: Trust) -> Signer:
    """What the lines of gpgv's status say of a file. A good signature among several is enough. Raises as above."""
    found: ImageError | None = None
    for lines in _signatures(status):
        verdict = _judge_one(lines, file, trust)
        if isinstance(verdict, Signer):
            return verdict
        found = found or verdict
    if found is None:
        what = "there is no OpenPGP signature in it"
        raise ImageError(what, where=str(signature), fix=f"put the published {signature.name} in its place")
    raise found


def dearmour(block: bytes, where: str = "") -> bytes:
    """Keys as gpgv reads them: without the ASCII armour (RFC 9580, section 6). Raises ImageError."""
    if block[:1] >= b"\x80":  # every OpenPGP packet begins with this bit (RFC 9580, section 4.2)
        return block
    keys = b""
    for armoured in block.split(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")[1:]:
        lines = armoured.partition(b"-----END")[0].replace(b"\r", b"").split(b"\n")[1:]
        begin = lines.index(b"") + 1 if b"" in lines else 0  # headers end at an empty line
        try:
            text = b"".join(line.strip() for line in lines[begin:] if not line.startswith(b"="))
            keys += base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ImageError("this is no block of public keys", where=where, fix=_EXPORT) from None
    if not keys:
        raise ImageError("there is no public key in it", where=where, fix=_EXPORT)
    return keys


_EXPORT = "gpg --export --armor FINGERPRINT writes a block of public keys"


def _signatures(status: Sequence[str]) -> list[dict[str, list[str]]]:
    """The lines of each signature by their keyword; the fields without it."""
    found: list[dict[str, list[str]]] = []
    for line in status:
        words = line.removeprefix("[GNUPG:] ").split()
        if words[:1] == ["NEWSIG"]:
            found.append({})
        elif words and found:
            known = found[-1].get(words[0], words[1:])
            # a block with several expired keys tells the date of each, and not which is whose
            found[-1][words[0]] = words[1:] if words[0] != "KEYEXPIRED" or known == words[1:] else []
    return found


def _judge_one(lines: dict[str, list[str]], file: Path, trust: Trust) -> Signer | ImageError:
    where, who = str(file), trust.who
    if "BADSIG" in lines:
        what = (
            f"its signature by {who}'s key {lines['BADSIG'][0]} is of other bytes: it was changed, or is another file"
        )
        return ImageError(what, where=where, fix="fetch it again; if that does not help, from another place")
    if "NO_PUBKEY" in lines or "VALIDSIG" not in lines:
        key = (lines.get("NO_PUBKEY") or lines.get("ERRSIG") or ["?"])[0]
        if "NO_PUBKEY" not in lines and "ERRSIG" in lines:
            what = f"its signature is of a kind that gpgv does not know (key {key})"
            return ImageError(what, where=where, fix="a newer gpgv may know it")
        what = f"it is signed with key {key}, which is not one of {who}'s that are known here"
        return UnknownKeyError(what, where=where, fix=_believed(trust))
    valid = lines["VALIDSIG"]
    key, primary = valid[0], valid[9] if len(valid) > 9 else valid[0]
    if primary not in trust.fingerprints:
        what = f"it is signed by a key with the fingerprint {primary}, which is not {who}'s"
        return ImageError(what, where=where, fix=_believed(trust))
    if "REVKEYSIG" in lines:
        what = f"{who}'s key {key}, which signed it, was revoked by its owner: it may be in other hands"
        return ImageError(what, where=where, fix="take a release that is signed with another key")
    if "EXPKEYSIG" in lines:
        return ImageError(
            f"{who}'s key {key} signed it on {valid[1]} and has expired since{_on(lines.get('KEYEXPIRED'))}: "
            f"who has come by such a key could sign with any date",
            where=where,
            fix="take a newer release; or, where its owner has extended the key, the new block: --key FILE",
        )
    if "EXPSIG" in lines or "GOODSIG" not in lines:
        what = f"{who}'s signature of it was limited in time, and is over"
        return ImageError(what, where=where, fix="take a newer release")
    return Signer(primary, key, valid[1])


def _on(seconds: list[str] | None) -> str:
    if not seconds or not seconds[0].isdigit():
        return ""
    return f", on {datetime.fromtimestamp(int(seconds[0]), UTC):%Y-%m-%d}"


def _believed(trust: Trust) -> str:
    prints = ", ".join(sorted(trust.fingerprints))
    return (
        f"believed is only who has the primary key {prints}; for another, if it is right: --key FILE --fingerprint HEX"
    )

"""Signatures, by the real gpgv: whose they are, and a sentence for each way in which they prove nothing."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import ImageError, MachineError
from labkit.images.releases import signature
from labkit.images.releases.fetch import shipped_trust
from labkit.images.releases.publishers import FEDORA_COREOS, FLATCAR
from labkit.images.releases.signature import Trust, UnknownKeyError, check_signature, dearmour
from tests.rig.releases import Keys, Ring


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"a kernel")
    return path


def check(file: Path, signer: Keys | bytes, trust: Trust) -> signature.Signer:
    sig = file.with_name("vmlinuz.sig")
    sig.write_bytes(signer if isinstance(signer, bytes) else signer.sign(b"a kernel"))
    return check_signature(file, sig, trust)


def test_who_signed(ring: Ring, file: Path) -> None:
    found = check(file, ring.good, ring.good.trust())
    assert found.primary == ring.good.primary != found.key
    assert len(found.date) == 10


def test_a_key_without_armour_serves_as_well(ring: Ring, file: Path) -> None:
    block = ring.good.gpg("--export")
    assert dearmour(block) == block == dearmour(ring.good.block)
    both = ring.other.block.replace(b"\n", b"\r\n") + ring.good.block
    assert check(file, ring.good, replace(ring.good.trust(), blocks=(both,))).primary == ring.good.primary


def test_a_good_signature_beside_another_is_enough(ring: Ring, file: Path) -> None:
    both = ring.other.sign(b"a kernel") + ring.good.sign(b"a kernel")
    assert check(file, both, ring.good.trust()).primary == ring.good.primary


def test_changed_bytes(ring: Ring, file: Path) -> None:
    with pytest.raises(ImageError, match="is of other bytes"):
        check(file, ring.good.sign(b"a kernal"), ring.good.trust())


def test_an_unknown_key(ring: Ring, file: Path) -> None:
    with pytest.raises(UnknownKeyError, match=f"not one of Flatcar's(.|\n)*{ring.good.primary}"):
        check(file, ring.other, ring.good.trust())


def test_a_key_is_not_believed_for_lying_in_the_block(ring: Ring, file: Path) -> None:
    trust = replace(ring.good.trust(), blocks=(ring.good.block, ring.other.block))
    with pytest.raises(ImageError, match=f"fingerprint {ring.other.primary}, which is not Flatcar's"):
        check(file, ring.other, trust)


def test_an_expired_subkey_is_explained(ring: Ring, file: Path) -> None:
    with pytest.raises(ImageError, match="signed it on 2020-01-01 and has expired since, on 2020-12-31") as caught:
        check(file, ring.expired, ring.expired.trust())
    assert "newer release" in caught.value.fix


def test_a_revoked_key(ring: Ring, file: Path, tmp_path: Path) -> None:
    revocation = (ring.other.folder / f"openpgp-revocs.d/{ring.other.primary}.rev").read_text()
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-autostart"]  # an agent would outlive the test
    armour = revocation.partition("\n:---")[2]
    assert armour
    for given in (ring.other.block, b"---" + armour.encode()):
        subprocess.run([*command, "--import"], input=given, check=True, capture_output=True)
    block = subprocess.run([*command, "--export"], check=True, capture_output=True).stdout
    with pytest.raises(ImageError, match="was revoked by its owner"):
        check(file, ring.other, replace(ring.other.trust(), blocks=(block,)))


@pytest.mark.parametrize("content", [b"", b"<html>no</html>", bytes(100), b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n"])
def test_no_signature_at_all(ring: Ring, file: Path, content: bytes) -> None:
    with pytest.raises(ImageError, match=r"vmlinuz\.sig: there is no OpenPGP signature in it"):
        check(file, content, ring.good.trust())


def test_a_signature_that_is_not_there(ring: Ring, file: Path) -> None:
    with pytest.raises(ImageError, match="there is no signature of vmlinuz"):
        check_signature(file, file.with_name("none.sig"), ring.good.trust())


@pytest.mark.parametrize(
    "block",
    [b"", b"name: lab", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END", b"-----BEGIN PGP MESSAGE-----"],
)
def test_a_block_that_is_none(block: bytes) -> None:
    with pytest.raises(ImageError, match="public key"):
        dearmour(block)


def test_without_gpgv_nothing_is_believed(ring: Ring, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    trust = ring.good.trust()
    with pytest.raises(MachineError, match=r"not installed: gpgv(.|\n)*apt-get install"):
        check_signature(file, file, trust)


def test_the_keys_that_ship_are_those_that_are_believed(tmp_path: Path, ring: Ring) -> None:
    trust = shipped_trust(FEDORA_COREOS)
    (tmp_path / "h").mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(tmp_path / "h"), "--batch", "--with-colons", "--show-keys"]
    told = subprocess.run(command, input=trust.blocks[0], capture_output=True, check=True).stdout.decode()
    prints = {line.split(":")[9] for line in told.splitlines() if line.startswith("fpr")}
    assert prints
    assert prints <= FEDORA_COREOS.fingerprints
    assert shipped_trust(FLATCAR) == Trust("Flatcar", FLATCAR.fingerprints)

"""The servers labkit is measured beside, from Debian's packages.

The packages of the daemons are unpacked into a folder, not installed: their scripts would start services, and two
of them exclude each other. Only the libraries they need are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.report import progress


@dataclass(frozen=True)
class Peer:
    """A daemon: its package, its program in there, and the packages of libraries it needs."""

    package: str
    program: str
    libraries: tuple[str, ...]


PEERS = {
    "dnsmasq": Peer(
        "dnsmasq-base",
        "usr/sbin/dnsmasq",
        (
            "libdbus-1-3",
            "libgmp10",
            "libhogweed6",
            "libidn2-0",
            "libnetfilter-conntrack3",
            "libnettle8",
            "libnftables1",
        ),
    ),
    "tftpd-hpa": Peer("tftpd-hpa", "usr/sbin/in.tftpd", ("libwrap0",)),
    "atftpd": Peer("atftpd", "usr/sbin/atftpd", ("libpcre2-8-0", "libwrap0")),
    "nginx": Peer("nginx", "usr/sbin/nginx", ("libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g")),
}

NGINX_CONF = """
daemon off; user root; worker_processes auto; error_log stderr warn; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen {address}:80; root {files}; }}
}}
"""


def _folder() -> Path:
    return Path(os.environ.get("LABKIT_CACHE") or "/var/cache/labkit").absolute() / "peers"


def programs(names: Sequence[str]) -> dict[str, Path]:
    """Where the programs of these peers are."""
    return {name: _folder() / name / PEERS[name].program for name in names}


def ensure(names: Sequence[str]) -> None:
    """Fetch the peers that are not here yet. To be called before `space.enter`: there is no network inside."""
    missing = [name for name, program in programs(names).items() if not program.exists()]
    if missing:
        if shutil.which("apt-get") is None:
            sys.exit("the peers come from Debian's packages, and there is no apt-get here")
        progress(f"fetching from Debian: {', '.join(PEERS[name].package for name in missing)}")
        _apt("update")
        libraries = sorted({library for name in missing for library in PEERS[name].libraries})
        _apt("install", "--no-install-recommends", "-y", *libraries)
        for name in missing:
            _unpack(PEERS[name].package, _folder() / name)


def _apt(*words: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *words],
        cwd=cwd, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"apt-get {' '.join(words)} failed")


def _unpack(package: str, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.new{os.getpid()}")
    fresh.mkdir(parents=True)
    _apt("download", "-o", "APT::Sandbox::User=root", package, cwd=fresh)
    [archive] = fresh.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(fresh)], check=True)
    fresh.rename(target)


def tftp_words(name: str, program: Path, address: str, root: Path) -> list[str]:
    """How a TFTP peer is started, serving a folder; in its best shape: limits raised, no logging of transfers."""
    if name == "dnsmasq":
        return [
            str(program), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=",
            "--log-facility=/dev/null", f"--listen-address={address}", "--bind-interfaces", "--enable-tftp",
            f"--tftp-root={root}", "--tftp-max=1000",
        ]  # fmt: skip
    if name == "tftpd-hpa":
        return [str(program), "--foreground", "--address", f"{address}:69", "--secure", "--user", "root", str(root)]
    return [
        str(program), "--daemon", "--no-fork", "--bind-address", address, "--port", "69", "--user", "root", "--group",
        "root", "--maxthread", "1000", "--verbose=0", "--logfile", "/dev/null", str(root),
    ]  # fmt: skip


def nginx_words(program: Path, address: str, root: Path, folder: Path) -> list[str]:
    """How nginx is started, serving a folder by sendfile; its own files go to another."""
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(folder=folder, files=root, address=address))
    return [str(program), "-e", "stderr", "-c", str(conf)]

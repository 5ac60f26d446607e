"""The way out of a virtual lab with ``internet: true``: this machine routes and masquerades what its blades send.

The rules stand in a table of the lab's own (nft(8)), named by its tag, which goes with the lab. Where this machine
forwards nothing by itself, it does so for the lab's link and for those that its default routes leave by, and no longer
than a lab needs it. Docker and ufw drop what they do not know: where they do, the lab is let through by name.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from labkit.errors import MachineError
from labkit.machines.host.routes import routes

TABLE = "labkit-"
CONF = Path("/proc/sys/net/ipv4/conf")
RUN = Path("/run")


def open_way_out(link: str, tag: str, subnet: IPv4Network) -> None:
    """Route and masquerade what comes from ``subnet`` by the interface ``link``. Raises MachineError."""
    before = {name: read for name in (link, *_ways_out()) if (read := _forwards(name)) is not None}
    kept = _kept()
    # What the first lab found counts: a later one finds what an earlier one wrote.
    kept.write_text(json.dumps({name: value for name, value in before.items() if name != link} | _read(kept)))
    table = f"""\
table ip {TABLE}{tag} {{
	chain out {{
		type nat hook postrouting priority srcnat
		ip saddr {subnet} oifname != "{link}" masquerade
	}}
}}
"""
    _run(["nft", "-f", "-"], table)
    for name in before:
        (CONF / name / "forwarding").write_text("1")
    if _drops():
        for rule in _exceptions(link, tag):
            _run(["iptables", "--wait", "-I", "FORWARD", *rule])


def close_way_out(link: str, tag: str) -> None:
    """Take all of that away, as far as it is there."""
    kept = _kept()
    if shutil.which("nft") is None or not kept.exists():
        return
    subprocess.run(["nft", "delete", "table", "ip", f"{TABLE}{tag}"], capture_output=True, check=False)
    if shutil.which("iptables") is not None:
        for rule in _exceptions(link, tag):
            subprocess.run(["iptables", "--wait", "-D", "FORWARD", *rule], capture_output=True, check=False)
    if not _others():
        for name, value in _read(kept).items():
            with contextlib.suppress(OSError):  # an interface that is no more
                (CONF / name / "forwarding").write_text(value)
        kept.unlink(missing_ok=True)


def _kept() -> Path:
    """What remembers what `close_way_out` puts back: one file for all labs of this network namespace."""
    return RUN / f"labkit-forwarding-{Path('/proc/self/ns/net').stat().st_ino}.json"


def _read(kept: Path) -> dict[str, str]:
    try:
        return {str(name): str(value) for name, value in json.loads(kept.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _ways_out() -> Iterator[str]:
    """The interfaces of this machine's default routes."""
    yield from dict.fromkeys(route["dev"] for route in routes("default") if "dev" in route)


def _forwards(name: str) -> str | None:
    try:
        return (CONF / name / "forwarding").read_text().strip()
    except OSError:
        return None


def _drops() -> bool:
    """Whether packets that are passed on are dropped by default, as Docker and ufw have it."""
    if shutil.which("iptables") is None:
        return False
    done = subprocess.run(["iptables", "--wait", "-S", "FORWARD"], capture_output=True, text=True, check=False)
    return "-P FORWARD DROP" in done.stdout


def _exceptions(link: str, tag: str) -> tuple[tuple[str, ...], ...]:
    named = ("-m", "comment", "--comment", f"{TABLE}{tag}", "-j", "ACCEPT")
    back = ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED")
    return (("-i", link, *named), ("-o", link, *back, *named))


def _others() -> bool:
    """Whether another lab still needs this machine to forward."""
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    return TABLE in done.stdout


def _run(command: list[str], text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        what = f"the blades' way out could not be opened ({' '.join(command[:2])}: {said})"
        raise MachineError(
            what, fix="remove internet: true from lab.yaml, or see what keeps nftables from working here"
        )

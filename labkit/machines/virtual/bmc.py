"""A management controller for each virtual slot: OpenIPMI's ``ipmi_sim``, configured so that it answers IPMI 2.0.

Its power, reset and shutdown buttons run a script that asks the supervisor; its serial-over-LAN is the blade's serial
port. See ipmi_lan(5) and ipmi_sim_cmd(5).

The command of a button is run by a shell, from a line of at most 1,023 bytes whose strings have no escape character.
No path can break what it does not stand in: the shell finds them in its environment, and quotes them itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from labkit.lab import Blade
from labkit.lab.secret import Secret

BINARY = "ipmi_sim"
BUTTON = '"$LABKIT_PYTHON" -I "$LABKIT_BUTTONS" "$LABKIT_CONTROL"'


def render_lan_conf(blade: Blade, *, password: Secret, serial_port: int, ipmi_port: int | None = None) -> str:
    """``lan.conf``: address, one administrator, the chassis script, the serial port. Holds the password: mode 0600.

    At ``ipmi_port`` it speaks with the blade's own system, by way of QEMU, where the blade is built so.
    """
    inside = f"\nserial 15 127.0.0.1 {ipmi_port} codec VM" if ipmi_port is not None else ""
    auths = "\n".join(f"  allowed_auths_{level} md5" for level in ("callback", "user", "operator", "admin"))
    return f"""\
name {quoted(blade.name)}
set_working_mc 0x20
startlan 1
  addr {blade.bmc.address} {blade.bmc.ipmi_port}
  priv_limit admin
{auths}
  guid {blade.macs[0].replace(":", "").rjust(32, "0")}
endlan
sol "tcp:127.0.0.1:{serial_port}" 115200{inside}
chassis_control {quoted(f"{BUTTON} {blade.slot}")}
user 1 false "" "" user 10 md5
user 2 true {quoted(blade.bmc.user)} {quoted(password.reveal())} admin 10 md5
"""


def quoted(text: str) -> str:
    """A string as the simulator reads it: quoted parts without a space between them, of which either kind may hold the
    other's quotes (OpenIPMI, lanserv/config.c, get_delim_str)."""
    parts = [f'"{part}"' for part in text.split('"')]
    return """'"'""".join(parts)


def render_emulation() -> str:
    """The commands that give the controller its one management unit."""
    unit = "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02"
    return "\n".join(("mc_setbmc 0x20", unit, "sel_enable 0x20 1000 0x0a", "mc_enable 0x20", ""))


def write_config(
    folder: Path, blade: Blade, *, password: Secret, control: Path, serial_port: int, ipmi_port: int | None = None
) -> list[str]:
    """Write the simulator's files into ``folder`` and return its command line."""
    folder.mkdir(mode=0o700, exist_ok=True)
    conf = folder / "lan.conf"
    conf.touch(mode=0o600)
    conf.write_text(render_lan_conf(blade, password=password, serial_port=serial_port, ipmi_port=ipmi_port))
    (folder / "sim.emu").write_text(render_emulation())
    buttons = Path(__file__).with_name("buttons.py")
    paths = (f"LABKIT_PYTHON={sys.executable}", f"LABKIT_BUTTONS={buttons}", f"LABKIT_CONTROL={control}")
    return ["env", *paths, BINARY, "-n", "-c", str(conf), "-f", str(folder / "sim.emu"), "-s", str(folder)]

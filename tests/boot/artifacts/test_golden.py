"""The texts a blade is given on its way up, letter for letter."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path

import pytest

from labkit.boot import BootSecrets, ImageFile, Rendered, Resource, held, plan, plan_bare, resources, tree
from labkit.boot.artifacts import grub
from labkit.boot.artifacts.pxelinux import config_name, render_message
from labkit.boot.artifacts.units import (
    CLOCK_UNIT,
    FAILED_UNIT,
    HELLO_UNIT,
    JOIN_UNIT,
    LEAVE_UNIT,
    TIMED,
    swarm_scripts,
    swarm_units,
)
from labkit.lab import Lab, lab_yaml
from labkit.lab.secret import Secret

TICKET = "0123456789abcdef"

LPXELINUX = """\
default labos
prompt 1
timeout 15

display boot.msg

label labos
menu default
kernel http://10.77.0.1/labos/vmlinuz
initrd http://10.77.0.1/labos/labos.cpio,http://10.77.0.1/labos/oem.cpio.gz
append coreos.first_boot=1 coreos.config.url=oem:///raw.ign apparmor=0 panic=20 console=tty0 console=ttyS1 \
coreos.autologin
"""

IPXE = """\
#!ipxe
# blade1: made by labkit when it was asked for
set root http://10.77.0.1
set tries:int32 0

:again
imgfree
echo labkit: blade1 fetches from ${root}
kernel ${root}/labos/vmlinuz initrd=labos.cpio initrd=oem.cpio.gz coreos.first_boot=1 \
coreos.config.url=oem:///raw.ign apparmor=0 panic=20 console=tty0 console=ttyS1 coreos.autologin || goto failed
initrd --name labos.cpio ${root}/labos/labos.cpio || goto failed
initrd --name oem.cpio.gz ${root}/labos/oem.cpio.gz || goto failed
boot || goto failed

:failed
inc tries
echo labkit: try ${tries} did not work: ${errno}; the server's events say more (./lab events blade1)
sleep 3
iseq ${tries} 10 || goto again
exit 1
"""

ARTICLE_BEFORE = """\
default coreos
prompt 1
timeout 15

display boot.msg

label coreos
menu default
kernel coreos/coreos_production_pxe.vmlinuz
initrd coreos/coreos_production_pxe_image.cpio.gz
append coreos.first_boot=1
"""

ARTICLE_AFTER = """\
default coreos
prompt 1
timeout 15

display boot.msg

label coreos
menu default
kernel coreos/coreos_production_pxe.vmlinuz
initrd coreos/coreos_production_pxe_image.cpio.gz,coreos/oem.cpio.gz
# append console=tty0 console=ttyS1 coreos.autologin=tty0
append coreos.first_boot=1 coreos.config.url=oem:///raw.ign
"""

ARTICLE_FILES = {
    "coreos/coreos_production_pxe_image.cpio.gz",
    "coreos/coreos_production_pxe.vmlinuz",
    "pxelinux.0",
    "pxelinux.cfg/default",
}
OUR_ADDITIONS = {"ldlinux.c32", "boot.msg"}


def lab(keys: str) -> Lab:
    return lab_yaml.parse(
        f"name: lab\nblades:\n  - name: blade1\n    {keys}\n",
        Path("lab.yaml"),
    )


def labos(method: str) -> dict[str, str]:
    made = lab(f"boot: {method}\n    console: [tty0, ttyS1]")
    return texts(resources(made, made.blades[0], plan(made, made.blades[0], "b1", BootSecrets(Secret(TICKET)))))


@pytest.fixture
def article() -> Lab:
    return lab("boot: pxelinux\n    os: container-linux\n    console: []\n    autologin: false")


def texts(shelf: Mapping[str, Resource]) -> dict[str, str]:
    rendered = {name: file for name, file in shelf.items() if isinstance(file, Rendered)}
    return {name: file.content.decode() for name, file in rendered.items() if not file.secret}


def images(shelf: Mapping[str, Resource]) -> set[str]:
    return {name for name, file in shelf.items() if isinstance(file, ImageFile)}


def test_pxelinux_config_of_labos() -> None:
    shelf = labos("lpxelinux")
    mac = lab("boot: lpxelinux").blades[0].macs[0]
    assert shelf["pxelinux.cfg/default"] == LPXELINUX
    assert shelf[config_name(mac)] == LPXELINUX
    assert labos("pxelinux")["pxelinux.cfg/default"] == LPXELINUX.replace("http://10.77.0.1/", ""), "all over TFTP"


def test_grub_reads_the_same_whichever_name_it_asks_for() -> None:
    shelf = labos("grub")
    assert shelf["grub/grub.cfg"] == shelf[grub.config_name("52:54:00:4D:00:01")]
    assert shelf["grub/grub.cfg-01-52-54-00-4d-00-01"] == shelf["grub/grub.cfg"]
    assert shelf["pxelinux.cfg/default"] == LPXELINUX.replace("http://10.77.0.1/", ""), "a BIOS takes it over TFTP"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("console=ttyS0,115200", "console=ttyS0,115200"),
        ("url=http://h:80/a?b=1&c", "'url=http://h:80/a?b=1&c'"),
        ("a;reboot", "'a;reboot'"),
        ("$x", "'$x'"),
        ("[a-z]*", "'[a-z]*'"),
        ("it's", r"'it'\''s'"),
        ('dyndbg="file a.c +p"', "'dyndbg=file a.c +p'"),
        ('a="b"', "a=b"),
    ],
)
def test_an_argument_is_one_word_to_grub(given: str, word: str) -> None:
    """GRUB's words are a shell's, so that a shell's reader finds in them what was meant; quotes are the kernel's."""
    assert grub.quoted(given) == word
    assert shlex.split(word) == [given.replace('"', "")]


def test_grub_understands_what_it_is_given() -> None:
    """As GRUB's own parser does (grub-script-check(1)): a boot, one without archives, and a blade that is held."""
    if shutil.which("grub-script-check") is None:
        pytest.skip("grub-script-check is not installed")
    made = lab("boot: grub")
    blade = made.blades[0]
    files = resources(made, blade, plan(made, blade, "b1", BootSecrets(Secret(TICKET))))
    held_files = held.resources(made, blade, 'it\'s "odd"; reboot $x {', files)
    arguments = ["a;b", "$x", "it's", 'dyndbg="file a.c +p"', "{", "[a-z]*", "\\"]
    alone = grub.render_config(blade="blade1", kernel="memtest", initrds=[], arguments=arguments)
    for text in (texts(files)["grub/grub.cfg"], texts(held_files)["grub/grub.cfg"], alone):
        done = subprocess.run(
            ["grub-script-check"], input=text, text=True, capture_output=True, check=False, timeout=10
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), text


def test_ipxe_script() -> None:
    assert labos("ipxe")["boot.ipxe"] == IPXE


def test_message_is_for_a_text_console() -> None:
    assert render_message(blade="blade1", os="labos") == (
        "\r\n  blade1 boots labos.\r\n  Press Enter to start at once, or type a label and arguments.\r\n\r\n"
    )


def test_config_name() -> None:
    assert config_name("52:54:00:4D:00:0a") == "pxelinux.cfg/01-52-54-00-4d-00-0a"


def test_the_article_before_its_config(article: Lab) -> None:
    blade = article.blades[0]
    shelf = tree(article, blade, plan_bare(article, blade))
    assert shelf.keys() == ARTICLE_FILES | OUR_ADDITIONS
    assert images(shelf) == ARTICLE_FILES - {"pxelinux.cfg/default"} | {"ldlinux.c32"}
    assert texts(shelf)["pxelinux.cfg/default"] == ARTICLE_BEFORE


def test_the_article_with_its_config(article: Lab) -> None:
    blade = article.blades[0]
    shelf = tree(article, blade, plan(article, blade, "b1", BootSecrets(Secret(TICKET))))
    assert shelf.keys() == ARTICLE_FILES | OUR_ADDITIONS | {"coreos/oem.cpio.gz"}
    assert texts(shelf)["pxelinux.cfg/default"] == ARTICLE_AFTER
    archive: Resource = shelf["coreos/oem.cpio.gz"]
    assert isinstance(archive, Rendered) and archive.secret
    assert archive.content[:2] == b"\x1f\x8b"


def parse_unit(text: str) -> RawConfigParser:
    unit = RawConfigParser(delimiters=("=",), comment_prefixes=("#",))
    unit.read_string(text)
    return unit


def test_the_leave_unit_stops_before_what_it_needs() -> None:
    unit = parse_unit({unit.name: unit.contents for unit in swarm_units()}[LEAVE_UNIT])
    assert {"docker.service", "network-online.target", "systemd-networkd.service"} <= set(unit["Unit"]["After"].split())
    assert "Before" not in unit["Unit"] and unit["Unit"].get("DefaultDependencies") != "no"
    assert unit["Service"]["ExecStop"] == "/etc/labkit/leave"
    assert unit["Service"]["RemainAfterExit"] == "yes", "or ExecStop runs at once"


def test_the_clock_is_set_before_a_certificate_is_looked_at() -> None:
    unit = parse_unit({unit.name: unit.contents for unit in swarm_units()}[CLOCK_UNIT])
    assert {"docker.service", HELLO_UNIT, JOIN_UNIT} <= set(unit["Unit"]["Before"].split())
    assert "network-online.target" not in unit["Unit"]["After"], "or Docker would wait for it"
    for script in swarm_scripts("https://10.77.0.1:8443", "http://10.77.0.1"):
        if script.path.endswith("clock.sh"):
            assert '"http://10.77.0.1/healthz"' in script.text and "https" not in script.text


def test_the_join_unit_has_no_token() -> None:
    contents = {unit.name: unit.contents for unit in swarm_units()}
    unit = parse_unit(contents[JOIN_UNIT])
    assert unit["Service"]["ExecStart"] == "/etc/labkit/join"
    assert {"docker.service", "network-online.target"} <= set(unit["Unit"]["After"].split())
    assert "Requires" not in unit["Unit"], "a first start of Docker that fails would end it for good"
    assert unit["Unit"]["OnFailure"] == "labkit-failed@%n.service"
    for text in (*contents.values(), *(script.text for script in swarm_scripts("http://10.77.0.1"))):
        assert "SWMTKN" not in text and "--token" not in text


def test_every_unit_runs_a_script_that_is_there() -> None:
    scripts = {script.path: script.mode for script in swarm_scripts("http://10.77.0.1")}
    for unit in swarm_units():
        if unit.name in TIMED.values():
            assert unit.enabled and unit.name.replace(".timer", ".service") in TIMED
            continue
        assert unit.enabled == (unit.name not in (*TIMED, FAILED_UNIT)), "a timer, or a failure, starts that one"
        service = parse_unit(unit.contents)["Service"]
        lines = {service[key] for key in ("ExecStart", "ExecStop") if key in service} - {"/bin/true"}
        runs = {line.removesuffix(" %i") for line in lines}
        assert runs and runs <= scripts.keys()
        assert all(scripts[path] == 0o755 for path in runs)


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_scripts_are_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for script in (*swarm_scripts("http://10.77.0.1:8080"), *swarm_scripts("https://10.77.0.1")):
        done = subprocess.run([shell, "-n"], input=script.text, text=True, capture_output=True, check=False, timeout=10)
        assert (done.returncode, done.stderr) == (0, ""), script.path

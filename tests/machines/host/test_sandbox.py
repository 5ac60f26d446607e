"""How parts are shut in: really as another user, really in namespaces of their own, and in this order."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import images
from labkit.errors import MachineError
from labkit.images import ganesha
from labkit.images.ensure import build
from labkit.lab.process.handover import VARIABLE, hand, hand_anew, take
from labkit.machines.host import sandbox
from labkit.machines.host.sandbox import (
    FIRST_USER,
    LAST_USER,
    NAMED,
    Sandbox,
    Tree,
    User,
    Users,
    free_users,
    give,
    of_python,
    spawn,
)
from labkit.servers.parts.processes import Part, PartSpec

NOBODY = User(FIRST_USER, FIRST_USER)
WHO = "import json, os; print(json.dumps([*os.getresuid(), *os.getresgid(), os.getgroups()]))"
TRIES = """\
import json, pathlib, sys
said = []
for name in sys.argv[1:]:
    try:
        with open(name, "ab"):
            said.append("written")
    except OSError as error:
        said.append(error.strerror)
print(json.dumps(said))
"""


def shut_in(shut: Sandbox, **env: str) -> tuple[int, str, str]:
    """Run it to its end: exit status, output and errors."""

    async def run() -> tuple[int, str, str]:
        process = await spawn(shut, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env)
        said, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode(), errors.decode()

    return asyncio.run(run())


def python(code: str, *words: str, user: User = NOBODY, **more: object) -> Sandbox:
    """Python code as a part of labkit's own."""
    made = of_python("this", user=user)
    return Sandbox((sys.executable, "-P", "-c", code, *words), user, shows=made.shows, copied=made.copied, **more)  # type: ignore[arg-type]


# --- users ------------------------------------------------------------------------------------------------------------


def test_users_are_numbers_that_nobody_has() -> None:
    users = free_users(7)
    numbers = {users.of(name).uid for name in NAMED}
    assert len(numbers) == len(NAMED) and min(numbers) >= FIRST_USER and max(numbers) <= LAST_USER
    assert numbers.isdisjoint(entry.pw_uid for entry in pwd.getpwall())
    assert free_users(7) == users


def test_a_number_in_use_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_users(7).first
    monkeypatch.setattr(sandbox, "_numbers_in_use", lambda: {first + 1})
    assert free_users(7).first not in range(first + 1 - len(NAMED) + 1, first + 2)
    monkeypatch.setattr(sandbox, "_numbers_in_use", lambda: set(range(FIRST_USER, LAST_USER + 1)))
    with pytest.raises(MachineError, match="no user numbers are free"):
        free_users(7)


def test_without_numbers_all_are_root() -> None:
    assert {Users(0).of(name) for name in NAMED} == {User(0, 0)}


def test_what_is_handed_over_is_in_no_file() -> None:
    descriptor = hand({"secret": "x"})
    try:
        assert os.readlink(f"/proc/self/fd/{descriptor}").startswith("/memfd:")
        os.environ[VARIABLE] = str(descriptor)
        assert take(dict) == take(dict) == {"secret": "x"}
        hand_anew(descriptor, {"secret": "longer"})
        hand_anew(descriptor, {})
        assert take(dict) == {}, "a part that is started anew gets what holds now"
    finally:
        os.environ.pop(VARIABLE, None)
        os.close(descriptor)


# --- as root: the real thing ------------------------------------------------------------------------------------------


@pytest.mark.netns
def test_a_part_is_a_user_of_its_own_without_privileges(tmp_path: Path) -> None:
    """It owns nothing, may write to no file of root's, and cannot become anybody else."""
    own = give(tmp_path / "own", NOBODY)
    roots = tmp_path / "roots"
    roots.write_text("root's\n")
    made = python(WHO, user=User(NOBODY.uid, NOBODY.gid, (4242,)))
    assert json.loads(shut_in(made)[1]) == [NOBODY.uid] * 3 + [NOBODY.gid] * 3 + [[4242]]
    status, said, _ = shut_in(Sandbox(("cat", "/proc/self/status"), NOBODY))
    fields = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert status == 0 and fields["NoNewPrivs"] == "1"
    assert {
        name: int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    } == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    tried = python(TRIES, "/etc/hostname", str(roots), str(own / "new"), writes=(str(own),))
    said = json.loads(shut_in(tried)[1])
    assert said[0] == "Permission denied" and said[1] != "written" and said[2] == "written"
    assert roots.read_text() == "root's\n"


@pytest.mark.netns
def test_capabilities_are_kept_by_name_and_none_beside() -> None:
    status, said, errors = shut_in(Sandbox(("cat", "/proc/self/status"), NOBODY, ("net_bind_service", "net_raw")))
    assert status == 0, errors
    caps = {line.split(":\t")[0]: int(line.split(":\t")[1], 16) for line in said.splitlines() if line.startswith("Cap")}
    assert set(caps.values()) == {1 << 10 | 1 << 13}


@pytest.mark.netns
def test_of_a_home_that_is_closed_it_sees_what_it_needs_alone(tmp_path: Path) -> None:
    """By the same path; also through a link; and it cannot write to what is only shown."""
    home = tmp_path / "home"
    for name in ("lab/run/sock", "lab/keys/secret", "lab/books/leases", "other"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    home.chmod(0o700)
    (tmp_path / "link").symlink_to(home)
    give(home / "lab/books", NOBODY)
    code = (
        "import pathlib, sys; top = pathlib.Path(sys.argv[1]);"
        "print(*sorted(str(path.relative_to(top)) for path in top.rglob('*')))"
    )
    shown = (str(home / "lab/run"), str(tmp_path / "link/lab/run"))
    made = of_python("this", user=NOBODY)
    see = Sandbox(
        (sys.executable, "-P", "-c", code, str(home)), NOBODY, shows=(*made.shows, *shown),
        writes=(str(home / "lab/books"),), copied=made.copied,
    )  # fmt: skip
    status, said, errors = shut_in(see)
    assert status == 0, errors
    assert said.split() == ["lab", "lab/books", "lab/books/leases", "lab/run", "lab/run/sock"]
    names = [str(home / "lab/run/sock"), str(home / "lab/books/leases"), str(home / "lab/new")]
    tried = json.loads(shut_in(replace(see, command=(sys.executable, "-P", "-c", TRIES, *names)))[1])
    assert tried[1] == "written" and "written" not in (tried[0], tried[2])
    assert (home / "lab/keys/secret").read_text() == "lab/keys/secret" and not (home / "lab/new").exists()


@pytest.mark.netns
def test_a_checkout_of_a_strict_umask_is_copied_in(tmp_path: Path) -> None:
    closed = tmp_path / "package"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner/file").write_text("text")
    for path in (closed, closed / "inner"):
        path.chmod(0o700)
    (closed / "inner/file").chmod(0o600)
    status, said, errors = shut_in(
        Sandbox(("cat", str(closed / "inner/file")), NOBODY, shows=(str(closed),), copied=(str(closed),))
    )
    assert (status, said) == (0, "text"), errors
    assert stat.S_IMODE((closed / "inner/file").stat().st_mode) == 0o600


@pytest.mark.netns
def test_a_root_over_a_tree(tmp_path: Path) -> None:
    """Secrets are copied for its user alone, texts are there, and nothing it writes reaches the tree."""
    build(ganesha, print)
    tree, kept, secret = images.ganesha_tree(), give(tmp_path / "kept", NOBODY), tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    root = Tree(
        str(tree), str(tmp_path / "work"), binds={"/kept": str(kept)}, sees={"/seen": str(kept)},
        copies={"/run/key": str(secret)}, texts={"/etc/text": "text"},
    )  # fmt: skip
    commands = ("cat /run/key /etc/text", "stat -c %u-%a /run/key /etc/text", "touch /kept/file", "touch /seen/file",
                "touch /etc/new", "ls /", "hostname")  # fmt: skip
    script = "; ".join(f"/bin/busybox {command}" for command in commands)
    shut = Sandbox(("/bin/busybox", "sh", "-c", script), NOBODY, namespaces=("uts",), hostname="shut", tree=root)
    _, said, errors = shut_in(shut)
    lines = said.splitlines()
    assert lines[:2] == [f"s3crettext{NOBODY.uid}-400", f"{NOBODY.uid}-444"], (said, errors)
    assert "oldroot" not in lines and lines[-1] == "shut"
    assert "/seen/file: Read-only file system" in errors and "/etc/new: Permission denied" in errors
    assert (kept / "file").exists() and not (tree / "etc/text").exists()


@pytest.mark.netns
def test_links_of_a_tree_do_not_lead_out_of_it(tmp_path: Path) -> None:
    """What is laid and bound under a link's name goes where the link leads for who has the tree as the root."""
    build(ganesha, print)
    tree, host, kept = tmp_path / "tree", tmp_path / "host", tmp_path / "kept"
    shutil.copytree(images.ganesha_tree(), tree, symlinks=True)
    for folder in (host, kept):
        folder.mkdir()
        (folder / "mark").write_text(folder.name)
    (tree / host.relative_to("/")).mkdir(parents=True)
    (tree / "etc/conf").symlink_to(host)
    (tree / "etc/data").symlink_to(f"../../../../../../../../..{host}")
    (tree / "etc/file").symlink_to(host / "mark")
    root = Tree(
        str(tree), str(tmp_path / "work"), binds={"/etc/data/bound": str(kept)},
        texts={"/etc/conf/text": "text", "/etc/file": "text"},
    )  # fmt: skip
    script = f"/bin/busybox cat {host}/bound/mark {host}/text {host}/mark"
    _, said, errors = shut_in(Sandbox(("/bin/busybox", "sh", "-c", script), tree=root))
    assert said == "kepttexttext", errors
    assert os.listdir(host) == ["mark"] and (host / "mark").read_text() == "host"


@pytest.mark.netns
def test_a_device_is_lent_whatever_its_modes(tmp_path: Path) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun")
    before = Path("/dev/net/tun").stat()
    made = Sandbox(
        (sys.executable, "-I", "-S", "-c", "open('/dev/net/tun', 'r+b', 0).close(); print('opened')"), NOBODY,
        shows=sandbox.python_paths(), devices=("/dev/net/tun",), work=str(tmp_path / "work"),
    )  # fmt: skip
    assert shut_in(made)[:2] == (0, "opened\n")
    assert (Path("/dev/net/tun").stat().st_mode, Path("/dev/net/tun").stat().st_uid) == (before.st_mode, before.st_uid)


@pytest.mark.netns
def test_what_the_kernel_refuses_is_said(tmp_path: Path) -> None:
    status, _, errors = shut_in(Sandbox(("true",), net_of=str(tmp_path / "nowhere")))
    assert status == 71 and "this part cannot be shut in" in errors and "No such file" in errors


# --- the order --------------------------------------------------------------------------------------------------------


@pytest.mark.netns
def test_it_is_in_its_own_namespaces_before_anybody_plugs_it_in() -> None:
    """However often: the word comes from the process itself, behind unshare(2)."""
    ours = os.readlink("/proc/self/ns/net")

    async def start() -> None:
        process = await spawn(Sandbox(("cat",), namespaces=("net",), waits=True), stdin=asyncio.subprocess.PIPE)
        try:
            assert os.readlink(f"/proc/{process.pid}/ns/net") != ours
            assert b"enter_sandbox.py" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.kill()
            await process.wait()

    async def all_at_once() -> None:
        await asyncio.gather(*(start() for _ in range(20)))

    asyncio.run(all_at_once())


@pytest.mark.netns
def test_a_part_goes_through_its_start_in_order(tmp_path: Path) -> None:
    """Prepared, moved, plugged in, told to go, ready; and the same when it is started anew."""
    told: list[str] = []
    spec: PartSpec

    async def plug_in(pid: int) -> None:
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        assert not (tmp_path / "runs").exists()
        told.append("plugged in")

    async def ready() -> bool:
        if (tmp_path / "runs").exists():
            told.append("ready")
        return (tmp_path / "runs").exists()

    def prepare() -> None:
        (tmp_path / "runs").unlink(missing_ok=True)
        told.append("prepared")

    command = ("sh", "-c", f"touch {tmp_path}/runs; exec sleep 100")
    spec = PartSpec(
        "part", Sandbox(command, namespaces=("net",), waits=True), tmp_path / "log", prepare=prepare, plug_in=plug_in,
        ready=ready,
    )  # fmt: skip

    async def live() -> None:
        part = Part(spec, lambda event: None)
        await part.start()
        assert part.process is not None
        part.process.kill()
        async with asyncio.timeout(20):
            while told.count("ready") < 2:
                await asyncio.sleep(0.01)
        await part.stop()
        assert not part.pid

    asyncio.run(live())
    assert told == ["prepared", "plugged in", "ready"] * 2


@pytest.mark.netns
def test_a_part_that_cannot_be_plugged_in_does_not_run(tmp_path: Path) -> None:
    async def plug_in(pid: int) -> None:
        raise MachineError("no such card")

    command = ("touch", str(tmp_path / "ran"))
    spec = PartSpec("part", Sandbox(command, waits=True), tmp_path / "log", plug_in=plug_in)

    async def live() -> None:
        part = Part(spec, lambda event: None)
        with pytest.raises(MachineError, match="no such card"):
            await part.start()
        assert part.process is not None
        await asyncio.wait_for(part.process.wait(), 10)

    asyncio.run(live())
    assert not (tmp_path / "ran").exists()


@pytest.mark.netns
def test_who_is_cancelled_while_it_starts_leaves_no_process() -> None:
    """Whenever that is: in the middle of its fork, of its handshake, or when it is just there."""

    async def start(after_s: float) -> bool:
        try:
            async with asyncio.timeout(after_s):
                process = await spawn(Sandbox(("sleep", "100")))
        except TimeoutError:
            return False
        process.kill()
        await process.wait()
        return True

    async def often() -> None:
        after_s = 0.0
        while not await start(after_s):
            after_s += 0.004
        async with asyncio.timeout(10):
            while [pid for pid in children() if b"sleep" in command_of(pid)]:
                await asyncio.sleep(0.01)

    asyncio.run(often())


def children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

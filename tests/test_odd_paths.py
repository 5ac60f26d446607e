"""Paths with blanks, quotes, commas and the like: each program that gets one takes it for what it is."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import docker
import pytest

from labkit.errors import MachineError
from labkit.lab import certificates
from labkit.lab.state import State
from labkit.machines.virtual.qemu import value
from labkit.swarm.engine import engine
from labkit.workbook.chapters import plain
from tests.rig.odd import ODD

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def state() -> Iterator[State]:
    with tempfile.TemporaryDirectory(prefix="lab") as folder:  # pytest's own are too long for sockets
        state = State(Path(folder) / ODD)
        state.make()
        yield state


def test_certificates_are_made(state: State) -> None:
    made = certificates.ensure_registry(state, "10.77.0.1")
    assert made.certificate.exists()
    assert certificates.ensure_registry(state, "10.77.0.1") == made


def test_an_engine_is_found(state: State) -> None:
    class Engine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.24", "Name": "here"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def address_string(self) -> str:
            return "a Unix socket"

        def log_message(self, format: str, *words: object) -> None:
            """To nobody."""

    with ThreadingUnixStreamServer(str(state.docker), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with engine(state.docker) as client:
                assert isinstance(client, docker.DockerClient)
                assert client.info()["Name"] == "here"
        finally:
            server.shutdown()


def test_papermill_takes_it_for_no_template() -> None:
    from papermill.parameterize import parameterize_path  # here, since it takes seconds

    assert parameterize_path(plain(Path(ODD)), {}) == ODD


def test_a_comma_ends_no_option_of_qemu() -> None:
    assert value(Path("/a,b/c,d")) == "/a,,b/c,,d"


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab", "bell\a"])
def test_a_line_break_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MachineError, match="control character"):
        State(tmp_path / name).make()
    assert not (tmp_path / name).exists()


def test_a_lab_there_is_looked_at(state: State) -> None:
    lab = state.path / "lab.yaml"
    lab.write_text("blades: [{name: blade1}]\n")
    words = [sys.executable, "-m", "labkit", "--lab", str(lab), "why", "blade1"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=state.path, env={"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (1, "")
    assert "the lab is not up" in done.stdout

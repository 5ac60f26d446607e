"""Asking a service, one request after the other and under load, with a small server of the tests' own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from labkit.swarm.services.http_probe import Answer, ask, tally, under_load


class Server(ThreadingHTTPServer):
    """Counts its requests; each third one is refused, and all of them take a while."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.count, self.together, self.most = 0, 0, 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.count += 1
            number = self.server.count
            self.server.together += 1
            self.server.most = max(self.server.most, self.server.together)
        time.sleep(0.3)
        self.send_response(503 if number % 3 == 0 else 200)
        self.send_header("X-Replica", "web.1.blade1")
        self.end_headers()
        with self.server.lock:
            self.server.together -= 1

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_load_does_not_wait_for_answers(server: Server) -> None:
    places = {"blade1": "127.0.0.1", "blade2": "127.0.0.1"}
    with under_load(places, server.server_port, per_s=40) as load:
        time.sleep(1)
    assert len(load) == server.count > 10  # each asked once, and each answer counted, the last ones too
    assert server.most > 1
    assert {answer.blade for answer in load} == {"blade1", "blade2"}
    failed = sum(not answer.ok for answer in load)
    assert failed == server.count // 3
    assert tally(load).startswith(f"{len(load)} requests, {failed} failed; {failed} × status 503; the slowest answer")


def test_the_load_ends_when_what_is_under_it_fails(server: Server) -> None:
    with pytest.raises(ValueError, match="stop"), under_load({"a": "127.0.0.1"}, server.server_port, per_s=20) as load:
        raise ValueError("stop")
    assert len(load) == server.count


def test_what_is_no_http_answer_is_told_as_it_came_and_on_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-\x1b[31m" + b"x" * 200 + b"\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        found = ask("blade1", "127.0.0.1", listening.getsockname()[1], timeout_s=5)
        thread.join()
    assert found.error.startswith("not an HTTP answer: SSH-2.0-") and "\x1b" not in found.error
    assert len(found.error) < 130 and found.error.isprintable()


def test_what_did_not_answer_is_told_by_its_reason() -> None:
    gone = ask("blade1", "127.0.0.1", 1, timeout_s=1)
    assert (gone.ok, gone.status, gone.error) == (False, 0, "Connection refused")
    late = Answer("b", "a", 0, "", 5000, error="no answer within 5 s")
    good = Answer("b", "a", 200, "r", 12.4)
    assert tally([gone, late, gone, good]) == (
        "4 requests, 3 failed; 2 × Connection refused; 1 × no answer within 5 s; the slowest answer took 12 ms"
    )
    assert tally([]) == "0 requests, 0 failed; the slowest answer took 0 ms"

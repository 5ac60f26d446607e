"""The engine's stream of a log, taken apart: frames, and the bare lines of a service with a terminal."""

from __future__ import annotations

import io
import struct
from types import SimpleNamespace

from labkit.swarm.observe.service_logs import RAW, _frames, _raw_lines


def frame(stream: int, line: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(line)) + line


def test_frames_are_lines_with_their_stream() -> None:
    lines = [(1, b"one\n"), (2, b"two\n"), (3, b"Error grabbing logs: x\n"), (1, b""), (1, b"no end")]
    said = io.BytesIO(b"".join(frame(stream, line) for stream, line in lines))
    assert list(_frames(SimpleNamespace(raw=said))) == lines
    assert list(_frames(SimpleNamespace(raw=io.BytesIO(frame(1, b"x")[:5])))) == [], "the engine hung up"


def test_a_terminals_lines_are_put_together_from_blocks() -> None:
    blocks = [b"on", b"e\ntwo\n", b"thr", b"ee"]
    answer = SimpleNamespace(iter_content=lambda size: iter(blocks))
    assert list(_raw_lines(answer)) == [(RAW, b"one"), (RAW, b"two"), (RAW, b"three")]

"""Asking a service through its published port, from outside, node by node."""

from __future__ import annotations

import http.client
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from labkit.lab.plain_text import one_line

REPLICA_HEADER = "X-Replica"
"""The response header in which a replica says its name; `ServiceSpec.hostname` gives it one."""

BODY_LIMIT_B = 64 << 10
MOST_SAID = 100
"""Letters of what is no HTTP answer; it may be anything."""


@dataclass(frozen=True)
class Answer:
    """What came back through one node.

    ``status`` is the HTTP status, 0 when there was no answer: then ``error`` says why. ``replica`` is who answered, as
    far as the answer says so; ``ms`` is milliseconds from connecting to the end of the body, ``began_s`` the moment of
    connecting in seconds of `time.monotonic`.
    """

    blade: str
    address: str
    status: int
    replica: str
    ms: float
    body: str = ""
    error: str = ""
    began_s: float = 0.0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def probe(
    addresses: Mapping[str, str], port: int, *, path: str = "/", timeout_s: float = 5.0, rounds: int = 1
) -> list[Answer]:
    """``GET path`` on ``port`` of each address (a mapping by blade name), all at once, ``rounds`` times over.

    Each request has a connection of its own, since the mesh spreads connections, not requests. The answers come in the
    order of the addresses, round after round; one that failed is an answer too.
    """
    places = list(addresses.items()) * rounds
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(addresses)))) as pool:
        return list(pool.map(lambda place: ask(place[0], place[1], port, path=path, timeout_s=timeout_s), places))


@contextmanager
def under_load(
    addresses: Mapping[str, str], port: int, *, per_s: float, path: str = "/", timeout_s: float = 5.0
) -> Iterator[list[Answer]]:
    """Ask for the length of a ``with``: ``per_s`` requests a second in total, to one address after the other.

    The pace does not follow the answers (an open loop), nothing is asked twice, and each request has a connection of
    its own. The list holds the answers so far, and all of them when the ``with`` is over.
    """
    answers: list[Answer] = []
    stop = threading.Event()
    places = list(addresses.items())

    def one(number: int) -> None:
        blade, address = places[number % len(places)]
        answers.append(ask(blade, address, port, path=path, timeout_s=timeout_s))

    def pace(pool: ThreadPoolExecutor) -> None:
        started = time.monotonic()
        for number in itertools.count():
            if stop.wait(max(0.0, started + number / per_s - time.monotonic())):
                return
            pool.submit(one, number)

    # So many may wait for an answer at once when all of them time out.
    with ThreadPoolExecutor(max_workers=int(per_s * timeout_s) + 2, thread_name_prefix="load") as pool:
        pacer = pool.submit(pace, pool)
        try:
            yield answers
        finally:
            stop.set()
            pacer.result()


def tally(answers: Sequence[Answer]) -> str:
    """How many were answered, and what became of the others, in a line."""
    wrong = Counter(answer.error or f"status {answer.status}" for answer in answers if not answer.ok)
    slowest = max((answer.ms for answer in answers if answer.ok), default=0.0)
    reasons = [f"{count} × {what}" for what, count in wrong.most_common()]
    head = f"{len(answers)} requests, {wrong.total()} failed"
    return "; ".join([head, *reasons, f"the slowest answer took {slowest:.0f} ms"])


def ask(blade: str, address: str, port: int, *, path: str = "/", timeout_s: float = 5.0) -> Answer:
    """One request to one address."""
    began_s = time.monotonic()
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    status, replica, body, error = 0, "", "", ""
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(BODY_LIMIT_B).decode(errors="replace")
        status, replica = response.status, response.getheader(REPLICA_HEADER, "")
    except TimeoutError:
        error = f"no answer within {timeout_s:g} s"
    except OSError as failure:
        error = os.strerror(failure.errno) if failure.errno else str(failure)
    except http.client.HTTPException as failure:
        error = f"not an HTTP answer: {one_line(str(failure))[:MOST_SAID]}"
    finally:
        connection.close()
    ms = round((time.monotonic() - began_s) * 1000, 1)
    return Answer(blade, address, status, replica, ms, body, error, began_s)

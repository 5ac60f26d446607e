"""A Redfish service on the loopback whose resources are a table."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from labkit.lab import Bmc, PowerKind


class Canned(BaseHTTPRequestHandler):
    """Answers each path below /redfish/v1/ with what stands in the table: a status, and JSON."""

    table: dict[str, list[tuple[int, Any]]]
    pressed: list[str]
    asked: list[str]
    protocol_version = "HTTP/1.1"  # one handshake for all that is asked in a call

    def do_GET(self) -> None:
        self.asked.append(self.path)
        rows = self.table.get(self.path.removeprefix("/redfish/v1").strip("/"), [(404, {})])
        self.reply(*(rows.pop(0) if len(rows) > 1 else rows[0]))

    def do_POST(self) -> None:
        self.pressed.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.reply(*self.table["POST"][0])

    do_PATCH = do_POST

    def reply(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None: ...


RESET = {
    "#ComputerSystem.Reset": {
        "target": "/redfish/v1/press",
        "ResetType@Redfish.AllowableValues": ["On", "ForceRestart"],
    }
}
GOOD: dict[str, list[tuple[int, Any]]] = {
    "": [(200, {"Id": "root", "RedfishVersion": "1.6.0", "Systems": {"@odata.id": "/redfish/v1/Systems"}})],
    "Systems": [(200, {"Name": "all", "Members": [{"@odata.id": "/redfish/v1/Systems/1"}]})],
    "Systems/1": [(200, {"Id": "1", "Name": "one", "PowerState": "Off", "Actions": RESET})],
    "POST": [(204, {})],
}


def base(name: str, status: int) -> tuple[int, Any]:
    said = [{"MessageId": f"Base.1.8.{name}", "Message": f"{name} it is", "Severity": "Critical"}]
    return status, {"error": {"code": f"Base.1.8.{name}", "message": "no", "@Message.ExtendedInfo": said}}


@contextmanager
def canned(own: tuple[Path, str], rows: dict[str, list[tuple[int, Any]]]) -> Iterator[tuple[Bmc, type[Canned]]]:
    folder, certificate = own
    answers = type("Answers", (Canned,), {"table": {**GOOD, **rows}, "pressed": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Bmc("127.0.0.1", server.server_port, "admin", None, PowerKind.REDFISH, certificate=certificate), answers
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

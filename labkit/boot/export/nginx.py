"""nginx: the boot files over HTTP, each blade's own, by its address (ngx_http_map_module)."""

from __future__ import annotations

from labkit.boot.export.rules import Wanted, commented, head, quoted, text
from labkit.errors import ParameterError

FILE = "labkit-nginx.conf"


def render(wanted: Wanted) -> str:
    """The lab as a file for ``/etc/nginx/conf.d``. Raises ParameterError for a folder that nginx cannot name."""
    if "$" in wanted.files:
        what = f"nginx takes the $ in {wanted.files} for a variable, and knows no way to write it otherwise"
        raise ParameterError(what, where="--files", fix="--files /srv/labkit, or another folder without $")
    network = wanted.lab.network
    copied = ["Copy it to /etc/nginx/conf.d/ (nginx -t checks it), and start nginx again."]
    return text([
        *commented(head(wanted, "nginx", copied)),
        "",
        "# A blade asks for a path alone; its address says whose. Everybody else gets nothing.",
        "map $remote_addr $labkit_blade {",
        '    default "";',
        *(f"    {blade.address} {quoted(blade.name)};" for blade in wanted.lab.blades),
        "}",
        "",
        "server {",
        f"    listen {network.server}:{network.http_port};",
        f"    root {quoted(wanted.files.rstrip('/') + '/$labkit_blade')};",
        "    default_type application/octet-stream;",
        '    if ($labkit_blade = "") {',
        "        return 404;",
        "    }",
        "}",
    ])  # fmt: skip

"""One question to the system's keyring, in a process of its own: `labkit.machines.power.passwords` asks for it.

A keyring that is locked may put a question on somebody's screen and wait for the answer, so whoever asks sets the time.
The package ``keyring`` finds the keyring there is (Secret Service, KWallet and others); it is imported here and nowhere
else, since most labs need none. The question is read from standard input, so that no command line says whose password
is asked for, and the answer goes to standard output, which is a pipe.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from labkit.lab.process import faults


def main() -> int:
    """Read ``{service, user}`` and print ``{password}`` or ``{error, detail}``."""
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
    return 0


def answer(request: dict[str, Any]) -> dict[str, str]:
    """The entry's password, or why there is none: ``package``, ``backend``, ``locked``, ``failed``, ``missing``."""
    try:
        import keyring
        from keyring.backends import fail
        from keyring.errors import InitError, KeyringLocked, NoKeyringError
    except ImportError:
        return {"error": "package"}
    try:
        if isinstance(keyring.get_keyring(), fail.Keyring):
            return {"error": "backend"}
        found = keyring.get_password(request["service"], request["user"])
    except NoKeyringError:
        return {"error": "backend"}
    except (InitError, KeyringLocked) as error:
        return {"error": "locked", "detail": _words(error)}
    except Exception as error:  # what a backend raises is its own: D-Bus, a file, a program
        return {"error": "failed", "detail": _words(error)}
    return {"password": found} if found else {"error": "missing"}


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))

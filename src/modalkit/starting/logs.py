"""Cold starts that containers have logged: of a deployed app, or in a file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import modal

from ..compile import served_on
from ..declare.cold_start import ColdStartRecord
from ..discovery import run_file
from ..errors import AccountError, DeclarationError

__all__ = ["deployed_records", "records_in"]

_ENTRIES = 5000
_WITHIN_S = 120.0


def records_in(lines: Iterable[str]) -> list[ColdStartRecord]:
    """Return the starts that lines of a log tell of, in their order."""
    return [found for line in lines if (found := ColdStartRecord.of_line(line)) is not None]


def deployed_records(file: str) -> list[ColdStartRecord]:
    """Return the starts in the logs of a file's deployed apps, as the Modal command shows them.

    Raises:
        DeclarationError: The file serves nothing on an app with a name.
        AccountError: Modal did not show the logs; the message is what it said.
    """
    module = run_file(file)
    apps = [one for one in vars(module).values() if isinstance(one, modal.App) and served_on(one)]
    names = list(dict.fromkeys(app.name for app in apps if app.name))
    if not names:
        msg = f"{file} serves nothing on an app with a name, so none can be deployed. Write modal.App('name')."
        raise DeclarationError(msg)
    return [record for name in names for record in records_in(_log_of(name))]


def _log_of(app: str) -> list[str]:
    words = ("app", "logs", app, "--tail", str(_ENTRIES), "--search", "modalkit.cold_start")
    done = subprocess.run(
        [sys.executable, "-m", "modal", *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_WITHIN_S,
        check=False,
    )
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        msg = f"The logs of the deployed app {app!r} could not be read. `modal app logs` said:\n{said}"
        raise AccountError(msg)
    return done.stdout.splitlines()

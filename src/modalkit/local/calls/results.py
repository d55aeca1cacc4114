"""Results of spawned calls on disk, for whoever asks after the plane was started again.

    STATE/calls/
      ID          a finished call: one line of JSON, then its outputs
      ID.open     a call that was spawned and is not finished
      blobs/      outputs too large for a message

Results are kept for seven days, as Modal does, and up to 2 GiB; the oldest go first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ..protocol import api
from .outputs import Outputs

if TYPE_CHECKING:
    from .calls import FunctionCall

__all__ = ["CallResults", "FinishedCall"]

_KEPT_S = 7 * 24 * 3600
_KEPT_BYTES = 2 * 1024**3
_TIDY_EVERY = 1000


class _Head(TypedDict):
    """The first line of a file."""

    function: str
    app: str
    inputs: int
    plane: int


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call of an earlier time."""

    id: str
    function_id: str
    app_id: str
    inputs_total: int
    outputs: Outputs


class CallResults:
    """The results in one state folder; several planes may use it at once.

    Args:
        folder: Made when missing.
        runs_elsewhere: Says whether a process id is that of another plane on this folder.
    """

    def __init__(self, folder: Path, runs_elsewhere: Callable[[int], bool]) -> None:
        self._folder = folder
        self._runs_elsewhere = runs_elsewhere
        self._written = 0
        self.blobs = folder / "blobs"
        self.blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tidy()

    def begin(self, call: FunctionCall) -> None:
        """Write down that a call was spawned."""
        self._write(f"{call.id}.open", _head(call))

    def finish(self, call: FunctionCall) -> None:
        """Write down what came of a spawned call."""
        outputs = api.FunctionGetOutputsResponse(outputs=call.outputs.all())
        self._write(call.id, _head(call) + outputs.SerializeToString())
        (self._folder / f"{call.id}.open").unlink(missing_ok=True)
        self._written += 1
        if self._written % _TIDY_EVERY == 0:
            self._tidy()

    def find(self, call_id: str) -> FinishedCall | None:
        """Return a call of an earlier time.

        One that was unfinished when its plane ended has an output that says so.
        """
        name = Path(call_id).name
        if (found := self._read(name)) is not None:
            head, body = found
            items = list(api.FunctionGetOutputsResponse.FromString(body).outputs)
        elif (found := self._read(f"{name}.open")) is not None:
            head, _body = found
            items = self._lost(name, head)
        else:
            return None
        return FinishedCall(name, head["function"], head["app"], head["inputs"], Outputs(items))

    def _lost(self, call_id: str, head: _Head) -> list[api.FunctionGetOutputsItem]:
        if self._runs_elsewhere(head["plane"]):
            message = (
                f"The call {call_id} belongs to another local Modal on this state folder, "
                f"process {head['plane']}, and is not finished: ask that one."
            )
        else:
            message = (
                f"The call {call_id} was not finished when its local Modal was killed, and what it "
                "did until then is not known here. Spawn it again if that is safe."
            )
        status = api.GenericResult.GENERIC_STATUS_TERMINATED
        result = api.GenericResult(status=status, exception=message)
        return [
            api.FunctionGetOutputsItem(idx=index, result=result) for index in range(head["inputs"])
        ]

    def _write(self, name: str, content: bytes) -> None:
        """Write a file so that it is there whole or not at all."""
        fresh = self._folder / f"{name}.{os.getpid()}.new"
        fresh.touch(mode=0o600)
        fresh.write_bytes(content)
        fresh.rename(self._folder / name)

    def _read(self, name: str) -> tuple[_Head, bytes] | None:
        try:
            content = (self._folder / name).read_bytes()
        except OSError:
            return None
        head, _, body = content.partition(b"\n")
        return json.loads(head), body

    def _tidy(self) -> None:
        """Remove what is too old, and the oldest while everything together is too large."""
        files = [path for path in self._folder.glob("**/*") if path.is_file()]
        oldest_first = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in files)
        total = sum(size for _when, size, _path in oldest_first)
        for when, size, path in oldest_first:
            if time.time() - when < _KEPT_S and total <= _KEPT_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= size


def _head(call: FunctionCall) -> bytes:
    head = _Head(
        function=call.function.id,
        app=call.function.app.id,
        inputs=call.inputs_total,
        plane=os.getpid(),
    )
    return json.dumps(head).encode() + b"\n"

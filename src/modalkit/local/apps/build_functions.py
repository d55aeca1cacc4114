"""Build functions (`Image.run_function`): each runs for real, in a container whose changes are kept."""

from __future__ import annotations

import asyncio
import copy
import pickle
from contextlib import aclosing
from pathlib import Path

from ...errors import LocalModalError
from ..calls.calls import Calls, FunctionCall
from ..images.logs import BuildLog
from ..protocol import api
from .functions import Functions
from .logs import AppLog

__all__ = ["BuildFunctions"]

_GRACE_S = 30.0
_FOREVER_S = float("inf")


class BuildFunctions:
    """Runs build functions.

    Args:
        functions: Finds a function by its id.
    """

    def __init__(self, functions: Functions, calls: Calls) -> None:
        self._functions = functions
        self._calls = calls
        self._changes: dict[str, Path] = {}

    def changes(self, function_id: str) -> Path | None:
        """Return where the changes of a function's container are kept, if it is a build function."""
        return self._changes.get(function_id)

    async def call(
        self, function_id: str, given: api.FunctionInput, changes: Path, log: BuildLog
    ) -> None:
        """Call a build function once and wait until its container is gone.

        Raises:
            LocalModalError: It failed.
        """
        function = self._functions.find(function_id)
        function.app = copy.copy(function.app)  # what it prints belongs to the build's log
        function.app.log = AppLog()
        following = asyncio.get_running_loop().create_task(_forward(function.app.log, log))
        self._changes[function_id] = changes
        invocation = api.FUNCTION_CALL_INVOCATION_TYPE_SYNC
        call = self._calls.create(FunctionCall(function, invocation=invocation))
        log.say(f"RUN {function.name}()")
        try:
            self._calls.submit(call, given if given.args else _nothing(), 0)
            result = (await call.single_output()).result
        finally:
            await function.pool.stop(_GRACE_S)
            function.app.log.finish()
            await following
            del self._changes[function_id]
        if result.status != api.GenericResult.GENERIC_STATUS_SUCCESS:
            told = result.exception or api.GenericResult.GenericStatus.Name(result.status)
            msg = f"The build function {function.name!r} failed: {told}"
            raise LocalModalError(msg)


async def _forward(source: AppLog, target: BuildLog) -> None:
    """Copy what the container prints into the build's log, line by line."""
    rest = ""
    async with aclosing(source.follow("", _FOREVER_S)) as batches:
        async for batch in batches:
            rest += "".join(item.data for item in batch.items)
            *lines, rest = rest.split("\n")
            for line in lines:
                target.say(line)
    if rest:
        target.say(rest)


def _nothing() -> api.FunctionInput:
    args = pickle.dumps(((), {}), protocol=4)
    return api.FunctionInput(args=args, data_format=api.DATA_FORMAT_PICKLE)

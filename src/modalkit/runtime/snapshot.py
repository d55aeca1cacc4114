"""An engine around a memory snapshot: its GPUs' memory let go before it, taken back after it."""

from __future__ import annotations

import time
from http import HTTPStatus

from ..engines.base import Engine
from ..errors import EngineError
from .asking import Asker
from .warm_up import warm_up

__all__ = ["engine_sleeps", "engine_wakes"]


def engine_sleeps(engine: Engine, ask: Asker, within_s: float) -> None:
    """Let an engine give its GPUs' memory back, if it can.

    Raises:
        EngineError: It refused; or it has ended.
    """
    if engine.sleep_path is not None:
        _order(engine, ask, engine.sleep_path, within_s)


def engine_wakes(engine: Engine, ask: Asker, within_s: float) -> None:
    """Let an engine take its GPUs' memory, and prove with one real request that it answers again.

    Raises:
        EngineError: It refused or failed; or it has ended.
    """
    deadline = time.monotonic() + within_s
    if engine.wake_path is not None:
        _order(engine, ask, engine.wake_path, within_s)
    warm_up(ask, engine.warm_up_requests(), 1, deadline - time.monotonic())


def _order(engine: Engine, ask: Asker, path: str, within_s: float) -> None:
    answer = ask.post(path, {}, within_s)
    if answer.status != HTTPStatus.OK:
        msg = (
            f"{engine.title} refused POST {path} with {answer} Write ColdStart(snapshot=None) for a "
            "version of it that cannot sleep."
        )
        raise EngineError(msg)

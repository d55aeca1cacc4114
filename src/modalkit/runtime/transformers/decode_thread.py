"""The thread in which the model runs, and the two ways across: requests in, tokens out."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from http import HTTPStatus

import torch

from ..openai import ApiError, Load
from .scheduler import Scheduler
from .sequence import Sequence, TokenEvent

__all__ = ["DecodeThread"]

_LOG = logging.getLogger(__name__)


class DecodeThread(threading.Thread):
    """Runs a `Scheduler` until closed; hands a whole step's tokens over in one call."""

    def __init__(self, scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="modalkit-decode", daemon=True)
        self._scheduler = scheduler
        self._loop = loop
        self._inbox: queue.SimpleQueue[list[Sequence] | None] = queue.SimpleQueue()

    def submit(self, sequences: list[Sequence]) -> None:
        """Queue sequences; they are admitted in this order."""
        self._inbox.put(sequences)

    def wake(self) -> None:
        """Let an idle thread look at its sequences again, because one was cancelled."""
        self._inbox.put([])

    def close(self) -> None:
        """End the thread after its current step."""
        self._inbox.put(None)

    def current_load(self) -> Load:
        """How many sequences run and wait."""
        return Load(self._scheduler.running, self._scheduler.waiting + self._inbox.qsize())

    def run(self) -> None:
        """Iterate until closed."""
        with torch.inference_mode():
            while self._take_in():
                try:
                    self._hand_over(self._scheduler.read_prompts())
                    self._hand_over(self._scheduler.decode())
                except Exception as error:  # noqa: BLE001  others must go on
                    _LOG.exception("A model step failed; its requests are answered 500.")
                    self._fail(error)

    def _take_in(self) -> bool:
        """Queue what has arrived, waiting for it when there is nothing else to do."""
        while True:
            try:
                arrived = self._inbox.get(block=self._scheduler.is_idle)
            except queue.Empty:
                return True
            if arrived is None:
                return False
            for sequence in arrived:
                self._scheduler.submit(sequence)

    def _hand_over(self, events: list[TokenEvent]) -> None:
        if events and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_deliver, events)

    def _fail(self, error: Exception) -> None:
        lost = self._scheduler.abandon()
        message = f"The model failed while generating: {type(error).__name__}."
        failure = ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message, code="generation_failed")
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_deliver_failure, lost, failure)


def _deliver(events: list[TokenEvent]) -> None:
    for event in events:
        event.sequence.on_token(event)


def _deliver_failure(lost: list[Sequence], failure: ApiError) -> None:
    for sequence in lost:
        sequence.on_failure(failure)

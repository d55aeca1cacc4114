"""A model of the hub: its files listed by ``huggingface_hub``, their bytes asked for by range.

The bytes are fetched here because three things must hold that the hub's client does not promise: a range
that was cut off goes on at the byte where it stopped, memory stays flat, and the token goes to the hub
alone, not to the address that large files are redirected to. Repositories kept in Xet answer ranges in
the same way, through the hub's bridge.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from threading import Event
from urllib.parse import quote, urljoin

from ..errors import HubError
from ..hub import list_files
from ..hub.messages import down, gated, not_found, refused
from .connections import Connections, origin_of
from .files import SourceFile
from .sources import Readable

__all__ = ["HubSource"]

_ENDPOINT = "https://huggingface.co"  # what huggingface_hub asks where HF_ENDPOINT is not set
_OK, _PARTIAL = 200, 206
_MOVED = frozenset({301, 302, 303, 307, 308})
_MOST_MOVES = 5
_FOR_A_WHILE = frozenset({408, 425, 429, 500, 502, 503, 504})
_EXPIRED = frozenset({401, 403, 404, 410})  # of an address that was signed for a time
_TRIES = 6  # in a row, without a byte between them
_LONGEST_WAIT_S = 120.0
_KEPT = "What has arrived is kept: run the same command again, and it goes on there."


class HubSource:
    """The files of one model at one commit.

    Args:
        model: Hub id.
        revision: Branch, tag or commit.
        stop: Set to give up waiting.

    Raises:
        HubError: Not found, gated, the hub is down, too many requests.
    """

    origin = "the hub"

    def __init__(self, model: str, revision: str, stop: Event | None = None) -> None:
        listing = list_files(model, revision)
        self.commit: str | None = listing.commit
        self._files = tuple(
            SourceFile(file.name, file.size, file.sha256, file.blob_id) for file in listing.files
        )
        self._model, self._stop = model, stop or Event()
        self._endpoint = (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")
        self._connections = Connections()
        self._places: dict[str, str] = {}  # by file: where the hub last sent us for it

    def files(self) -> tuple[SourceFile, ...]:
        """Return every file of the commit."""
        return self._files

    @contextmanager
    def open(self, file: SourceFile, start: int, stop: int) -> Iterator[Readable]:
        """Open a range; when the connection is cut it is opened again where it stopped.

        Raises:
            HubError: Gated, gone, or not answering after several tries.
        """
        stream = _Range(self, file, start, stop)
        try:
            yield stream
        finally:
            stream.close()

    def release(self) -> None:
        """Close what this thread has open."""
        self._connections.forget()

    def ask(self, file: SourceFile, start: int, stop: int) -> HTTPResponse:
        """Ask for a range once, following where the hub sends us.

        Raises:
            HubError: An answer that will not change by asking again.
            OSError: The connection failed, or the answer says to come back later.
        """
        place = self._places.get(file.name) or self._hub_address(file)
        asked_anew = False
        for _ in range(_MOST_MOVES):
            answer = self._connections.get(place, self._headers(place, file, start, stop))
            if answer.status in _MOVED:
                place = urljoin(place, answer.headers.get("Location", ""))
                self._connections.drain(answer)
                continue
            if answer.status in {_OK, _PARTIAL}:
                self._places[file.name] = place
                self._check_range(file, start, stop, answer)
                return answer
            if answer.status in _EXPIRED and self._is_signed(place) and not asked_anew:
                self._connections.drain(answer)
                place, asked_anew = self._hub_address(file), True
                continue
            self._refuse(file, place, answer)
        msg = f"The hub sends {file.name} of {self._model!r} round in a circle. {_KEPT}"
        raise HubError(msg)

    def wait(self, tries: int, error: Exception) -> None:
        """Wait before another try.

        Raises:
            HubError: That was the last one; what the error said, and what to do.
        """
        self._connections.forget()
        again_s = getattr(error, "again_s", None)
        if tries >= _TRIES or (again_s is not None and again_s > _LONGEST_WAIT_S):
            if isinstance(error, _ComeBackLaterError):
                after = "" if again_s is None else str(int(again_s))
                raise HubError(refused(self._model, error.status, after, _KEPT)) from error
            raise HubError(down(error, _KEPT)) from error
        # After a pause asked for, or twice as long each time.
        if self._stop.wait(again_s if again_s is not None else min(0.25 * 2**tries, 10.0)):
            msg = f"Stopped while waiting for the hub. {_KEPT}"
            raise HubError(msg) from error

    def _hub_address(self, file: SourceFile) -> str:
        return f"{self._endpoint}/{self._model}/resolve/{self.commit}/{quote(file.name)}"

    def _is_signed(self, place: str) -> bool:
        """Whether the hub sent us to a place of another server, which holds for a while only."""
        return origin_of(place) != origin_of(self._endpoint)

    def _headers(self, place: str, file: SourceFile, start: int, stop: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "modalkit"}
        if (start, stop) != (0, file.size):
            headers["Range"] = f"bytes={start}-{stop - 1}"
        token = os.environ.get("HF_TOKEN")
        if token and origin_of(place) == origin_of(self._endpoint):
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _check_range(self, file: SourceFile, start: int, stop: int, answer: HTTPResponse) -> None:
        """Refuse bytes that are not the ones asked for."""
        if answer.status == _PARTIAL:
            told = answer.headers.get("Content-Range", "")
            wanted = f"bytes {start}-{stop - 1}/{file.size}"
            problem = None if told == wanted else f"sends {told!r} instead of {wanted!r}"
        elif (start, stop) != (0, file.size):
            problem = (
                "does not give a part of it; a proxy in between may take the Range header away"
            )
        else:
            length = answer.headers.get("Content-Length")
            fits = length is None or int(length) == file.size
            problem = None if fits else f"sends {length} bytes instead of {file.size}"
        if problem:
            self._connections.forget()
            msg = f"{origin_of(self._places[file.name])} {problem} ({file.name} of {self._model!r}). {_KEPT}"
            raise HubError(msg)

    def _refuse(self, file: SourceFile, place: str, answer: HTTPResponse) -> None:
        """Raise what an answer without content means."""
        status, code = answer.status, answer.headers.get("X-Error-Code", "")
        self._connections.drain(answer)
        self._places.pop(file.name, None)
        if status in _FOR_A_WHILE:
            raise _ComeBackLaterError(status, answer.headers.get("Retry-After", ""))
        if code == "GatedRepo":
            raise HubError(gated(self._model))
        if code == "RepoNotFound":
            raise HubError(not_found(self._model))
        if self._is_signed(place):
            msg = (
                f"{origin_of(place)} answered {status} for {file.name} of {self._model!r}. {_KEPT}"
            )
            raise HubError(msg)
        raise HubError(refused(self._model, status, later=_KEPT))


class _ComeBackLaterError(OSError):
    """An answer that may be another one soon."""

    def __init__(self, status: int, retry_after: str) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.again_s = float(retry_after) if retry_after.isdigit() else None


class _Range:
    """One range of a file, whatever number of connections that takes."""

    def __init__(self, source: HubSource, file: SourceFile, start: int, stop: int) -> None:
        self._source, self._file, self._at, self._stop = source, file, start, stop
        self._answer: HTTPResponse | None = None
        self._tries = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; 0 at the end of the range."""
        while self._at < self._stop:
            try:
                if self._answer is None:
                    self._answer = self._source.ask(self._file, self._at, self._stop)
                got = self._answer.readinto(buffer[: self._stop - self._at])
                if not got:
                    raise _cut_off()
            except (OSError, HTTPException) as error:
                self._answer = None
                self._tries += 1
                self._source.wait(self._tries, error)
            else:
                self._at, self._tries = self._at + got, 0
                return got
        return 0

    def close(self) -> None:
        """Leave the connection for the next range, if this one was read to its end."""
        if self._answer is not None and self._at < self._stop:
            self._source.release()
        elif self._answer is not None:
            self._answer.read()  # the end of a chunked answer, so that the connection can go on
        self._answer = None


def _cut_off() -> OSError:
    msg = "the connection ended before the range did"
    return ConnectionResetError(msg)

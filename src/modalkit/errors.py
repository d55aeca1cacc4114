"""Every error modalkit raises on purpose.

    ModalkitError
    ├── DeclarationError (ValueError)      one declared value is impossible
    ├── PlanError (ValueError)             declarations that do not go together, all at once
    ├── MissingExtraError (ImportError)    an optional dependency is not installed
    ├── EngineError                        the engine process
    │   ├── EngineExitedError              it died: return code and last lines
    │   ├── EngineTimeoutError (TimeoutError)   it was not ready in time
    │   └── EngineRequestError             it refused a request: status and message
    ├── SizingError                        a model whose memory cannot be worked out
    ├── HubError                           the model hub did not give what was asked
    ├── LockError                          a lock that is damaged, stale or cannot be made
    ├── WeightsError                       weights in a container are not the locked ones
    ├── AccountError                       what only a Modal account can tell
    ├── ModalClientError                   the installed modal client is another than modalkit reads
    ├── BenchError                         an endpoint that cannot be loaded as it was asked
    ├── BatchError                         a batched method broke its promise, or says which items failed
    ├── RequestError                       one request is not answered: an HTTP status and why
    │   ├── OverloadedError                too many requests wait
    │   └── DeadlineError (TimeoutError)   it was not answered in the time it has
    └── LocalModalError                    the local Modal could not do what was asked

Messages name the place, show the value with ``repr`` and say what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "AccountError",
    "BatchError",
    "BenchError",
    "DeadlineError",
    "DeclarationError",
    "EngineError",
    "EngineExitedError",
    "EngineRequestError",
    "EngineTimeoutError",
    "HubError",
    "LocalModalError",
    "LockError",
    "MissingExtraError",
    "ModalClientError",
    "ModalkitError",
    "OverloadedError",
    "PlanError",
    "RequestError",
    "SizingError",
    "WeightsError",
]


class ModalkitError(Exception):
    """Base of every error modalkit raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by message and attributes: Modal sends errors from container to caller."""
        return (_rebuilt, (type(self), self.args, vars(self)))


def _rebuilt(
    kind: type[ModalkitError], args: tuple[object, ...], attributes: dict[str, object]
) -> ModalkitError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class DeclarationError(ModalkitError, ValueError):
    """A declared value that cannot work, whatever it is combined with."""


class PlanError(ModalkitError, ValueError):
    """Declarations that are possible alone but not together.

    Attributes:
        problems: Every problem found, each with its place and its remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class MissingExtraError(ModalkitError, ImportError):
    """A feature needs a package that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed. "
            f"Run: pip install '.[{extra}]' in a checkout of modalkit."
        )
        self.extra = extra


class EngineError(ModalkitError):
    """The engine process did not do its work."""


class EngineExitedError(EngineError):
    """The engine process ended by itself.

    Attributes:
        returncode: The exit status; negative is the signal that killed it.
        last_lines: The end of what it printed.
    """

    def __init__(self, name: str, returncode: int, last_lines: Sequence[str]) -> None:
        tail = "\n".join(f"  {line}" for line in last_lines) or "  (it printed nothing)"
        how = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        super().__init__(f"{name} ended with {how}. Its last lines:\n{tail}")
        self.returncode = returncode
        self.last_lines = tuple(last_lines)


class EngineTimeoutError(EngineError, TimeoutError):
    """The engine process was alive but not ready in time.

    Attributes:
        after_s: How long was waited, in seconds.
        last_lines: The end of what it printed.
    """

    def __init__(self, name: str, after_s: float, last_lines: Sequence[str]) -> None:
        tail = "\n".join(f"  {line}" for line in last_lines) or "  (it printed nothing)"
        super().__init__(
            f"{name} was not ready after {after_s:.0f} s. Raise Scaling(startup_timeout=...) "
            f"if it is still loading. Its last lines:\n{tail}"
        )
        self.after_s = after_s
        self.last_lines = tuple(last_lines)


class EngineRequestError(EngineError):
    """The engine answered a request with an error.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"The engine answered {status}: {message}")
        self.status = status


class SizingError(ModalkitError):
    """A model whose memory cannot be worked out: an unknown architecture, a missing figure."""


class HubError(ModalkitError):
    """The model hub did not give what was asked: not found, gated, down, or too many requests."""


class LockError(ModalkitError):
    """A lock that is damaged, stale, missing, or that cannot be made."""


class WeightsError(ModalkitError):
    """The weights in a container are not those that the lock names."""


class AccountError(ModalkitError):
    """Modal was asked for what only an account can tell, and did not."""


class ModalClientError(ModalkitError):
    """The installed modal client keeps what modalkit reads of it elsewhere."""


class BatchError(ModalkitError):
    """A batched method did not return one answer per request; or raised to say which of them failed.

    Args:
        message: What went wrong.
        failed: The error of each request that failed, by its place in the batch. The others run again
            without them.

    Attributes:
        failed: The same; empty where the whole batch failed.
    """

    def __init__(self, message: str, failed: Mapping[int, Exception] | None = None) -> None:
        super().__init__(message)
        self.failed = dict(failed or {})


class RequestError(ModalkitError):
    """A request that is not answered. A route raises it to tell its caller why, in its own words.

    Args:
        message: What the caller is told.
        status: HTTP status, 400 to 599. Default 422.
        retry_after_s: Seconds after which to ask again, for ``Retry-After``. Default: not said.
    """

    def __init__(
        self, message: str, status: int = 422, *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class OverloadedError(RequestError):
    """More requests wait than the queue holds; HTTP 429."""

    def __init__(self, name: str, waiting: int, retry_after_s: int) -> None:
        super().__init__(
            f"{name} has {waiting} requests waiting and takes no more. Try again in {retry_after_s} s.",
            429,
            retry_after_s=retry_after_s,
        )


class DeadlineError(RequestError, TimeoutError):
    """A request was not answered in the time that it has; HTTP 504."""

    def __init__(self, name: str, deadline_ms: float) -> None:
        super().__init__(f"{name} did not answer within {deadline_ms:g} ms.", 504)


class BenchError(ModalkitError):
    """An endpoint that is to be loaded does not answer, refuses, or is not what was said."""


class LocalModalError(ModalkitError):
    """The local Modal could not do what was asked."""

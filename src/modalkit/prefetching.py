"""Prefetching from this machine: what a file's services need, and the container that brings it.

Whether a Volume holds everything already is asked through Modal's API, so that a second run starts no
container. Otherwise the functions run as an app of their own: the user's app would have every image of
its services built first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import modal
from modal import exception

from .compile import served_on
from .discovery import run_file
from .errors import AccountError, DeclarationError
from .prefetch.fill import nothing_to_do
from .prefetch.functions import Planned, prefetch_keywords
from .prefetch.jobs import jobs_of
from .prefetch.looking import complete_in_volume
from .prefetch.progress import Progress
from .prefetch.remote import prefetch_events

__all__ = ["Prefetching", "prefetchings"]


@dataclass(frozen=True, slots=True)
class Prefetching:
    """What one app's services need.

    Attributes:
        app: The app's name.
        services: Its services whose weights are prefetched, with their plans.
    """

    app: str
    services: tuple[Planned, ...]

    def events(self, *, again: bool = False) -> Iterator[Progress]:
        """Fill the caches and tell how far it is; a model that is there is told as ``done`` at once.

        Args:
            again: Ask the sources again, and read every file that is there.

        Raises:
            HubError: A source does not give what is wanted.
            WeightsError: A file is not the locked one, or the Volume is full.
            AccountError: Modal refuses, or cannot be reached.
        """
        with _explained():
            there = [] if again else self._there()
            if len(there) == sum(len(jobs_of(*pair)) for pair in self.services):
                yield from there
                return
            yield from self._in_a_container(again=again)

    def _there(self) -> list[Progress]:
        """What is complete already, as far as all of it is."""
        found: list[Progress] = []
        for pair in self.services:
            for job in jobs_of(*pair):
                if (manifest := complete_in_volume(job)) is None:
                    return found
                found.append(nothing_to_do(manifest))
        return found

    def _in_a_container(self, *, again: bool) -> Iterator[Progress]:
        app = modal.App(f"{self.app}-prefetch")
        function = app.function(**prefetch_keywords(self.services))(prefetch_events)
        with app.run():
            yield from function.remote_gen(again)


def prefetchings(file: str | Path, service: str | None = None) -> tuple[Prefetching, ...]:
    """Run a file as Modal's CLI does, and return what its apps need.

    Args:
        file: The file that declares the services.
        service: Only this one. Default: all.

    Raises:
        DeclarationError: No such file, it fails, or it has no such service.
        PlanError: A service of it cannot be.
    """
    module = run_file(file)
    apps = dict.fromkeys(value for value in vars(module).values() if isinstance(value, modal.App))
    served: dict[modal.App, list[Planned]] = {
        app: [(one.service, one.plan) for one in served_on(app)] for app in apps
    }
    names = [kind.__name__ for pairs in served.values() for kind, _ in pairs]
    if service is not None and service not in names:
        has = ", ".join(names) or "none"
        msg = f"{str(file)!r} has no service {service!r}; it has {has}."
        raise DeclarationError(msg)
    found = (
        Prefetching(app.name or Path(file).stem, _concerned(pairs, service))
        for app, pairs in served.items()
    )
    return tuple(one for one in found if one.services)


def _concerned(pairs: Sequence[Planned], service: str | None) -> tuple[Planned, ...]:
    return tuple(pair for pair in pairs if jobs_of(*pair) and service in {None, pair[0].__name__})


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what Modal's client raises into what a person can do."""
    try:
        yield
    except exception.AuthError as error:
        msg = f"Modal does not know this machine: {error} Run: modal setup. Or run it here: modalkit local modalkit prefetch FILE"
        raise AccountError(msg) from error
    except exception.NotFoundError as error:
        msg = f"Modal has no such object: {error} A Secret is made with: modal secret create NAME KEY=..."
        raise AccountError(msg) from error
    except exception.ConnectionError as error:
        msg = f"Modal cannot be reached: {error} Run this again; what has arrived is kept."
        raise AccountError(msg) from error
    except exception.Error as error:
        msg = f"Modal refuses: {error}"
        raise AccountError(msg) from error

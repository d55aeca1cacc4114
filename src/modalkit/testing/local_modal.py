"""What a test does with the local Modal: run and deploy apps, look them up, call their endpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import modal
from modal.exception import NotFoundError

from ..errors import LocalModalError
from ..local.client import let_go, use_by_default

__all__ = ["LocalModalFixture"]

_COMMAND_WITHIN_S = 600.0


class LocalModalFixture:
    """A local Modal, as the fixture ``local_modal`` gives it to a test.

    While the test lasts every Modal client of this process and its children is pointed at it, so
    `modal.Function.from_name` and the like need nothing.

    Attributes:
        environment: The variables that point another process at it.
        dashboard: The address of its page, with its token.
        client: Modal's client, connected to it.
    """

    def __init__(self, environment: Mapping[str, str], dashboard: str) -> None:
        self.environment = dict(environment)
        self.dashboard = dashboard
        self.client: modal.Client = modal.Client.from_credentials(
            environment["MODAL_TOKEN_ID"], environment["MODAL_TOKEN_SECRET"]
        )
        # A client that was made before the test, from the user's account, must not be used in it.
        use_by_default(self.client)
        self._deployed: list[str] = []

    @contextmanager
    def run(self, app: modal.App) -> Iterator[modal.App]:
        """Run an app for the time of a block, as `modal run` does; its functions are callable."""
        with app.run(client=self.client):
            yield app

    def deploy(self, app: modal.App, name: str | None = None) -> str:
        """Deploy an app until the end of the test and return the name it has then.

        Args:
            app: The app; what it holds may also be called by itself after this.
            name: Another name than the app's own.

        Raises:
            LocalModalError: Neither it nor this call names the app.
        """
        chosen = name or app.name
        if chosen is None:
            msg = "An app without a name cannot be deployed. Write deploy(app, name=...)."
            raise LocalModalError(msg)
        self._deployed.append(chosen)
        app.deploy(name=chosen, client=self.client)
        return chosen

    def function(self, app: str, name: str) -> modal.Function[..., object, object]:
        """Look up a deployed app's function."""
        return modal.Function.from_name(app, name, client=self.client)

    def cls(self, app: str, name: str) -> modal.Cls:
        """Look up a deployed app's class."""
        return modal.Cls.from_name(app, name, client=self.client)

    def url(self, app: str, name: str) -> str:
        """Return where a deployed app's web endpoint answers.

        Args:
            app: The deployed app's name.
            name: A function, ``Class.method`` or a server.

        Raises:
            LocalModalError: It is not a web endpoint.
        """
        found = self._url(app, name)
        if not found:
            msg = f"{name!r} of the app {app!r} is not a web endpoint."
            raise LocalModalError(msg)
        return found

    def command(
        self, *words: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command against it, such as ``command("modal", "run", "app.py")``.

        Args:
            *words: The command and its arguments.
            check: Raise `LocalModalError` with what it printed when it fails.
            **variables: Further environment variables.
        """
        program = [sys.executable, "-m", "modal"] if words[:1] == ("modal",) else list(words[:1])
        done = subprocess.run(
            [*program, *words[1:]],
            env={**os.environ, **self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=_COMMAND_WITHIN_S,
            check=False,
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr).strip()
            msg = f"{' '.join(words)!r} ended with exit code {done.returncode}:\n{said}"
            raise LocalModalError(msg)
        return done

    def close(self) -> None:
        """Stop what was deployed and let go of the client."""
        for name in self._deployed:
            self.command("modal", "app", "stop", name, "--yes", check=False)
        use_by_default(None)
        let_go(self.client)

    def _url(self, app: str, name: str) -> str | None:
        owner, _, method = name.partition(".")
        try:
            if method:
                return getattr(self.cls(app, owner)(), method).get_web_url()  # type: ignore[no-any-return]  # a method by its name
            found = self.function(app, name).get_web_url()
        except NotFoundError:
            return self._server_url(app, name)
        if found:
            return found
        with suppress(NotFoundError):  # a server has a function of its name, without a URL
            return self._server_url(app, name)
        return None

    def _server_url(self, app: str, name: str) -> str | None:
        return modal.Server.from_name(app, name, client=self.client).get_url()

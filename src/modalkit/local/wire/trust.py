"""TLS on this machine: what tunnels show, and the file by which programs trust it.

Modal's tunnels end TLS with a certificate that everybody trusts. Here each plane has one of its own
for ``localhost``, made when the first tunnel asks for it. Programs that a command of the local Modal
runs find, in the variables that TLS libraries read, a file with the roots they would have trusted
anyway and, once there is one, the plane's.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import certifi

__all__ = ["TLS_HOST", "Trust"]

TLS_HOST = "localhost"
"""What the certificate names; Modal's client makes ``https://`` addresses of it."""

# OpenSSL (and with it Python's ssl and httpx), requests, curl.
_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_ONLY_OURS = "NODE_EXTRA_CA_CERTS"  # Node adds it to its own roots


@dataclass(slots=True)
class Trust:
    """The certificates of one state folder.

    Args:
        folder: Holds the authority's certificate and the file with every root; no key.
    """

    folder: Path
    _contexts: dict[bool, ssl.SSLContext] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def bundle(self) -> Path:
        """Every root that programs are to trust."""
        return self.folder / "trusted.pem"

    @property
    def _authority(self) -> Path:
        return self.folder / "authority.pem"

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that make programs trust this machine's tunnels.

        Args:
            environment: Their variables otherwise: roots that are named there stay trusted.

        Without room for the file they are none, and programs trust what they did anyway.
        """
        named = [environment[name] for name in _VARIABLES if environment.get(name)]
        if str(self.bundle) not in named:
            try:
                self._renew(_roots(named))
            except OSError:  # a full disk is no reason to run nothing
                if not self.bundle.exists():
                    return {}
        return {
            **dict.fromkeys(_VARIABLES, str(self.bundle)),
            _ONLY_OURS: environment.get(_ONLY_OURS) or str(self._authority),
        }

    def _renew(self, roots: bytes) -> None:
        with self._alone():
            authority = self._authority.read_bytes() if self._authority.exists() else b""
            _replace(self.bundle, roots + authority)

    async def server_context(self, *, http2: bool = False) -> ssl.SSLContext:
        """Return what a tunnel shows; the first time makes the certificates."""
        async with self._turn:
            if not self._contexts:
                self._contexts = await asyncio.to_thread(self._make)
        return self._contexts[http2]

    def _make(self) -> dict[bool, ssl.SSLContext]:
        # Loading cryptography takes about 50 ms, which most commands need not wait for.
        from .certificates import issue  # noqa: PLC0415

        issued = issue()
        with self._alone():
            known = self.bundle.read_bytes() if self.bundle.exists() else _roots([])
            _replace(self._authority, issued.authority)
            _replace(self.bundle, known + issued.authority)
        with tempfile.NamedTemporaryFile() as shown:  # mode 0600, gone before anything is served
            shown.write(issued.certificate + issued.key)
            shown.flush()
            return {http2: _context(shown.name, http2=http2) for http2 in (False, True)}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Change the files while no other command of this state folder does."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _context(path: str, *, http2: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def _roots(named: list[str]) -> bytes:
    """Return the roots of the files that are named, or else the system's and certifi's."""
    system = ssl.get_default_verify_paths().openssl_cafile
    files = [Path(name) for name in named if Path(name).is_file()]
    files = files or [Path(name) for name in (system, certifi.where()) if Path(name).is_file()]
    return b"".join(file.read_bytes() + b"\n" for file in dict.fromkeys(files))


def _replace(path: Path, content: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise

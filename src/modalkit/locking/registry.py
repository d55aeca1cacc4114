"""What the tag of a registry's image means now: its digest, by the registry's own HTTP API."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

__all__ = ["DEFAULT_HOST", "digest_of"]

_TIMEOUT_S = 15.0
DEFAULT_HOST = "MODALKIT_CONTAINER_REGISTRY"
"""The variable that names the API host of references without one; a container engine has its own."""
_KINDS = (
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def digest_of(reference: str) -> tuple[str | None, str]:
    """Return an image's digest, ``sha256:...``, and why there is none if there is none.

    Public images only: no credential is sent.

    Args:
        reference: ``"nvidia/cuda:13.0.2-devel-ubuntu24.04"``. One without a host is asked for at the
            registry that `DEFAULT_HOST` names.
    """
    if "@sha256:" in reference:
        return reference.partition("@")[2], ""
    host, repository, tag = _parts(reference)
    if not host:
        return None, f"set {DEFAULT_HOST} to the registry's API host to have it looked up"
    local = host.partition(":")[0] in {"localhost", "127.0.0.1"}
    url = f"{'http' if local else 'https'}://{host}/v2/{repository}/manifests/{tag}"
    try:
        return _asked(url, {}), ""
    except urllib.error.HTTPError as error:
        if error.code != 401:  # noqa: PLR2004 - who are you
            return None, f"the registry answered {error.code}"
        challenge = dict(_CHALLENGE.findall(error.headers.get("WWW-Authenticate", "")))
    except (OSError, ValueError) as error:
        return None, f"the registry cannot be reached ({type(error).__name__})"
    try:
        return _asked(url, {"Authorization": f"Bearer {_token(challenge)}"}), ""
    except urllib.error.HTTPError as error:
        return None, f"the registry answered {error.code}"
    except (OSError, ValueError, KeyError) as error:
        return None, f"the registry gave no token ({type(error).__name__})"


def _parts(reference: str) -> tuple[str, str, str]:
    first, slash, rest = reference.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, rest) if has_host else (os.environ.get(DEFAULT_HOST, ""), reference)
    repository, _, tag = path.partition(":")
    if not has_host and "/" not in repository:
        repository = f"library/{repository}"
    return host, repository, tag or "latest"


def _asked(url: str, headers: Mapping[str, str]) -> str:
    request = urllib.request.Request(url, headers={"Accept": _KINDS, **headers}, method="HEAD")  # noqa: S310 - http(s) by construction
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        digest = str(answer.headers.get("Docker-Content-Digest", ""))
    if not digest.startswith("sha256:"):
        msg = "no digest in the answer"
        raise ValueError(msg)
    return digest


def _token(challenge: Mapping[str, str]) -> str:
    """A token for reading public images, from where the registry sends us."""
    realm = challenge["realm"]
    if not realm.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        msg = "the registry's token service is not https"
        raise ValueError(msg)
    query = urllib.parse.urlencode(
        {name: challenge[name] for name in ("service", "scope") if name in challenge}
    )
    with urllib.request.urlopen(f"{realm}?{query}", timeout=_TIMEOUT_S) as answer:  # noqa: S310
        told = json.load(answer)
    return str(told.get("token") or told["access_token"])

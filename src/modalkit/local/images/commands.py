"""Read the commands that the client's image methods write: which are known, which simply run.

`apt_install`, `pip_install`, `uv_pip_install`, `uv_sync` and `poetry_install_from_file` arrive as RUN
lines. Those that install Python packages are done without a shell, so that what this machine has is
reused; apt's are named; anything else runs as it stands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .projects import poetry_requirements, uv_requirements
from .steps import Install, Lacking

__all__ = ["Known", "read_command"]

# What Modal's own base images begin with; the client's packages are there in any case.
_BOILERPLATE = [
    re.compile(pattern)
    for pattern in (
        r"apt-get install -y gcc gfortran build-essential",
        r"(python -m )?pip install --upgrade pip( wheel uv)?",
        r"(python -m )?(uv )?pip install .*-r /modal_requirements\.txt",
        r"rm /modal_requirements\.txt",
        r"ln -s /usr/local/bin/python3 /usr/local/bin/python",
        r"echo 'debconf debconf/frontend select Noninteractive' \| debconf-set-selections",
        r"poetry config [\w.-]+ \w+",
    )
]
_APT_IDLE = {"update", "upgrade", "dist-upgrade", "clean", "autoremove", "autoclean", "purge"}
_PIP = re.compile(r"(python[\d.]*\s+-m\s+)?pip[\d.]*\s+install\s+")
_UV = re.compile(r"(\S*/)?uv\s+(pip\s+install|sync)\s+")
_BLOCKS = {"(", ")", "|", ";"}
_OPERATORS = set("|;<>()`&*?~")
_WITH_VALUE = {
    "--find-links", "-f", "--index-url", "-i", "--extra-index-url", "--index", "--default-index",
    "--trusted-host", "--no-binary", "--only-binary", "--index-strategy", "--prerelease",
    "--torch-backend", "--resolution", "--keyring-provider", "--no-build-isolation-package",
    "--python", "-p", "--upgrade-strategy", "--platform", "--timeout", "--retries",
    "--config-settings", "--link-mode", "--exclude-newer",
}  # fmt: skip
_DROPPED = {
    "--compile-bytecode", "--compile", "--system", "--no-cache", "--no-cache-dir", "--upgrade", "-U",
    "--quiet", "-q", "--verbose", "-v", "--yes", "-y", "--break-system-packages", "--user",
    "--root-user-action=ignore", "--no-warn-script-location", "--disable-pip-version-check",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What a command comes to.

    Attributes:
        parts: Parts that are understood.
        rest: The part of the command that has to run as it stands; empty for none.
    """

    parts: tuple[Install | Lacking, ...] = ()
    rest: str = ""


def read_command(command: str, files: Mapping[str, bytes], env: Mapping[str, str]) -> Known:
    """Read one RUN command.

    ``files`` are those at their paths in the image that came with its definition; ``env`` holds its
    variables at this point.
    """
    if not _is_plain(command):
        return Known(rest=command)
    variables = tuple(env.items())
    parts: list[Install | Lacking] = []
    left: list[str] = []
    for piece in _pieces(command):
        if any(pattern.fullmatch(piece) for pattern in _BOILERPLATE):
            continue
        found = _apt(piece) if not left else None
        found = _install(piece, files, variables) if found is None and not left else found
        if found is None:
            left.append(piece)
        else:
            parts += found
    if left and all(_is_preparation(piece) for piece in left):
        left = []
    return Known(tuple(parts), " && ".join(left))


def _is_plain(command: str) -> bool:
    """Return whether a command is one line with its quotes closed."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return "\n" not in command


def _pieces(command: str) -> list[str]:
    """Split at ``&&``, unless one stands within quotes or parentheses."""
    pieces = [piece.strip() for piece in command.split("&&")]
    try:
        whole = all(shlex.split(piece) for piece in pieces)
    except ValueError:
        whole = False
    return pieces if whole and not _BLOCKS & set(command) else [command.strip()]


def _is_preparation(piece: str) -> bool:
    """Return whether a piece only matters to other pieces that are done already."""
    return piece.startswith(("cd ", "rm -rf /var/lib/apt/"))


def _apt(piece: str) -> list[Install | Lacking] | None:
    words = [word for word in shlex.split(piece) if "=" not in word or word.startswith("-")]
    words = words[1:] if words[:1] == ["sudo"] else words
    if words[:1] not in (["apt-get"], ["apt"]) or _OPERATORS & set(piece):
        return [] if piece.startswith("rm -rf /var/lib/apt/") else None
    plain = [word for word in words[1:] if not word.startswith("-")]
    if plain and plain[0] in _APT_IDLE:
        return []
    return [Lacking("apt packages", tuple(plain[1:]))]


def _install(
    piece: str, files: Mapping[str, bytes], env: tuple[tuple[str, str], ...]
) -> list[Install | Lacking] | None:
    """Read a command that installs Python packages; None if it has to run as it stands."""
    if re.match(r"(micromamba|mamba|conda)\s+install\s", piece):
        names = [word for word in shlex.split(piece)[2:] if not word.startswith("-")]
        return [Lacking("conda packages", tuple(names))]
    if piece.startswith("poetry install"):
        requirements = poetry_requirements(files, shlex.split(piece)[2:])
        return [Install(requirements, env=env)]
    piece = piece.replace("$(command -v python)", "python")
    found = _PIP.match(piece) or _UV.match(piece)
    if found is None or _has_operator(piece):
        return None
    words = shlex.split(piece[found.end() :])
    if found[0].rstrip().endswith("sync"):
        requirements, constraints = uv_requirements(files, words)
        return [Install(requirements, constraints, env=env)]
    return _packages(words, files, env)


def _has_operator(piece: str) -> bool:
    """Return whether the shell would do more than split words."""
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", piece)
    return bool(_OPERATORS & set(unquoted))


def _packages(
    words: list[str], files: Mapping[str, bytes], env: tuple[tuple[str, str], ...]
) -> list[Install | Lacking] | None:
    requirements: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in {"-r", "--requirement", "--requirements"}:
            path = next(rest, "")
            if path not in files:
                return None
            requirements += files[path].decode(errors="replace").splitlines()
        elif word in _WITH_VALUE:
            value = next(rest, "")
            if value.startswith("/") and not Path(value).exists():
                return None  # a folder of the image
            options += _kept_option(word, value)
        elif word.startswith("-"):
            options += [] if word in _DROPPED else [word]
            if word in {"-e", "--editable", "-c", "--constraint", "-t", "--target"}:
                return None
        elif _is_local(word):
            return None
        else:
            requirements.append(word)
    return [Install(tuple(requirements), options=tuple(options), env=env)]


def _kept_option(name: str, value: str) -> list[str]:
    if name in {"--python", "-p", "--link-mode", "--torch-backend"}:
        return []
    if name == "--prerelease":
        return ["--pre"] if value == "allow" else []
    return [name, value]


def _is_local(word: str) -> bool:
    """Return whether a requirement is a path of the image."""
    return word.startswith((".", "/")) or (word.endswith((".whl", ".tar.gz")) and "://" not in word)

"""The commands that install packages: uv where there is one, else pip; both as the user configured pip."""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .environments import Environment
from .steps import Install

__all__ = ["Installer", "find_installer"]

# Options of pip in uv's words; any other is pip's alone.
_UV_OPTIONS = {
    "--pre": ["--prerelease", "allow"],
    "--no-deps": ["--no-deps"],
    "--no-build-isolation": ["--no-build-isolation"],
    "--force-reinstall": ["--reinstall"],
    "--require-hashes": ["--require-hashes"],
    "--no-index": ["--no-index"],
}
_UV_VALUES = {
    "--find-links", "-f", "--index-url", "-i", "--extra-index-url", "--no-binary", "--only-binary",
    "--index", "--default-index", "--index-strategy", "--resolution", "--config-settings",
    "--no-build-isolation-package", "--exclude-newer", "--keyring-provider",
}  # fmt: skip
_ONLY_UV = {
    "--index", "--default-index", "--index-strategy", "--resolution", "--exclude-newer",
    "--no-build-isolation-package",
}  # fmt: skip
# These would make pip install somewhere else.
_MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Installer:
    """How packages are installed on this machine.

    Attributes:
        uv: Path of uv; empty for none.
    """

    uv: str

    def command(
        self, step: Install, environment: Environment, requirements: Path, constraints: Path
    ) -> list[str]:
        """Return the command that carries a step out."""
        files = ["-r", str(requirements), "-c", str(constraints)]
        translated = _for_uv(step.options) if self.uv else None
        python = str(environment.python)
        if translated is not None:
            return [self.uv, "pip", "install", "--python", python, *files, *translated]
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--progress-bar=off"]
        return [*pip, "--no-warn-script-location", *files, *_for_pip(step.options)]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables it runs with: this machine's and the image's own."""
        env = {**os.environ, **{k: v for k, v in variables.items() if k not in {"PATH", "HOME"}}}
        for name in _MISLEADING:
            env.pop(name, None)
        env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
        return {**(_pip_settings_for_uv(env) if self.uv else {}), **env}


def find_installer() -> Installer:
    """Find uv, on PATH or beside this Python."""
    beside = Path(sys.executable).with_name("uv")
    return Installer(uv=shutil.which("uv") or (str(beside) if beside.exists() else ""))


def _for_uv(options: Sequence[str]) -> list[str] | None:
    """Say pip's options in uv's words; None if one has none."""
    said: list[str] = []
    rest = iter(options)
    for option in rest:
        name, equals, _ = option.partition("=")
        if option in _UV_OPTIONS:
            said += _UV_OPTIONS[option]
        elif name in _UV_VALUES:
            said += [option] if equals else [option, next(rest, "")]
        else:
            return None
    return said


def _for_pip(options: Sequence[str]) -> list[str]:
    """Leave out options that only uv has."""
    kept: list[str] = []
    rest = iter(options)
    for option in rest:
        name, equals, _ = option.partition("=")
        if name in _ONLY_UV:
            if not equals:
                next(rest, "")
        else:
            kept.append(option)
    return kept


def _pip_settings_for_uv(env: Mapping[str, str]) -> dict[str, str]:
    """Tell uv, which reads none of pip's settings, where packages come from."""
    settings = _pip_settings(env)
    links = settings.get("find-links", "").split()
    extra = settings.get("extra-index-url", "").split()
    said = {
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": " ".join(extra),
        "UV_FIND_LINKS": ",".join(links),
        "UV_NO_INDEX": settings.get("no-index", ""),
        "SSL_CERT_FILE": settings.get("cert", ""),
        # pip takes the best version of all indexes.
        "UV_INDEX_STRATEGY": "unsafe-best-match" if extra else "",
    }
    return {name: value for name, value in said.items() if value}


def _pip_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Read pip's configuration files, then its variables, which win."""
    home = Path(env.get("HOME", "/nonexistent"))
    places = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    places += [home / ".config/pip/pip.conf", home / "Library/Application Support/pip/pip.conf"]
    places += [Path(sys.prefix, "pip.conf"), Path(env.get("PIP_CONFIG_FILE", "/nonexistent"))]
    parser = configparser.RawConfigParser()
    parser.read([place for place in places if str(place) != os.devnull], "utf-8")
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            settings |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    variables = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in env.items()
        if name.startswith("PIP_")
    }
    return settings | variables

"""Projects that `uv_sync` and `poetry_install_from_file` bring along: their files as requirements."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["poetry_requirements", "uv_requirements"]

_UV_FOLDER = "/.uv"
_POETRY_FOLDER = "/tmp/poetry"  # noqa: S108 - where Modal's client puts it in the image
_Toml = Mapping[str, Any]


def uv_requirements(
    files: Mapping[str, bytes], words: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what ``uv sync`` would install: the project's requirements and the lock's pins."""
    project = _toml(files, f"{_UV_FOLDER}/pyproject.toml")
    wanted = [*project.get("project", {}).get("dependencies", [])]
    extras = project.get("project", {}).get("optional-dependencies", {})
    groups = project.get("dependency-groups", {})
    for extra in _values(words, "--extra"):
        wanted += extras.get(extra, [])
    chosen = _values(words, "--group")
    if "--no-dev" not in words and "dev" in groups:
        chosen.append("dev")
    for group in dict.fromkeys(chosen):
        wanted += _group(groups, group)
    return tuple(wanted), tuple(_pins(_toml(files, f"{_UV_FOLDER}/uv.lock")))


def poetry_requirements(files: Mapping[str, bytes], words: Sequence[str]) -> tuple[str, ...]:
    """Return what ``poetry install`` would install: the lock's pins, else the project's ranges."""
    project = _toml(files, f"{_POETRY_FOLDER}/pyproject.toml")
    lock = _toml(files, f"{_POETRY_FOLDER}/poetry.lock")
    wanted = dict(_poetry_tables(project, words))
    names = [_requirement(name, spec) for name, spec in wanted.items() if name != "python"]
    names += project.get("project", {}).get("dependencies", [])
    pinned = dict(pin.split("==") for pin in _pins(lock))
    return tuple(_pinned(requirement, pinned) for requirement in names)


def _poetry_tables(project: _Toml, words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    poetry = project.get("tool", {}).get("poetry", {})
    groups = {"main": poetry, **poetry.get("group", {})}
    only, without = _values(words, "--only"), _values(words, "--without")
    for name, group in groups.items():
        optional = group.get("optional", False) and name not in _values(words, "--with")
        if (not only or name in only) and name not in without and not optional:
            yield from group.get("dependencies", {}).items()


def _requirement(name: str, spec: Any) -> str:
    """Turn Poetry's way of writing a requirement into the standard one."""
    details = spec if isinstance(spec, dict) else {"version": spec}
    if "git" in details:
        at = details.get("rev") or details.get("tag") or details.get("branch")
        return f"{name} @ git+{details['git']}" + (f"@{at}" if at else "")
    if "url" in details:
        return f"{name} @ {details['url']}"
    extras = f"[{','.join(details['extras'])}]" if details.get("extras") else ""
    marker = f"; {details['markers']}" if details.get("markers") else ""
    ranges = ",".join(_range(part) for part in str(details.get("version", "*")).split(","))
    return f"{name}{extras}{ranges}{marker}"


def _range(text: str) -> str:
    text = text.strip()
    if text in {"", "*"}:
        return ""
    if text[0] not in "^~" or text.startswith("~="):
        return text if text[0] in "<>=!~" else f"=={text}"
    version = text[1:]
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    if text[0] == "~":
        kept = min(len(numbers), 2)
    else:
        kept = next((index + 1 for index, part in enumerate(numbers) if part), len(numbers))
    above = [*numbers[: kept - 1], numbers[kept - 1] + 1]
    return f">={version},<{'.'.join(map(str, above))}"


def _pinned(requirement: str, pinned: Mapping[str, str]) -> str:
    found = re.match(r"[\w.-]+", requirement)
    version = pinned.get(_normal(found[0])) if found else None
    if version is None or found is None or "@" in requirement:
        return requirement
    extras = re.match(r"\[[^]]*\]", requirement[found.end() :])
    _, _, marker = requirement.partition(";")
    pin = f"{found[0]}{extras[0] if extras else ''}=={version}"
    return f"{pin};{marker}" if marker else pin


def _pins(lock: _Toml) -> Iterator[str]:
    """Yield the lock's versions; a package with several, by platform, is left to the installer."""
    packages = lock.get("package", [])
    often = Counter(package["name"] for package in packages)
    for package in packages:
        source = package.get("source", {})
        local = {"virtual", "editable", "directory", "path", "git", "url"} & set(source)
        if often[package["name"]] == 1 and "version" in package and not local:
            yield f"{_normal(package['name'])}=={package['version']}"


def _group(groups: _Toml, name: str) -> list[str]:
    found: list[str] = []
    for entry in groups.get(name, []):
        found += _group(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def _values(words: Sequence[str], option: str) -> list[str]:
    """Return an option's values, written ``--name value`` or ``--name=value``, split at commas."""
    found = [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    found += [after for word, after in pairwise(words) if word == option]
    return [value for listed in found for value in listed.split(",")]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _toml(files: Mapping[str, bytes], path: str) -> _Toml:
    return tomllib.loads(files[path].decode()) if path in files else {}

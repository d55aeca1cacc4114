"""What a Python requirement pins: parsing, conflicts, and requirements files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import DeclarationError

__all__ = [
    "Line",
    "check_conflicts",
    "check_index_url",
    "check_no_includes",
    "check_requirement",
    "contradict",
    "is_pinned",
    "requirement_lines",
    "unpinned_in_file",
]

_BUILD = re.compile(r"(?<=\d)\+[\w.]+")
_COMMIT = re.compile(r"@[0-9a-f]{40}$")
_HASH_FRAGMENT = re.compile(r"(^|&)(sha256|sha384|sha512)=[0-9a-f]{64,}")
_NEARLY_EXACT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?)\s*(=|:|\s|@|===?)\s*v?(?P<version>\d[\w.+!]*)"
)
# What pip takes as an option and ImageSpec as a keyword or a step of its own.
_OPTIONS = {
    "--pre": "pre=True",
    "--prerelease": "pre=True",
    "--index-url": "index_url={0!r}",
    "-i": "index_url={0!r}",
    "--extra-index-url": "extra_index_url={0!r}",
    "--requirement": ".requirements({0!r})",
    "-r": ".requirements({0!r})",
    "--editable": ".local_python('MODULE')",
    "-e": ".local_python('MODULE')",
}


def check_requirement(where: str, text: str) -> None:
    """Refuse a requirement that pip could not read, or that holds a password.

    Raises:
        DeclarationError: The requirement and the nearest right form.
    """
    if not text.strip():
        msg = f"{where} has an empty requirement. Write NAME==VERSION."
        raise DeclarationError(msg)
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        msg = f"{where} {_without_password(text)!r} is not a requirement. {_nearest(text)}"
        raise DeclarationError(msg) from None
    if requirement.url is None:
        return
    if "://" not in requirement.url and not requirement.url.startswith("file:"):
        msg = f"{where} {text!r} is not a requirement. {_nearest(text)}"
        raise DeclarationError(msg)
    _refuse_password(f"{where} {requirement.name!r}", requirement.url)


def check_index_url(where: str, url: str | None) -> None:
    """Refuse a package index that is no URL, or whose URL holds a password.

    Raises:
        DeclarationError: What is wrong; never the password.
    """
    if url is None:
        return
    if urlsplit(url).scheme not in {"http", "https"}:
        msg = f"{where} {url!r} is not the URL of a package index. Write one such as 'https://download.pytorch.org/whl/cu130'."
        raise DeclarationError(msg)
    _refuse_password(where, url)


def is_pinned(text: str) -> bool:
    """Whether a requirement can only ever mean one set of bytes or one version.

    Pinned are ``NAME==VERSION`` without a wildcard, ``NAME @ URL`` where the URL ends with a 40-digit
    commit, and ``NAME @ URL#sha256=...``.
    """
    requirement = Requirement(text)
    if requirement.url is None:
        return _exact_version(requirement) is not None
    parts = urlsplit(requirement.url)
    return bool(_COMMIT.search(parts.path) or _HASH_FRAGMENT.search(parts.fragment))


def check_conflicts(where: str, earlier: Iterable[str], added: Iterable[str]) -> None:
    """Refuse an exact version that another requirement of the same package rules out.

    Raises:
        DeclarationError: Both requirements.
    """
    known = [Requirement(text) for text in earlier]
    for requirement in map(Requirement, added):
        for other in known:
            if _contradict(requirement, other):
                msg = f"{where} asks for {str(other)!r} and {str(requirement)!r}, which no version is. Keep one of the two."
                raise DeclarationError(msg)
        known.append(requirement)


def contradict(one: str, other: str) -> bool:
    """Whether two requirements of the same package leave no release, as far as one is exact.

    Builds of one release (``2.14.1`` and ``2.14.1+cu130``) do not contradict each other.
    """
    first, second = (Requirement(_BUILD.sub("", text)) for text in (one, other))
    return _contradict(first, second)


def requirement_lines(path: Path) -> Iterator[Line]:
    """Yield the requirements of a file with their lines; options and other files are passed over.

    Raises:
        DeclarationError: The file cannot be read.
    """
    for line in _logical_lines(path):
        if not line.text.startswith("-"):
            yield Line(line.number, re.split(r"\s+(?=--)", line.text)[0])


def unpinned_in_file(path: str) -> tuple[str, ...]:
    """Return ``FILE: REQUIREMENT`` for what a requirements file leaves open, includes read too.

    Raises:
        DeclarationError: A file that is missing, or a line that is not a requirement.
    """
    return tuple(_unpinned(Path(path).expanduser(), seen=set()))


def check_no_includes(path: str) -> None:
    """Refuse a requirements file that needs another one: Modal copies a single file to the build.

    Raises:
        DeclarationError: File, line, and how to install the other file.
    """
    for line in _logical_lines(Path(path).expanduser()):
        included = _included(line.text)
        if included is not None:
            msg = (
                f"{path}, line {line.number}: {_without_password(line.text)!r} needs a second file, but "
                f"Modal copies one to the build. Add .requirements({_without_password(included)!r}) as a step and drop the line."
            )
            raise DeclarationError(msg)


class Line(NamedTuple):
    """A line of a requirements file: where it begins, and what it says."""

    number: int
    text: str


def _unpinned(path: Path, seen: set[Path]) -> Iterator[str]:
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    for line in _logical_lines(path):
        if line.text.startswith(("-c", "--constraint")):
            continue  # it installs nothing; what it narrows is still reported
        included = _included(line.text)
        if included is not None:
            # pip reads an included file relative to the one that names it.
            yield from _unpinned(path.parent / included, seen)
        elif line.text.startswith(("-e", "--editable")):
            yield f"{path}: {_without_password(line.text)}"
        elif not line.text.startswith("-"):
            text, *options = re.split(r"\s+(?=--)", line.text)
            check_requirement(f"{path}, line {line.number}:", text)
            hashed = any(option.startswith("--hash") for option in options)
            if not (is_pinned(text) or (hashed and Requirement(text).url)):
                yield f"{path}: {text}"


def _logical_lines(path: Path) -> Iterator[Line]:
    """Yield the lines pip sees: comments dropped, a trailing backslash joined with the next line."""
    try:
        written = path.read_text("utf-8").splitlines()
    except OSError as error:
        msg = f"Requirements file {str(path)!r} cannot be read in {str(Path.cwd())!r}: {error.strerror}. Write a path from there."
        raise DeclarationError(msg) from None
    held, start = "", 0
    for number, raw in enumerate(written, start=1):
        start = start if held else number
        held += re.sub(r"(^|\s)#.*$", "", raw)
        if held.endswith("\\"):
            held = held[:-1]
        elif held.strip():
            yield Line(start, held.strip())
            held = ""
        else:
            held = ""
    if held.strip():
        yield Line(start, held.strip())


def _included(line: str) -> str | None:
    match = re.match(r"(?:-[rc]|--requirement|--constraint)[\s=]*(\S+)", line)
    return match[1] if match else None


def _exact_version(requirement: Requirement) -> str | None:
    for specifier in requirement.specifier:
        if specifier.operator in {"==", "==="} and not specifier.version.endswith(".*"):
            return specifier.version
    return None


def _contradict(one: Requirement, other: Requirement) -> bool:
    if canonicalize_name(one.name) != canonicalize_name(other.name):
        return False
    if one.url or other.url or str(one.marker) != str(other.marker):
        return False
    return _excludes(one, other) or _excludes(other, one)


def _excludes(requirement: Requirement, exact: Requirement) -> bool:
    version = _exact_version(exact)
    return version is not None and not requirement.specifier.contains(version, prereleases=True)


def _nearest(text: str) -> str:
    option, *argument = re.split(r"[\s=]+", _without_password(text).strip(), maxsplit=1)
    if option.startswith("-"):
        known = _OPTIONS.get(option, "").format(argument[0] if argument else "...")
        return f"Write {known} instead." if known else "Install with .run(...) what needs options."
    if "://" in text:
        url = _without_password(text)
        name = re.sub(r"\.git.*|[@#?].*", "", url).rstrip("/").rpartition("/")[2] or "NAME"
        return f"Write {f'{name} @ {url}'!r}."
    match = _NEARLY_EXACT.fullmatch(text.strip())
    if match:
        return f"Write {match['name'] + '==' + match['version']!r}."
    return "Write NAME==VERSION, such as 'torch==2.13.0', or 'NAME @ URL'."


def _refuse_password(where: str, url: str) -> None:
    parts = urlsplit(url)
    user = parts.username or ""
    if parts.password or (user and "ssh" not in parts.scheme):
        msg = (
            f"{where} has a user name or password in its URL, which would be stored in the image. "
            "Take it out, and install from there in .run(..., secrets=[Secret('NAME')])."
        )
        raise DeclarationError(msg)


def _without_password(text: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)

"""What rules about keys and images say of a Dockerfile: under their own codes, at its own lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..credentials import is_key, is_placeholder, is_secret_name, looks_random, shown
from ..dockerfiles import Dockerfile, Instruction
from ..images import is_moving_tag
from ..packages import requirements_of
from ..pins import is_fragile, open_name
from ..rule import Problem

__all__ = ["dockerfile_problems"]

_WORDS = re.compile(r"[^\s\"']+")
_SETS = re.compile(
    r"(?:^|[\s;&])(?P<name>[A-Za-z_]\w*)=(?P<quote>[\"']?)(?P<value>[^\s\"';&]+)(?P=quote)"
)
_SETS_ONE = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s+(?P<quote>[\"']?)(?P<value>[^\s\"']+)(?P=quote)\s*$"
)
_FROM = re.compile(
    # An option ends where a space follows, so that its dashes can be read in one way alone.
    r"(?:\s*--\S+(?=\s))*\s*(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?\s*$",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)(?::?-(?P<default>[^}]*))?\}?")
_ENV_FILE = re.compile(r"(?:^|[\s/\"'\[])(?P<file>\.env(?:\.\w+)?)(?=[\s\"',])")
_TEMPLATES = (".example", ".sample", ".template", ".dist")
_KEY_CURE = "secrets=[modal.Secret.from_name(...)] on the function; where the build needs it, on from_dockerfile."
_Said = Iterator[tuple[str, Problem]]


def dockerfile_problems(dockerfile: Dockerfile) -> _Said:
    """Yield what is wrong in a Dockerfile, each problem with the code of its rule."""
    defaults: dict[str, str] = {}
    stages: set[str] = set()
    for one in dockerfile.instructions:
        if one.word == "FROM":
            yield from _base(one, defaults, stages)
            continue
        if one.word == "ARG":
            defaults |= {name: value for name, value, _ in _settings(one)}
        yield from _keys(one)
        if one.word == "RUN":
            yield from _installs(one)
        elif one.word in {"COPY", "ADD"}:
            yield from _env_file(one)


def _keys(one: Instruction) -> _Said:
    """Keys by their shape anywhere, and random values under names that say secret."""
    found: set[int] = set()
    for word in _WORDS.finditer(one.text):
        name, equals, value = word[0].partition("=")
        start = word.start() + len(name) + 1 if equals and name.isidentifier() else word.start()
        text = one.text[start : word.end()]
        if is_key(text):
            found.add(start)
            message = f"A key stands in the Dockerfile: {shown(text)}."
            yield "MK201", Problem(one.span(start, word.end()), message, _KEY_CURE)
    for name, value, start in _settings(one):
        if start not in found and _is_secret(name, value):
            message = f"{one.word} sets {name} to a literal: {shown(value)}."
            yield "MK202", Problem(one.span(start, start + len(value)), message, _KEY_CURE)


def _settings(one: Instruction) -> Iterator[tuple[str, str, int]]:
    """The names and literal values that an instruction sets, with where each value starts."""
    matches = list(_SETS.finditer(one.text)) if one.word in {"ENV", "ARG", "RUN"} else []
    if one.word == "ENV" and (single := _SETS_ONE.match(one.text)) is not None and not matches:
        matches = [single]
    yield from ((match["name"], match["value"], match.start("value")) for match in matches)


def _is_secret(name: str, value: str) -> bool:
    return (
        is_secret_name(name)
        and not is_placeholder(value)
        and looks_random(value)
        and not is_key(value)
    )


def _base(one: Instruction, defaults: Mapping[str, str], stages: set[str]) -> _Said:
    """``FROM``: an image of another, a stage of this file, or a variable with a default."""
    match = _FROM.match(one.text)
    if match is None:
        return
    image = _resolved(match["image"], defaults)
    if (
        match["image"].lower() not in stages
        and image != "scratch"
        and "$" not in image
        and is_moving_tag(image)
    ):
        name = image.partition(":")[0]
        span = one.span(match.start("image"), match.end("image"))
        cure = f"{name}:VERSION, or @sha256:...."
        yield "MK303", Problem(span, f"{image!r} names no version.", cure)
    if match["stage"]:
        stages.add(match["stage"].lower())


def _resolved(image: str, defaults: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return defaults.get(found["name"], found["default"] or found[0])

    return _VARIABLE.sub(value, image)


def _installs(one: Instruction) -> _Said:
    """Requirements of ``pip install`` that leave their version open."""
    opened: dict[str, list[str]] = {}
    for text in dict.fromkeys(requirements_of(one.text)):
        name = open_name(text)
        if name is not None and "$" not in text:
            opened.setdefault("MK301" if is_fragile(name, text) else "MK302", []).append(text)
    for code, texts in opened.items():
        start = one.text.index(texts[0])
        has = "has" if len(texts) == 1 else "have"
        message = f"{', '.join(texts)} {has} no exact version."
        cure = f"{re.split(r'[<>=!~@;]', texts[0])[0]}==VERSION."
        yield code, Problem(one.span(start, start + len(texts[0])), message, cure)


def _env_file(one: Instruction) -> _Said:
    for match in _ENV_FILE.finditer(one.text):
        if match["file"].endswith(_TEMPLATES):
            continue
        span = one.span(match.start("file"), match.end("file"))
        message = f"{match['file']!r} goes into the image."
        yield "MK206", Problem(span, message, "secrets=[modal.Secret.from_dotenv()].")

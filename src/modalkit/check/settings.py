"""What a check looks for and when it fails: ``[tool.modalkit.check]``, and the command line over it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

from ..errors import DeclarationError
from .findings import Severity
from .rule import Rule, all_rules

__all__ = ["Settings", "read_settings"]

_TABLE = "[tool.modalkit.check]"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a check looks for.

    Attributes:
        select: Codes, beginnings of codes (``"MK2"``) or names; everything when empty.
        ignore: The same, left out.
        exclude: Files and folders that are not searched, as patterns (``"vendor/*"``).
        fail_on: The mildest severity that fails the check.
        budget: What the file's containers may cost, such as ``"500/month"``; None for any price.
        static: Whether nothing is executed, so that rules over plans are left out.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    fail_on: Severity = Severity.WARNING
    budget: str | None = None
    static: bool = False

    def __post_init__(self) -> None:
        """Refuse a budget that is none, before any file is read."""
        if self.budget is not None:
            from ..pricing.total import Budget  # noqa: PLC0415 - it loads the prices

            Budget.parse(self.budget)

    def wants(self, rule: Rule) -> bool:
        """Whether a rule is looked for."""
        if any(_means(word, rule) for word in self.ignore):
            return False
        return not self.select or any(_means(word, rule) for word in self.select)

    def excludes(self, path: Path) -> bool:
        """Whether a file is left out."""
        parts = (path.as_posix(), path.name, *(part for part in path.parts[:-1]))
        return any(fnmatch(part, pattern.rstrip("/")) for pattern in self.exclude for part in parts)

    def with_choices(
        self,
        *,
        select: Iterable[str] = (),
        ignore: Iterable[str] = (),
        exclude: Iterable[str] = (),
        **others: object,
    ) -> Settings:
        """Return the same with what the command line says; None leaves a field as it is.

        Raises:
            DeclarationError: A code that no rule has.
        """
        chosen = {name: value for name, value in others.items() if value is not None}
        if select := tuple(select):
            chosen["select"] = _known("--select", select)
        chosen["exclude"] = (*self.exclude, *exclude)
        chosen["ignore"] = (*self.ignore, *_known("--ignore", tuple(ignore)))
        return replace(self, **chosen)  # type: ignore[arg-type] # the options' own types


def read_settings(start: Path) -> Settings:
    """Read the table of the nearest ``pyproject.toml``, from a folder upwards.

    Raises:
        DeclarationError: A file that is not TOML, an unknown key, a value of the wrong kind.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            return _settings(file)
    return Settings()


def _settings(file: Path) -> Settings:
    try:
        data: object = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        msg = f"{file} cannot be read: {error}."
        raise DeclarationError(msg) from None
    for key in ("tool", "modalkit", "check"):
        data = data.get(key) if isinstance(data, Mapping) else None
    if data is None:
        return Settings()
    if not isinstance(data, Mapping):
        msg = f"{file}: {_TABLE} must be a table."
        raise DeclarationError(msg)
    return Settings(**{_field(key): _value(key, value) for key, value in data.items()})  # type: ignore[arg-type] # checked by _value


_FIELDS = {field.name.replace("_", "-"): field.name for field in fields(Settings)}


def _field(key: str) -> str:
    if key not in _FIELDS:
        near = get_close_matches(key, _FIELDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"{_TABLE} has no {key!r}.{hint} It has {', '.join(sorted(_FIELDS))}."
        raise DeclarationError(msg)
    return _FIELDS[key]


def _value(key: str, value: object) -> object:
    where = f"{_TABLE} {key}"
    if key in {"select", "ignore", "exclude"}:
        words = _strings(where, value)
        return words if key == "exclude" else _known(where, words)
    if key == "static":
        if not isinstance(value, bool):
            msg = f"{where} must be true or false, got {value!r}."
            raise DeclarationError(msg)
        return value
    if not isinstance(value, str):
        msg = f"{where} must be a string, got {value!r}."
        raise DeclarationError(msg)
    return _severity(where, value) if key == "fail-on" else value


def _strings(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        msg = f'{where} must be a list of strings, got {value!r}. Write ["MK101"].'
        raise DeclarationError(msg)
    return tuple(value)


def _severity(where: str, value: str) -> Severity:
    if value not in list(Severity):
        msg = f"{where} must be one of {', '.join(Severity)}, got {value!r}."
        raise DeclarationError(msg)
    return Severity(value)


def _known(where: str, words: Sequence[str]) -> tuple[str, ...]:
    for word in words:
        if not any(_means(word, rule) for rule in all_rules()):
            msg = f"{where} {word!r} is no rule's code, beginning of a code, or name. `modalkit check --explain all` lists them."
            raise DeclarationError(msg)
    return tuple(words)


def _means(word: str, rule: Rule) -> bool:
    return rule.name == word.lower() or (bool(word) and rule.code.startswith(word.upper()))

"""Checking a command line against the flag table of the engine's pinned version.

The tables are ``data/sglang_flags.json`` and ``data/vllm_flags.json``, written from the engines'
own parsers by ``scripts/refresh_flags.py``. ``data/old_flags.json`` is kept by hand: what guides
still say, and what to write today.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import Literal

from pydantic import Field

from .._values import Value, did_you_mean, one_of
from .variables import is_secret

__all__ = [
    "EngineName",
    "Flag",
    "FlagTable",
    "Given",
    "flag_problems",
    "flag_table",
    "split_flags",
]

EngineName = Literal["sglang", "vllm"]


class Flag(Value):
    """One flag of an engine, as its parser defines it.

    Attributes:
        names: Every spelling the parser takes; abbreviations are not among them.
        takes: How many values follow: ``nothing``, ``one``, ``some`` (one or more), ``any``
            (none or more) or ``maybe`` (none or one).
        kind: What a value must be. A ``size`` is a whole number that may be short for a large one
            in the way of the engine: ``32k``, ``1Mi``.
        choices: The only values there are; empty where any is taken.
        parser_takes_any: The engine checks ``choices`` not while parsing but when it starts.
        plugin: The flag that, when given, may add further choices.
        deprecated: The engine's own words about what replaces it; empty when it is not.
    """

    names: tuple[str, ...]
    takes: Literal["nothing", "one", "some", "any", "maybe"] = "one"
    kind: Literal["text", "int", "size", "iec_size", "float", "json"] = "text"
    choices: tuple[str, ...] = ()
    parser_takes_any: bool = False
    plugin: str | None = None
    deprecated: str = ""


class FlagTable(Value):
    """Every flag of one version of one engine.

    Attributes:
        engine: The engine's name for people.
        version: The version that was read.
        read_on: The day it was read, as ``YYYY-MM-DD``.
        source: The function of the engine that builds its parser.
        nested_keys: Whether ``--flag.key value`` sets one key of a flag that takes JSON.
        flags: The flags in the parser's order.
        old_flags: What to write instead of flags that older guides use.
        old_values: The same for values, by flag.

    Examples:
        >>> table = flag_table("sglang")
        >>> table.engine, table.version
        ('SGLang', '0.5.23')
        >>> table.find("--tp-size").kind
        'int'
        >>> table.find("--tensor") is None  # the engine would take the abbreviation
        True
    """

    engine: str
    version: str
    read_on: str
    source: str
    nested_keys: bool = False
    flags: tuple[Flag, ...]
    old_flags: dict[str, str] = Field(default_factory=dict)
    old_values: dict[str, dict[str, str]] = Field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Flag]:
        """The flags by every spelling."""
        return {name: flag for flag in self.flags for name in flag.names}

    def find(self, name: str) -> Flag | None:
        """Return the flag with a spelling; ``--flag.key`` finds a flag that takes JSON."""
        head, dot, _ = name.partition(".")
        flag = self.by_name.get(head)
        takes_key = self.nested_keys and flag is not None and flag.kind == "json"
        return flag if takes_key or not dot else None


@cache
def flag_table(engine: EngineName) -> FlagTable:
    """Return the table modalkit ships for an engine."""
    folder = files("modalkit") / "data"
    table = json.loads((folder / f"{engine}_flags.json").read_text("utf-8"))
    old = json.loads((folder / "old_flags.json").read_text("utf-8"))[engine]
    return FlagTable(**table, old_flags=old["flags"], old_values=old["values"])


class Given(Value):
    """A flag as it stands in a command line.

    Attributes:
        name: The spelling used; empty for values that stand before any flag.
        values: What follows it.
        joined: Whether it was written ``--flag=value``.
    """

    name: str
    values: tuple[str, ...] = ()
    joined: bool = False


def split_flags(arguments: Sequence[str]) -> tuple[Given, ...]:
    """Group a command line by its flags.

    Examples:
        >>> [(given.name, given.values) for given in split_flags(["--a", "1", "2", "--b=-3"])]
        [('--a', ('1', '2')), ('--b', ('-3',))]
    """
    found: list[Given] = []
    for argument in arguments:
        if _looks_like_flag(argument):
            name, equals, value = argument.partition("=")
            values = (value,) if equals else ()
            found.append(Given(name=name, values=values, joined=bool(equals)))
        else:
            last = found.pop() if found else Given(name="")
            found.append(last.model_copy(update={"values": (*last.values, argument)}))
    return tuple(found)


def flag_problems(
    arguments: Sequence[str],
    table: FlagTable,
    *,
    also_given: Collection[str] = (),
    skip: Collection[str] = (),
) -> Iterator[str]:
    """Say what the engine would not take, each with what to write instead.

    Args:
        arguments: Flags and values, without program and model.
        table: The flags of the pinned version.
        also_given: Flags elsewhere in the command line; one may add choices to these.
        skip: Flags that were judged elsewhere.

    Examples:
        >>> next(flag_problems(["--schedule-policy", "lpn"], flag_table("sglang")))[:70]
        "SGLang 0.5.23 does not know 'lpn' for '--schedule-policy'. Did you mea"
    """
    seen: set[str] = set()
    for one in split_flags(arguments):
        if one.name in skip:
            continue
        flag = table.find(one.name)
        if flag is None:
            yield _unknown(one, table)
            continue
        if flag.names[0] in seen and "." not in one.name:
            yield f"{one.name!r} is given twice. Write it once."
        seen.add(flag.names[0])
        yield from _misuse(one, flag, table, also_given)


def _looks_like_flag(argument: str) -> bool:
    return argument.startswith("-") and not re.fullmatch(r"-\d+(\.\d+)?|-", argument)


def _unknown(one: Given, table: FlagTable) -> str:
    if not one.name:
        return "It starts with a value that belongs to no flag. Write the flag before it."
    if re.search(r"\s", one.name):  # what follows the space is not shown: it may be a secret
        flag = one.name.split()[0]
        return f"{flag!r} and what follows it are one string. Write one string per word."
    what = f"{table.engine} {table.version} has no flag {one.name!r}."
    instead = table.old_flags.get(one.name)
    if instead:
        return f"{what} {instead}"
    longer = [name for name in table.by_name if name.startswith(one.name)]
    if longer and one.name.startswith("--"):
        return f"{what} Write out {one_of([repr(name) for name in longer[:4]])}."
    return what + did_you_mean(one.name, table.by_name)


def _misuse(one: Given, flag: Flag, table: FlagTable, also_given: Collection[str]) -> Iterator[str]:
    if flag.deprecated:
        yield f"{one.name!r} is on its way out. {table.engine} says: {flag.deprecated}"
    count = _count_problem(one, flag)
    if count:
        yield count
        return
    if table.nested_keys and not one.joined:
        for value in one.values:
            if value.startswith("-") and "." in value:  # the parser sees a flag with a key
                yield f"{one.name!r} needs '=' before {value!r}. Write '{one.name}={value}'."
    if flag.plugin in also_given or "." in one.name:
        return
    for value in one.values:
        problem = _value_problem(value, flag, one.name, table)
        if problem:
            yield problem


def _count_problem(one: Given, flag: Flag) -> str | None:
    count = len(one.values)
    shown = "" if is_secret(one.name) else f", got {' '.join(one.values)!r}"
    takes = "one" if "." in one.name else flag.takes
    if takes == "nothing" and count:
        return f"{one.name!r} is a switch and takes no value{shown}. Write {one.name!r} alone."
    if takes in {"one", "some"} and not count:
        return f"{one.name!r} has no value. Write ({one.name!r}, {_example(flag)!r})."
    if count > 1 and (takes in {"one", "maybe"} or one.joined):
        return f"{one.name!r} takes one value{shown}."
    return None


def _example(flag: Flag) -> str:
    return flag.choices[0] if flag.choices else _EXAMPLES[flag.kind]


def _value_problem(value: str, flag: Flag, name: str, table: FlagTable) -> str | None:
    if flag.choices:
        return None if value in flag.choices else _not_a_choice(value, flag, name, table)
    if _is_kind(value, flag.kind):
        return None
    shown = "" if is_secret(name) else f", got {value!r}"
    return f"{name!r} takes {_KINDS[flag.kind]} such as {_EXAMPLES[flag.kind]!r}{shown}."


def _not_a_choice(value: str, flag: Flag, name: str, table: FlagTable) -> str:
    what = f"{table.engine} {table.version} does not know {value!r} for {name!r}."
    instead = next(
        (table.old_values[known][value] for known in flag.names if value in _old(table, known)), ""
    )
    if instead:
        return f"{what} {instead}"
    return what + (did_you_mean(value, flag.choices) or f" It takes {one_of(flag.choices)}.")


def _old(table: FlagTable, name: str) -> Mapping[str, str]:
    return table.old_values.get(name, {})


def _is_kind(value: str, kind: str) -> bool:
    if kind == "json":
        try:
            json.loads(value)
        except ValueError:
            return False
        return True
    return re.fullmatch(_PATTERNS[kind], value, re.DOTALL) is not None


_PATTERNS = {
    "text": r".*",
    "int": r"[+-]?\d+",
    "size": r"auto|[+-]?\d+|\d+(\.\d+)?[kmgt]|\d+[KMGT]",
    "iec_size": r"[+-]?\d+|\d+(\.\d+)?[kMGT]|\d+[KMGT]i",
    "float": r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?",
}
_KINDS = {
    "text": "text",
    "int": "a whole number",
    "size": "a whole number",
    "iec_size": "a whole number",
    "float": "a number",
    "json": "JSON",
}
_EXAMPLES = {
    "text": "...",
    "int": "8",
    "size": "32k",
    "iec_size": "32Ki",
    "float": "0.9",
    "json": '{"key": 1}',
}

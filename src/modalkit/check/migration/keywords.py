"""The options of a call of Modal, written in the call or in a dict that it spreads, and their edits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ..declared import ModalFile
from ..findings import Edit
from ..mappings import Entry, Holder
from .draft import Draft

__all__ = ["Keyword", "keywords", "removed", "renamed"]


@dataclass(frozen=True, slots=True)
class Keyword:
    """One option of a call, wherever it is written.

    Attributes:
        name: The option.
        value: Its value.
        key: What holds its name: a keyword, or the key of a dict.
        holder: The call, dict or subscript it is written in.
        is_spread: Whether it comes out of a dict, which other calls may spread too.
        sure: Whether the call has it on every way through the program.
        reads: Keys by which the file reads this option out of the dict.
    """

    name: str
    value: ast.expr
    key: ast.keyword | ast.Constant
    holder: Holder
    is_spread: bool = False
    sure: bool = True
    reads: tuple[ast.Constant, ...] = ()


def keywords(file: ModalFile, call: ast.Call) -> Iterator[Keyword]:
    """Yield the options of a call, those of the dicts that it spreads too."""
    for one in call.keywords:
        if one.arg is not None:
            yield Keyword(one.arg, one.value, one, call)
            continue
        spread = file.mappings.entries(one.value)
        for entry in spread.found:
            if isinstance(entry.key, ast.keyword | ast.Constant):
                yield _spread(entry, entry.key, spread.reads)


def _spread(
    entry: Entry, key: ast.keyword | ast.Constant, reads: tuple[ast.Constant, ...]
) -> Keyword:
    mine = tuple(one for one in reads if one.value == entry.name)
    return Keyword(entry.name, entry.value, key, entry.holder, True, entry.sure, mine)


def renamed(draft: Draft, keyword: Keyword, new: str) -> list[Edit]:
    """Give an option another name, where it is written and where it is read out of its dict."""
    return [_named(draft, one, keyword.name, new) for one in (keyword.key, *keyword.reads)]


def _named(draft: Draft, key: ast.keyword | ast.Constant, old: str, new: str) -> Edit:
    if isinstance(key, ast.keyword):
        return draft.rename(key, new)
    return draft.replace(key, draft.of(key).replace(old, new))


def removed(draft: Draft, keyword: Keyword) -> list[Edit]:
    """Take an option out of what holds it; no edits where something reads it."""
    holder, key = keyword.holder, keyword.key
    if keyword.reads:
        return []
    if isinstance(holder, ast.Dict):
        return draft.remove_entry(holder, key)
    statement = draft.file.nodes.parent(holder)
    if isinstance(holder, ast.Subscript) or _changes_one(holder, statement):
        return [draft.remove_statement(statement)] if isinstance(statement, ast.stmt) else []
    return draft.remove_argument(holder, key) if isinstance(key, ast.keyword) else []


def _changes_one(call: ast.Call, statement: ast.AST | None) -> bool:
    """Whether a statement is ``kw.update(x=...)`` or ``kw.setdefault("x", ...)`` of one option alone."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    alone = method == "setdefault" or (
        method == "update" and len([*call.args, *call.keywords]) == 1
    )
    return alone and isinstance(statement, ast.Expr)

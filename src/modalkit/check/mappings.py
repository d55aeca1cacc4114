"""The options that a file keeps in a dict and spreads into calls, however it puts that dict together.

Literals, ``dict(...)``, copies, unions, ``kw["x"] = ...``, ``update``, ``setdefault``, branches, functions
that return one, attributes of classes, entries of a table of dicts, and the ``**options`` of a function
whose calls are in the file. Nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .bindings import Binding
from .names import Names
from .nodes import Nodes, Scope

__all__ = ["Entries", "Entry", "Holder", "Mappings"]

_DEEPEST = 12  # dicts that spread dicts, names of names
_MOST = 300  # entries of one dict; more is generated code
_COPIES = {"copy.copy", "copy.deepcopy"}
_READS = {"get", "pop"}

Holder = ast.Call | ast.Dict | ast.Subscript


@dataclass(frozen=True, slots=True)
class Entry:
    """One option.

    Attributes:
        name: The option.
        value: Its value.
        key: What holds its name: a keyword, or the key of a dict.
        holder: The dict, call or subscript it is written in.
        sure: Whether it is there whenever the dict is spread.
    """

    name: str
    value: ast.expr
    key: ast.keyword | ast.expr
    holder: Holder
    sure: bool


@dataclass(frozen=True, slots=True)
class Entries:
    """What spreading an expression gives.

    Attributes:
        found: The options, in the order in which they were found.
        complete: Whether there can be no others.
        reads: The keys by which the file reads single options out of these dicts.
    """

    found: tuple[Entry, ...]
    complete: bool
    reads: tuple[ast.Constant, ...]


class Mappings:
    """The dicts of options of one file."""

    def __init__(self, nodes: Nodes, names: Names) -> None:
        self.nodes = nodes
        self.names = names
        self._known: dict[ast.expr, Entries] = {}

    def entries(self, node: ast.expr) -> Entries:
        """Return what ``**node`` gives to a call."""
        if node not in self._known:
            walk = _Walk(self)
            walk.follow(node, sure=True)
            found = tuple(walk.found[:_MOST])
            complete = walk.complete and len(walk.found) <= _MOST
            self._known[node] = Entries(found, complete, tuple(walk.reads))
        return self._known[node]

    def uses(self, scope: Scope, name: str) -> list[ast.AST]:
        """Return the subscripts, method calls and comparisons of a variable."""
        return self._uses.get((scope, name), [])

    @cached_property
    def _uses(self) -> dict[tuple[Scope, str], list[ast.AST]]:
        found: dict[tuple[Scope, str], list[ast.AST]] = {}
        for variable, use in self._candidates():
            scope, _ = self.names.bindings(variable)
            if scope is not None:
                found.setdefault((scope, variable.id), []).append(use)
        return found

    def _candidates(self) -> Iterator[tuple[ast.Name, ast.AST]]:
        for subscript in self.nodes.of(ast.Subscript):
            if isinstance(subscript.value, ast.Name):
                yield subscript.value, subscript
        for call in self.nodes.of(ast.Call):
            owner = call.func.value if isinstance(call.func, ast.Attribute) else None
            if isinstance(owner, ast.Name):
                yield owner, call
        for compare in self.nodes.of(ast.Compare):
            last = compare.comparators[-1]
            if isinstance(last, ast.Name) and isinstance(compare.ops[-1], ast.In | ast.NotIn):
                yield last, compare

    def callers(self, function: ast.AST) -> list[ast.Call]:
        """Return the calls of a function of this file by its name."""
        return self._callers.get(function, [])[:_MOST]

    @cached_property
    def _callers(self) -> dict[ast.AST, list[ast.Call]]:
        found: dict[ast.AST, list[ast.Call]] = {}
        for call in self.nodes.of(ast.Call):
            called = self.definition(call.func) if isinstance(call.func, ast.Name) else None
            if called is not None:
                found.setdefault(called, []).append(call)
        return found

    def definition(self, node: ast.Name) -> ast.AST | None:
        """Return the one function or class that a name is."""
        _, bindings = self.names.bindings(node)
        at = bindings[0].at if len(bindings) == 1 else None
        is_definition = isinstance(at, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        return at if is_definition else None

    def returned(self, function: ast.Name) -> ast.expr | None:
        """Return what a function of this file returns, where it has one way to."""
        definition = self.definition(function)
        returns = self.returns(definition)
        plain = isinstance(definition, ast.FunctionDef) and not definition.decorator_list
        return returns[0].value if plain and len(returns) == 1 else None

    def returns(self, function: ast.AST | None) -> list[ast.Return]:
        """Return the ``return`` statements of a function itself."""
        return self._returns.get(function, [])

    @cached_property
    def _returns(self) -> dict[ast.AST | None, list[ast.Return]]:
        found: dict[ast.AST | None, list[ast.Return]] = {}
        for one in self.nodes.of(ast.Return):
            found.setdefault(self.nodes.function(one), []).append(one)
        return found


class _Walk:
    """One look through everything that an expression may spread, each part of it once."""

    def __init__(self, mappings: Mappings, seen: set[ast.AST] | None = None) -> None:
        self._mappings = mappings
        self._names = mappings.names
        self._nodes = mappings.nodes
        self._seen = set() if seen is None else seen
        self.found: list[Entry] = []
        self.reads: list[ast.Constant] = []
        self.complete = True

    def follow(self, node: ast.expr, *, sure: bool, depth: int = 0) -> None:
        """Add what an expression gives; what is not followed leaves the rest incomplete."""
        if node in self._seen:
            return
        self._seen.add(node)
        if depth > _DEEPEST or len(self.found) > _MOST:
            self.complete = False
        elif isinstance(node, ast.Dict):
            self._literal(node, sure=sure, depth=depth)
        elif isinstance(node, ast.Call):
            self._call(node, sure=sure, depth=depth)
        elif isinstance(node, ast.Name):
            self._name(node, sure=sure, depth=depth)
        elif isinstance(node, ast.Subscript):
            self._from_table(node, depth)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, depth)
        else:
            self._parts(node, sure=sure, depth=depth)

    def _parts(self, node: ast.expr, *, sure: bool, depth: int) -> None:
        """Unions, where both sides count, and branches, where one does."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            parts = [node.left, node.right]
        elif isinstance(node, ast.IfExp):
            parts, sure = [node.body, node.orelse], False
        elif isinstance(node, ast.BoolOp):
            parts, sure = node.values, False
        elif isinstance(node, ast.NamedExpr):
            parts = [node.value]
        else:
            parts, self.complete = [], False
        for one in parts:
            self.follow(one, sure=sure, depth=depth + 1)

    def _literal(self, node: ast.Dict, *, sure: bool, depth: int) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self.follow(value, sure=sure, depth=depth + 1)
            else:
                self._entry(key, value, node, sure=sure)

    def _entry(self, key: ast.expr, value: ast.expr, holder: Holder, *, sure: bool) -> None:
        name = self._names.text(key)
        if name is None:
            self.complete = False
        else:
            self.found.append(Entry(name, value, key, holder, sure))

    def _call(self, node: ast.Call, *, sure: bool, depth: int) -> None:
        called = self._names.qualname(node.func)
        function = node.func
        if called == "dict":
            self._given(node, sure=sure, depth=depth)
        elif called in _COPIES and node.args:
            self.follow(node.args[0], sure=sure, depth=depth + 1)
        elif isinstance(function, ast.Attribute) and function.attr == "copy" and not node.args:
            self.follow(function.value, sure=sure, depth=depth + 1)
        elif isinstance(function, ast.Name):
            self._returned(function, sure=sure, depth=depth)
        else:
            self.complete = False

    def _given(self, call: ast.Call, *, sure: bool, depth: int) -> None:
        """The arguments of ``dict(...)`` and ``update(...)``."""
        for one in call.args:
            self.follow(one, sure=sure, depth=depth + 1)
        for keyword in call.keywords:
            if keyword.arg is None:
                self.follow(keyword.value, sure=sure, depth=depth + 1)
            else:
                self.found.append(Entry(keyword.arg, keyword.value, keyword, call, sure))

    def _returned(self, function: ast.Name, *, sure: bool, depth: int) -> None:
        """What a function of the file returns."""
        definition = self._mappings.definition(function)
        returns = [one for one in self._mappings.returns(definition) if one.value is not None]
        if not isinstance(definition, ast.FunctionDef) or not returns or definition.decorator_list:
            self.complete = False
            return
        for one in returns:
            assert one.value is not None  # noqa: S101 - chosen so
            self.follow(one.value, sure=sure and len(returns) == 1, depth=depth + 1)

    # -- variables

    def _name(self, node: ast.Name, *, sure: bool, depth: int) -> None:
        scope, bindings = self._names.bindings(node)
        if scope is None or not bindings:
            self.complete = False
            return
        made = [one for one in bindings if not isinstance(one.at, ast.AugAssign)]
        for one in bindings:
            here = sure and len(made) == 1 and not self._nodes.is_conditional(one.at)
            self._binding(one, node, sure=here, depth=depth)
        for use in self._mappings.uses(scope, node.id):
            here = sure and len(made) == 1 and self._nodes.scope(use) is scope
            self._changed(use, sure=here and not self._nodes.is_conditional(use), depth=depth)

    def _binding(self, one: Binding, node: ast.Name, *, sure: bool, depth: int) -> None:
        value = one.value
        if isinstance(one.at, ast.AugAssign) and isinstance(one.at.op, ast.BitOr):
            value = one.added
        if value is not None:
            self.follow(value, sure=sure, depth=depth + 1)
            return
        self.complete = False
        if isinstance(one.at, ast.arg):
            self._passed(one.at, node.id, depth)

    def _passed(self, argument: ast.arg, name: str, depth: int) -> None:
        """The ``**options`` of a function: what its calls in the file give beside its own parameters."""
        function = self._nodes.parent(self._nodes.parent(argument) or argument)
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        args = function.args
        if args.kwarg is None or args.kwarg.arg != name:
            return
        own = {one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
        for call in self._mappings.callers(function):
            for keyword in call.keywords:
                if keyword.arg is None:
                    self.follow(keyword.value, sure=False, depth=depth + 1)
                elif keyword.arg not in own:
                    self.found.append(Entry(keyword.arg, keyword.value, keyword, call, sure=False))

    def _changed(self, use: ast.AST, *, sure: bool, depth: int) -> None:
        """What is done with a variable that holds a dict."""
        if isinstance(use, ast.Subscript):
            self._subscript(use, sure=sure)
        elif isinstance(use, ast.Compare):
            self._read(use.left)
        elif isinstance(use, ast.Call) and isinstance(use.func, ast.Attribute):
            self._method(use, use.func.attr, sure=sure, depth=depth)

    def _subscript(self, use: ast.Subscript, *, sure: bool) -> None:
        statement = self._nodes.parent(use)
        stored = isinstance(use.ctx, ast.Store) and isinstance(statement, ast.Assign)
        if stored and statement.targets == [use]:  # type: ignore[union-attr] # told just before
            self._entry(use.slice, statement.value, use, sure=sure)  # type: ignore[union-attr] # the same
            return
        self.complete = self.complete and isinstance(use.ctx, ast.Load)
        self._read(use.slice)

    def _method(self, call: ast.Call, method: str, *, sure: bool, depth: int) -> None:
        if method == "update":
            self._given(call, sure=sure, depth=depth)
        elif method == "setdefault" and len(call.args) == 2:  # noqa: PLR2004 - key and value
            self._entry(call.args[0], call.args[1], call, sure=sure)
        elif method in _READS and call.args:
            self._read(call.args[0])
            self.complete = self.complete and method == "get"
        elif method in {"clear", "popitem"}:
            self.complete = False

    def _read(self, key: ast.expr) -> None:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            self.reads.append(key)

    # -- tables and classes

    def _from_table(self, node: ast.Subscript, depth: int) -> None:
        """``PRESETS["small"]``: of all entries where it is not sure which."""
        self.complete = False
        asked = self._names.text(node.slice)
        table = _Walk(self._mappings, self._seen)
        table.follow(node.value, sure=True, depth=depth + 1)
        for entry in table.found:
            if asked in {None, entry.name}:
                self.follow(entry.value, sure=False, depth=depth + 1)

    def _attribute(self, node: ast.Attribute, depth: int) -> None:
        """``Config.options``, ``self.options``: what the body of the class says."""
        self.complete = False
        held = self._class_of(node.value)
        for statement in held.body if held is not None else ():
            if isinstance(statement, ast.Assign):
                targets: list[ast.expr] = statement.targets
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                targets = [statement.target]
            else:
                continue
            if any(isinstance(one, ast.Name) and one.id == node.attr for one in targets):
                assert statement.value is not None  # noqa: S101 - told just before
                self.follow(statement.value, sure=False, depth=depth + 1)

    def _class_of(self, node: ast.expr) -> ast.ClassDef | None:
        if isinstance(node, ast.Call):
            node = node.func
        if not isinstance(node, ast.Name):
            return None
        if node.id in {"self", "cls"}:
            function = self._nodes.function(node)
            held = self._nodes.parent(function) if function is not None else None
        else:
            held = self._mappings.definition(node)
        return held if isinstance(held, ast.ClassDef) else None

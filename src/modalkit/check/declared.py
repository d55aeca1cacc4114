"""What a file declares to Modal: its apps, functions, classes and their images, read without running it.

Rules read this, not the tree: a rule about a function's timeout asks for ``function.number("timeout")``
and need not know whether it was written in the decorator, in a dict of options or in a constant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TypeVar

from .images import Image, read_image
from .mappings import Mappings
from .names import Names
from .nodes import Function, Nodes
from .source import SourceFile

__all__ = ["SERVE", "Decorator", "Member", "ModalFile", "Option", "Options", "Unit"]

_Node = TypeVar("_Node", bound=ast.AST)
_REGISTERS = {"function": "function", "cls": "class", "server": "server"}
_APP = "modal.App()"
_PARTIAL = "functools.partial"
SERVE = {"modalkit.serve", "modalkit.compile.serve"}
_IMAGES = ("modal.Image", "modalkit.ImageSpec")
# More of them than that is generated code, which would only take long.
_MOST_UNITS = 300
_MOST_IMAGES = 300


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword: its value, and the node to point at."""

    value: ast.expr
    at: ast.AST


@dataclass(frozen=True, slots=True)
class Options:
    """The keywords of a call.

    Attributes:
        given: Them by name, those of dicts that were followed too.
        complete: Whether there can be no others.
    """

    given: Mapping[str, Option] = field(default_factory=dict)
    complete: bool = True

    def lacks(self, *names: str) -> bool:
        """Whether none of these keywords is there, for sure."""
        return self.complete and not any(name in self.given for name in names)

    def value(self, name: str) -> ast.expr | None:
        """Return a keyword's value as written."""
        option = self.given.get(name)
        return option.value if option else None


@dataclass(frozen=True, slots=True)
class Decorator:
    """A decorator: its full name (``"modal.concurrent"``), the node, and its keywords."""

    qualname: str
    node: ast.expr
    options: Options


@dataclass(frozen=True, slots=True)
class Member:
    """A method of a class that Modal runs, by its decorators; inherited ones too."""

    node: Function
    decorators: tuple[Decorator, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.node.name

    def decorator(self, *qualnames: str) -> Decorator | None:
        """Return its first decorator of one of these names."""
        return next((one for one in self.decorators if one.qualname in qualnames), None)

    def runs_at(self, *qualnames: str) -> bool:
        """Whether one of these decorators is on it."""
        return self.decorator(*qualnames) is not None


@dataclass(frozen=True)
class Unit:
    """One function, class or server of an app.

    Attributes:
        kind: ``"function"``, ``"class"``, ``"server"``, or ``"service"`` of modalkit.
        node: Its definition.
        registered: The decorator that registers it.
        decorators: The other decorators on it.
        options: Its keywords.
        defaults: The keywords of the app, which hold where its own say nothing.
        image: Its image; None where it is not known, or the default one.
        members: Methods of a class that Modal runs.
    """

    kind: str
    node: Function | ast.ClassDef
    registered: Decorator
    decorators: tuple[Decorator, ...]
    options: Options
    defaults: Options
    image: Image | None
    members: tuple[Member, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.node.name

    def decorator(self, *qualnames: str) -> Decorator | None:
        """Return its first decorator of one of these names."""
        return next((one for one in self.decorators if one.qualname in qualnames), None)

    def option(self, name: str) -> ast.expr | None:
        """Return a keyword's value, the app's where its own decorator says nothing."""
        own = self.options.value(name)
        return own if own is not None else self.defaults.value(name)

    def lacks(self, *names: str) -> bool:
        """Whether neither its decorator nor its app has one of these keywords, for sure."""
        known = self.options.complete and self.defaults.complete
        return known and not any(self.option(name) is not None for name in names)

    def methods(self, *qualnames: str) -> Iterator[Member]:
        """Yield the methods that carry one of these decorators."""
        return (one for one in self.members if one.runs_at(*qualnames))

    @property
    def bodies(self) -> tuple[Function, ...]:
        """What runs in its container: the function, or the methods of the class."""
        if isinstance(self.node, ast.ClassDef):
            own = [
                n for n in self.node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            return (*own, *(one.node for one in self.members if one.node not in own))
        return (self.node,)


class ModalFile:
    """One file as Modal would see it.

    Attributes:
        source: The file.
        budget: What its containers may cost, such as ``"500/month"``; None for any price.
    """

    def __init__(self, source: SourceFile, budget: str | None = None) -> None:
        self.source = source
        self.budget = budget
        self.nodes = Nodes(source.tree)
        self.names = Names(self.nodes)
        self.mappings = Mappings(self.nodes, self.names)
        self._within: dict[type[ast.AST], dict[ast.AST, list[ast.AST]]] = {}

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Every function, class and server that is registered on an app."""
        return tuple(islice(self._units(), _MOST_UNITS))

    @cached_property
    def calls(self) -> tuple[tuple[str, ast.Call], ...]:
        """Every call whose full name is known, with that name."""
        return tuple((name, call) for name, call in self.calls_in(self.source.tree) if name)

    @cached_property
    def _calls_of(self) -> dict[ast.AST, list[tuple[str, ast.Call]]]:
        found: dict[ast.AST, list[tuple[str, ast.Call]]] = {}
        for call in self.nodes.of(ast.Call):
            named = (self.names.qualname(call.func), call)
            for scope in self.nodes.scopes(call):
                found.setdefault(scope, []).append(named)
        return found

    def within(self, body: ast.AST, kind: type[_Node]) -> list[_Node]:
        """Return the nodes of a kind in a function, nested functions too."""
        if kind not in self._within:
            by_scope: dict[ast.AST, list[ast.AST]] = {}
            for node in self.nodes.of(kind):
                for scope in self.nodes.scopes(node):
                    by_scope.setdefault(scope, []).append(node)
            self._within[kind] = by_scope
        return self._within[kind].get(body, [])  # type: ignore[return-value] # filed by kind

    def calls_in(self, body: ast.AST) -> list[tuple[str, ast.Call]]:
        """Return the calls in a function, nested functions too, with their full names or ``""``."""
        return self._calls_of.get(body, [])

    @cached_property
    def apps(self) -> tuple[ast.Call, ...]:
        """Every call that makes an app."""
        return tuple(call for name, call in self.calls if name in {"modal.App", "modal.Stub"})

    @cached_property
    def images(self) -> tuple[Image, ...]:
        """Every image that is built somewhere in the file, each by its longest chain."""
        built = (call for name, call in self.calls if name.startswith(_IMAGES))
        ends = islice((call for call in built if self._ends(call)), _MOST_IMAGES)
        found = (read_image(call, self.names) for call in ends)
        return tuple(image for image in found if image is not None)

    def _ends(self, call: ast.Call) -> bool:
        above = self.nodes.parent(call)
        return not isinstance(above, ast.Attribute)

    def options(self, call: ast.Call) -> Options:
        """Return the keywords of a call, with those of the dicts it spreads."""
        given: dict[str, Option] = {}
        complete = True
        for keyword in call.keywords:
            if keyword.arg is not None:
                given[keyword.arg] = Option(keyword.value, keyword)
                continue
            spread = self.mappings.entries(keyword.value)
            complete = complete and spread.complete and all(one.sure for one in spread.found)
            given |= {one.name: Option(one.value, one.value) for one in spread.found if one.sure}
        return Options(given, complete)

    # -- functions and classes

    def _units(self) -> Iterator[Unit]:
        for node in self.nodes.definitions:
            if not node.decorator_list:
                continue
            decorators = self.decorators(node)
            registered = next((one for one in decorators if self.registers(one)), None)
            served = next((one for one in decorators if one.qualname in SERVE), None)
            if registered is not None:
                yield self._unit(node, registered, decorators)
            elif served is not None and isinstance(node, ast.ClassDef):
                yield self._service(node, served)

    def decorators(self, node: Function | ast.ClassDef) -> tuple[Decorator, ...]:
        """Return the decorators of a definition, outermost first."""
        return tuple(self._decorator(one) for one in node.decorator_list)

    def _decorator(self, node: ast.expr) -> Decorator:
        if not isinstance(node, ast.Call):
            return Decorator(self.names.qualname(node), node, Options())
        return self._through(node) or self._called(node)

    def _called(self, call: ast.Call) -> Decorator:
        return Decorator(self.names.qualname(call.func), call, self.options(call))

    def _through(self, call: ast.Call) -> Decorator | None:
        """What a function or a partial of this file registers when it decorates, under its own name."""
        if not isinstance(call.func, ast.Name):
            return None
        _, bindings = self.names.bindings(call.func)
        value = bindings[0].value if len(bindings) == 1 else None
        partial = isinstance(value, ast.Call) and self.names.qualname(value.func) == _PARTIAL
        if partial and isinstance(value, ast.Call) and value.args:
            made = Decorator(self.names.qualname(value.args[0]), call, self.options(value))
            complete = made.options.complete
        else:
            returned = self.mappings.returned(call.func)
            if not isinstance(returned, ast.Call) or not isinstance(returned.func, ast.Attribute):
                return None
            made, complete = self._called(returned), False  # what it is given may be changed inside
        if self.registers(made) is None:
            return None
        own = self.options(call)
        options = Options({**made.options.given, **own.given}, complete and own.complete)
        return Decorator(made.qualname, call, options)

    def registers(self, decorator: Decorator) -> str | None:
        """Return what a decorator registers on an app: ``"function"``, ``"class"``, ``"server"``.

        An app that comes from another file is known by the name it has: ``from shop import app``.
        """
        owner, _, method = decorator.qualname.rpartition(".")
        if method not in _REGISTERS or not isinstance(decorator.node, ast.Call):
            return None
        is_app = owner == _APP or owner.rpartition(".")[2] in {"app", "stub"}
        return _REGISTERS[method] if is_app and self.is_modal else None

    @cached_property
    def is_modal(self) -> bool:
        """Whether the file has to do with Modal at all."""
        origins = {name.split(".")[0] for name in self.names.origins}
        return bool(origins & {"modal", "modalkit"})

    def _unit(
        self,
        node: Function | ast.ClassDef,
        registered: Decorator,
        decorators: tuple[Decorator, ...],
    ) -> Unit:
        defaults = self._app_options(registered)
        image = registered.options.value("image") or defaults.value("image")
        return Unit(
            kind=self.registers(registered) or "function",
            node=node,
            registered=registered,
            decorators=tuple(one for one in decorators if one is not registered),
            options=registered.options,
            defaults=defaults,
            image=read_image(image, self.names),
            members=tuple(self._members(node)) if isinstance(node, ast.ClassDef) else (),
        )

    def _service(self, node: ast.ClassDef, served: Decorator) -> Unit:
        """A modalkit service: its class body says what keywords say elsewhere, in other values."""
        given = {
            target.id: Option(statement.value, statement)
            for one in reversed([node, *self.bases(node)])
            for statement in one.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        options = Options(given, complete=False)
        image = read_image(options.value("image"), self.names)
        members = tuple(self._members(node))
        return Unit("service", node, served, (), options, Options(), image, members)

    def _app_options(self, registered: Decorator) -> Options:
        """The keywords of the app itself, if it is made in this file."""
        call = registered.node
        owner = (
            call.func.value
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            else None
        )
        value = self.names.latest(owner) if isinstance(owner, ast.Name) else owner
        return self.options(value) if isinstance(value, ast.Call) else Options(complete=False)

    def _members(self, node: ast.ClassDef) -> Iterator[Member]:
        """Methods with decorators, those of base classes in the same file after its own."""
        seen: set[str] = set()
        waiting, visited = [node], {node}
        while waiting:
            current = waiting.pop(0)
            for child in current.body:
                if (
                    isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                    and child.name not in seen
                ):
                    seen.add(child.name)
                    if child.decorator_list:
                        yield Member(child, self.decorators(child))
            for base in self.bases(current):
                if base not in visited:
                    visited.add(base)
                    waiting.append(base)

    def bases(self, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
        """Yield the classes of this file that a class names as its bases."""
        names = {base.id for base in node.bases if isinstance(base, ast.Name)}
        yield from (one for one in self.nodes.of(ast.ClassDef) if one.name in names)

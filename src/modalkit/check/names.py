"""What the names of a file stand for: imports followed to their origin, constants to their values.

Nothing is run. A name that is bound in a way that is not followed (a loop, an argument) is unknown,
and what is unknown is never reported.
"""

from __future__ import annotations

import ast
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from .bindings import Binding, Bindings, position
from .nodes import Nodes, Scope

__all__ = ["MADE_BY", "Names", "text_of"]

_LARGEST = 10**18
_LONGEST = 20_000  # characters of a text that is put together
_MOST_VALUES = 50  # of one name; more is generated code
_DEEPEST = 40  # of names that stand for names; cycles end here too

# What a call returns, for the objects of Modal that rules follow. `Image` is here by its prefix.
MADE_BY: Mapping[str, str] = {
    "modal.App": "modal.App()",
    "modal.Stub": "modal.App()",
    "modal.app.App": "modal.App()",
    "modal.Volume.from_name": "modal.Volume()",
    "modal.Volume.ephemeral": "modal.Volume()",
    "modal.Volume.persisted": "modal.Volume()",
    "modal.Volume.new": "modal.Volume()",
    "modal.Volume.lookup": "modal.Volume()",
    "modal.Volume().with_mount_options": "modal.Volume()",
    "modal.Volume().read_only": "modal.Volume()",
    "modal.Secret.from_name": "modal.Secret()",
    "modal.Secret.from_dict": "modal.Secret()",
    "modal.Secret.from_dotenv": "modal.Secret()",
    "modal.Secret.from_local_environ": "modal.Secret()",
}
_IMAGE = "modal.Image()"


class Names:
    """The names of one file."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._bound = Bindings(nodes)
        # By scope and name: what names stand for is asked often, and may go in circles.
        self._bindings: dict[tuple[Scope, str], tuple[Scope | None, list[Binding]]] = {}
        self._qualnames: dict[tuple[Scope, str], str] = {}
        self._constants: dict[tuple[Scope, str], object] = {}

    @property
    def origins(self) -> set[str]:
        """The full name of everything that is imported anywhere in the file."""
        return set(self._bound.imported.values())

    def bindings(self, node: ast.Name) -> tuple[Scope | None, list[Binding]]:
        """Return the scope that binds a name, and everything it binds it to."""
        seen_from = (self._nodes.scope(node), node.id)
        if seen_from not in self._bindings:
            self._bindings[seen_from] = self._look_up(node)
        return self._bindings[seen_from]

    def _look_up(self, node: ast.Name) -> tuple[Scope | None, list[Binding]]:
        scope = self.binder(node, node.id)
        return scope, self._bound.assigned.get((scope, node.id), []) if scope is not None else []

    def binder(self, at: ast.AST, name: str) -> Scope | None:
        """Return the scope from which a place of the file has a name."""
        known = (self._bound.assigned, self._bound.imported)
        scopes = self._nodes.scopes(at)
        return next((one for one in scopes if any((one, name) in each for each in known)), None)

    def means_same(self, node: ast.expr, at: ast.AST) -> bool:
        """Whether the names of an expression stand for the same at another place of the file."""
        inside = set(ast.walk(node))  # a lambda takes its own names along
        names = [one for one in inside if isinstance(one, ast.Name)]
        bound = [(one, self.binder(one, one.id)) for one in names]
        return all(scope in inside or scope is self.binder(at, one.id) for one, scope in bound)

    def latest(self, node: ast.Name) -> ast.expr | None:
        """Return what a name was last given before this place in the file, if that is sure."""
        _, bindings = self.bindings(node)
        index = bisect_left(bindings, position(node), key=lambda one: position(one.at))
        if not index or self._nodes.is_conditional(bindings[index - 1].at):
            return None
        return bindings[index - 1].value

    def qualname(self, node: ast.AST) -> str:
        """Return the full name of what an expression is, such as ``"modal.App"``; empty if unknown.

        An object of Modal is its class with ``()``: ``@app.function`` is ``"modal.App().function"``
        whatever the app is called and however Modal was imported.
        """
        return self._qualname(node, 0)

    def _qualname(self, node: ast.AST, depth: int) -> str:
        if depth > _DEEPEST:
            return ""
        if isinstance(node, ast.Name):
            return self._name_of(node, depth)
        if isinstance(node, ast.Attribute):
            owner = self._qualname(node.value, depth + 1)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Call):
            return _made_by(self._qualname(node.func, depth + 1))
        if isinstance(node, ast.Await):
            return self._qualname(node.value, depth + 1)
        return ""

    def _name_of(self, node: ast.Name, depth: int) -> str:
        scope, bindings = self.bindings(node)
        if scope is None:
            return node.id
        key = (scope, node.id)
        if key not in self._qualnames:
            self._qualnames[key] = ""  # what a name that stands for itself is
            self._qualnames[key] = self._bound_name(key, bindings, depth)
        return self._qualnames[key]

    def _bound_name(self, key: tuple[Scope, str], bindings: list[Binding], depth: int) -> str:
        values = [one.value for one in bindings[:_MOST_VALUES] if one.value is not None]
        found = {name for value in values if (name := self._qualname(value, depth + 1))}
        if len(found) == 1:
            return found.pop()
        return _canonical(self._bound.imported.get(key, ""))

    def possible(self, node: ast.expr) -> Iterator[ast.expr]:
        """Yield every expression that a value may turn out to be: names, branches and defaults followed."""
        waiting, seen = [node], set[ast.expr]()
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            others = self._alternatives(one) if len(seen) < _MOST_VALUES else []
            if not others:
                yield one
            waiting.extend(reversed(others))

    def _alternatives(self, node: ast.expr) -> list[ast.expr]:
        """What stands behind an expression; empty when it stands for itself."""
        if isinstance(node, ast.IfExp):
            return [node.body, node.orelse]
        if isinstance(node, ast.BoolOp):
            return node.values
        if isinstance(node, ast.NamedExpr):
            return [node.value]
        if isinstance(node, ast.Name):
            _, bindings = self.bindings(node)
            return [one.value for one in bindings[:_MOST_VALUES] if one.value is not None]
        default = self._environment_default(node)
        return [] if default is None else [default]

    def _environment_default(self, node: ast.expr) -> ast.expr | None:
        """The second argument of ``os.environ.get(NAME, DEFAULT)``."""
        if not isinstance(node, ast.Call) or len(node.args) != 2:  # noqa: PLR2004 - name, default
            return None
        return node.args[1] if self.qualname(node.func) in _ENVIRONMENT else None

    def constant(self, node: ast.expr | None) -> object:
        """Return the value of an expression where there is one; None where it is not sure."""
        return self._constant(node, 0)

    def text(self, node: ast.expr | None) -> str | None:
        """Return the string an expression is, if it is sure."""
        value = self.constant(node)
        return value if isinstance(value, str) else None

    def number(self, node: ast.expr | None) -> float | None:
        """Return the finite number an expression is, if it is sure."""
        value = self.constant(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value if abs(value) < _LARGEST else None  # also refuses what is no number

    def _constant(self, node: ast.expr | None, depth: int) -> object:
        if node is None or depth > _DEEPEST:
            return None
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._single(node, depth)
        if isinstance(node, ast.JoinedStr):
            parts = [self._formatted(part, depth) for part in node.values]
            return None if None in parts else _short("".join(map(_limited, parts)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._constant(node.operand, depth + 1)
            return -value if isinstance(value, int | float) else None
        if isinstance(node, ast.BinOp):
            return self._computed(node, depth)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return self._entry(node.value, self._constant(node.slice, depth + 1), depth)
        return None

    def _entry(self, owner: ast.Name, key: object, depth: int) -> object:
        """The entry of a dict that is written once and never changed: ``SETTINGS["model"]``."""
        scope, bindings = self.bindings(owner)
        written = bindings[0].value if scope is not None and len(bindings) == 1 else None
        if key is None or not isinstance(written, ast.Dict) or owner.id in self._changed:
            return None
        pairs = list(zip(written.keys, written.values, strict=True))
        if not all(isinstance(known, ast.Constant) for known, _ in pairs):
            return None  # another dict, or a name, may bring the same key
        found = [
            one for known, one in pairs if isinstance(known, ast.Constant) and known.value == key
        ]
        return self._constant(found[-1], depth + 1) if found else None

    @cached_property
    def _changed(self) -> frozenset[str]:
        """The names of dicts that are written to somewhere, by an entry or by a method."""
        entries = (
            one for one in self._nodes.of(ast.Subscript) if not isinstance(one.ctx, ast.Load)
        )
        called = (
            one.func for one in self._nodes.of(ast.Call) if isinstance(one.func, ast.Attribute)
        )
        owners = [one.value for one in entries]
        owners += [one.value for one in called if one.attr in _CHANGES]
        return frozenset(one.id for one in owners if isinstance(one, ast.Name))

    def _single(self, node: ast.Name, depth: int) -> object:
        scope, bindings = self.bindings(node)
        if scope is None or len(bindings) != 1:
            return None
        key = (scope, node.id)
        if key not in self._constants:
            self._constants[key] = None
            self._constants[key] = self._constant(bindings[0].value, depth + 1)
        return self._constants[key]

    def _formatted(self, part: ast.expr, depth: int) -> object:
        if isinstance(part, ast.FormattedValue):
            return self._constant(part.value, depth + 1) if part.format_spec is None else None
        return self._constant(part, depth + 1)

    def _computed(self, node: ast.BinOp, depth: int) -> object:
        apply = _ARITHMETIC.get(type(node.op))
        left, right = self._constant(node.left, depth + 1), self._constant(node.right, depth + 1)
        if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
            return _short(left + right)
        if apply is None or not isinstance(left, int | float) or not isinstance(right, int | float):
            return None
        if abs(left) > _LARGEST or abs(right) > _LARGEST:
            return None
        try:
            return apply(left, right)
        except (ArithmeticError, ValueError):
            return None


_CHANGES = {"update", "pop", "setdefault", "clear", "popitem"}
_ENVIRONMENT = {"os.environ.get", "os.getenv"}
_Numbers = Callable[[float, float], float]
_ARITHMETIC: Mapping[type[ast.operator], _Numbers] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def _short(text: str) -> str | None:
    """A text that names something; what doubles itself from line to line is none."""
    return text if len(text) <= _LONGEST else None


def _limited(value: object) -> str:
    """A value as an f-string shows it; huge integers have no decimal form."""
    return "" if isinstance(value, int) and abs(value) > _LARGEST else str(value)


def text_of(node: ast.AST) -> str | None:
    """Return the string a literal is; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def _made_by(called: str) -> str:
    if called.startswith(("modal.Image.", _IMAGE + ".")):
        return _IMAGE
    return MADE_BY.get(called, f"{called}()" if called else "")


def _canonical(origin: str) -> str:
    """Modal's own modules hold what its door shows: ``modal.image.Image`` is ``modal.Image``."""
    parts = origin.split(".")
    inner = len(parts) > 2 and parts[0] == "modal" and parts[1] in _MODULES  # noqa: PLR2004
    return ".".join(["modal", *parts[2:]]) if inner else origin


_MODULES = {"app", "image", "volume", "secret", "schedule", "functions", "cls", "partial_function"}

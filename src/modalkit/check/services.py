"""What a modalkit service serves, as its class body says it."""

from __future__ import annotations

import ast

from .declared import ModalFile, Unit
from .models import Load

__all__ = ["declared_load", "scaling_number"]

_ENGINES = {"SGLang": "sglang", "VLLM": "vllm", "Transformers": "transformers"}


def declared_load(file: ModalFile, unit: Unit) -> Load | None:
    """Return the model that a service's engine serves; None for another unit or an unclear one.

    Args:
        file: The file.
        unit: A unit of any kind.
    """
    value = unit.options.value("model") if unit.kind == "service" else None
    engine = _call(file, unit.options.value("engine"))
    model = file.names.text(value)
    if value is None or model is None or engine is None:
        return None
    package, _, name = file.names.qualname(engine.func).rpartition(".")
    if name not in _ENGINES or not package.startswith("modalkit"):
        return None
    words = tuple(_extra_args(file, engine))
    return Load(model, _ENGINES[name], engine, value, words, is_declared=True)


def _call(file: ModalFile, value: ast.expr | None) -> ast.Call | None:
    """The one call that a value is, for sure."""
    found = list(file.names.possible(value)) if value is not None else []
    return found[0] if len(found) == 1 and isinstance(found[0], ast.Call) else None


def _extra_args(file: ModalFile, engine: ast.Call) -> list[str]:
    value = file.options(engine).value("extra_args")
    if value is None:
        return []
    if not isinstance(value, ast.List | ast.Tuple):
        return [""]  # words that are not known
    return [file.names.text(one) or "" for one in value.elts]


def scaling_number(file: ModalFile, unit: Unit, name: str) -> int | None:
    """Return a number of a service's ``Scaling(...)``; None where it says none that is sure."""
    call = _call(file, unit.options.value("scaling"))
    number = file.names.number(file.options(call).value(name)) if call is not None else None
    return int(number) if number is not None else None

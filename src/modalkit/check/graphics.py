"""The GPUs that a file names, as entries of the catalogue."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ..declare.catalogue import GPU, gpu_catalogue, gpu_spelling
from .declared import ModalFile, Unit

__all__ = ["Choice", "gpu_choices", "gpu_strings", "split_count"]

_PROFILES = {"modalkit.GPUProfile", "modalkit.declare.gpu.GPUProfile"}
_CHOICES = ("gpu", "fallbacks")
_TAKES_GPU = {"function", "cls", "server", "with_options", "run_function", "run_commands", "create"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One GPU choice that the catalogue knows: the card, how many, and where it is written."""

    gpu: GPU
    count: int
    text: str
    at: ast.expr

    @property
    def total_gib(self) -> float:
        """Memory of all its cards."""
        return self.gpu.total_gib * self.count

    @property
    def usd_per_hour(self) -> float:
        """List price of all its cards."""
        return self.gpu.usd_per_hour * self.count


def split_count(text: str) -> tuple[str, str | None]:
    """Split ``"H100:2"`` into its type, as the catalogue spells it, and what stands after the colon."""
    name, colon, count = text.partition(":")
    return gpu_spelling(name), count.strip() if colon else None


@lru_cache(maxsize=2)  # several rules ask in turn of one file
def gpu_strings(file: ModalFile) -> tuple[tuple[ast.expr, object], ...]:
    """Return every value that some ``gpu=`` of Modal may have, with the constant it is."""
    leaves = (leaf for value in _gpu_values(file) for leaf in _leaves(file, value))
    return tuple((leaf, file.names.constant(leaf)) for leaf in dict.fromkeys(leaves))


def _gpu_values(file: ModalFile) -> Iterator[ast.expr]:
    for unit in file.units:
        if (value := unit.options.value("gpu")) is not None:
            yield value
    for name, call in file.calls_in(file.source.tree):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if (name.startswith("modal.") and method in _TAKES_GPU) or method == "with_options":
            yield from (keyword.value for keyword in call.keywords if keyword.arg == "gpu")
        elif name in _PROFILES:
            yield from _profile_values(call)


def _profile_values(call: ast.Call) -> Iterator[ast.expr]:
    """What a `GPUProfile` names, unless it says that the catalogue need not know it."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if "unlisted" not in keywords and None not in keywords:
        yield from (*call.args[:1], *(keywords[name] for name in _CHOICES if name in keywords))


def _leaves(file: ModalFile, value: ast.expr) -> Iterator[ast.expr]:
    for possible in file.names.possible(value):
        if isinstance(possible, ast.List | ast.Tuple):
            for entry in possible.elts:
                yield from file.names.possible(entry)
        else:
            yield possible


def gpu_choices(file: ModalFile, unit: Unit) -> list[Choice]:
    """Return the GPU choices of a function or class that are in the catalogue."""
    value = unit.options.value("gpu")
    found = list[Choice | None]()
    for leaf in _leaves(file, value) if value is not None else ():
        text = file.names.text(leaf)
        if text is not None:
            found.append(_choice(text, leaf))
        elif isinstance(leaf, ast.Call):
            found += _profile_choices(file, leaf)
    return [choice for choice in found if choice is not None]


def _profile_choices(file: ModalFile, call: ast.Call) -> Iterator[Choice | None]:
    """The choices of ``GPUProfile("H100", count=2, fallbacks=["H200"])``, with ``.to_modal()`` or without."""
    profile = _profile(file, call)
    if profile is None or not profile.args:
        return
    options = file.options(profile)
    text, count = file.names.text(profile.args[0]), options.value("count")
    number = file.names.number(count)
    if text is None or not options.complete or (count is not None and number is None):
        return
    own = text if number is None or ":" in text else f"{text}:{number:.0f}"
    _, colon, counted = own.partition(":")
    yield _choice(own, profile.args[0])
    others = options.value("fallbacks")
    for leaf in _leaves(file, others) if others is not None else ():
        text = file.names.text(leaf)
        if text is not None:
            yield _choice(text if ":" in text else text + colon + counted, leaf)
        elif isinstance(leaf, ast.Call):
            yield from _profile_choices(file, leaf)


def _profile(file: ModalFile, call: ast.Call) -> ast.Call | None:
    """The call that makes a profile, from it or from its ``.to_modal()``."""
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr == "to_modal":
        made = (one for one in file.names.possible(func.value) if isinstance(one, ast.Call))
        call = next(made, call)
    return call if file.names.qualname(call.func) in _PROFILES else None


def _choice(text: str, at: ast.expr) -> Choice | None:
    name, count = split_count(text)
    gpu = gpu_catalogue().get(name)
    if gpu is None or (count is not None and not count.isdecimal()):
        return None
    return Choice(gpu, int(count or 1), text, at)

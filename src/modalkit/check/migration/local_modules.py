"""MK824: modules beside a file, which Modal no longer takes along by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ..declared import ModalFile, Unit
from ..findings import Edit
from ..paths import is_file
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .mounted import default_image
from .old_code import outdated

__all__ = ["local_module"]

_TAKES_ALONG = ("add_local_", "copy_local_", "copy_mount", "from_dockerfile", "dockerfile_commands")


@rule(
    "MK824",
    "local-module",
    "error",
    why="Containers import the whole file, and Modal puts this file alone into them.",
)
def local_module(file: ModalFile) -> Iterator[Problem]:
    """An import at the top of a module beside the file that no image takes along."""
    folder = Path(file.source.path).parent
    if (folder / "__init__.py").exists() or not Path(file.source.path).is_file():
        return
    missing: dict[str, ast.stmt] = {}
    for node in file.nodes.tree.body:
        for module in _modules(node):
            if is_file(folder / f"{module}.py") or is_file(folder / module / "__init__.py"):
                missing.setdefault(module, node)
    units = [one for one in file.units if _is_alone(file, one)]
    if not missing or not units or len(units) != len(file.units):
        return
    edits = _edits(file, units, list(missing))
    for index, (module, node) in enumerate(missing.items()):
        words = f'image.add_local_python_source("{module}").'
        message = f"{module} lies beside the file, and no image takes it along."
        found = outdated(change("local-module"), node, words, edits if index == 0 else None)
        yield Problem(found.at, message, found.instead, found.fix)


def _modules(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name.split(".")[0] for one in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.split(".")[0]]
    return []


def _is_alone(file: ModalFile, unit: Unit) -> bool:
    """Whether nothing but the file itself goes into the containers of a unit, for sure."""
    options = unit.options
    if not options.complete or options.value("include_source") is not None:
        return False
    if unit.defaults.value("include_source") is not None or not unit.defaults.complete:
        return False
    if file.names.constant(options.value("serialized")) is True or "mounts" in options.given:
        return False
    if unit.image is None:
        return unit.lacks("image")
    steps = unit.image.steps
    return not unit.image.partial and not any(one.method.startswith(_TAKES_ALONG) for one in steps)


def _edits(file: ModalFile, units: list[Unit], modules: list[str]) -> list[Edit]:
    """Add the modules to every image, at its end: what is mounted at start comes last."""
    draft = Draft(file)
    names = ", ".join(f'"{one}"' for one in modules)
    layer = f".add_local_python_source({names})"
    app = _app_image(file, units)
    if app is not None:
        return [draft.insert(draft.end(app), layer)]
    edits: dict[Edit, None] = {}
    for unit in units:
        call, value = unit.registered.node, unit.options.value("image")
        if isinstance(value, ast.Name | ast.Call | ast.Attribute):
            edits[draft.insert(draft.end(value), layer)] = None
            continue
        base = default_image(file, call) if value is None and isinstance(call, ast.Call) else None
        if base is None or not isinstance(call, ast.Call):
            return []
        edits[draft.add_keyword(call, f"image={base.text}{layer}")] = None
        edits |= dict.fromkeys(base.edits)
    return list(edits)


def _app_image(file: ModalFile, units: list[Unit]) -> ast.expr | None:
    """The image of the app, where every unit has it."""
    if len(file.apps) != 1 or any("image" in one.options.given for one in units):
        return None
    value = next((one.value for one in file.apps[0].keywords if one.arg == "image"), None)
    return value if isinstance(value, ast.Name | ast.Call | ast.Attribute) else None

"""MK304 and MK305: imports that the container will not find."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from ..declared import ModalFile, Unit
from ..migration.endpoints import fastapi_fix
from ..packages import Installed, installed_in, is_bare, is_standard, package_for
from ..paths import is_file
from ..rule import Problem, rule

__all__ = [
    "left_behind_module",
    "missing_package",
    "missing_top_level_package",
    "missing_web_framework",
]


def _known_images(file: ModalFile) -> Iterator[tuple[Unit, Installed]]:
    """The units whose images were read to the end."""
    for unit in file.units:
        if unit.image is None and not unit.lacks("image"):
            continue
        installed = installed_in(unit.image, file.names)
        if installed.complete:
            yield unit, installed


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module and node.level == 0 else []
    return [alias.name for alias in node.names]


def _imports(file: ModalFile) -> list[ast.Import | ast.ImportFrom]:
    plain: list[ast.Import | ast.ImportFrom] = [*file.nodes.of(ast.Import)]
    return [*plain, *file.nodes.of(ast.ImportFrom)]


def _imports_of(file: ModalFile, unit: Unit) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports in a unit's functions."""
    for body in unit.bodies:
        yield from file.within(body, ast.Import)
        yield from file.within(body, ast.ImportFrom)


def _is_missing(file: ModalFile, module: str, installed: Installed) -> bool:
    if is_standard(module) or _is_local(file, module):
        return False
    return not set(package_for(module)) & installed.distributions


def _is_local(file: ModalFile, module: str) -> bool:
    """Whether a module of that name is beside the file, or is added to some image of it."""
    top = module.partition(".")[0]
    folder = Path(file.source.path).parent
    for here in (folder, *list(folder.parents)[:2]):
        if is_file(here / f"{top}.py") or os.path.isdir(here / top):  # noqa: PTH112 - as `is_file`
            return True
    return any(
        file.names.text(argument) == top
        for image in file.images
        for step in image.steps
        if step.method == "add_local_python_source"
        for argument in step.call.args
    )


@rule(
    "MK304",
    "missing-package",
    "error",
    why="The import fails in the container, after it was built, started and billed.",
)
def missing_package(file: ModalFile) -> Iterator[Problem]:
    """An import inside a remote function or method that its image does not install."""
    for unit, installed in _known_images(file):
        for node in _imports_of(file, unit):
            if file.nodes.is_conditional(node):
                continue
            for module in _modules(node):
                if _is_missing(file, module, installed):
                    yield _missing(node, module, f"the image of {unit.name}")


def _missing(node: ast.AST, module: str, whose: str) -> Problem:
    package = package_for(module)[0]
    return Problem(
        node,
        f"{module.partition('.')[0]} is imported, and {whose} does not install {package}.",
        f'image.uv_pip_install("{package}==VERSION").',
    )


@rule(
    "MK305",
    "missing-top-level-package",
    "error",
    why="Every container imports the whole file first, so a function that never uses the package fails too.",
)
def missing_top_level_package(file: ModalFile) -> Iterator[Problem]:
    """An import at the top of the file that the image of one of its functions does not install."""
    known = [
        (u, i)
        for u, i in _known_images(file)
        if file.names.constant(u.options.value("serialized")) is not True
    ]
    for node in _imports(file):
        if file.nodes.parent(node) is not file.source.tree:
            continue  # under try, if or `with image.imports()`, or in a function
        for module in _modules(node):
            without = [
                unit.name for unit, installed in known if _is_missing(file, module, installed)
            ]
            if without:
                names = ", ".join(without[:3]) + (" and others" if len(without) > 3 else "")  # noqa: PLR2004 - a line's worth
                package = package_for(module)[0]
                yield Problem(
                    node,
                    f"{module.partition('.')[0]} is imported at the top, and the image of {names} does not install {package}.",
                    f'Import it in the function, or under `with image.imports():`, or image.uv_pip_install("{package}==VERSION").',
                )


@rule(
    "MK311",
    "endpoint-without-fastapi",
    "error",
    why="Modal needs FastAPI in the image for it, and current image builders do not bring it.",
)
def missing_web_framework(file: ModalFile) -> Iterator[Problem]:
    """``@modal.fastapi_endpoint`` on an image without FastAPI."""
    for unit, installed in _known_images(file):
        if "fastapi" in installed.distributions:
            continue
        found = [*unit.decorators, *(one for member in unit.members for one in member.decorators)]
        for decorator in found:
            if decorator.qualname in {"modal.fastapi_endpoint", "modal.web_endpoint"}:
                yield Problem(
                    decorator.node,
                    f"The image of {unit.name} does not install fastapi.",
                    'image.uv_pip_install("fastapi[standard]==VERSION").',
                    fastapi_fix(file, unit),
                )


# Steps after which files of this machine, or whole repositories, may be in the image.
_BRING_FILES = (
    "add_local",
    "copy_",
    "run_commands",
    "dockerfile_commands",
    "run_function",
    "local_",
)


@rule(
    "MK312",
    "module-left-behind",
    "error",
    why="Since modal 1.0 a container gets the file of its function and nothing beside it.",
)
def left_behind_module(file: ModalFile) -> Iterator[Problem]:
    """A module beside the file that is imported at its top and added to no image."""
    folder = Path(file.source.path).parent
    if (folder / "__init__.py").exists():
        return  # `modal run -m` takes the whole package along
    alone = [unit.name for unit in file.units if _gets_no_files(file, unit)]
    for node in _imports(file) if alone else ():
        if file.nodes.parent(node) is not file.source.tree:
            continue
        for module in _modules(node):
            top = module.partition(".")[0]
            if not is_standard(top) and _is_beside(folder, top, file):
                yield Problem(
                    node,
                    f"{top} lies beside the file, and the image of {alone[0]} does not have it.",
                    f'image.add_local_python_source("{top}").',
                )


def _gets_no_files(file: ModalFile, unit: Unit) -> bool:
    """Whether a container has the function's own file alone, for sure."""
    if not unit.lacks("include_source", "mounts", "mount", "serialized") or unit.kind == "service":
        return False
    image = unit.image
    if image is None:
        return unit.lacks("image")
    if image.partial or not is_bare(image, file.names):
        return False
    return not any(step.method.startswith(_BRING_FILES) for step in image.steps)


def _is_beside(folder: Path, top: str, file: ModalFile) -> bool:
    beside = folder / f"{top}.py"
    itself = Path(file.source.path).name == beside.name
    return (is_file(beside) and not itself) or is_file(folder / top / "__init__.py")

"""The house rules that a reader may rely on, read from the source files themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "modalkit"
LOCAL = PACKAGE / "local"
FILES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40  # from its `def` on

# What each part of the house may import; a module in a folder belongs to the folder's part.
BASE = {"errors", "_values", "_names", "_wording", "_writing", "crontab"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "crontab": set(),
    "_wording": set(),
    "_writing": set(),
    "_values": {"errors", "_wording"},
    "_names": {"errors", "_values"},
    "declare": BASE,
    "engines": BASE | {"declare"},
    "class_body": BASE | {"declare", "engines", "sizing"},
    "service": BASE | {"declare", "engines", "class_body", "sizing"},
    "cuda": {"declare", "service"},
    "conflicts": BASE | {"declare", "cuda", "engines", "service"},
    "sizing": BASE | {"declare"},
    "lock": BASE | {"declare", "sizing"},
    "hub": BASE | {"lock", "sizing"},
    "fitting": BASE | {"declare", "cuda", "engines", "lock", "service", "sizing"},
    "lookup": BASE | {"declare", "conflicts", "fitting", "lock", "service", "sizing"},
    "discovery": BASE | {"service"},
    "plan": BASE | {"declare", "engines", "service", "conflicts", "lock"},
    "pricing": BASE | {"declare", "plan"},
    "client_state": BASE,
    "prefetch": BASE | {"declare", "client_state", "hub", "lock", "plan", "service"},
    "runtime": BASE | {"declare", "engines", "service", "plan", "prefetch", "lock"},
    "members": BASE | {"declare", "engines", "service", "plan", "runtime"},
    "compile": BASE
    | {"declare", "engines", "service", "discovery", "lock", "lookup", "plan", "prefetch"}
    | {"members", "runtime"},
    "prefetching": BASE | {"compile", "discovery", "prefetch"},
    "locking": BASE
    | {"declare", "discovery", "fitting", "hub", "lock", "lookup", "plan", "prefetch", "service"}
    | {"sizing"},
    "local": {"errors", "crontab"},
    "starting": BASE | {"declare", "compile", "discovery", "plan"},
    "blueprint": BASE
    | {"declare", "client_state", "compile", "discovery", "engines", "fitting", "lock", "lookup"}
    | {"plan", "pricing", "service", "sizing"},
    "bench": BASE | {"declare", "blueprint", "discovery", "plan", "pricing", "starting"},
    "check": BASE | {"declare", "blueprint", "lock", "pricing", "service", "sizing"},
    "cli": BASE
    | {"declare", "bench", "blueprint", "check", "discovery", "engines", "hub", "local", "lock"}
    | {"locking", "plan", "prefetch", "prefetching", "pricing", "sizing", "starting"},
    "testing": {"errors", "local"},
    "__init__": set(),  # binds lazily; what it names for type checkers does not run
}

# The local Modal's own parts, from the ground up: each may import those that its line names, which
# stand above it. Names for type checkers aside: a call knows its function, and a function its calls.
GROUND = {"protocol", "ids"}  # the client's protocol, whatever its version; names for things
LOCAL_MAY_IMPORT: dict[str, set[str]] = {
    "protocol": set(),
    "ids": set(),
    "refusals": {"protocol"},
    "waiting": set(),
    "wording": set(),
    "settings": set(),
    "client": set(),
    "wire": {"protocol", "refusals"},
    "store": GROUND,
    "address": {"store", "wire"},
    "presence": {"store"},
    "processes": {"protocol"},
    "calls": GROUND | {"waiting"},
    "volumes": GROUND | {"processes", "store"},
    "images": GROUND | {"processes", "store"},
    "containers": GROUND | {"address", "calls", "images", "processes", "store", "waiting", "wire"},
    "apps": GROUND | {"calls", "containers", "images", "store"},
    "admin": {"apps", "protocol"},
    "web": {"apps", "calls", "containers", "protocol", "settings", "wire"},
    "sandboxes": GROUND
    | {"apps", "containers", "processes", "refusals", "store", "waiting", "wire"},
    "rpc": GROUND
    | {"apps", "calls", "containers", "images", "sandboxes", "store", "volumes", "wire"},
    "dashboard": {
        *("apps", "calls", "containers", "images", "protocol", "store", "volumes"),
        *("wire", "wording"),
    },
    "plane": {
        *("address", "admin", "apps", "calls", "containers", "dashboard", "images", "processes"),
        *("protocol", "rpc", "sandboxes", "settings", "store", "volumes", "web", "wire"),
    },
    "__init__": {"address", "plane", "settings", "store"},
}

# The only places that may load these packages when they are imported themselves.
HEAVY_AT_IMPORT = {
    "modal": (
        "bench/serving_driver.py",
        "blueprint/functions.py",
        "blueprint/reading.py",
        "client_state.py",
        "compile.py",
        "members.py",
        "prefetch/functions.py",
        "prefetch/looking.py",
        "prefetch/remote.py",
        "prefetching.py",
        "local/",
        "starting/driver.py",
        "starting/logs.py",
        "testing/local_modal.py",
    ),
    "modal_proto": ("local/",),
    "grpclib": ("local/",),
    "torch": ("runtime/transformers/",),
    "transformers": ("runtime/transformers/",),
    "huggingface_hub": ("runtime/transformers/",),
    "aiohttp": ("runtime/", "local/"),
    "starlette": ("runtime/", "local/"),
    "uvicorn": ("runtime/", "local/"),
}
# Function-level imports are for compile methods (modal) and for packages an extra brings.
NOWHERE = ("sglang", "vllm", "sentence_transformers", "requests")


def part_of(path: Path) -> str:
    """The part of the house a file belongs to: its folder, or itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, at_import_only: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and absolute dotted name of every import that runs."""
    tree = ast.parse(path.read_text("utf-8"))
    package = ["modalkit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in _running(tree, at_import_only):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if node.module is None:
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def _running(node: ast.AST, at_import_only: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from [other, *_running(other, at_import_only)]
            continue
        if at_import_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _running(child, at_import_only)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_go_one_way(path):
    """A module imports only what stands before it in the house."""
    part = part_of(path)
    allowed = MAY_IMPORT[part] | {part}
    for line, module in imports(path):
        if not module.startswith("modalkit."):
            continue
        target = part_of(PACKAGE / f"{module.split('.')[1]}.py")
        assert target in allowed, f"{path}:{line} {part} imports {target}"


def test_every_arrow_that_is_allowed_is_there():
    """The table above is no wish list: what a part may import beside the base, it imports."""
    there = {
        (part_of(path), part_of(PACKAGE / f"{module.split('.')[1]}.py"))
        for path in FILES
        for _, module in imports(path)
        if module.startswith("modalkit.")
    }
    allowed = {(part, other) for part, others in MAY_IMPORT.items() for other in others - BASE}
    assert not allowed - there


def test_modules_import_only_what_is_public():
    """A name that another module imports stands in the ``__all__`` of the module that has it."""
    for path in FILES:
        for line, module, name in _imported_names(path):
            file = PACKAGE.joinpath(*module.split(".")[1:])
            home = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
            submodule = file.is_dir() and (
                (file / name).is_dir() or (file / f"{name}.py").is_file()
            )
            assert submodule or name in _public_names(home), f"{path}:{line} {module}.{name}"


def _imported_names(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, module and name of what a file takes from other modules of the package."""
    package = ["modalkit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, module, alias.name) for alias in node.names)


@cache
def _public_names(path: Path) -> frozenset[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def test_the_top_of_the_house_stays_small():
    """What belongs together is in one folder; few modules stand alone."""
    assert len(list(PACKAGE.glob("*.py"))) <= 18


def _local_part_of(path: Path) -> str:
    return path.relative_to(LOCAL).parts[0].removesuffix(".py")


def _arrows_between_local_parts() -> Iterator[tuple[str, str, str]]:
    """Yield what imports, what it imports, and where."""
    for path in LOCAL.rglob("*.py"):
        part = _local_part_of(path)
        for line, module in imports(path):
            if module.startswith("modalkit.local."):
                target = module.split(".")[2]
                if target != part:
                    yield part, target, f"{path}:{line}"


def test_the_local_modal_is_built_from_the_ground_up():
    """A part of the local Modal imports only those that its line names, all of them above it."""
    parts = list(LOCAL_MAY_IMPORT)
    for part, allowed in LOCAL_MAY_IMPORT.items():
        below = allowed - set(parts[: parts.index(part)])
        assert not below, f"{part} stands above {below}"
    arrows = list(_arrows_between_local_parts())
    for part, target, place in arrows:
        assert target in LOCAL_MAY_IMPORT[part], f"{place} {part} imports {target}"
    drawn = {(part, target) for part, allowed in LOCAL_MAY_IMPORT.items() for target in allowed}
    assert not drawn - {(part, target) for part, target, _ in arrows}, "allowed, and used by nobody"


def test_the_local_modals_folders_stay_small():
    """The local Modal's ground is few modules; what belongs together is in one folder."""
    assert len(list(LOCAL.glob("*.py"))) <= 12
    for part in LOCAL_MAY_IMPORT:
        assert (LOCAL / part).is_dir() or (LOCAL / f"{part}.py").is_file(), f"{part} is gone"


def test_what_lies_in_a_state_folder_is_named_once():
    """Nobody joins a name to a state folder but `store/places.py`, so `reset` knows every name."""
    state = re.compile(r"(^|[._])state(\.folder)?$")
    users = [*LOCAL.rglob("*.py"), *(PACKAGE / "cli" / "local").rglob("*.py")]
    for path in [*users, *(PACKAGE / "testing").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                joined = state.search(ast.unparse(node.left))
                assert not joined or path.name == "places.py", f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_are_imported_where_the_house_says(path):
    """Only the named modules load modal, torch and web packages by being imported."""
    for line, module in imports(path, at_import_only=True):
        top = module.split(".")[0]
        if top in HEAVY_AT_IMPORT:
            assert name_of(path).startswith(HEAVY_AT_IMPORT[top]), f"{path}:{line} imports {top}"
    for line, module in imports(path):
        assert module.split(".")[0] not in NOWHERE, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path):
    """A file is about one thing and a function fits on a screen."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{path}:{node.lineno} {node.name}: {length} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_say_what_is_public(path):
    """Every module has a docstring, and an ``__all__`` whose names exist in it."""
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    if path.name in {"__init__.py", "__main__.py"} and len(tree.body) <= 2:
        return
    if path.name == "__main__.py":
        return
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert exported, f"{path} has no __all__"
    defined = {name for node in tree.body for name in _defined(node)}
    assert set(exported[0]) <= defined, f"{path}: {set(exported[0]) - defined}"


def _defined(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            for target in targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                yield from (ast.unparse(name) for name in names)
        case ast.AnnAssign(target=target):
            yield ast.unparse(target)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)
        case ast.If(body=body, orelse=orelse) | ast.Try(body=body, orelse=orelse):
            for child in [*body, *orelse]:
                yield from _defined(child)


def test_the_door_opens_to_every_public_name():
    """``modalkit.__all__`` is sorted as ruff sorts it, small, and every name of it is there."""
    import modalkit

    assert len(modalkit.__all__) <= 40
    for name in modalkit.__all__:
        value = getattr(modalkit, name)
        assert type(value).__name__ != "module", f"{name} is hidden by a module of the same name"


def test_every_error_class_is_raised_somewhere():
    """The error tree holds no decoration: each leaf stands in some ``raise``."""
    tree = ast.parse((PACKAGE / "errors.py").read_text("utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    parents = {ast.unparse(base) for node in classes for base in node.bases}
    raised = {name for path in FILES for name in _raised(ast.parse(path.read_text("utf-8")))}
    assert {node.name for node in classes} - parents <= raised


def _raised(tree: ast.AST) -> Iterator[str]:
    """Yield the names of the classes whose ``raise`` statements a file has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield ast.unparse(kind).split(".")[-1]


def test_an_error_that_is_only_defined_counts_as_not_raised():
    """Neither a class's own definition nor a mention of it is a ``raise``."""
    source = "class A(Exception): ...\nB(1)\nraise errors.C('x') from D(2)\nraise E\n"
    assert set(_raised(ast.parse(source))) == {"C", "E"}


def test_no_any_in_public_signatures():
    """A public function or method does not say ``Any``; an overload says what it means."""
    for path in FILES:
        if name_of(path).startswith(("local/", "runtime/")):
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            for function in _public_functions(node):
                overloads = [ast.unparse(item) for item in function.decorator_list]
                hints = [argument.annotation for argument in _arguments(function)]
                hints.append(function.returns)
                told = " ".join(ast.unparse(hint) for hint in hints if hint is not None)
                assert "Any" not in told.replace("dict[str, Any]", ""), (
                    f"{path}:{function.lineno} {function.name}({told}) {overloads}"
                )


def _public_functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
        yield node
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        for child in node.body:
            yield from _public_functions(child)


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*every, *(extra for extra in (arguments.vararg, arguments.kwarg) if extra)]


LOADED = """
import sys
import modalkit
from modalkit import GPUProfile, ImageSpec, ModelService, SGLang, Scaling, WeightCache
print(sorted(set(sys.modules) & {"modal", "torch", "transformers", "huggingface_hub", "aiohttp"}))
"""


def test_declaring_loads_no_heavy_package():
    """Importing modalkit and every declaration loads neither modal nor torch nor transformers."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


COST = """
import time
started = time.process_time()
import {module}
print(time.process_time() - started)
"""


def _import_cost(module: str) -> float:
    """Least processor time of several fresh interpreters, in seconds."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", COST.format(module=module)],
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(5)
    ]
    return min(float(run.stdout) for run in runs)


def test_importing_costs_no_more_than_pydantic():
    """``import modalkit`` costs at most 1.3 times ``import pydantic``, by processor time."""
    pydantic = _import_cost("pydantic, pydantic.main")
    assert _import_cost("modalkit") <= 1.3 * pydantic


def test_tests_say_what_they_hold():
    """Every test has a sentence in its docstring, and none uses mock."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                assert (ast.get_docstring(node) or "").strip(), f"{path}: {node.name} says nothing"
        names = {module for _, module in _plain_imports(tree)}
        assert not {name for name in names if "mock" in name}, f"{path} uses mock"


def _plain_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def test_compiling_needs_nothing_of_a_container():
    """A client without the extra ``runtime`` deploys: no web package is loaded by @serve or prefetch."""
    code = (
        "import sys, modalkit.compile, modalkit.prefetching, modalkit.engines\n"
        "print([name for name in ('starlette', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"

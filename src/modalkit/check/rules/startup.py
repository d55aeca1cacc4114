"""MK407 to MK409: what happens before the first request."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..cures import keyword_fix
from ..declared import ModalFile, Unit
from ..models import GIB, Load, loads_in, loads_of, weight_bytes
from ..nodes import Function
from ..reach import reached
from ..rule import Problem, rule

__all__ = ["module_scope_work", "no_snapshot", "startup_too_short"]

_READ_GIB_PER_S = 1.5  # of a Volume, as Modal publishes 1 to 2 GB/s
_ENGINE_START_S = 45
_SERVER_START_S = 30
_CLASS_START_S = 300
_WAITS = re.compile(r"wait|until|ready")
_PROBES = {"sleep", "create_connection", "connect", "connect_ex", "urlopen"}
_CLIENTS = {"requests", "httpx", "aiohttp"}


@rule(
    "MK407",
    "startup-too-short",
    "warning",
    why="Modal ends a container that is not ready in time and starts another, for ever.",
)
def startup_too_short(file: ModalFile) -> Iterator[Problem]:
    """A start-up timeout that the weights do not fit into."""
    yield from _web_servers(file)
    for unit in file.units:
        if unit.kind == "function" or not unit.options.complete:
            continue
        allowed, what = _allowed_start(file, unit)
        for member in unit.methods("modal.enter"):
            for load in loads_in(file, member.node):
                size = _read_bytes(load)
                needed = _ENGINE_START_S + size / GIB / _READ_GIB_PER_S
                if allowed is not None and (size or unit.kind == "server") and needed > allowed:
                    seconds = str(max(600, int(needed * 3 // 300 + 1) * 300))
                    yield Problem(
                        unit.registered.node,
                        f"{unit.name} loads {load.model}, about {needed:.0f} s at best, and {what} is {allowed:.0f} s.",
                        f"startup_timeout={seconds}.",
                        keyword_fix(file, unit, "startup_timeout", seconds, safe=True),
                    )


def _web_servers(file: ModalFile) -> Iterator[Problem]:
    """Engines that a web server starts and Modal gives 5 s, because it was told of no other time.

    Modal counts them from the end of the function: one that waits until the engine answers has the time.
    """
    for unit in file.units:
        server = unit.decorator("modal.web_server")
        if server is None or not server.options.lacks("startup_timeout"):
            continue
        started = [one for one in loads_of(file, unit) if one.flags]
        if started and not any(_waits(file, body) for body in unit.bodies):
            load = started[0]
            yield Problem(
                server.node,
                f"{unit.name} starts {load.by} with {load.model}, and the default startup_timeout of a web server is 5 s.",
                "startup_timeout=600 in @modal.web_server.",
            )


def _waits(file: ModalFile, body: Function) -> bool:
    """Whether a function, or a helper that it reaches, asks again and again until something answers."""
    for part in (inner for one in reached(file, body) for inner in ast.walk(one)):
        if isinstance(part, ast.Call) and _WAITS.search(_last_part(part)):
            return True
        is_loop = isinstance(part, ast.For | ast.AsyncFor | ast.While)
        if is_loop and any(_asks(file, inner) for inner in ast.walk(part)):
            return True
    return False


def _asks(file: ModalFile, node: ast.AST) -> bool:
    """Whether a part of a loop sleeps, tries a port, or reads what a process says."""
    if isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr"}:
        return True
    if not isinstance(node, ast.Call):
        return False
    client = file.names.qualname(node.func).partition(".")[0]
    return _last_part(node) in _PROBES or client in _CLIENTS


def _last_part(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    func = call.func
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def _read_bytes(load: Load) -> float:
    """What a load reads at least; of one file of a repository that is not known."""
    if load.by.endswith("hf_hub_download"):
        return 0.0
    return weight_bytes(load.model) or 0.0


def _allowed_start(file: ModalFile, unit: Unit) -> tuple[float | None, str]:
    own = unit.options.value("startup_timeout")
    if own is not None:
        return file.names.number(own), "startup_timeout"
    if unit.kind == "server":
        return _SERVER_START_S, "the default startup_timeout of a server"
    timeout = unit.options.value("timeout")
    if timeout is not None:
        return file.names.number(timeout), "timeout, which start-up shares,"
    return _CLASS_START_S, "the default timeout, which start-up shares,"


@rule(
    "MK408",
    "no-snapshot",
    "note",
    why="Each cold start loads it all anew; a snapshot of the loaded container starts in seconds.",
)
def no_snapshot(file: ModalFile) -> Iterator[Problem]:
    """A class that loads a large model at start, goes to zero, and takes no snapshot."""
    for unit in file.units:
        kept = file.names.number(unit.options.value("min_containers"))
        if unit.kind == "function" or kept or not unit.lacks("enable_memory_snapshot"):
            continue
        for member in unit.methods("modal.enter"):
            large = [
                load
                for load in loads_in(file, member.node)
                if not load.is_small and _read_bytes(load) > 10 * GIB
            ]
            if large:
                yield Problem(
                    member.node,
                    f"{unit.name} loads {large[0].model} at every cold start.",
                    "enable_memory_snapshot=True with @modal.enter(snap=True), where the engine can sleep.",
                )


_SLOW = {
    "time.sleep",
    "requests.get",
    "requests.post",
    "huggingface_hub.snapshot_download",
    "huggingface_hub.hf_hub_download",
    "urllib.request.urlretrieve",
    "nltk.download",
}


@rule(
    "MK409",
    "module-scope-work",
    "warning",
    why="The file is imported by every container, by the deploy and by every tool that looks at it.",
)
def module_scope_work(file: ModalFile) -> Iterator[Problem]:
    """A download, a request or a model load at the top of the file."""
    if not file.units:
        return
    loads = {load.call: load.model for load in loads_in(file, file.source.tree)}
    for name, call in file.calls_in(file.source.tree):
        if not (name in _SLOW or call in loads) or not _is_at_top(file, call):
            continue
        yield Problem(
            call,
            f"{name} runs whenever the file is imported.",
            "The same in a method with @modal.enter(), or in the function.",
        )


def _is_at_top(file: ModalFile, call: ast.Call) -> bool:
    scope = file.nodes.scope(call)
    if scope is not file.source.tree:
        return False
    guarded = any(
        isinstance(above, ast.If | ast.With | ast.Lambda) for above in file.nodes.ancestors(call)
    )
    return not guarded

"""MK605 and MK607: calls that hold up the other requests of a container, or get in their way."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..declared import ModalFile, Unit
from ..nodes import Function
from ..reach import reached
from ..rule import Problem, rule
from .cost import WEB

__all__ = ["blocking_in_async", "threads_in_one_engine"]

_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request")
_HTTP = "an async client: async with httpx.AsyncClient() as client"
_PROCESS = "await asyncio.create_subprocess_exec(...)"
_THREAD = "await asyncio.to_thread(...)"
_BLOCKING = {
    "time.sleep": "await asyncio.sleep(...)",
    **{f"requests.{verb}": _HTTP for verb in _VERBS},
    **{f"requests.Session().{verb}": _HTTP for verb in _VERBS},
    **{f"httpx.{verb}": _HTTP for verb in (*_VERBS, "stream")},
    **{f"httpx.Client().{verb}": _HTTP for verb in _VERBS},
    "urllib.request.urlopen": _HTTP,
    "urllib.request.urlretrieve": _HTTP,
    "subprocess.run": _PROCESS,
    "subprocess.call": _PROCESS,
    "subprocess.check_call": _PROCESS,
    "subprocess.check_output": _PROCESS,
    "os.system": "await asyncio.create_subprocess_shell(...)",
    "huggingface_hub.snapshot_download": _THREAD,
    "huggingface_hub.hf_hub_download": _THREAD,
}
# Clients of model vendors, each with its async twin.
_CLIENTS = {
    "openai.OpenAI().": "openai.AsyncOpenAI",
    "anthropic.Anthropic().": "anthropic.AsyncAnthropic",
    "groq.Groq().": "groq.AsyncGroq",
}
_SENDS = re.compile(r"\.(?:create|generate|stream|parse|list|retrieve|edit)$")
_START_AND_END = ("modal.enter", "modal.exit")
_ONCE = re.compile(r"asynccontextmanager|on_event|on_startup|before_serving")


@rule(
    "MK605",
    "blocking-in-async",
    "warning",
    why="Nothing else in the container moves meanwhile: no other request, no heartbeat of the web server.",
)
def blocking_in_async(file: ModalFile) -> Iterator[Problem]:
    """A call that blocks, in an async function that takes requests or is awaited by one."""
    # Only the innermost function counts: a lambda or a plain def in it may run in a thread.
    for name, call in _calls_for_requests(file):
        around = file.nodes.scope(call)
        if not isinstance(around, ast.AsyncFunctionDef) or _runs_once(around):
            continue
        if cure := _async_way(file, name, call):
            yield Problem(
                call,
                f"{name or '.remote()'} blocks {around.name}, which is async.",
                f"{cure}, or a plain def.",
            )


def _runs_once(function: ast.AsyncFunctionDef) -> bool:
    """Whether a function is run around all requests: a lifespan, a handler of the start."""
    return any(_ONCE.search(ast.unparse(one)) for one in function.decorator_list)


def _calls_for_requests(file: ModalFile) -> Iterator[tuple[str, ast.Call]]:
    """The calls of what runs for requests, each function once; those that run at start and end are none."""
    seen = set[ast.AST]()
    for unit in file.units:
        for body in _roots(unit):
            for node in _run_by(file, unit, body):
                if node not in seen:
                    seen.add(node)
                    yield from file.calls_in(node)


def _roots(unit: Unit) -> list[Function]:
    """What Modal calls for requests; helpers of a class are reached from its methods."""
    if not isinstance(unit.node, ast.ClassDef):
        return [unit.node]
    return [one.node for one in unit.members if not one.runs_at(*_START_AND_END)]


def _run_by(file: ModalFile, unit: Unit, body: Function) -> tuple[ast.AST, ...]:
    """A function; of one that serves requests also its helpers and handlers."""
    decorators = [*unit.decorators, *(one for each in unit.members for one in each.decorators)]
    serves = isinstance(body, ast.AsyncFunctionDef) or any(
        one.qualname in WEB and one.node in body.decorator_list for one in decorators
    )
    return reached(file, body) if serves else (body,)


def _async_way(file: ModalFile, name: str, call: ast.Call) -> str:
    """What to write instead of a call that blocks; empty for one that does not."""
    if name in _BLOCKING:
        return _BLOCKING[name]
    for client, twin in _CLIENTS.items():
        if name.startswith(client) and _SENDS.search(name):
            return f"await on a client of {twin}"
    if isinstance(call.func, ast.Attribute) and call.func.attr == "remote":
        units = {unit.name for unit in file.units}
        return "await ....remote.aio(...)" if _root(call.func.value) in units else ""
    return ""


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes and calls starts with."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


# What holds the state of one request at a time, by what makes it and what of it is called.
_ANY_CALL = re.compile(r"")
_ENGINES = (
    (re.compile(r"vllm\.(?:\w+\.)*LLM\(\)"), "vllm.LLM", _ANY_CALL),
    (re.compile(r"sglang\.(?:\w+\.)*Engine\(\)"), "sglang.Engine", _ANY_CALL),
    (re.compile(r"llama_cpp\.(?:\w+\.)*Llama(?:\.from_pretrained)?\(\)"), "llama_cpp.Llama", _ANY_CALL),
    (re.compile(r"whisper\.load_model\(\)"), "Whisper model", _ANY_CALL),
    (re.compile(r"diffusers\.\w*Pipeline\w*\.from_\w+\(\)"), "diffusers pipeline", _ANY_CALL),
    (re.compile(r"transformers\.(?:pipelines\.)?pipeline\(\)"), "transformers pipeline", _ANY_CALL),
    (re.compile(r"transformers\.\w+\.from_pretrained\(\)"), "transformers model", re.compile("generate")),
)  # fmt: skip
_PLACED = re.compile(r"(?:\.(?:to|cuda|eval|half|bfloat16|requires_grad_)\(\))+$")
_LOCK = re.compile(r"lock|semaphore|mutex", re.IGNORECASE)


@rule(
    "MK607",
    "threads-in-one-engine",
    "warning",
    why="Modal runs the inputs of a plain method in threads, and the engine is not made for that: answers mix or it crashes.",
)
def threads_in_one_engine(file: ModalFile) -> Iterator[Problem]:
    """``@modal.concurrent`` on a class whose plain methods share one engine, model or pipeline."""
    for unit in file.units:
        if unit.kind != "class" or not _is_concurrent(file, unit):
            continue
        engines = _shared_engines(file, unit)
        for member in unit.methods("modal.method", "modal.fastapi_endpoint"):
            found = _used(file, member.node, engines)
            if found is not None and not isinstance(member.node, ast.AsyncFunctionDef):
                call, name = found
                yield Problem(
                    call,
                    f"{member.name} runs in several threads at once, and self.{name} is one {engines[name][0]}.",
                    "An engine with async methods, @modal.batched, a threading.Lock() around the call, or no @modal.concurrent.",
                )


def _is_concurrent(file: ModalFile, unit: Unit) -> bool:
    decorator = unit.decorator("modal.concurrent")
    return decorator is not None and file.names.number(decorator.options.value("max_inputs")) != 1


def _shared_engines(file: ModalFile, unit: Unit) -> dict[str, tuple[str, re.Pattern[str]]]:
    """The attributes of self that hold an engine: what it is, and which calls of it count."""
    found = {}
    for member in unit.methods("modal.enter"):
        for assign in file.within(member.node, ast.Assign):
            made = _PLACED.sub("", file.names.qualname(assign.value))
            name = _attribute_of_self(assign.targets[0])
            for shape, what, calls in _ENGINES if name else ():
                if shape.fullmatch(made):
                    found[name] = (what, calls)
    return found


def _used(
    file: ModalFile, body: Function, engines: dict[str, tuple[str, re.Pattern[str]]]
) -> tuple[ast.Call, str] | None:
    """The first call of an engine that no lock guards, with its attribute."""
    for _, call in file.calls_in(body):
        func = call.func
        name = _attribute_of_self(func)
        method = ""
        if not name and isinstance(func, ast.Attribute):
            name, method = _attribute_of_self(func.value), func.attr
        if name in engines and engines[name][1].match(method) and not _is_locked(file, call):
            return call, name
    return None


def _is_locked(file: ModalFile, call: ast.Call) -> bool:
    return any(
        _LOCK.search(file.source.segment(item.context_expr))
        for above in file.nodes.ancestors(call)
        if isinstance(above, ast.With)
        for item in above.items
    )


def _attribute_of_self(node: ast.expr) -> str:
    """The name of an attribute of self; empty for anything else."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return ""
    return node.attr if node.value.id == "self" else ""

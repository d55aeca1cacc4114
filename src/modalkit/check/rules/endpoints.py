"""MK6xx: who may call it, and what a request can hold up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..declared import Decorator, ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule
from .cost import WEB, gpu_usd_per_hour

__all__ = [
    "admin_routes_reachable",
    "batched_and_others",
    "batched_without_lists",
    "blocking_in_async",
    "cors_with_credentials",
    "public_endpoint",
    "public_gpu_endpoint",
    "retries_refused",
    "server_forbids",
    "threads_in_one_engine",
]

_ASKS = re.compile(
    r"requires_proxy_auth|unauthenticated|HTTPBearer|HTTPBasic|APIKeyHeader|OAuth2|Security\(|Authorization|authorization|"
    r"x-api-key|api[_-]key|verify_|compare_digest|hmac|jwt|signature|auth_token|AUTH_TOKEN|public|"
    r"(?:status(?:_code)?\s*=|HTTPException\(|abort\()\s*40[13]\b|"  # something is refused
    r"[!=]=\s*os\.(?:environ|getenv)\b[^\n]*(?:TOKEN|KEY|SECRET|PASSWORD)",
    re.IGNORECASE,
)


def _public(file: ModalFile) -> Iterator[tuple[Unit, Decorator]]:
    """Endpoints that neither ask for a credential nor say that they are public."""
    open_ones = list(_open_by_default(file))
    if open_ones and not _ASKS.search(file.source.text):
        yield from open_ones


def _open_by_default(file: ModalFile) -> Iterator[tuple[Unit, Decorator]]:
    for unit in file.units:
        found = [*unit.decorators, *(one for member in unit.members for one in member.decorators)]
        for decorator in found:
            if decorator.qualname in WEB and decorator.options.lacks("requires_proxy_auth"):
                yield unit, decorator


@rule(
    "MK601",
    "public-gpu-endpoint",
    "warning",
    why="Anyone who finds the URL starts the GPU, and you pay for it.",
)
def public_gpu_endpoint(file: ModalFile) -> Iterator[Problem]:
    """An endpoint on a GPU that anyone may call, without saying so."""
    for unit, decorator in _public(file):
        price = gpu_usd_per_hour(file, unit)
        if price:
            yield Problem(
                decorator.node,
                f"{unit.name} is public and runs on a GPU of ${price:.2f} an hour.",
                "requires_proxy_auth=True, a check of your own, or a comment that it is public on purpose.",
            )


@rule(
    "MK602",
    "public-endpoint",
    "note",
    why="Web endpoints are public unless they say otherwise.",
)
def public_endpoint(file: ModalFile) -> Iterator[Problem]:
    """An endpoint without a GPU that anyone may call, without saying so."""
    for unit, decorator in _public(file):
        if unit.option("gpu") is None:
            yield Problem(
                decorator.node,
                f"{unit.name} is public.",
                "requires_proxy_auth=True, or a comment that it is public on purpose.",
            )


@rule(
    "MK603",
    "admin-routes-reachable",
    "error",
    why="Anyone can put the engine to sleep, replace its weights or run code in it.",
)
def admin_routes_reachable(file: ModalFile) -> Iterator[Problem]:
    """VLLM's development mode, which opens routes without a key, behind a URL that anyone may call."""
    dev_mode = _dev_mode(file)
    if dev_mode is None:
        return
    for unit in file.units:
        if _is_open(file, unit) and any(
            "vllm" in text for body in unit.bodies for text in _texts_in(body)
        ):
            yield Problem(
                dev_mode,
                f"VLLM_SERVER_DEV_MODE opens /sleep, /collective_rpc and /update_weights, and {unit.name} is public.",
                "requires_proxy_auth=True, or leave the variable out.",
            )
            return


def _dev_mode(file: ModalFile) -> ast.AST | None:
    for entries in file.nodes.of(ast.Dict):
        for key, value in zip(entries.keys, entries.values, strict=True):
            if (
                key is not None
                and file.names.text(key) == "VLLM_SERVER_DEV_MODE"
                and file.names.text(value) == "1"
            ):
                return key
    return None


def _is_open(file: ModalFile, unit: Unit) -> bool:
    if unit.kind == "server":
        return file.names.constant(unit.options.value("unauthenticated")) is True
    found = [*unit.decorators, *(one for member in unit.members for one in member.decorators)]
    webs = [one for one in found if one.qualname in WEB]
    return any(
        file.names.constant(one.options.value("requires_proxy_auth")) is not True for one in webs
    )


def _texts_in(body: Function) -> Iterator[str]:
    for node in ast.walk(body):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@rule(
    "MK604",
    "cors-with-credentials",
    "warning",
    why="Any web page can act as the visitor who is signed in.",
)
def cors_with_credentials(file: ModalFile) -> Iterator[Problem]:
    """``allow_origins=["*"]`` together with ``allow_credentials=True``."""
    for _, call in file.calls_in(file.source.tree):
        given = file.options(call).given
        origins, credentials = given.get("allow_origins"), given.get("allow_credentials")
        if origins is None or credentials is None or not isinstance(origins.value, ast.List):
            continue
        any_origin = any(file.names.text(one) == "*" for one in origins.value.elts)
        if any_origin and file.names.constant(credentials.value) is True:
            yield Problem(
                origins.at,
                'allow_origins=["*"] with allow_credentials=True.',
                'allow_origins=["https://your.site"], or allow_credentials=False.',
            )


_BLOCKING = {
    "time.sleep": "await asyncio.sleep(...)",
    "requests.get": "an async client: await httpx.AsyncClient().get(...)",
    "requests.post": "an async client: await httpx.AsyncClient().post(...)",
    "requests.put": "an async client such as httpx.AsyncClient",
    "requests.request": "an async client such as httpx.AsyncClient",
    "urllib.request.urlopen": "an async client such as httpx.AsyncClient",
    "subprocess.run": "await asyncio.create_subprocess_exec(...)",
    "subprocess.check_call": "await asyncio.create_subprocess_exec(...)",
    "subprocess.check_output": "await asyncio.create_subprocess_exec(...)",
    "os.system": "await asyncio.create_subprocess_shell(...)",
}
_START_AND_END = ("modal.enter", "modal.exit")


@rule(
    "MK605",
    "blocking-in-async",
    "warning",
    why="Nothing else in the container moves meanwhile: no other request, no heartbeat of the web server.",
)
def blocking_in_async(file: ModalFile) -> Iterator[Problem]:
    """A call that blocks, in an async function that takes requests."""
    # Only the innermost function counts: a lambda or a plain def in it may run in a thread.
    for unit in file.units:
        starts = {one.node for one in unit.methods(*_START_AND_END)}
        for body in unit.bodies:
            if body in starts:
                continue
            for name, call in file.calls_in(body):
                around = file.nodes.scope(call)
                if name in _BLOCKING and isinstance(around, ast.AsyncFunctionDef):
                    yield Problem(
                        call,
                        f"{name} blocks {around.name}, which is async.",
                        f"{_BLOCKING[name]}, or a plain def.",
                    )


_ONE_AT_A_TIME = ("vllm.LLM()", "transformers.pipeline()", "from_pretrained()")


@rule(
    "MK607",
    "threads-in-one-engine",
    "warning",
    why="Modal runs the inputs of a plain method in threads, and the engine is not made for that: answers mix or it crashes.",
)
def threads_in_one_engine(file: ModalFile) -> Iterator[Problem]:
    """``@modal.concurrent`` on a class whose plain methods share one offline engine."""
    for unit in file.units:
        if unit.kind != "class" or unit.decorator("modal.concurrent") is None:
            continue
        engines = _shared_engines(file, unit)
        for member in unit.methods("modal.method", "modal.fastapi_endpoint"):
            if isinstance(member.node, ast.AsyncFunctionDef):
                continue
            for _, call in file.calls_in(member.node):
                name = _self_attribute(call.func)
                if name in engines:
                    yield Problem(
                        call,
                        f"{member.name} runs in several threads at once, and self.{name} is one {engines[name]}.",
                        "vllm.AsyncLLMEngine or a server with async methods, or @modal.batched.",
                    )
                    break


def _shared_engines(file: ModalFile, unit: Unit) -> dict[str, str]:
    found = {}
    for member in unit.methods("modal.enter"):
        for assign in file.within(member.node, ast.Assign):
            made = file.names.qualname(assign.value)
            name = _attribute_of_self(assign.targets[0])
            if name and made == "vllm.LLM()":
                found[name] = "vllm.LLM"
    return found


def _self_attribute(func: ast.expr) -> str:
    """The attribute of self that is called: ``self.llm(...)``, ``self.llm.generate(...)``."""
    return _attribute_of_self(func) or (
        _attribute_of_self(func.value) if isinstance(func, ast.Attribute) else ""
    )


def _attribute_of_self(node: ast.expr) -> str:
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    ):
        return node.attr
    return ""


_NOT_LISTS = {"str", "int", "float", "bool", "bytes", "dict", "tuple", "set"}


@rule(
    "MK608",
    "batched-without-lists",
    "error",
    why="Modal hands a batched function a list for each parameter and wants a list of the same length back.",
)
def batched_without_lists(file: ModalFile) -> Iterator[Problem]:
    """A batched function whose annotations say that it takes or returns single values."""
    for unit in file.units:
        found: list[tuple[Function, bool]] = []
        if not isinstance(unit.node, ast.ClassDef) and unit.decorator("modal.batched"):
            found.append((unit.node, False))
        found += [(one.node, True) for one in unit.methods("modal.batched")]
        for node, is_method in found:
            yield from _single_values(node, is_method=is_method)


def _single_values(node: Function, *, is_method: bool) -> Iterator[Problem]:
    for one in node.args.args[1:] if is_method else node.args.args:
        if isinstance(one.annotation, ast.Name) and one.annotation.id in _NOT_LISTS:
            yield Problem(
                one,
                f"{node.name} is batched, and {one.arg} is annotated as one {one.annotation.id}.",
                f"{one.arg}: list[{one.annotation.id}], and return a list.",
            )
    if isinstance(node.returns, ast.Name) and node.returns.id in _NOT_LISTS:
        yield Problem(
            node.returns,
            f"{node.name} is batched, and returns one {node.returns.id}.",
            f"-> list[{node.returns.id}], one for each input.",
        )


@rule(
    "MK609",
    "batched-and-others",
    "error",
    why="Modal refuses a class with a batched method and another method or endpoint.",
)
def batched_and_others(file: ModalFile) -> Iterator[Problem]:
    """A batched method beside a method or an endpoint in one class."""
    for unit in file.units:
        batched = list(unit.methods("modal.batched"))
        others = [one for one in unit.methods("modal.method", *WEB) if one not in batched]
        if batched and others:
            yield Problem(
                others[0].node,
                f"{unit.name} has the batched {batched[0].name} and also {others[0].name}.",
                f"A class of its own for {batched[0].name}.",
            )


_NOT_FOR_SERVERS = {"region": "compute_region", "timeout": "startup_timeout"}


@rule(
    "MK610",
    "server-forbids",
    "error",
    why="Modal raises it when the file is imported.",
)
def server_forbids(file: ModalFile) -> Iterator[Problem]:
    """What ``@app.server`` does not take: methods, ``@modal.concurrent``, ``region=``, ``timeout=``."""
    for unit in file.units:
        if unit.kind != "server":
            continue
        for name, other in _NOT_FOR_SERVERS.items():
            if (option := unit.options.given.get(name)) is not None:
                yield Problem(option.at, f"app.server has no {name}=.", f"{other}=....")
        if (decorator := unit.decorator("modal.concurrent")) is not None:
            yield Problem(
                decorator.node,
                "A server takes no @modal.concurrent.",
                "app.server(target_concurrency=...).",
            )
        for member in unit.methods("modal.method", *WEB):
            yield Problem(
                member.node,
                f"A server has no methods, and {member.name} is one.",
                "app.cls for methods; a server is reached by HTTP.",
            )
        if (
            isinstance(unit.node, ast.ClassDef)
            and not unit.node.bases
            and not list(unit.methods("modal.enter"))
        ):
            yield Problem(
                unit.registered.node,
                f"The server {unit.name} starts nothing: it has no @modal.enter().",
                "@modal.enter() on the method that starts the process.",
            )


@rule(
    "MK611",
    "retries-refused",
    "error",
    why="Modal refuses the function when the file is imported.",
)
def retries_refused(file: ModalFile) -> Iterator[Problem]:
    """``retries=`` on a web function or on a generator, which Modal does not start again."""
    for unit in file.units:
        option = unit.options.given.get("retries")
        none = option is None or file.names.constant(option.value) is None
        if none and not (option and isinstance(option.value, ast.Call)):
            continue
        kind = _never_retried(file, unit)
        if kind and option is not None:
            yield Problem(
                option.at,
                f"{unit.name} is {kind}, and Modal retries none.",
                "No retries=; let the caller try again.",
            )


def _never_retried(file: ModalFile, unit: Unit) -> str:
    if isinstance(unit.node, ast.ClassDef):
        return ""  # a class may have other methods beside its endpoints
    if any(one.qualname in WEB for one in unit.decorators):
        return "a web function"
    yields = [*file.within(unit.node, ast.Yield), *file.within(unit.node, ast.YieldFrom)]
    own = any(file.nodes.function(one) is unit.node for one in yields)
    return "a generator" if own else ""

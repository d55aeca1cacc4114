"""Whether an endpoint asks who is calling, by what its own code names, compares and refuses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from .commands import command_words
from .credentials import is_secret_name
from .declared import Decorator, ModalFile
from .nodes import Function, attribute_values
from .reach import reached

__all__ = ["asks_who_calls", "says_public"]

# Names of what checks callers: FastAPI's security, signatures, tokens, and what people call their own.
_CHECKS = re.compile(
    r"HTTPBearer|HTTPBasic|HTTPDigest|APIKey(?:Header|Query|Cookie)|OAuth2\w*|Security|compare_digest|hmac|jwt|jose|"
    r"(?:verify|check|validate|require|authenticate|authorize|ensure)_?\w*(?:auth|token|key|signature|user|secret|password|login)\w*|"
    r"verify|authenticate|authorize|get_current_user|login_required|authorization|"
    r"HTTP_401_UNAUTHORIZED|HTTP_403_FORBIDDEN|\w*auth|auth_\w+|\w+_auth\w*|\w*Auth(?:entication)?(?:Middleware|Backend)?|"
    r"signing_secret|secret_token|webhook_secret|construct_event|RequestValidator",
    re.IGNORECASE,
)
_PARAMETERS = re.compile(r"(?:x_)?api_?key|credentials|x_\w+|signature|bearer\w*", re.IGNORECASE)
_HEADERS = re.compile(
    r"authorization|www-authenticate|bearer|x-[\w-]*(?:key|token|secret|signature)[\w-]*|stripe-signature|api[-_]key",
    re.IGNORECASE,
)
_REFUSES = {401, 403}
_LONG = 60  # characters of a text that is no header
# --api-key, --NotebookApp.token, --gradio-auth; a server's own token for the hub is none.
_FLAGS = re.compile(r"--(?!hf\b)(?:[\w.-]*[.-])?(?:api[-_]key|token|password|auth)")
_NO_KEYS = {"''", '""', "EMPTY", "NONE", "NULL", "DUMMY"}
_KEY_VARIABLES = {"VLLM_API_KEY", "SGLANG_API_KEY", "LLAMA_API_KEY", "JUPYTER_TOKEN"}
# What an app that is not made in another file of the user's is made with.
_FRAMEWORKS = {
    "fastapi", "flask", "starlette", "gradio", "mcp", "fastmcp", "fasthtml", "django", "aiohttp", "quart", "litestar",
    "dash", "bottle", "falcon", "sanic", "modal", "modalkit",
}  # fmt: skip
_PUBLIC = re.compile(
    r"\bpublic|\bunauthenticated\b|\bopen to (?:all|anyone|everyone)\b|\bno auth", re.IGNORECASE
)
_DENIED = re.compile(r"\b(?:not|never|no longer|n't|todo|fixme|should)\b", re.IGNORECASE)


def says_public(file: ModalFile, function: Function) -> bool:
    """Return whether a comment at an endpoint says that it is public on purpose.

    It stands on one of its decorators or its ``def``, or alone above them.
    """
    first = min([function.lineno, *(one.lineno for one in function.decorator_list)])
    while file.source.line(first - 1).strip().startswith("#"):
        first -= 1
    for number in range(first, function.lineno + 1):
        _, mark, comment = file.source.line(number).partition("#")
        if mark and _PUBLIC.search(comment) and not _DENIED.search(comment):
            return True
    return False


def asks_who_calls(file: ModalFile, function: Function, decorator: Decorator) -> bool:
    """Return whether the code of an endpoint has a sign that callers are checked, or cannot be read.

    Args:
        file: The file.
        function: The function or method that answers.
        decorator: Its decorator of Modal's.
    """
    makes_app = decorator.qualname in {"modal.asgi_app", "modal.wsgi_app"}
    apps = (made for one in _returned(file, function) for made in _made(file, one))
    if makes_app and any(_is_elsewhere(file, one) for one in apps):
        return True
    return any(_has_sign(file, node) for node in reached(file, function))


def _has_sign(file: ModalFile, node: ast.AST) -> bool:
    known = _signs(file)
    if node not in known:
        known[node] = any(_is_sign(file, one) for one in ast.walk(node)) or any(
            _asks_by_flag(file, call) for _, call in file.calls_in(node)
        )
    return known[node]


@lru_cache(maxsize=2)
def _signs(file: ModalFile) -> dict[ast.AST, bool]:  # noqa: ARG001 - each file has its own
    """Which statements have a sign; the endpoints of a file share what they refer to."""
    return {}


def _is_sign(file: ModalFile, node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _names_header(file, node, node.value) or node.value in _KEY_VARIABLES
        return type(node.value) is int and node.value in _REFUSES
    if isinstance(node, ast.Compare):
        return any(_is_secret(file, side) for side in (node.left, *node.comparators))
    if isinstance(node, ast.arg) and _PARAMETERS.fullmatch(node.arg):
        return True
    return any(_CHECKS.fullmatch(name) for name in _named(node))


def _names_header(file: ModalFile, node: ast.Constant, text: str) -> bool:
    """Whether a text is a header that callers show keys in; as a key of a dict it is one that is sent."""
    above = file.nodes.parent(node)
    is_sent = isinstance(above, ast.Dict) and node in above.keys
    return not is_sent and len(text) < _LONG and bool(_HEADERS.fullmatch(text))


def _named(node: ast.AST) -> Iterable[str]:
    """The identifiers that a node itself writes; a keyword by which a client sends its key is none."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        return (node.attr,)
    if isinstance(node, ast.arg):
        return (node.arg,)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (node.name,)
    return (node.arg,) if isinstance(node, ast.keyword) and node.arg in _ASKING else ()


_ASKING = {"auth", "signing_secret", "secret_token", "auth_dependency"}


def _is_secret(file: ModalFile, node: ast.expr) -> bool:
    """Whether a value is that of a secret variable, which a caller's is compared with."""
    for one in file.names.possible(node):
        key: ast.expr | None = None
        if isinstance(one, ast.Subscript) and file.names.qualname(one.value) == "os.environ":
            key = one.slice
        elif isinstance(one, ast.Call) and one.args:
            asked = file.names.qualname(one.func) in {"os.environ.get", "os.getenv"}
            key = one.args[0] if asked else None
        name = file.names.text(key)
        if name is not None and is_secret_name(name):
            return True
    return False


def _asks_by_flag(file: ModalFile, call: ast.Call) -> bool:
    """Whether a server is started that wants a key: ``vllm serve --api-key ...``."""
    words = [text for text, _ in command_words(file, call)]
    for index, word in enumerate(words):
        flag, _, value = word.partition("=")
        given = value or (words[index + 1] if index + 1 < len(words) else "")
        if _FLAGS.fullmatch(flag) and given.upper() not in _NO_KEYS:
            return True
    return False


def _returned(file: ModalFile, function: Function) -> Iterator[ast.expr]:
    for node in file.within(function, ast.Return):
        if node.value is not None and file.nodes.function(node) is function:
            yield node.value


def _made(file: ModalFile, value: ast.expr) -> list[ast.expr]:
    """What an endpoint answers with: the value itself, or what a method of its class put into ``self``."""
    if not isinstance(value, ast.Attribute) or not isinstance(value.value, ast.Name):
        return [value]
    own = (one for one in file.nodes.ancestors(value) if isinstance(one, ast.ClassDef))
    owner = next(own, None) if value.value.id == "self" else None
    return attribute_values(owner).get(value.attr, [value]) if owner is not None else [value]


def _is_elsewhere(file: ModalFile, value: ast.expr) -> bool:
    """Whether an app is made in another file of the same project, which was not read."""
    origin = file.names.qualname(value)
    top = origin.partition(".")[0]
    imported = any(one.partition(".")[0] == top for one in file.names.origins)
    return bool(origin) and imported and top not in _FRAMEWORKS

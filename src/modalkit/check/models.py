"""Which models a file loads, and how large they are by their name alone.

A name such as ``meta-llama/Llama-3.3-70B-Instruct`` says its parameters. What it says is taken as a
least size: where a name is unclear, nothing is said, and a mixture of experts counts low.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .commands import command_words
from .declared import ModalFile, Unit
from .nodes import Function, attribute_values
from .reach import reached

__all__ = ["GIB", "Load", "loads_in", "loads_of", "named_parameters", "weight_bytes"]

GIB = 1024**3
_DOWNLOADERS = ("snapshot_download", "hf_hub_download")
# What reads a model's weights, by the end of the full name.
_LOADERS = (
    "from_pretrained", "vllm.LLM", "vllm.AsyncEngineArgs", "vllm.EngineArgs", "sglang.Engine",
    "transformers.pipeline", "SentenceTransformer", "WhisperModel", "CrossEncoder",
    "AsyncEngineArgs", "whisper.load_model", *_DOWNLOADERS,
)  # fmt: skip
_WEIGHT_FILES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".nemo")
_SMALL = ("Tokenizer", "Config", "Processor", "FeatureExtractor")
_SERVERS = ("vllm", "sglang")
_MODEL_KEYWORDS = ("model", "model_path", "pretrained_model_name_or_path", "repo_id")
_MODEL_FLAGS = ("--model", "--model-path", "serve")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SIZE = re.compile(
    r"(?<![A-Za-z0-9.])(?:(?P<experts>\d+)x)?(?P<size>\d+(?:\.\d+)?)[bB](?![A-Za-z0-9])"
)
_BYTES = (
    (re.compile(r"awq|gptq|int4|w4a16|4bit|4-bit|nf4|bnb|fp4|gguf|[-_]q[2-6]|exl|gpt-oss|1\.58|bitnet|int3|2bit", re.IGNORECASE), 0.5),
    (re.compile(r"fp8|int8|w8a8|w8a16|8bit|8-bit", re.IGNORECASE), 1.0),
    (re.compile(r"quant|lora|adapter", re.IGNORECASE), 0.0),
)  # fmt: skip
_SHARED = 0.8  # experts share attention and embeddings: 8x7B is 47B


@dataclass(frozen=True, slots=True)
class Load:
    """One place where a model is loaded.

    Attributes:
        model: Its hub id.
        by: What loads it, such as ``"transformers.AutoModel.from_pretrained"`` or ``"vllm"``.
        call: The call.
        at: Where the model's name stands.
        flags: The words of a server's command line, ``--flag=value`` as two.
        is_declared: Whether a modalkit service declares it, whose engine is given all GPUs.
    """

    model: str
    by: str
    call: ast.Call
    at: ast.expr
    flags: tuple[str, ...] = ()
    is_declared: bool = False

    @property
    def is_small(self) -> bool:
        """Whether it reads a tokenizer or a config, which is done in no time and needs no GPU."""
        return any(word in self.by for word in _SMALL)

    @property
    def is_download(self) -> bool:
        """Whether it only fetches files, of one of which a repository's name says no size."""
        return self.by.endswith(_DOWNLOADERS)

    def keyword(self, name: str) -> ast.expr | None:
        """Return a keyword of the call."""
        return next((one.value for one in self.call.keywords if one.arg == name), None)

    def flag(self, *names: str) -> str | None:
        """Return the word behind one of these flags; empty where it is not known."""
        for flag, value in pairwise(self.flags):
            if flag in names:
                return "" if "\0" in value else value
        return None


def named_parameters(model: str) -> float | None:
    """Return how many parameters a model's name says it has at least.

    Examples:
        >>> named_parameters("meta-llama/Llama-3.3-70B-Instruct")
        70000000000.0
        >>> named_parameters("Qwen/Qwen3-30B-A3B")
        30000000000.0
        >>> named_parameters("openai/whisper-large-v3") is None
        True
    """
    sizes = [
        float(found["size"]) * (int(found["experts"]) * _SHARED if found["experts"] else 1)
        for found in _SIZE.finditer(model.rpartition("/")[2])
    ]
    largest = max(sizes, default=0.0)
    return largest * 1e9 if 0 < largest < 3000 else None  # noqa: PLR2004 - billions


def weight_bytes(model: str) -> float | None:
    """Return the least size of a model's weights by its name; None where it does not say."""
    parameters = named_parameters(model)
    if parameters is None:
        return None
    share = next((each for pattern, each in _BYTES if pattern.search(model)), 2.0)
    return parameters * share or None


def loads_of(file: ModalFile, unit: Unit) -> list[Load]:
    """Return what a function or class loads in its container, by itself or in helpers of the file."""
    bodies = dict.fromkeys(one for body in unit.bodies for one in _with_helpers(file, body))
    return [load for body in bodies for load in loads_in(file, body)]


def _with_helpers(file: ModalFile, body: Function) -> Iterator[Function]:
    """A function and the plain functions of the file that it may call."""
    for one in reached(file, body):
        is_plain = one is body or not getattr(one, "decorator_list", ())
        if is_plain and isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield one


def loads_in(file: ModalFile, body: Function | ast.Module) -> Iterator[Load]:
    """Yield what is loaded in a function, as far as its name is a constant."""
    for name, call in file.calls_in(body):
        if name.endswith(_LOADERS):
            yield from _loaded(file, call, name)
        elif words := command_words(file, call):
            yield from _served(call, words)


def _loaded(file: ModalFile, call: ast.Call, name: str) -> Iterator[Load]:
    if name.endswith(_DOWNLOADERS) and not _fetches_weights(file, call):
        return
    keywords = [one.value for one in call.keywords if one.arg in _MODEL_KEYWORDS]
    position = 1 if name.endswith("transformers.pipeline") else 0
    for value in [*keywords, *call.args[position : position + 1]]:
        text = _likely_text(file, value) or _attribute_text(file, value)
        if text is not None and _HUB_ID.fullmatch(text):
            yield Load(text, name, call, value)


def _fetches_weights(file: ModalFile, call: ast.Call) -> bool:
    """Whether a download is of a model's weights: not of a data set, nor of one small file."""
    given = {one.arg: one.value for one in call.keywords}
    if file.names.text(given.get("repo_type")) in {"dataset", "space"}:
        return False
    one_file = file.names.qualname(call.func).endswith("hf_hub_download")
    fetched = given.get("filename", call.args[1] if len(call.args) > 1 else None)
    return not one_file or (file.names.text(fetched) or "").endswith(_WEIGHT_FILES)


def _likely_text(file: ModalFile, node: ast.expr) -> str | None:
    """The text of an expression, or the default of the environment variable that it reads."""
    values = list(file.names.possible(node))
    return file.names.text(values[0]) if len(values) == 1 else file.names.text(node)


def _attribute_text(file: ModalFile, node: ast.expr) -> str | None:
    """The text of ``self.model_id``, where the class body or a method sets it once; a parameter's default."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return None
    own = (one for one in file.nodes.ancestors(node) if isinstance(one, ast.ClassDef))
    owner = next(own, None) if node.value.id == "self" else None
    if owner is None:
        return None
    values = attribute_values(owner).get(node.attr, [])
    if len(values) != 1:
        return None
    value = values[0]
    if isinstance(value, ast.Call) and file.names.qualname(value.func) == "modal.parameter":
        return file.names.text(file.options(value).value("default"))
    return file.names.text(value)


def _served(call: ast.Call, words: list[tuple[str, ast.expr]]) -> Iterator[Load]:
    words = [pair for word, at in words for pair in _flag_and_value(word, at)]
    texts = tuple(text for text, _ in words)
    engine = next((name for name in _SERVERS if any(name in text for text in texts)), None)
    if engine is None:
        return
    for (flag, _), (text, at) in pairwise(words):
        if flag in _MODEL_FLAGS and _HUB_ID.fullmatch(text):
            yield Load(text, engine, call, at, texts)
            return
    # `vllm serve --flag MODEL`: the first hub id behind it, unless a flag takes it.
    behind = words[texts.index("serve") :] if "serve" in texts else []
    for (flag, _), (text, at) in pairwise(behind):
        if not flag.startswith("--") and _HUB_ID.fullmatch(text):
            yield Load(text, engine, call, at, texts)
            return


def _flag_and_value(word: str, at: ast.expr) -> list[tuple[str, ast.expr]]:
    """``--flag=value`` as the two words that it means; any other word as it is."""
    flag, equals, value = word.partition("=")
    return [(flag, at), (value, at)] if equals and flag.startswith("-") else [(word, at)]

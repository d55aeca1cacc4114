"""What a service's class body may say: names that something reads, values of the right kind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence

from ._values import did_you_mean, one_of
from .declare.cold_start import ColdStart
from .declare.endpoints import Endpoint
from .declare.gpu import GPUFit, GPUProfile
from .declare.image import ImageSpec
from .declare.resources import Resources
from .declare.scaling import Scaling
from .declare.secrets import Secret, holds_credential
from .declare.webhook import Webhook
from .declare.weights import WeightCache
from .engines.base import Engine
from .engines.variables import is_secret
from .errors import DeclarationError
from .sizing.facts import ModelFacts

__all__ = ["DECLARATIONS", "check_class_body"]

# Each declaration with what it may be and how to write it.
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (str, "model = 'Qwen/Qwen3-8B'"),
    "revision": (str, "revision = '0123456789abcdef0123456789abcdef01234567'"),
    "facts": (ModelFacts, "facts = ModelFacts(name='ours', total_parameters=..., ...)"),
    "engine": (Engine, "engine = SGLang()"),
    "gpu": ((GPUProfile, GPUFit), "gpu = GPUProfile('L40S')"),
    "image": (ImageSpec, "image = ImageSpec(python='3.12').pip('numpy==2.4.6')"),
    "weights": (WeightCache, "weights = WeightCache('qwen3')"),
    "scaling": (Scaling, "scaling = Scaling(max_containers=2)"),
    "cold_start": (ColdStart, "cold_start = ColdStart(snapshot='gpu')"),
    "api": (Endpoint, "api = Endpoint()"),
    "secrets": ((list, tuple), "secrets = [Secret('huggingface', keys=['HF_TOKEN'])]"),
    "env": (Mapping, "env = {'NAME': 'value'}"),
    "resources": (Resources, "resources = Resources(cpu=4)"),
    "on_failure": (Webhook, "on_failure = Webhook('https://example.com/hook')"),
    "verify": (str, "verify = 'sha256'"),
}
_REQUIRED = frozenset({"cold_start", "scaling", "secrets", "env", "resources", "verify"})
_VERIFY = ("size", "sha256")
_VALUES = (
    ColdStart,
    Endpoint,
    Engine,
    GPUFit,
    GPUProfile,
    ImageSpec,
    ModelFacts,
    Resources,
    Scaling,
    Secret,
    Webhook,
    WeightCache,
)
_LIFECYCLE = ("load", "wake", "warm_up", "self_test", "unload")
_MODEL = re.compile(r"[\w.-]+(/[\w.-]+)?|/.+|\.\.?/.+", re.ASCII)

DECLARATIONS = tuple(_KINDS)


def check_class_body(service: type) -> None:
    """Refuse the first line of a class body that would not do what it says.

    Raises:
        DeclarationError: A public name that nothing reads, a value of the wrong kind, or a name
            that modalkit itself uses.
    """
    annotated = inspect.get_annotations(service)
    for name, value in vars(service).items():
        if name.startswith("_"):
            continue
        for problem in _problems(name, value, annotated=name in annotated):
            msg = f"{service.__name__}.{name} {problem}"
            raise DeclarationError(msg)


def _problems(name: str, value: object, *, annotated: bool) -> Iterator[str]:
    if name in _KINDS:
        yield from _value_problems(name, value)
    elif name in _LIFECYCLE:
        if not inspect.isfunction(value):
            yield f"is called by modalkit and must be a plain method. Write def {name}(self)."
    elif name == "http":
        yield "is the name of modalkit's web endpoint. Give it another."
    elif isinstance(value, _VALUES):
        yield _unknown(name, value)
    elif callable(value) or hasattr(value, "__get__"):
        yield from (
            f"is never called. Did you mean {near!r}?"
            for near in _LIFECYCLE
            if _is_near(name, near)
        )
    elif not annotated:
        yield _unknown(name, value)


def _value_problems(name: str, value: object) -> Iterator[str]:
    kind, example = _KINDS[name]
    if value is None and name not in _REQUIRED:
        return
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        yield f"cannot be {got}. Write {example}."
    elif name == "model" and not _MODEL.fullmatch(str(value)):
        yield (
            f"{value!r} is neither a hub id ('Qwen/Qwen3-8B'), nor an absolute path in the "
            "container ('/models/x'), nor a folder beside the file ('./x')."
        )
    elif name == "verify" and value not in _VERIFY:
        yield f"must be {one_of(map(repr, _VERIFY))}, got {value!r}."
    elif name == "secrets" and isinstance(value, Sequence):
        if not all(isinstance(secret, Secret) for secret in value):
            yield f"holds something that is not a Secret (not shown). Write {example}."
    elif name == "env" and isinstance(value, Mapping):
        yield from _environment_problems(value)


def _environment_problems(env: Mapping[object, object]) -> Iterator[str]:
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            yield f"must map names to strings, but {name!r} maps to {type(value).__name__}."
        elif is_secret(name) or holds_credential(value):
            yield (
                f"holds {name!r}, which looks like a secret; its value (not shown) would stand in "
                f"the plan. Write secrets = [Secret('NAME', keys=[{name!r}])]."
            )


def _is_near(name: str, lifecycle: str) -> bool:
    """Whether a method's name is a slip of a lifecycle method's: ``laod``, ``warmup``."""
    letters, meant = sorted(name.lower().replace("_", "")), sorted(lifecycle.replace("_", ""))
    return letters == meant


def _unknown(name: str, value: object) -> str:
    if isinstance(value, Endpoint):
        return "is not a declaration. Write api = Endpoint(...)."
    hint = did_you_mean(name, DECLARATIONS)
    return (
        f"is not a declaration.{hint} A service declares {one_of(DECLARATIONS)}; for a constant "
        f"of your own write {name}: ClassVar[...] = ... or _{name} = ..."
    )

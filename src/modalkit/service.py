"""`ModelService`: a class whose body declares a model and whose methods run in its container.

The class body runs everywhere and only declares. `modalkit.serve` turns the class into a Modal
class or server.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

from .class_body import check_class_body
from .declare.cold_start import ColdStart
from .declare.endpoints import Endpoint
from .declare.gpu import GPUFit, GPUProfile
from .declare.image import ImageSpec
from .declare.resources import Resources
from .declare.routes import Route
from .declare.scaling import Scaling
from .declare.secrets import Secret
from .declare.webhook import Webhook
from .declare.weights import WeightCache
from .engines.base import Engine
from .errors import DeclarationError
from .sizing.facts import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    import modal
    from modal.partial_function import PartialFunction

    from .runtime import engine_methods

    _P = ParamSpec("_P")
    _R = TypeVar("_R")
    _O = TypeVar("_O")

    def _typed_as(
        member: PartialFunction[_P, _R, _O],
    ) -> Callable[[Callable[..., object]], PartialFunction[_P, _R, _O]]: ...


__all__ = ["ModelService", "lock_command", "prefetch_command", "routes_of", "service_file"]


class ModelService:
    """Base of every service. Subclass it, declare in the body, decorate with ``@serve(app)``.

    With an ``engine`` the service has the remote methods `generate`, `chat`, `stream`,
    `embed` and `rerank`, and an OpenAI-compatible endpoint. Without one it is a custom model: write `load` and
    methods, decorated with ``@endpoint(path)`` or ``@modal.method()``.

    Declarations (class attributes):
        model: Hub id (``"Qwen/Qwen3-8B"``), an absolute path in the container, or a folder
            beside the file (``"./my-model"``) that travels with it.
        revision: Commit of the hub repository. Default: the newest at first start.
        facts: What is known of the model, stated by hand, where its config does not say it or its
            architecture is not known; nothing else is asked then. Default: the lock's, or the folder's.
        engine: What serves the model; ``None`` for a custom model.
        gpu: GPU type, count and fallbacks; ``None`` runs on CPU.
        image: What is installed. Default: the engine's own image, or a slim Python.
        weights: A Volume that keeps what is downloaded and compiled; ``None`` keeps nothing.
        scaling: Containers, concurrency and timeouts.
        cold_start: Snapshots, warm-up and the budget of a container's start.
        api: The HTTP endpoint and who may call it; ``None`` serves remote methods only. It is
            not called ``endpoint``, which would hide the decorator in the class body.
        secrets: Secrets whose keys the container sees as environment variables.
        env: Plain environment variables of the container; never secrets.
        resources: CPU, memory, disk, region.
        on_failure: Who is told when a start, the engine, the self-test or requests fail.
        verify: How a container holds its weights to the lock before the engine starts: by
            ``"size"``, or by ``"sha256"``, which reads every byte. Nothing without a lock.

    Raises:
        DeclarationError: At class creation, for a public name that is no declaration.
    """

    model: ClassVar[str | None] = None
    revision: ClassVar[str | None] = None
    facts: ClassVar[ModelFacts | None] = None
    engine: ClassVar[Engine | None] = None
    gpu: ClassVar[GPUProfile | GPUFit | None] = None
    image: ClassVar[ImageSpec | None] = None
    weights: ClassVar[WeightCache | None] = None
    scaling: ClassVar[Scaling] = Scaling()
    cold_start: ClassVar[ColdStart] = ColdStart()
    api: ClassVar[Endpoint | None] = Endpoint()
    secrets: ClassVar[Sequence[Secret]] = ()
    env: ClassVar[Mapping[str, str]] = {}
    resources: ClassVar[Resources] = Resources()
    on_failure: ClassVar[Webhook | None] = None
    verify: ClassVar[Literal["size", "sha256"]] = "size"

    if TYPE_CHECKING:
        # Added by `serve` where there is an engine; named here so that their types survive.
        # Decorated functions, because mypy lets a subclass's route of the same name override one.

        @property
        def http(self) -> modal.Function[[], object, object]:
            """The web endpoint; ``.get_web_url()`` is where it answers."""

        @_typed_as(modal.method()(engine_methods.generate))
        def generate(self) -> None:
            """See `engine_methods.generate`."""

        @_typed_as(modal.method()(engine_methods.chat))
        def chat(self) -> None:
            """See `engine_methods.chat`."""

        @_typed_as(modal.method()(engine_methods.stream))
        def stream(self) -> None:
            """See `engine_methods.stream`."""

        @_typed_as(modal.method()(engine_methods.embed))
        def embed(self) -> None:
            """See `engine_methods.embed`."""

        @_typed_as(modal.method()(engine_methods.rerank))
        def rerank(self) -> None:
            """See `engine_methods.rerank`."""

    def __init_subclass__(cls, *, compiled: bool = False) -> None:
        """Refuse a line that would not do what it says; ``compiled`` is `serve`'s own subclass."""
        super().__init_subclass__()
        if not compiled:
            check_class_body(cls)

    def load(self) -> Awaitable[None] | None:
        """Load the model, once per container, before any request. Override it."""

    def wake(self) -> Awaitable[None] | None:
        """Take what a memory snapshot cannot hold: with ``"cpu"`` the GPU, connections, randomness.

        Called once in every container: after `load`, or after the restore from a snapshot that
        holds what `load` did. Override it.
        """

    def warm_up(self) -> Awaitable[None] | None:
        """Run the model once before the first request, where that pays. Override it."""

    def self_test(self) -> Awaitable[None] | None:
        """Run the model on one known input and raise if the answer is wrong. Override it.

        ``/health`` is 503 while this raises. It is called at the start, after `warm_up`, and when
        someone asks ``/health`` a minute later or after a request has failed.
        """

    def unload(self) -> Awaitable[None] | None:
        """Release what `load` took, when the container stops. Override it."""

    @property
    def model_path(self) -> Path:
        """Where the service's model is in the container: its prefetched files, or its folder.

        Raises:
            DeclarationError: Outside a container, or for a hub model that is not prefetched.
        """
        found: Path | None = getattr(self, "_modalkit_model", None)
        if found is not None:
            return found
        name, model = type(self).__name__, self.model
        if model is not None and model.startswith("/"):
            return Path(model)
        if model is not None and model.startswith("."):
            return Path("/models") / Path(model).name
        msg = (
            f"{name}.model {model!r} has no folder here: it is prefetched into a WeightCache and read in "
            "the container, from load() on. Write weights = WeightCache('name')."
        )
        raise DeclarationError(msg)

    @property
    def weights_path(self) -> PurePosixPath:
        """Where the service's `WeightCache` is mounted in the container."""
        if self.weights is None:
            msg = f"{type(self).__name__} declares no weights. Write weights = WeightCache('name')."
            raise DeclarationError(msg)
        return PurePosixPath(self.weights.mount)


def service_file(service: type[ModelService]) -> Path:
    """Return the file a service is written in; a name in the current folder if it has none."""
    file = getattr(sys.modules.get(service.__module__), "__file__", None)
    return Path(file) if file else Path.cwd() / f"{service.__module__}.py"


def lock_command(service: type[ModelService], option: str = "") -> str:
    """Return the command that writes a service's lock, as messages show it."""
    return f"modalkit lock {option}{_shown_file(service)}"


def prefetch_command(service: type[ModelService], option: str = "") -> str:
    """Return the command that fills a service's cache, as messages show it."""
    return f"modalkit prefetch {option}{_shown_file(service)}"


def _shown_file(service: type[ModelService]) -> str:
    """A service's file as a command takes it from here; its name where it is not below."""
    path = service_file(service).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def routes_of(service: type[ModelService]) -> dict[str, Route[..., object]]:
    """The typed routes of a service by method name, inherited ones included."""
    members = inspect.getmembers_static(service, lambda value: isinstance(value, Route))
    return dict(members)

"""What an engine is: a process that speaks the OpenAI API on a port.

An engine declares its image, its argv, its environment and the route that says it is ready. It is
never imported by the client; everything here is data about a process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from .._values import Value
from ..declare.image import ImageSpec
from .client_routes import COMMON_ROUTES

__all__ = ["Engine", "Launch"]


class Launch(Value):
    """What a container knows at the moment it starts an engine.

    Attributes:
        model: Hub id (``"Qwen/Qwen3-8B"``) or an absolute path in the container.
        revision: Commit of the hub repository; ``None`` for a path or an unpinned model.
        served_name: The name clients put in ``model=``.
        host: Address to listen on: loopback behind modalkit's gateway, ``0.0.0.0`` when Modal's
            proxy reaches the engine directly.
        port: TCP port to listen on.
        gpu_count: GPUs of this container; 0 on a machine without one.
        door: Whether requests reach its port directly, so that modalkit's door has to stand in
            its own process; else the door is in front of it.
        admin_key: Whether its administration has to ask for the key in `Engine.admin_key_variable`.
        snapshot: Whether its GPUs' memory goes into a snapshot, so that it must be able to sleep.
        from_volume: Whether the weights lie on a Volume, which is read over the network.
        adapters: Where LoRA adapters lie in the container, by name, as far as it is known.
        adapter_folder: Folder in which those that are loaded on demand lie under their names;
            ``None`` where there are none, and before the container has made it.
    """

    model: str
    revision: str | None = None
    served_name: str
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    gpu_count: int = Field(default=1, ge=0)
    door: bool = False
    admin_key: bool = False
    snapshot: bool = False
    from_volume: bool = False
    adapters: dict[str, str] = Field(default_factory=dict)
    adapter_folder: str | None = None


_GREETING = "Say hello."
_CHAT = (
    "/v1/chat/completions",
    {"messages": [{"role": "user", "content": _GREETING}], "max_tokens": 16},
)
_COMPLETION = ("/v1/completions", {"prompt": _GREETING, "max_tokens": 16})
_EMBEDDING = ("/v1/embeddings", {"input": [_GREETING]})
_RERANK = ("/v1/rerank", {"query": _GREETING, "documents": ["Hello."]})
_SCORE = ("/v1/score", {"text_1": _GREETING, "text_2": ["Hello."]})
_CLASSIFY = ("/v1/classify", {"input": [_GREETING]})


class Engine(Value, ABC):
    """Base of every engine declaration; subclass it to bring another engine.

    Class attributes:
        title: Name for people, such as ``"SGLang"``.
        ready_path: Route that answers 200 once requests will be served, and is cheap to ask.
        needs_model: Whether it serves nothing without a model.
        needs_gpu: Whether its image runs on a GPU only.
        runtime_included: Whether its image already holds what modalkit's own code needs there
            (aiohttp, pydantic, starlette, uvicorn).
        takes_door: Whether its process puts modalkit's door (`modalkit.runtime.door`) in front of
            its routes when ``Launch.door`` asks for it. Without, it is served behind modalkit's
            gateway only (``Endpoint(kind="web")``).
        child_key_variable: Variable in which the process itself looks for its API key, where it
            has one; behind the door it asks for a key that only the door knows.
        admin_key_variable: Variable in which the process looks for a key of its administration's
            alone, where it can ask for one behind modalkit's gateway (``Launch.admin_key``). The key
            is made anew at each start; nobody but modalkit's own requests has it.
        client_routes: Paths that are for clients. No other path of it is reached from outside,
            but ``/health`` and ``/metrics`` where the endpoint says so.
        sleep_path: Route that lets go of the GPUs' memory for a snapshot, its query included;
            ``None`` where there is none and the snapshot takes all of it.
        wake_path: Route that takes it back.
        opening_variables: Variables that open routes which ask for no key, not even the engine's own.
        compiles: Whether its first start compiles kernels, which takes minutes.
        start_marks: What it prints that tells seconds of its start: for a phase of
            `modalkit.cold_start` a regular expression whose first group is the number.
    """

    title: ClassVar[str]
    ready_path: ClassVar[str] = "/health"
    needs_model: ClassVar[bool] = True
    needs_gpu: ClassVar[bool] = False
    runtime_included: ClassVar[bool] = False
    takes_door: ClassVar[bool] = False
    child_key_variable: ClassVar[str | None] = None
    admin_key_variable: ClassVar[str | None] = None
    sleep_path: ClassVar[str | None] = None
    wake_path: ClassVar[str | None] = None
    opening_variables: ClassVar[frozenset[str]] = frozenset()
    compiles: ClassVar[bool] = False
    start_marks: ClassVar[Mapping[str, str]] = {}
    client_routes: ClassVar[frozenset[str]] = COMMON_ROUTES

    @abstractmethod
    def image(self) -> ImageSpec:
        """Return the image that holds the engine, pinned."""

    @abstractmethod
    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command line; it never holds a secret.

        Raises:
            DeclarationError: A flag that the pinned version of the engine does not have.
        """

    def repositories(self) -> Mapping[str, str | None]:
        """Return what it reads beside the service's model, such as adapters: hub ids, with commits."""
        return {}

    def environment(self, launch: Launch) -> dict[str, str]:  # noqa: ARG002 - subclasses use it
        """Return the variables the process needs; never a secret."""
        return {}

    def warm_up_requests(self) -> tuple[tuple[str, Mapping[str, object]], ...]:
        """Return requests that prove the engine answers, each a route and a JSON body.

        The first that it takes is what it is warmed up with; the model's name is added. An engine
        that speaks none of the OpenAI API returns none, and its readiness route alone counts.
        """
        return (_CHAT, _COMPLETION, _EMBEDDING, _RERANK, _SCORE, _CLASSIFY)

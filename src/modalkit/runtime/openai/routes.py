"""The routes: read, validate, hand to the backend, answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..observe.registry import CONTENT_TYPE
from .answers import Observed, StreamedAnswer, whole_answer
from .backend import Backend
from .chat_request import ChatBody
from .completion_request import CompletionBody, EmbeddingBody
from .fields import parse
from .metrics import Metrics
from .problems import ApiError, model_not_found, unsupported
from .replies import chat_choice, completion_choice, embeddings_body
from .sse import ChatChunks, CompletionChunks

__all__ = ["Routes"]

_MAX_BODY_BYTES = 32 * 2**20
_OPTION_PREFIX = "x-modalkit-"

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Form:
    """How one kind of answer is written."""

    prefix: str
    name: str
    chunks: type[ChatChunks | CompletionChunks]
    choice: Callable[..., dict[str, JsonValue]]


_CHAT = _Form("chatcmpl", "chat.completion", ChatChunks, chat_choice)
_COMPLETION = _Form("cmpl", "text_completion", CompletionChunks, completion_choice)


class Routes:
    """The OpenAI routes over one backend, plus `/health` and `/metrics`."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._created = int(time.time())
        self.ready = False

    def table(self) -> list[Route]:
        """Every path this process answers."""
        return [
            Route("/health", self._health),
            Route("/metrics", self._show_metrics),
            Route("/v1/models", self._list_models),
            Route("/v1/models/{model:path}", self._show_model),
            Route("/v1/chat/completions", self._when_ready(self._chat), methods=["POST"]),
            Route("/v1/completions", self._when_ready(self._complete), methods=["POST"]),
            Route("/v1/embeddings", self._when_ready(self._embed), methods=["POST"]),
        ]

    def _when_ready(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not self.ready:
                status = HTTPStatus.SERVICE_UNAVAILABLE
                raise ApiError(status, "The model is still loading.", retry_after_s=5)
            return await endpoint(request)

        return guarded

    async def _health(self, _: Request) -> Response:
        if self.ready:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "loading"}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def _show_metrics(self, _: Request) -> Response:
        page = self._metrics.expose(self._backend.current_load())
        return PlainTextResponse(page, media_type=CONTENT_TYPE)

    async def _list_models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def _show_model(self, request: Request) -> Response:
        self._check_model(request.path_params["model"])
        return JSONResponse(self._card())

    def _card(self) -> dict[str, JsonValue]:
        card = self._backend.card
        fields: dict[str, JsonValue] = {"id": card.id, "object": "model", "created": self._created}
        return {**fields, "owned_by": card.owned_by, "max_model_len": card.context_length}

    def _check_model(self, asked: str) -> None:
        if asked != self._backend.card.id:
            raise model_not_found(asked, self._backend.card.id)

    async def _chat(self, request: Request) -> Response:
        self._refuse_route("chat", "/v1/chat/completions")
        return await self._generate(request, ChatBody, _CHAT)

    async def _complete(self, request: Request) -> Response:
        self._refuse_route("completions", "/v1/completions")
        return await self._generate(request, CompletionBody, _COMPLETION)

    async def _generate(
        self, request: Request, kind: type[ChatBody | CompletionBody], form: _Form
    ) -> Response:
        """Start a generation; stream or gather it, as the request asks."""
        started = time.perf_counter()
        body = parse(kind, await _read(request))
        self._check_model(body.model)
        neutral = body.request(self._backend.capabilities, _options(request))
        generation = Observed(await self._backend.generate(neutral), self._metrics, started)
        answer_id, created = f"{form.prefix}-{uuid.uuid4().hex}", int(time.time())
        if body.streams:
            chunks = form.chunks(
                answer_id,
                created,
                body.model,
                with_usage=body.includes_usage,
                with_logprobs=body.wants_logprobs,
            )
            return StreamedAnswer(generation, chunks)
        envelope: dict[str, JsonValue] = {"id": answer_id, "object": form.name}
        envelope |= {"created": created, "model": body.model}
        count = len(neutral.prompts) * neutral.n
        choice = partial(form.choice, with_logprobs=body.wants_logprobs)
        return await whole_answer(generation, request.receive, envelope, count, choice)

    async def _embed(self, request: Request) -> Response:
        self._refuse_route("embeddings", "/v1/embeddings")
        started = time.perf_counter()
        body = parse(EmbeddingBody, await _read(request))
        self._check_model(body.model)
        result = await self._backend.embed(body.request(_options(request)))
        self._metrics.prompt_tokens.value += result.prompt_tokens
        self._metrics.duration.observe(time.perf_counter() - started)
        packed = body.encoding_format == "base64"
        return JSONResponse(embeddings_body(result, body.model, packed=packed))

    def _refuse_route(self, capability: str, route: str) -> None:
        if not getattr(self._backend.capabilities, capability):
            raise unsupported(
                param="model", instead=f"{self._backend.card.id!r} does not answer {route}."
            )


async def _read(request: Request) -> bytes:
    """The request body, refused before it can fill the memory."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > _MAX_BODY_BYTES:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise ApiError(status, f"The body is larger than {_MAX_BODY_BYTES} bytes.")
    return bytes(raw)


def _options(request: Request) -> Mapping[str, str]:
    """Headers for the backend, such as the stand-in engine's injected faults."""
    return {
        name.removeprefix(_OPTION_PREFIX): value
        for name, value in request.headers.items()
        if name.startswith(_OPTION_PREFIX)
    }

"""The transformers engine behind the OpenAI routes; PyTorch is imported only when it loads."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DeclarationError, MissingExtraError
from ..openai import (
    ApiError,
    Capabilities,
    EmbeddingRequest,
    Embeddings,
    Generation,
    GenerationRequest,
    Load,
    ModelCard,
)
from .options import EngineOptions

if TYPE_CHECKING:
    from .text_engine import TextEngine
    from .vector_engine import VectorEngine

__all__ = ["TransformersBackend"]

_OWNER = "modalkit-transformers"


class TransformersBackend:
    """One model, generating text or embedding it."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._text: TextEngine | None = None
        self._vectors: VectorEngine | None = None

    @property
    def card(self) -> ModelCard:
        """The served name, and the context length once loaded."""
        engine = self._text or self._vectors
        return ModelCard(self._options.name, _OWNER, engine.context_length if engine else None)

    @property
    def capabilities(self) -> Capabilities:
        """What the loaded model is for."""
        engine = self._text or self._vectors
        return engine.capabilities if engine else Capabilities()

    def load(self) -> str:
        """Import PyTorch and transformers, and load the model."""
        _check_folder(self._options.model)
        try:
            from .loading import load_engine  # noqa: PLC0415  seconds, and perhaps not installed
        except ImportError as error:
            feature = "The transformers engine"
            raise MissingExtraError(feature, "transformers") from error
        loaded = load_engine(self._options)
        self._text, self._vectors = loaded.text, loaded.vectors
        return loaded.summary

    def close(self) -> None:
        """Stop the model's thread."""
        if self._text is not None:
            self._text.close()
        if self._vectors is not None:
            self._vectors.close()

    def current_load(self) -> Load:
        """What runs and waits."""
        engine = self._text or self._vectors
        return engine.current_load() if engine else Load(0, 0)

    async def generate(self, request: GenerationRequest) -> Generation:
        """Queue a request for text."""
        if self._text is None:
            raise _not_this(self.card.id)
        return await self._text.generate(request)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Embed texts."""
        if self._vectors is None:
            raise _not_this(self.card.id)
        return await self._vectors.embed(request)


def _check_folder(model: str) -> None:
    """Refuse a path that holds no model before seconds go into imports and hub look-ups."""
    if not model.startswith(("/", ".")):
        return
    described = [name for name in ("config.json", "modules.json") if (Path(model) / name).is_file()]
    if not described:
        msg = (
            f"There is no model at {model!r} here: no {Path(model) / 'config.json'}. Write a folder "
            "beside the file (model = './x'), a path in a mounted WeightCache, or a hub id."
        )
        raise DeclarationError(msg)


def _not_this(model: str) -> ApiError:
    """The routes ask for `capabilities` first, so only a caller of this class sees it."""
    message = f"The model {model!r} is not for this kind of request."
    return ApiError(HTTPStatus.BAD_REQUEST, message, param="model")

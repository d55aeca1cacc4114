"""Speculative decoding: a cheap guess of the next tokens that the model then checks in one step."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from .._values import Value
from ..errors import DeclarationError

__all__ = ["Speculative"]


class Speculative(Value):
    """How tokens are guessed ahead; the answer's distribution does not change.

    It pays at low concurrency, where a decode step leaves the GPU's arithmetic idle.

    Args:
        method: ``"eagle"`` or ``"eagle3"`` (a head trained for the model), ``"draft_model"`` (a
            small model of the same family), ``"mtp"`` (the model's own next-token layers, as in
            DeepSeek V3) or ``"ngram"`` (copies from the prompt; no weights).
        draft_tokens: Tokens guessed per step. Default 3.
        draft_model: Hub id or path of the head or small model; required for ``"eagle"``,
            ``"eagle3"`` and ``"draft_model"``, allowed for ``"mtp"``.

    Raises:
        DeclarationError: A method without the weights it needs, or with weights it has no use for.

    Examples:
        >>> Speculative(method="mtp").draft_tokens
        3
        >>> Speculative(method="eagle3")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Speculative(method='eagle3') needs the weights that guess. Write draft_model='org/name'.
    """

    method: Literal["draft_model", "eagle", "eagle3", "mtp", "ngram"]
    draft_tokens: PositiveInt = 3
    draft_model: str | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.draft_model is None and self.method in {"draft_model", "eagle", "eagle3"}:
            msg = (
                f"Speculative(method={self.method!r}) needs the weights that guess. "
                "Write draft_model='org/name'."
            )
            raise DeclarationError(msg)
        if self.draft_model is not None and self.method == "ngram":
            msg = "Speculative(method='ngram') guesses without weights. Leave draft_model out."
            raise DeclarationError(msg)
        return self

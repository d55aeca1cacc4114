"""The transformers engine: a model of the transformers library behind the OpenAI API.

Start it with ``python -m modalkit.runtime.transformers --model DIR_OR_ID --port N``. It batches
continuously: requests join and leave the running batch at every token.
"""

from __future__ import annotations

from .backend import TransformersBackend
from .options import EngineOptions

__all__ = ["EngineOptions", "TransformersBackend"]

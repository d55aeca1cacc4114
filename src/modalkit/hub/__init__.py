"""What the model hub says of a model."""

from __future__ import annotations

from .headers import facts_of, read_headers
from .models import HubFile, HubListing, HubModel, find_model, list_files

__all__ = [
    "HubFile",
    "HubListing",
    "HubModel",
    "facts_of",
    "find_model",
    "list_files",
    "read_headers",
]

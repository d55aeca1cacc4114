"""What the model hub says of a model."""

from __future__ import annotations

from .models import HubFile, HubListing, HubModel, find_model, list_files, stored_parameters

__all__ = ["HubFile", "HubListing", "HubModel", "find_model", "list_files", "stored_parameters"]

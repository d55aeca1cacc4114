"""What a service costs, from plans and rates."""

from __future__ import annotations

from .quote import Asked, ContainerPrice, Month, Quote, container_price, quote

__all__ = ["Asked", "ContainerPrice", "Month", "Quote", "container_price", "quote"]

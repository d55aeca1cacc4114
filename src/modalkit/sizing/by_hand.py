"""What every refusal to size a model says that its user can do."""

from __future__ import annotations

__all__ = ["BY_HAND"]

BY_HAND = (
    "State it by hand: ModelFacts(name=..., total_parameters=..., active_parameters=..., weight_bytes=..., "
    "loaded_bytes=..., cache=(CacheLayer(...),) * layers, attention_heads=..., kv_heads=..., "
    "max_context=..., hidden_size=...) and size(facts), or as facts = ... in a service, as docs/sizing.md shows; or upgrade modalkit."
)

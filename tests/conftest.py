"""Settings for the whole suite."""

from __future__ import annotations

from hypothesis import settings

# No property is about time, and a busy machine can make any example slow.
settings.register_profile("modalkit", deadline=None)
settings.load_profile("modalkit")

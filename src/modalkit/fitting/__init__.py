"""From a service's declarations and the facts of its model to the GPUs that hold it.

    demands     what its engine asks of each GPU choice, as one value
    choosing    a `GPUProfile.fit` made a profile

Pure: what comes out depends on the declarations, the facts and the dated price list alone.
"""

from __future__ import annotations

from .choosing import Fitted, fit_service
from .demands import demand_of, engine_name

__all__ = ["Fitted", "demand_of", "engine_name", "fit_service"]

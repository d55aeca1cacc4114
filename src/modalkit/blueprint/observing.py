"""What a service tells of itself, and whom: for the plan. Pure."""

from __future__ import annotations

from ..declare.key_shapes import without_credentials
from ..plan import ServicePlan
from ..service import ModelService
from .values import ObservedUse

__all__ = ["observed_use", "observed_words"]

_READERS = {"open": "anyone", "key": "whoever may call", "closed": "nobody"}
_LOGS = {"requests": "a line a request", "prompts": "a line a request, with prompts"}
_TESTS = {
    "engine": "the engine's, and a request of its own after one that failed",
    "self_test": "self_test",
    "warm": "a model that has started",
}


def observed_use(service: type[ModelService], plan: ServicePlan) -> ObservedUse:
    """Return what is watched of a service, and who is told."""
    endpoint, hook = plan.endpoint, plan.on_failure
    tested = service.self_test is not ModelService.self_test
    return ObservedUse(
        health=endpoint.health if endpoint else "closed",
        health_is="engine" if plan.engine else "self_test" if tested else "warm",
        metrics=endpoint.metrics if endpoint else "closed",
        log=endpoint.access_log if endpoint else "off",
        traces=without_credentials(plan.tracing) if plan.tracing else None,
        failures=hook.target if hook else None,
        events=hook.events if hook else (),
    )


def observed_words(observed: ObservedUse) -> str:
    """Return it in words, on one line."""
    parts = [f"/metrics for {_READERS[observed.metrics]}"]
    if observed.health != "closed":
        parts.append(f"/health is {_TESTS[observed.health_is]}")
    if observed.log != "off":
        parts.append(f"log: {_LOGS[observed.log]}")
    if observed.traces is not None:
        parts.append(f"traces to {observed.traces}")
    if observed.failures is not None:
        parts.append(f"failures to {observed.failures} ({', '.join(observed.events)})")
    return "; ".join(parts)

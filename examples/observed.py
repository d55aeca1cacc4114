"""Two services that tell of themselves: metrics, health, traces and failures.

modalkit local modal secret create otel OTEL_EXPORTER_OTLP_ENDPOINT=https://otel.example.com
modalkit local modal secret create alerts MODALKIT_WEBHOOK_URL=https://alerts.example.com/hook
modalkit local modal deploy examples/observed.py
"""

from __future__ import annotations

import modal

from modalkit import Endpoint, ModelService, Secret, Webhook, endpoint, request_id, serve, traced

app = modal.App("observed")


class Watched(ModelService):
    """What both services declare: where traces go, and who is told of failures."""

    secrets = (Secret("otel", keys=["OTEL_EXPORTER_OTLP_ENDPOINT"]),)
    on_failure = Webhook(Secret("alerts"), failures=3)


@serve(app)
class Scores(Watched):
    """Scores a text: the longer the better."""

    @endpoint("/score")
    def score(self, text: str) -> float:
        """Score a text from 0 to 1; an empty one is nothing to score."""
        if not text:
            raise ValueError
        return min(1.0, len(text) / 100)


@serve(app)
class Reviews(Watched):
    """Asks the other service, within the same trace."""

    api = Endpoint(public=True, metrics="open")

    def self_test(self) -> None:
        if self.verdict(0.9) != "good":
            raise AssertionError

    def verdict(self, score: float) -> str:
        return "good" if round(score) else "short"

    @endpoint("/review")
    async def review(self, text: str) -> str:
        """Say whether a text is a good one."""
        score = await traced(Scores().score).remote.aio(text)
        print(f"{request_id()}: {score}")
        return self.verdict(score)

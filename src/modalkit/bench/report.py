"""Everything a bench found, as data: what ``--json`` writes, ``--compare`` and ``modalkit plan --bench`` read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from .._values import Value
from ..errors import DeclarationError
from ..pricing.month import Throughput
from .headroom import Headroom
from .percentiles import Distribution, Estimate
from .probing import ColdReport
from .workload import Kind

__all__ = ["BenchReport", "Moment", "Price", "Rule", "StageReport", "figures", "read_report"]

_SCHEMA: Literal["modalkit.bench/1"] = "modalkit.bench/1"
_PERCENTILES = ("p50", "p90", "p95", "p99")


class Rule(Value):
    """The estimation rule ``P90 TTLT = P90 TTFT + P90 ITL * tokens`` beside what was measured.

    Attributes:
        tokens: The 90th percentile of the answers' tokens.
        estimated_p90_ms: What the rule says.
        measured_p90_ms: What was measured.
    """

    tokens: float
    estimated_p90_ms: float
    measured_p90_ms: float

    @property
    def off(self) -> float:
        """How far the rule is off: 0.1 where it says a tenth too much."""
        return self.estimated_p90_ms / self.measured_p90_ms - 1 if self.measured_p90_ms else 0.0


class Moment(Value):
    """A piece of the measured time.

    Attributes:
        at_s: Its middle, in seconds from the start.
        requests_per_s: Good answers in it.
        tokens_per_s: Tokens that came in it.
        errors: Requests that failed in it.
        first_p50_ms: Median time to the first token, or to the answer, of the requests due in it.
        last_p50_ms: Median time to the end of the answer, likewise.
        last_p99_ms: The 99th percentile of that.
    """

    at_s: float
    requests_per_s: float
    tokens_per_s: float
    errors: int
    first_p50_ms: float | None = None
    last_p50_ms: float | None = None
    last_p99_ms: float | None = None


class Price(Value):
    """What the endpoint's containers cost while they are loaded.

    Attributes:
        usd_per_hour: All of them together.
        containers: How many.
        of: What was priced.
        source: Where the prices are from.
    """

    usd_per_hour: float
    containers: int
    of: str
    source: str


class StageReport(Value):
    """One load and what it came to. Times are in milliseconds, and of good answers alone.

    Attributes:
        load: ``c8`` is a closed loop of eight clients, ``r2.5`` an open loop of 2.5 requests a second.
        concurrency: Clients of a closed loop.
        rate: Requests a second of an open loop.
        seconds: The measured time.
        requests: Requests that were due in it.
        answered: Those with a good answer.
        errors: How many failed, by class.
        messages: What one of each class said.
        in_flight: Requests under way, on average.
        requests_per_s: Good answers a second.
        tokens_per_s: Answer tokens a second; None where none are counted.
        prompt_tokens_per_s: Prompt tokens a second, likewise.
        tokens_in: Prompt tokens of a request, on average.
        tokens_out: Answer tokens, likewise.
        tokens_per_chunk: Tokens that come at once; gaps between tokens are gaps between those.
        ttft_ms: To the first token, of streams.
        itl_ms: Between tokens, of streams.
        tpot_ms: From the first token to the last, by token: the mean gap of each answer.
        ttlt_ms: To the last token, or to the whole answer.
        rule: The estimation rule.
        usd_per_million_tokens: Prompt and answer tokens, if a price is known.
        usd_per_million_answer_tokens: Answer tokens alone bear it all.
        usd_per_thousand_requests: Likewise by request.
        headroom: The generator's own.
        timeline: The measured time in pieces.
        notes: What a reader must know to believe the figures.
    """

    load: str
    concurrency: int | None = None
    rate: float | None = None
    seconds: float
    requests: int
    answered: int
    errors: Mapping[str, int] = Field(default_factory=dict)
    messages: Mapping[str, str] = Field(default_factory=dict)
    in_flight: float
    requests_per_s: Estimate
    tokens_per_s: Estimate | None = None
    prompt_tokens_per_s: float | None = None
    tokens_in: float | None = None
    tokens_out: float | None = None
    tokens_per_chunk: float | None = None
    ttft_ms: Distribution | None = None
    itl_ms: Distribution | None = None
    tpot_ms: Distribution | None = None
    ttlt_ms: Distribution | None = None
    rule: Rule | None = None
    usd_per_million_tokens: float | None = None
    usd_per_million_answer_tokens: float | None = None
    usd_per_thousand_requests: float | None = None
    headroom: Headroom
    timeline: tuple[Moment, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def error_rate(self) -> float:
        """The share of requests that failed."""
        return sum(self.errors.values()) / self.requests if self.requests else 0.0


class BenchReport(Value):
    """A whole bench.

    Attributes:
        form: What this file is.
        modalkit: The version that wrote it.
        began_at: When, in ISO 8601.
        target: The endpoint's address, without query.
        kind: What it speaks.
        model: The model's name; empty for a typed route.
        workload: What was sent.
        warm_up_s: Seconds of each load that were cut off.
        seed: What the requests and their moments were drawn from.
        machine: Of the generator: its cores and its load average at the start.
        cold: The first answer; None where it was not measured.
        price: What it costs; None where that is not known.
        stages: A load each.
        container: What one container does at its best, as ``modalkit plan --bench`` reads it.
        interrupted: Whether the user ended it early.
        notes: What a reader must know.
    """

    form: Literal["modalkit.bench/1"] = _SCHEMA
    modalkit: str
    began_at: str
    target: str
    kind: Kind
    model: str = ""
    workload: str
    warm_up_s: float
    seed: int
    machine: str
    cold: ColdReport | None = None
    price: Price | None = None
    stages: tuple[StageReport, ...] = ()
    container: Throughput | None = None
    interrupted: bool = False
    notes: tuple[str, ...] = ()


def figures(stage: StageReport) -> dict[str, float]:
    """Return every figure of a load by the name that ``--fail-if`` and comparisons use.

    Examples: ``ttft_p90_ms``, ``itl_mean_ms``, ``ttlt_max_ms``, ``tokens_per_s``, ``error_rate``.
    """
    found: dict[str, float | None] = {
        "requests": stage.requests,
        "requests_per_s": stage.requests_per_s.value,
        "tokens_per_s": stage.tokens_per_s.value if stage.tokens_per_s else None,
        "prompt_tokens_per_s": stage.prompt_tokens_per_s,
        "errors": sum(stage.errors.values()),
        "error_rate": stage.error_rate,
        "usd_per_million_tokens": stage.usd_per_million_tokens,
        "usd_per_million_answer_tokens": stage.usd_per_million_answer_tokens,
        "usd_per_thousand_requests": stage.usd_per_thousand_requests,
        "generator_cpu_share": stage.headroom.cpu_share,
    }
    for name in ("ttft", "itl", "tpot", "ttlt"):
        told: Distribution | None = getattr(stage, f"{name}_ms")
        if told is not None:
            found |= {f"{name}_{one}_ms": getattr(told, one).value for one in _PERCENTILES}
            found |= {f"{name}_mean_ms": told.mean, f"{name}_max_ms": told.most}
    return {name: value for name, value in found.items() if value is not None}


def read_report(path: str | Path) -> BenchReport:
    """Read what ``--json`` wrote.

    Raises:
        DeclarationError: It is no such file.
    """
    try:
        return BenchReport(**json.loads(Path(path).read_text("utf-8")))
    except (OSError, ValueError, TypeError, ValidationError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{str(path)!r} is no bench report ({reason}). Write one with: modalkit bench ... --json > old.json"
        raise DeclarationError(msg) from error

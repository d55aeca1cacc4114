"""Reports: the page, comparisons, prices, what a plan reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from modalkit.bench.comparing import changes
from modalkit.bench.cost import best_container, price_of_gpu, priced
from modalkit.bench.headroom import Headroom
from modalkit.bench.page import page
from modalkit.bench.percentiles import Estimate, distribution
from modalkit.bench.probing import ColdReport
from modalkit.bench.report import BenchReport, Moment, StageReport, figures

QUIET = Headroom(cpu_share=0.1, loop_lag_p99_ms=0.1, send_lag_p99_ms=0.1, connections=1)


def stage(concurrency: int, ms: float, tokens_per_s: float | None = 1000.0) -> StageReport:
    """A load whose answers took about so long."""
    times = distribution([[ms * (0.9 + share / 500)] for share in range(100)])
    streams = tokens_per_s is not None
    return StageReport(
        load=f"c{concurrency}",
        concurrency=concurrency,
        seconds=10,
        requests=100,
        answered=98,
        errors={"http 429": 2},
        messages={"http 429": "<script>alert(1)</script>"},
        in_flight=concurrency,
        requests_per_s=Estimate(value=10, low=9, high=11),
        tokens_per_s=Estimate(value=tokens_per_s, low=tokens_per_s, high=tokens_per_s) if streams else None,
        prompt_tokens_per_s=3000.0 if streams else None,
        ttft_ms=times if streams else None,
        itl_ms=times if streams else None,
        ttlt_ms=times,
        headroom=QUIET,
        timeline=(
            Moment(at_s=1, requests_per_s=10, tokens_per_s=1, errors=2, first_p50_ms=ms, last_p50_ms=ms, last_p99_ms=ms),
            Moment(at_s=3, requests_per_s=10, tokens_per_s=1, errors=0, first_p50_ms=ms, last_p50_ms=ms, last_p99_ms=ms),
        ),
    )  # fmt: skip


def report(*stages: StageReport) -> BenchReport:
    """A bench of these loads."""
    return BenchReport(
        modalkit="1",
        began_at="2026-11-21T12:00:00+00:00",
        target="http://x/<b>",
        kind="chat",
        workload="500:200 tokens",
        warm_up_s=1,
        seed=0,
        machine="2 cores",
        stages=stages,
    )


@pytest.mark.parametrize(
    "whole",
    [
        report(stage(1, 20), stage(8, 40)),
        report(stage(1, 20, None)),
        report(stage(4, 0.5)),
        report(),
    ],
)
def test_a_page_needs_nothing_else(whole):
    """The page is one file: no address of another, no script, every drawing well-formed."""
    text = page(whole, whole)
    assert not re.findall(r"""(src|href)=["']?http|@import|url\(|<script""", text)
    assert "&lt;b&gt;" in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert "nan" not in drawing
        ET.fromstring(drawing)


def test_a_comparison_knows_chance_from_change():
    """Twice as slow is worse; the same again is chance; a throughput that falls is worse too."""
    old, new = report(stage(1, 20), stage(8, 40, 1000.0)), report(stage(1, 20), stage(8, 80, 500.0))
    found = {(one.load, one.figure): one for one in changes(old, new)}
    assert found["c1", "ttft_p90_ms"].sure is False
    slower = found["c8", "ttft_p90_ms"]
    assert (slower.sure, slower.better, slower.percent) == (True, False, 100.0)
    fewer = found["c8", "tokens_per_s"]
    assert (fewer.sure, fewer.better, fewer.percent) == (True, False, -50.0)


def test_a_million_tokens_cost_the_hour_over_the_tokens_of_an_hour():
    """$/1M tokens is the containers' price over prompt and answer tokens."""
    price = price_of_gpu("L4", 2)
    found = priced(stage(8, 20), price)
    per_million = price.usd_per_hour / 3600 / 4000 * 1e6
    assert found.usd_per_million_tokens == pytest.approx(per_million, rel=1e-4)
    assert found.usd_per_million_answer_tokens == pytest.approx(4 * per_million, rel=1e-4)
    assert figures(found)["usd_per_thousand_requests"] > 0


def test_the_best_load_is_what_a_container_does():
    """The load with the most tokens counts, divided by the containers; a cold start is told."""
    cold = ColdReport(first_answer_s=31, warm_answer_s=1, start_s=30, was_cold=True)
    found = best_container([stage(1, 20, 100.0), stage(8, 40, 900.0)], 2, cold)
    assert (found.slots, found.tokens_per_s, found.cold_start_s) == (4, 450.0, 30)
    typed = best_container([stage(8, 40, None)], 1, None)
    assert (typed.slots, typed.request_s) == (8, 0.8)
    assert best_container([], 1, None) is None

"""What is measured against servers whose latencies are known, in closed and open loops."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time

import pytest

from modalkit.bench.loads import Load, Stage, poisson
from modalkit.bench.measuring import Measured, Run
from modalkit.bench.summaries import summary
from modalkit.bench.target import parse_url
from modalkit.bench.wire import Client
from modalkit.bench.workload import Fixed

from .conftest import END, STREAM, token, usage, whole


def measure(url: str, stage: Stage) -> Measured:
    """Keep a load up and return what was seen."""

    async def measured() -> Measured:
        target = parse_url(url, {})
        client = Client(target, 60)
        try:
            return await Run(
                client, Fixed(target, "/x", "POST", [b"{}"]), stage, lambda _: None
            ).measured()
        finally:
            client.close()

    return asyncio.run(measured())


def told(measured: Measured):
    """The figures of a load."""
    return summary(measured, str)


def test_known_latencies_are_measured(stand_in):
    """The client's first and last token agree with what the server itself saw of each request.

    The server writes down, by the same clock, when a request arrived and when it wrote each token, so
    that the test holds whatever the machine is doing.
    """
    wrote: list[tuple[float, float, float]] = []
    chance = random.Random(1)

    async def reply(_path, _body, writer):
        arrived = time.perf_counter()
        await asyncio.sleep(chance.expovariate(1 / 0.02))
        first = time.perf_counter()
        writer.write(STREAM + token())
        for _ in range(5):
            await writer.drain()
            await asyncio.sleep(0.002)
            last = time.perf_counter()
            writer.write(token())
        writer.write(usage(3, 6) + END)
        wrote.append((arrived, first, last))

    measured = measure(stand_in(reply).url, Stage(load=Load(concurrency=1), requests=200))
    found = told(measured)
    assert found.answered == 200
    assert found.tokens_out == 6
    pairs = list(zip(measured.answers, wrote, strict=True))
    late = sorted((one.stamps[0] - one.intended) - (first - at) for one, (at, first, _) in pairs)
    late_last = sorted(
        (one.stamps[-1] - one.intended) - (last - at) for one, (at, _, last) in pairs
    )
    for lags in (late, late_last):  # the wire and two event loops add a little, and never take away
        assert lags[0] >= -1e-4
        assert lags[100] < 0.02
    firsts = sorted(1000 * (one.stamps[0] - one.intended) for one in measured.answers)
    assert firsts[99] <= found.ttft_ms.p50.value <= firsts[100]
    assert found.rule.tokens == 6


@pytest.mark.parametrize("load", [Load(concurrency=1), Load(rate=100)])
def test_a_stall_is_felt_by_every_request_due_in_it(stand_in, load):
    """A closed loop sees a stall once; an open loop counts every request that was due meanwhile."""
    stall_s, stalls = 1.0, [True]

    async def reply(_path, _body, writer):
        if stalls and len(server.moments) >= 20:
            stalls.clear()
            time.sleep(stall_s)  # noqa: ASYNC251 - the whole server stands still
        writer.write(whole("200 OK", b"{}"))

    server = stand_in(reply)
    measured = measure(server.url, Stage(load=load, requests=300))
    felt = [one for one in measured.answers if one.ended - one.intended > stall_s / 2]
    if load.kind == "closed":
        assert 1 <= len(felt) <= 3  # a busy machine may add one
    else:  # about fifty are due in the first half of the stall
        assert len(felt) >= 25


def test_poisson_moments_have_the_rate_and_the_chance_of_a_poisson_process():
    """Gaps are exponential: their mean is 1/rate, and so is their deviation; a seed repeats them."""
    moments = poisson(50, random.Random(7))
    at = [next(moments) for _ in range(20_000)]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert abs(mean * 50 - 1) < 0.03
    assert abs(deviation * 50 - 1) < 0.03
    again = poisson(50, random.Random(7))
    assert [next(again) for _ in range(100)] == at[:100]


def test_an_open_loop_sends_when_requests_are_due(stand_in):
    """As many requests arrive as were due, though each takes longer than the gap to the next."""

    async def reply(_path, _body, writer):
        await asyncio.sleep(0.2)
        writer.write(whole("200 OK", b"{}"))

    server = stand_in(reply)
    measured = measure(server.url, Stage(load=Load(rate=100), requests=150))
    assert len(measured.answers) == 150
    assert len(server.moments) == len(measured.answers) + len(measured.before)
    assert told(measured).in_flight > 5


def test_the_warm_up_is_cut_off(stand_in):
    """What was slow at first is in no percentile, and every client had its answer before."""

    async def reply(_path, _body, writer):
        if len(server.moments) <= 4:
            await asyncio.sleep(1.5)
        writer.write(whole("200 OK", b"{}"))

    server = stand_in(reply)
    stage = Stage(load=Load(concurrency=4), requests=40, warm_up_s=0.1)
    measured = measure(server.url, stage)
    assert len(measured.answers) == 40
    assert len(measured.before) >= 4
    first_sent = sorted([*measured.before, *measured.answers], key=lambda one: one.sent)
    assert all(one in measured.before for one in first_sent[:4])


def test_failures_are_counted_by_class_and_not_as_latency(stand_in):
    """Every fourth request is refused: the rate is right, and only good answers have latencies."""

    async def reply(_path, _body, writer):
        bad = len(server.moments) % 4 == 0
        writer.write(whole("429 Too Many Requests", b"later") if bad else whole("200 OK", b"{}"))

    server = stand_in(reply)
    found = told(measure(server.url, Stage(load=Load(concurrency=1), requests=40)))
    assert found.errors == {"http 429": 10}
    assert found.error_rate == 0.25
    assert found.ttlt_ms.count == found.answered == 30
    assert found.messages["http 429"] == "later"


def test_an_endpoint_that_cannot_keep_up_is_named(stand_in):
    """More is due than is answered: a note says so."""
    turn = asyncio.Lock()

    async def reply(_path, _body, writer):
        async with turn:
            await asyncio.sleep(0.1)
        writer.write(whole("200 OK", b"{}"))

    found = told(measure(stand_in(reply).url, Stage(load=Load(rate=60), duration_s=2)))
    assert any("does not keep up" in note for note in found.notes)


def test_tokens_are_counted_in_the_time_they_came(stand_in):
    """The throughput of a load is the tokens of its time, as the server counts them."""

    async def reply(_path, _body, writer):
        writer.write(STREAM + token() + usage(10, 8) + END)

    measured = measure(stand_in(reply).url, Stage(load=Load(concurrency=2), requests=100))
    found = told(measured)
    assert found.tokens_per_chunk == 8
    assert any("8.0 tokens come at once" in note for note in found.notes)
    seconds = measured.ended - measured.begun
    assert found.tokens_per_s.value * seconds == pytest.approx(800, rel=0.02)
    assert found.prompt_tokens_per_s * seconds == pytest.approx(1000, rel=0.02)


def test_secrets_are_in_no_message(stand_in):
    """A server that repeats the key in its error does not bring it into a report."""

    async def reply(_path, _body, writer):
        writer.write(whole("401 Unauthorized", json.dumps({"key": "sk-secret-value"}).encode()))

    server = stand_in(reply)
    target = parse_url(server.url, {"Authorization": "Bearer sk-secret-value"})
    measured = measure(server.url, Stage(load=Load(concurrency=1), requests=2))
    found = summary(measured, target.without_secrets)
    assert found.messages["http 401"] == '{"key": "***"}'

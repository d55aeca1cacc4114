"""Prices: containers, hours, and months held against a simulation of the events themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from modalkit.declare.gpu import GPUProfile, catalogue_date, gpu_catalogue
from modalkit.declare.resources import Resources
from modalkit.declare.scaling import Scaling
from modalkit.engines import VLLM
from modalkit.errors import DeclarationError
from modalkit.plan import ServicePlan, plan_service
from modalkit.pricing import Quote, container_price, quote
from modalkit.pricing.month import HOURS_PER_MONTH, Throughput, Traffic, day
from modalkit.pricing.rates import Rates
from modalkit.service import ModelService

RATES = Rates.offline()
SPEED = Throughput(slots=8, tokens_per_s=400, cold_start_s=60)


def served(gpu: GPUProfile | None = None, **declared: object) -> ServicePlan:
    """The plan of a service with these declarations."""
    body = {"model": "Qwen/Qwen3-8B", "engine": VLLM(), "gpu": gpu or GPUProfile("L40S")}
    return plan_service(type("Chat", (ModelService,), body | declared))


def test_offline_rates_are_the_catalogues():
    """The list prices are those of the data file, by the second, and carry its date."""
    assert RATES.read_on == catalogue_date()
    for gpu in gpu_catalogue().values():
        assert RATES.gpu_hour[gpu.name] == pytest.approx(gpu.usd_per_hour, abs=0.01)
    assert RATES.core_hour == pytest.approx(0.0473, rel=0.01)
    assert RATES.gib_hour == pytest.approx(0.008, rel=0.01)


def test_an_accounts_rates_are_laid_over_the_list():
    """A rate of the account replaces the list's, others stay, and what differs is named."""
    billed = {"gpu_hour_cost_h100": 3.0, "cpu_hour_cost": 0.0473, "gpu_hour_cost_t4": 0.59}
    own = RATES.with_billed(billed, "2026-11-21")
    assert own.gpu_hour["H100"] == 3.0
    assert own.gpu_hour["L4"] == RATES.gpu_hour["L4"]
    assert own.read_on == "2026-11-21"
    assert [one.rate for one in RATES.differences(billed)] == ["gpu_hour_cost_h100"]


def test_a_container_costs_its_gpus_cores_and_memory():
    """Requests are what counts, not limits; the dearest fallback is priced beside the first choice."""
    gpu = GPUProfile("L40S", count=2, fallbacks=["H100"])
    price = container_price(gpu, Resources(cpu=(4, 8), memory_mib=(8192, 16384)), RATES)
    assert price.gpu == pytest.approx(2 * 0.000542 * 3600)
    assert price.dearest_gpu == pytest.approx(2 * 0.001097 * 3600)
    assert price.cpu == pytest.approx(4 * 0.0000131 * 3600)
    assert price.memory == pytest.approx(8 * 0.00000222 * 3600)
    assert price.total < price.dearest


def test_a_container_that_asks_for_nothing_pays_the_reservation():
    """Without resources Modal reserves an eighth of a core and 128 MiB."""
    price = container_price(None, Resources(), RATES)
    assert price.total == pytest.approx(0.125 * (0.0000131 + 0.00000222) * 3600)


def test_disk_raises_the_memory():
    """Memory is billed as a twentieth of the local disk where that is more than asked for."""
    large = container_price(None, Resources(memory_mib=1024, disk_mib=512_000), RATES)
    assert large.memory == pytest.approx(25 * RATES.gib_hour)
    small = container_price(None, Resources(memory_mib=1024, disk_mib=1024), RATES)
    assert small.memory == pytest.approx(RATES.gib_hour)


@pytest.mark.parametrize(
    ("regions", "factor"),
    [
        ([], 1),
        (["us"], 1.5),
        (["us-west"], 1.75),
        (["us-west", "eu-north"], 1.75),
        (["us-west", "eu"], 1.5),
    ],
)
def test_a_region_raises_everything_of_a_container(regions, factor):
    """A narrow region costs more than a broad one; the lower factor applies to a mix."""
    plain = container_price(GPUProfile("H100"), Resources(), RATES)
    chosen = container_price(GPUProfile("H100"), Resources(region=regions), RATES)
    assert chosen.total == pytest.approx(factor * plain.total)


def test_a_quote_says_its_region_its_source_and_its_date():
    """The factor that everything counts already is shown, and the text names where prices are from."""
    plain = quote(served(), RATES)
    assert plain.container.region == 1
    abroad = quote(served(resources=Resources(region="us-east")), RATES)
    assert abroad.container.region == RATES.narrow_region
    assert abroad.container.total == pytest.approx(plain.container.total * RATES.narrow_region)
    assert str(plain).endswith(f"({RATES.source}, {RATES.read_on})")


def test_a_speed_alone_prices_a_million_answer_tokens():
    """Without any traffic, a container that is always full costs its hour over what it answers."""
    slow, fast = SPEED, SPEED.model_copy(update={"tokens_per_s": 800})
    price = quote(served(), RATES, throughput=(slow, fast))
    assert price.month is None
    assert price.million_answer_tokens is not None
    cheap, dear = price.million_answer_tokens
    assert dear == pytest.approx(price.container.total / 3600 / 400 * 1e6)
    assert cheap == pytest.approx(dear / 2)
    by_request = Throughput(request_s=2.0)
    assert quote(served(), RATES, throughput=(by_request, by_request)).million_answer_tokens is None


def test_never_moved_costs_more_without_a_gpu_only():
    """``nonpreemptible`` triples CPU and memory of a CPU container and never touches a GPU's price."""
    kept = Resources(cpu=1, nonpreemptible=True)
    assert container_price(None, kept, RATES).cpu == pytest.approx(3 * RATES.core_hour)
    with_gpu = container_price(GPUProfile("H100"), kept, RATES)
    assert with_gpu == container_price(GPUProfile("H100"), Resources(cpu=1), RATES)


def test_a_gpu_without_a_price_is_named():
    """An unlisted type counts as nothing and is named, so that no quote hides it."""
    price = container_price(GPUProfile("C900:2", unlisted=True), Resources(), RATES)
    assert price.gpu == 0
    assert price.unpriced == ("C900:2",)


def test_the_hour_is_bounded_by_min_and_max_containers():
    """At rest only ``min_containers`` cost; at most ``max_containers`` do, on the dearest choice."""
    gpu = GPUProfile("L40S", fallbacks=["H100"])
    priced = quote(served(gpu, scaling=Scaling(min_containers=1, max_containers=3)))
    assert priced.least_hour == pytest.approx(priced.container.total)
    assert priced.most_hour == pytest.approx(3 * priced.container.dearest)
    assert quote(served(gpu)).least_hour == 0
    assert quote(served(gpu)).most_hour is None


def test_nothing_asked_costs_what_is_kept():
    """Without a request a month costs ``min_containers`` around the clock and the Volumes."""
    plan = served(scaling=Scaling(min_containers=2))
    priced = quote(
        plan, traffic=Traffic(requests_per_day=0), throughput=(SPEED, SPEED), stored_gib=100
    )
    assert priced.month is not None
    assert priced.month.total == pytest.approx(priced.least_month)
    assert priced.storage_month == pytest.approx(9.0)
    assert priced.month.usd_per_million_tokens is None


def test_a_full_container_costs_its_throughput():
    """With every slot busy all day a million tokens cost what the container answers in that time."""
    speed = Throughput(slots=1, tokens_per_s=1000, cold_start_s=0)
    traffic = Traffic(requests_per_day=86_400 * 3.9, tokens_in=0, tokens_out=1000, burstiness=1)
    plan = served(scaling=Scaling(max_containers=4))
    month = quote(plan, traffic=traffic, throughput=(speed, speed)).month
    assert month is not None
    hour = quote(plan).container.total
    assert month.usd_per_million_tokens == pytest.approx(hour / 3.6, rel=0.03)
    assert not month.overloaded


def test_more_than_the_containers_can_answer_is_said():
    """A traffic above what ``max_containers`` answer in a day is marked, and costs all of them."""
    traffic = Traffic(requests_per_day=2_000_000, tokens_out=1000)
    plan = served(scaling=Scaling(max_containers=2))
    priced = quote(plan, traffic=traffic, throughput=(SPEED, SPEED))
    assert priced.month is not None
    assert priced.month.overloaded
    whole = 2 * priced.container.total * HOURS_PER_MONTH
    assert priced.month.total == pytest.approx(whole, rel=0.001)


def test_a_container_for_every_request_starts_every_time():
    """``single_use`` pays a cold start for every request and never waits."""
    speed = Throughput(request_s=10, cold_start_s=50)
    asked = day(Scaling(single_use=True), Traffic(requests_per_day=100), speed)
    assert asked.cold_starts == 100
    assert asked.total_s == pytest.approx(100 * 60)


def test_absurd_traffic_is_refused():
    """Traffic for more containers than any account has is an error that says what to check."""
    with pytest.raises(DeclarationError, match="Check its requests and tokens"):
        day(Scaling(), Traffic(requests_per_day=1e8), Throughput(request_s=60))


# ── the month against the events ────────────────────────────────────────────────────────────────


class Container:
    """A container of the simulation: when it is ready, and when each of its requests ends."""

    def __init__(self, started: float, ready: float) -> None:
        self.started, self.ready = started, ready
        self.ends: list[float] = []


def simulated(
    scaling: Scaling, traffic: Traffic, speed: Throughput, days: int
) -> tuple[float, float]:
    """Container-seconds and starts in a day: every request goes to the first container with a slot."""
    assert speed.request_s is not None
    pool: list[Container | None] = []
    billed = starts = 0.0
    window = scaling.scaledown_window
    for now in arrivals(traffic, days):
        for index, one in enumerate(pool):
            if one is not None and max(one.ends) + window <= now:
                billed += max(one.ends) + window - one.started
                pool[index] = None
        awake = [one for one in pool if one is not None]
        for one in awake:
            one.ends = [end for end in one.ends if end > now] or [max(one.ends)]
        free = [one for one in awake if sum(end > now for end in one.ends) < speed.slots]
        if free:
            free[0].ends.append(max(now, free[0].ready) + speed.request_s)
        elif len(awake) == scaling.max_containers:
            soonest = min(awake, key=lambda one: sorted(one.ends)[-speed.slots])
            begin = max(sorted(soonest.ends)[-speed.slots], soonest.ready)
            soonest.ends.append(begin + speed.request_s)
        else:
            starts += 1
            new = Container(now, now + speed.cold_start_s)
            new.ends.append(new.ready + speed.request_s)
            place = pool.index(None) if None in pool else len(pool)
            pool[place : place + 1] = [new]
    billed += sum(max(one.ends) + window - one.started for one in pool if one is not None)
    return billed / days, starts / days


def arrivals(traffic: Traffic, days: int) -> Iterator[float]:
    """Poisson arrivals in the first part of every active hour."""
    chance = random.Random(7)
    rate = traffic.requests_per_day * traffic.burstiness / (traffic.active_hours * 3600)
    for number in range(days):
        for hour in range(int(traffic.active_hours)):
            begin = number * 86_400 + hour * 3600
            now = begin + chance.expovariate(rate)
            while now < begin + 3600 / traffic.burstiness:
                yield now
                now += chance.expovariate(rate)


@pytest.mark.parametrize(
    ("requests", "burstiness", "hours", "slots", "request_s", "window_s", "cold_s", "most"),
    [
        (20, 1, 24, 1, 10, 300, 60, None),
        (200, 1, 24, 4, 20, 300, 60, None),
        (2000, 1, 24, 4, 30, 60, 30, None),
        (2000, 3, 24, 4, 30, 300, 60, None),
        (2000, 3, 8, 4, 30, 300, 60, None),
        (100, 3, 8, 4, 30, 300, 60, None),
        (20_000, 3, 24, 8, 6, 300, 60, None),
        (20_000, 1, 24, 2, 6, 60, 10, None),
        (500, 10, 24, 2, 60, 120, 120, None),
        (300, 100, 24, 4, 10, 300, 60, None),
        (3000, 1.2, 12, 4, 30, 1200, 60, None),
        (5000, 3, 24, 4, 30, 300, 60, 3),
        (2000, 1, 24, 1, 5, 2, 100, None),
    ],
)
def test_a_day_agrees_with_the_events(  # noqa: PLR0917 - pytest passes them by name
    requests, burstiness, hours, slots, request_s, window_s, cold_s, most
):
    """The day's container-seconds are within 8 % of simulated ones, the starts within 20 %."""
    traffic = Traffic(requests_per_day=requests, active_hours=hours, burstiness=burstiness)
    scaling = Scaling(scaledown_window=window_s, max_containers=most)
    speed = Throughput(slots=slots, request_s=request_s, cold_start_s=cold_s)
    days = max(3, min(60, 60_000 // requests))
    billed, starts = simulated(scaling, traffic, speed, days)
    worked_out = day(scaling, traffic, speed)
    assert worked_out.total_s == pytest.approx(billed, rel=0.08)
    assert worked_out.cold_starts == pytest.approx(starts, rel=0.20)


# ── laws ────────────────────────────────────────────────────────────────────────────────────────

scalings = st.builds(
    Scaling,
    min_containers=st.integers(0, 2),
    max_containers=st.none() | st.integers(2, 12),
    buffer_containers=st.none() | st.integers(0, 2),
    scaledown_window=st.integers(60, 1200),
)
speeds = st.builds(
    Throughput,
    slots=st.sampled_from([1, 4, 32]),
    tokens_per_s=st.floats(50, 5000),
    prompt_tokens_per_s=st.just(0.0) | st.floats(500, 50_000),
    cold_start_s=st.floats(0, 300),
)
traffics = st.builds(
    Traffic,
    requests_per_day=st.floats(0, 20_000),
    tokens_out=st.integers(1, 500),
    active_hours=st.floats(1, 24),
    burstiness=st.floats(1, 10),
)


def month_of(plan: ServicePlan, traffic: Traffic, speed: Throughput) -> tuple[Quote, float]:
    """The quote, and the total of its month; what is refused as too much is no case of a law."""
    try:
        priced = quote(plan, traffic=traffic, throughput=(speed, speed), stored_gib=3)
    except DeclarationError as error:
        if "containers busy at once, more than 10,000" in str(error):
            reject()
        raise
    assert priced.month is not None
    return priced, priced.month.total


@settings(max_examples=80, deadline=None)
@given(scalings, traffics, speeds, st.floats(1, 4))
def test_more_traffic_never_costs_less(scaling, traffic, speed, factor):
    """More requests cost at least as much, to 2 %: a busier service saves some cold starts."""
    assume(traffic.requests_per_day * speed.seconds(traffic) / speed.slots < 1e5)
    more = traffic.model_copy(update={"requests_per_day": traffic.requests_per_day * factor})
    plan = served(scaling=scaling)
    assert month_of(plan, more, speed)[1] >= month_of(plan, traffic, speed)[1] * 0.98


@settings(max_examples=80, deadline=None)
@given(scalings, traffics, speeds)
def test_a_month_lies_between_the_least_and_the_most(scaling, traffic, speed):
    """No traffic gets under the price at rest, nor over every container around the clock."""
    assume(traffic.requests_per_day * speed.seconds(traffic) / speed.slots < 2e6)
    priced, total = month_of(served(scaling=scaling), traffic, speed)
    assert priced.month is not None
    assert total >= priced.least_month * (1 - 1e-9)
    if priced.most_month is not None:
        assert total <= priced.most_month * (1 + 1e-9)
    parts = (priced.month.busy, priced.month.idle, priced.month.cold_starts)
    assert min(parts) >= 0

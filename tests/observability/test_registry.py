"""The page of metrics, read back by Prometheus' own parser."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from modalkit.runtime.observe.calls import CallMetrics, MethodWatch
from modalkit.runtime.observe.registry import UNCOUNTED, Registry

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e\r"),
    max_size=20,
)


def read(page: str) -> dict[str, object]:
    """Families by name."""
    return {family.name: family for family in text_string_to_metric_families(page)}


def samples(page: str, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of one name, by their labels."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8), st.floats(0, 1e15))
def test_law_a_parser_reads_what_was_counted(calls, amount):
    """Whatever stands in a label, each combination has its own count, and nothing is lost."""
    registry = Registry("modalkit_", {"service": 'a "b" \\ c\nd'})
    counter = registry.counter("calls_total", "Calls.", ("method", "outcome"))
    counted: dict[tuple[str, str], float] = {}
    for labels in calls:
        counter(*labels).value += amount
        counted[labels] = counted.get(labels, 0) + amount
    found = samples(registry.page(), "modalkit_calls_total")
    assert {
        (dict(key)["method"], dict(key)["outcome"]): value for key, value in found.items()
    } == counted
    assert all(dict(key)["service"] == 'a "b" \\ c\nd' for key in found)


@given(st.lists(st.floats(0, 20), max_size=50))
def test_law_a_histogram_counts_each_value_once(values):
    """Buckets are cumulative, the last one is the count, and the sum is the sum."""
    registry = Registry("")
    histogram = registry.histogram("seconds", "Time.", (0.5, 1, 10))()
    for value in values:
        histogram.observe(value)
    page = registry.page()
    for bound in (0.5, 1, 10):
        label = f"{bound}"
        found = samples(page, "seconds_bucket")[(("le", label),)]
        assert found == sum(value <= bound for value in values)
    assert samples(page, "seconds_bucket")[(("le", "+Inf"),)] == len(values)
    assert samples(page, "seconds_count")[()] == len(values)
    assert abs(samples(page, "seconds_sum")[()] - sum(values)) <= 1e-6 * max(1, sum(values))


def test_a_metric_that_counted_nothing_is_not_on_the_page():
    """A name with labels appears with its first series, as Prometheus has it; one without at once."""
    registry = Registry("x_")
    registry.counter("calls_total", "Calls.", ("method",))
    registry.gauge("running", "Running.")()
    assert set(read(registry.page())) == {"x_running"}


def test_types_and_help_are_what_they_were_declared():
    """A parser finds each metric's type and help."""
    registry = Registry("")
    registry.counter("a_total", "Things.")().value += 3
    registry.gauge("b", "Now.")().value = -1.5
    registry.histogram("c", "Sizes.", (1,))().observe(2)
    families = read(registry.page())
    assert {name: family.type for name, family in families.items()} == {
        "a": "counter", "b": "gauge", "c": "histogram"
    }  # fmt: skip
    assert families["b"].documentation == "Now."
    assert samples(registry.page(), "b") == {(): -1.5}


def test_what_is_read_for_a_page_is_read_at_each_page():
    """A figure that is asked of the machine is asked when the page is."""
    registry = Registry("")
    gauge = registry.gauge("memory_bytes", "Memory.", ("gpu",))
    readings = iter((1, 2))
    registry.before_page(lambda: setattr(gauge("0"), "value", next(readings)))
    assert samples(registry.page(), "memory_bytes") == {(("gpu", "0"),): 1}
    assert samples(registry.page(), "memory_bytes") == {(("gpu", "0"),): 2}


def test_what_nobody_asks_for_is_counted_all_the_same():
    """Answers wait to be counted for the next page or for too many of them; none is lost."""
    registry = Registry("m_")
    watch = MethodWatch("Words", "count", CallMetrics(registry))

    async def count() -> int:
        return 1

    async def scenario() -> None:
        call = watch.at_once(count)
        for _ in range(2 * UNCOUNTED + 5):
            await call()

    asyncio.run(scenario())
    page = registry.page().splitlines()
    assert 'm_calls_total{method="count",outcome="ok"} 2053' in page
    assert 'm_model_seconds_count{method="count"} 2053' in page
    assert 'm_calls_in_flight{method="count"} 0' in page

"""When schedules fire, held against other implementations and against the clock itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modal_proto import api_pb2

from modalkit.local.apps.timetable import CronTable, PeriodTable, timetable_of

BERLIN = "Europe/Berlin"
SPRING = datetime(2026, 3, 29, tzinfo=ZoneInfo(BERLIN))  # 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 25, tzinfo=ZoneInfo(BERLIN))  # 03:00 becomes 02:00


def field(least: int, most: int):
    """One field of a cron expression, from ``*`` to lists of stepped ranges."""
    number = st.integers(least, most)
    pairs = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])
    span = pairs.map(lambda pair: f"{pair[0]}-{pair[1]}")
    step = st.integers(1, most)
    part = st.one_of(
        number.map(str), span, st.builds(lambda a, b: f"{a}/{b}", span | st.just("*"), step)
    )
    return st.just("*") | st.lists(part, min_size=1, max_size=3).map(",".join)


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)).map(
    " ".join
)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@settings(max_examples=150, deadline=None)
@given(expressions, moments)
def test_cron_agrees_with_cronsim(expression, moment):
    """In UTC the next firings are those of another implementation of Debian's cron."""
    cronsim = pytest.importorskip("cronsim")
    table = CronTable(expression)
    theirs = cronsim.CronSim(expression, moment)
    for _ in range(5):
        moment = table.after(moment)
        assert moment == next(theirs)


@settings(max_examples=150, deadline=None)
@given(expressions, moments)
def test_cron_agrees_with_croniter(expression, moment):
    """In UTC the next firings are those of the most used library."""
    croniter = pytest.importorskip("croniter")
    fields = expression.split()
    if any(text.startswith("*/") for text in (fields[2], fields[4])):
        return  # whether a stepped star restricts a day is where cron programs differ
    table = CronTable(expression)
    theirs = croniter.croniter(expression, moment)
    for _ in range(5):
        moment = table.after(moment)
        assert moment == theirs.get_next(datetime)


@settings(max_examples=100, deadline=None)
@given(field(0, 59), field(0, 23), moments)
def test_nothing_is_skipped_between_two_firings(minutes, hours, moment):
    """Looking minute by minute finds the same next firing."""
    table = CronTable(f"{minutes} {hours} * * *")
    found = table.after(moment)
    assert found > moment
    minute = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while minute < found:
        assert table.after(minute - timedelta(seconds=1)) != minute
        minute += timedelta(minutes=17)
    assert table.after(found - timedelta(microseconds=1)) == found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 23), st.integers(0, 59), st.sampled_from([SPRING, AUTUMN]))
def test_a_daily_job_runs_once_a_day_when_clocks_change(hour, minute, day):
    """A fixed time of the day fires exactly once on each day, whatever clocks do."""
    table = CronTable(f"{minute} {hour} * * *", BERLIN)
    moment = (day - timedelta(days=2)).astimezone(UTC)
    fired = []
    for _ in range(4):
        moment = table.after(moment)
        fired.append(moment.astimezone(ZoneInfo(BERLIN)).date())
    assert fired == [fired[0] + timedelta(days=number) for number in range(4)]


def test_a_time_that_clocks_skip_fires_when_they_have_moved():
    """02:30 does not exist on the spring night: it fires at 03:00 local time."""
    found = CronTable("30 2 * * *", BERLIN).after(SPRING)
    assert found == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_a_time_that_comes_twice_fires_the_first_time():
    """02:30 comes twice on the autumn night: it fires at the first."""
    table = CronTable("30 2 * * *", BERLIN)
    assert table.after(AUTUMN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert table.after(table.after(AUTUMN)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_a_job_of_every_hour_follows_real_time(day):
    """Every quarter of an hour stays that, through both changes of the clocks."""
    table = CronTable("*/15 * * * *", BERLIN)
    moment = day.astimezone(UTC)
    for _ in range(40):
        following = table.after(moment)
        assert following - moment == timedelta(minutes=15)
        moment = following


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("*/0 * * * *", "minute"),
        ("a * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("* * *", "3 fields"),
        ("0 0 31 2 *", "never fires"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(expression, named):
    """A wrong expression is refused with the field and what may stand there."""
    with pytest.raises(ValueError, match=named):
        CronTable(expression)


def test_names_macros_and_leap_days_are_read():
    """Months and weekdays have names, ``@daily`` is a word, 29 February comes back."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert CronTable("0 6 * jan-feb sun").after(start) == datetime(2026, 1, 4, 6, tzinfo=UTC)
    assert CronTable("@daily").after(start) == datetime(2026, 1, 2, tzinfo=UTC)
    assert CronTable("0 0 29 2 *").after(start) == datetime(2028, 2, 29, tzinfo=UTC)


def test_an_unknown_time_zone_is_named():
    """A zone that does not exist is refused with an example of one that does."""
    with pytest.raises(ValueError, match="Europe/Berlin"):
        CronTable("* * * * *", "Mars/Base")


periods = st.builds(
    api_pb2.Schedule.Period,
    years=st.integers(0, 2),
    months=st.integers(0, 14),
    days=st.integers(0, 40),
    seconds=st.floats(1, 90_000),
)


@settings(max_examples=100, deadline=None)
@given(periods, moments, moments)
def test_a_period_is_counted_from_its_start(period, start, moment):
    """Firings are in order, start after the deployment, and each is the one after the one before."""
    table = PeriodTable(period, start)
    found = table.after(moment)
    assert found > moment
    assert found > start
    assert table.after(found - timedelta(microseconds=1)) == found
    assert table.after(found) > found


def test_a_month_keeps_its_day_where_it_can():
    """From 31 January a month leads to 28 February and on to 31 March."""
    start = datetime(2026, 1, 31, 8, tzinfo=UTC)
    table = PeriodTable(api_pb2.Schedule.Period(months=1), start)
    assert table.after(start) == datetime(2026, 2, 28, 8, tzinfo=UTC)
    assert table.after(table.after(start)) == datetime(2026, 3, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [0.0, 0.5, -3.0])
def test_a_period_below_a_second_is_refused(seconds):
    """A period that is nothing, negative or tiny would be a storm."""
    with pytest.raises(ValueError, match="at least a second"):
        PeriodTable(api_pb2.Schedule.Period(seconds=seconds), datetime.now(UTC))


def test_a_function_without_a_schedule_has_no_timetable():
    """An empty schedule is none."""
    assert timetable_of(api_pb2.Schedule(), datetime.now(UTC)) is None

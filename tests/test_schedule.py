from __future__ import annotations

import os
import subprocess
import sys

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.schedule import Cron, Period
from modalkit.errors import DeclarationError


def refused(make) -> str:
    with pytest.raises(DeclarationError) as raised:
        make()
    return str(raised.value)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/10 * * * *",
        "0 6 * * mon-fri",
        "0,30 8-18 1,15 * *",
        "0 0 29 2 *",
        "0 0 31 2,3 *",
        "5 4 * JAN-mar 7",
        "0-30/5 0 * * *",
        "0 0 31 2 mon",  # with a day of week given, either of the two fires
    ],
)
def test_possible_times_are_accepted(expression):
    """Every form of crontab(5) that can fire is accepted and handed over as written."""
    schedule = Cron(expression).to_modal()
    assert isinstance(schedule, modal.Cron)
    assert schedule.proto_message.cron.cron_string == expression


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("* * * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("0 * * * * *", "has 6 fields (Modal's cron has no seconds)"),
        ("@daily", "Write Cron('0 0 * * *')."),
        ("60 * * * *", "minute '60' is not possible. Write numbers from 0 to 59"),
        ("* 24 * * *", "hour '24' is not possible"),
        ("* * 0 * *", "day of month '0' is not possible"),
        ("* * * 13 *", "month '13' is not possible. Write numbers from 1 to 12 or jan to dec"),
        ("* * * * 8", "day of week '8' is not possible"),
        ("* 18-8 * * *", "hour '18-8' is not possible"),
        ("*/0 * * * *", "minute '*/0' is not possible"),
        ("*/ * * * *", "minute '*/' is not possible"),
        ("1,,2 * * * *", "minute '' is not possible"),
        ("-5 * * * *", "minute '-5' is not possible"),
        ("² * * * *", "minute '²' is not possible"),
        ("* * * foo *", "month 'foo' is not possible"),
        (
            "0 0 30 2 *",
            "never fires: no month it names has a day 30. Write a day of month from 1 to 29.",
        ),
        ("0 0 31 4,6,9,11 *", "Write a day of month from 1 to 30."),
    ],
)
def test_impossible_times_name_the_field(expression, told):
    """An expression that cannot fire names the field and the range."""
    message = refused(lambda: Cron(expression))
    assert told in message
    assert repr(expression) in message


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(1, 28),
    st.integers(1, 12),
    st.integers(0, 7),
)
def test_every_plain_moment_is_possible(minute, hour, day, month, weekday):
    """Plain numbers within range are always accepted."""
    Cron(f"{minute} {hour} {day} {month} *")
    Cron(f"{minute} {hour} * * {weekday}")


@pytest.mark.parametrize(
    ("zone", "told"),
    [("Europe/Berln", "Did you mean 'Europe/Berlin'?"), ("../etc/passwd", "IANA"), ("", "IANA")],
)
def test_unknown_time_zones_are_refused(zone, told):
    """A time zone that does not exist names the nearest."""
    assert told in refused(lambda: Cron("0 6 * * *", timezone=zone))


def test_a_container_without_time_zones_does_not_fail():
    """The class body runs in the container too, where the time zone database may be missing."""
    code = "from modalkit import Cron; print(Cron('0 6 * * *', timezone='Europe/Berlin').timezone)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONTZPATH": ""},
    )  # fmt: skip
    assert done.stdout.strip() == "Europe/Berlin"


def test_a_period_adds_up():
    """The parts of an interval reach Modal as they are."""
    period = Period(days=1, minutes=30, seconds=0.5).to_modal().proto_message.period
    assert (period.days, period.minutes, period.seconds) == (1, 30, 0.5)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "Period() is no time at all. Write Period(hours=1)."),
        ({"hours": -1}, "Period.hours must be at least 0, got -1."),
        ({"hours": 1.5}, "Period.hours must be a valid integer, got 1.5."),
        ({"seconds": float("inf")}, "Period.seconds must be at least 0, got inf."),
        ({"hour": 1}, "Did you mean 'hours'?"),
    ],
)
def test_impossible_periods_are_refused(fields, told):
    """No time, negative time and fractions of an hour are errors."""
    assert told in refused(lambda: Period(**fields))


def test_modal_takes_it():
    """A function registers with either kind of schedule."""
    app = modal.App()
    for number, schedule in enumerate(
        (Cron("0 6 * * *", timezone="Europe/Berlin"), Period(hours=1))
    ):
        app.function(schedule=schedule.to_modal(), serialized=True, name=f"f{number}")(lambda: None)

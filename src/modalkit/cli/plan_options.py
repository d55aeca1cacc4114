"""The options of ``modalkit plan``, and what they come to."""

from __future__ import annotations

from typing import NamedTuple

import click

from ..blueprint.known import Assumptions
from ..blueprint.measured import read_measured
from ..errors import ModalkitError
from ..pricing.month import Traffic
from ..pricing.total import Budget
from .options import options_as

__all__ = ["PlanOptions", "plan_options"]


class _Spending(click.ParamType[Budget]):
    """An amount over a period."""

    name = "USD/PERIOD"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Budget:
        try:
            return Budget.parse(value)
        except ModalkitError as error:
            return self.fail(str(error), param, ctx)


class PlanOptions(NamedTuple):
    """What was asked on the command line; ``plan_options`` says what each is."""

    requests_per_day: float | None
    tokens_in: int
    tokens_out: int
    active_hours: float
    burstiness: float
    bench: str | None
    request_seconds: float | None
    cold_start: float | None
    budget: Budget | None
    live: bool
    against: str | None
    html: str | None
    as_json: bool

    @property
    def traffic(self) -> Traffic | None:
        """What each service is asked for; None where nothing was said of it.

        Raises:
            DeclarationError: A number that cannot be.
        """
        if self.requests_per_day is None:
            return None
        return Traffic(
            requests_per_day=self.requests_per_day,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            active_hours=self.active_hours,
            burstiness=self.burstiness,
        )

    @property
    def assumed(self) -> Assumptions:
        """What a price rests on besides the file.

        Raises:
            DeclarationError: A number that cannot be, or a file that is no measurement.
        """
        return Assumptions(
            traffic=self.traffic,
            measured=read_measured(self.bench) if self.bench else None,
            request_s=self.request_seconds,
            cold_start_s=self.cold_start,
        )


_FILE = click.Path(exists=True, dir_okay=False)
_OPTIONS = (
    click.option(
        "--requests-per-day", type=click.FloatRange(min=0), metavar="N",
        help="Traffic of each service; gives the price of a month.",
    ),
    click.option(
        "--tokens-in", type=click.IntRange(min=0), default=500, show_default=True,
        help="Prompt tokens of a request.",
    ),
    click.option(
        "--tokens-out", type=click.IntRange(min=0), default=200, show_default=True,
        help="Answer tokens of a request.",
    ),
    click.option(
        "--active-hours", type=click.FloatRange(0.1, 24), default=24, show_default=True,
        help="Hours of the day with requests.",
    ),
    click.option(
        "--burstiness", type=click.FloatRange(1, 1000), default=3, show_default=True,
        help="Busiest minute over the average one.",
    ),
    click.option(
        "--bench", type=_FILE, help="Measured speed of a container, instead of the estimate."
    ),
    click.option(
        "--request-seconds", type=click.FloatRange(min=0, min_open=True), metavar="S",
        help="Seconds of one request, for a custom model.",
    ),
    click.option(
        "--cold-start", type=click.FloatRange(min=0), metavar="S",
        help="Seconds from nothing to ready [45 and 1 per GB of weights].",
    ),
    click.option("--budget", type=_Spending(), help="Fail above it: 500/month, 3/hour."),
    click.option("--live", is_flag=True, help="Ask Modal for the account's own prices."),
    click.option(
        "--against", type=_FILE, help="Show what differs from a lock or an earlier --json."
    ),
    click.option(
        "--html", type=click.Path(dir_okay=False, writable=True), metavar="FILE",
        help="Write a report with pictures.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="Print everything as JSON (docs/plan.schema.json)."
    ),
)  # fmt: skip

plan_options = options_as(PlanOptions, "target", _OPTIONS)

"""``modalkit plan``: everything a file will create, does it fit, what it costs. No account, no network."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from ..blueprint.changes import compare_file
from ..blueprint.measured import read_measured
from ..blueprint.reading import read_file
from ..blueprint.report import PlanReport
from ..blueprint.services import Assumptions, Known
from ..blueprint.values import Blueprint
from ..errors import ModalkitError
from ..pricing.billing import billed_rates
from ..pricing.month import Traffic
from ..pricing.rates import Rates
from ..pricing.total import Budget, total, usd
from .plan_text import show

__all__ = ["command"]


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


@click.command("plan", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="FILE[::NAME]")
@click.option(
    "--requests-per-day",
    type=click.FloatRange(min=0),
    metavar="N",
    help="Traffic of each service; gives the price of a month.",
)
@click.option(
    "--tokens-in",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Prompt tokens of a request.",
)
@click.option(
    "--tokens-out",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Answer tokens of a request.",
)
@click.option(
    "--active-hours",
    type=click.FloatRange(0.1, 24),
    default=24,
    show_default=True,
    help="Hours of the day with requests.",
)
@click.option(
    "--burstiness",
    type=click.FloatRange(1, 1000),
    default=3,
    show_default=True,
    help="Busiest minute over the average one.",
)
@click.option(
    "--bench",
    type=click.Path(exists=True, dir_okay=False),
    help="Measured speed of a container, instead of the estimate.",
)
@click.option(
    "--request-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds of one request, for a custom model.",
)
@click.option(
    "--cold-start",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Seconds from nothing to ready [45 and 1 per GB of weights].",
)
@click.option("--budget", type=_Spending(), help="Fail above it: 500/month, 3/hour.")
@click.option("--live", is_flag=True, help="Ask Modal for the account's own prices.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False),
    help="Show what differs from a lock or an earlier --json.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write a report with pictures.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything as JSON (docs/plan.schema.json)."
)
def command(  # noqa: PLR0917 - click passes them by name
    target: str,
    requests_per_day: float | None,
    tokens_in: int,
    tokens_out: int,
    active_hours: float,
    burstiness: float,
    bench: str | None,
    request_seconds: float | None,
    cold_start: float | None,
    budget: Budget | None,
    live: bool,
    against: str | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Show everything FILE will create, whether it fits and what it costs.

    \b
      modalkit plan chat.py
      modalkit plan chat.py::Chat --requests-per-day 5000 --budget 500/month
      modalkit plan chat.py --json > plan.json; modalkit plan chat.py --against plan.json

    The file is run as `modal` would, and nothing else happens. The exit code is 1 above the budget.
    """  # noqa: D301 - click reads the character
    try:
        traffic = None
        if requests_per_day is not None:
            traffic = Traffic(
                requests_per_day=requests_per_day,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                active_hours=active_hours,
                burstiness=burstiness,
            )
        assumed = Assumptions(
            traffic=traffic,
            measured=read_measured(bench) if bench else None,
            request_s=request_seconds,
            cold_start_s=cold_start,
        )
        rates, warnings = _rates(live=live)
        file, _, only = target.partition("::")
        plan, known = read_file(file, only, rates=rates, assumed=assumed, warnings=warnings)
        report = _report(plan, traffic, budget, against)
        if html is not None:
            Path(html).write_text(_page(report, known, rates, assumed), "utf-8")
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    _print(report, html, as_json=as_json)
    if report.budget_problem:
        click.echo(f"Error: {report.budget_problem}", err=True)
        raise SystemExit(1)


def _report(
    plan: Blueprint, traffic: Traffic | None, budget: Budget | None, against: str | None
) -> PlanReport:
    together = total([service.price for service in plan.services])
    problem = budget.problem(together, has_traffic=traffic is not None) if budget else ""
    return PlanReport(
        plan=plan,
        traffic=traffic,
        total=together,
        budget_problem=problem,
        comparison=compare_file(against, plan) if against else None,
    )


def _rates(*, live: bool) -> tuple[Rates, tuple[str, ...]]:
    """The prices, and what an account pays otherwise than the list says."""
    listed = Rates.offline()
    if not live:
        return listed, ()
    billed = billed_rates()
    today = datetime.now(UTC).date().isoformat()
    differences = tuple(
        f"{one.rate} is {usd(one.billed)} for this account; the list of {listed.read_on} says {usd(one.listed)}"
        for one in listed.differences(billed)
    )
    return listed.with_billed(billed, today), differences


def _page(report: PlanReport, known: tuple[Known, ...], rates: Rates, assumed: Assumptions) -> str:
    from ..blueprint.page import page  # noqa: PLC0415 - only whoever wants pictures needs it

    return page(report, known, rates, assumed)


def _print(report: PlanReport, html: str | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(report.model_dump_json(indent=2))
        return
    show(report, Console(highlight=False, soft_wrap=True))
    if html is not None:
        click.echo(f"The report is in {html}.", err=True)

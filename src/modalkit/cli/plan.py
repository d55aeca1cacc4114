"""``modalkit plan``: everything a file will create, does it fit, what it costs. No account, no network."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from ..blueprint.changes import compare_file
from ..blueprint.known import Assumptions, Known
from ..blueprint.reading import read_file
from ..blueprint.report import PlanReport
from ..blueprint.values import Blueprint
from ..errors import ModalkitError
from ..pricing.billing import billed_rates
from ..pricing.rates import Rates
from ..pricing.total import Total, total, usd
from .plan_options import PlanOptions, plan_options
from .plan_text import show
from .targets import FileTarget

__all__ = ["command"]


@click.command("plan", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="FILE[::NAME]")
@plan_options
def command(target: str, options: PlanOptions) -> None:
    """Show everything FILE will create, whether it fits and what it costs.

    \b
      modalkit plan chat.py
      modalkit plan chat.py::Chat --requests-per-day 5000 --budget 500/month
      modalkit plan chat.py --json > plan.json; modalkit plan chat.py --against plan.json

    The file is run as `modal` would, and nothing else happens. The exit code is 1 above the budget.
    """  # noqa: D301 - click reads the character
    try:
        assumed = options.assumed
        rates, warnings = _rates(live=options.live)
        file, only = FileTarget.parse(target)
        plan, known = read_file(
            file,
            only,
            rates=rates,
            assumed=assumed,
            warnings=warnings,
            stale_locks=options.against is not None,
        )
        report = _report(plan, options)
        if options.html is not None:
            Path(options.html).write_text(_page(report, known, rates, assumed), "utf-8")
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    _print(report, options)
    if report.budget_problem:
        click.echo(f"Error: {report.budget_problem}", err=True)
        raise SystemExit(1)


def _report(plan: Blueprint, options: PlanOptions) -> PlanReport:
    together = total([service.price for service in plan.services])
    return PlanReport(
        plan=plan,
        traffic=options.traffic,
        total=together,
        budget_problem=_budget_problem(plan, together, options),
        comparison=compare_file(options.against, plan) if options.against else None,
    )


def _budget_problem(plan: Blueprint, together: Total, options: PlanOptions) -> str:
    """Why a budget is not kept; empty if it is, or if there is none."""
    budget = options.budget
    if budget is None:
        return ""
    plain = [one.name for app in plan.apps for one in app.functions]
    if plain and not plan.services:
        return f"How many containers of {', '.join(plain)} run is not known, so {budget} cannot be held."
    return budget.problem(together, has_traffic=options.traffic is not None)


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


def _print(report: PlanReport, options: PlanOptions) -> None:
    if options.as_json:
        click.echo(report.model_dump_json(indent=2))
        return
    show(report, Console(highlight=False, soft_wrap=True))
    if options.html is not None:
        click.echo(f"The report is in {options.html}.", err=True)

"""``modalkit cold-start``: what a container's start is made of, against the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console

from ..declare.cold_start import ColdStartRecord
from ..discovery import services_of
from ..errors import ModalkitError
from ..starting.logs import deployed_records, records_in
from ..starting.watching import started_locally
from .cold_start_text import show
from .targets import FileTarget

__all__ = ["command"]


@click.command("cold-start", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="FILE[::NAME]", required=False)
@click.option(
    "--runs",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Starts of each service, each in a fresh container.",
)
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(1),
    default=1800,
    show_default=True,
    metavar="S",
    help="Seconds that one start may take.",
)
@click.option("--deployed", is_flag=True, help="Read the logs of FILE's deployed app instead.")
@click.option("--log", type=click.File(), help="Read a log from a file instead; - is stdin.")
@click.option("-v", "--verbose", is_flag=True, help="Show what the containers print.")
@click.option("--json", "as_json", is_flag=True, help="Print every start as JSON.")
def command(  # noqa: PLR0917 - click passes them by name
    target: str | None,
    runs: int,
    within_s: float,
    deployed: bool,
    log: TextIO | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Start every service of FILE on a local Modal and show the phases of its cold start.

    \b
      modalkit cold-start chat.py                # run it here, for real, and draw the phases
      modalkit cold-start chat.py::Chat --runs 5 # one service, the median of five
      modalkit cold-start chat.py --deployed     # what the deployed app's containers have logged
      modal app logs chat | modalkit cold-start --log -

    Fails when a start took longer than ColdStart(budget_s=...).
    """  # noqa: D301 - click reads the character
    if (target is None) == (log is None):
        msg = "Name the file that declares the services (modalkit cold-start chat.py), or --log."
        raise click.UsageError(msg)
    try:
        if log is not None:
            records = records_in(log)
        else:
            assert target is not None  # noqa: S101 - one of the two is given
            meant = FileTarget.parse(target)
            records = _of_file(meant, runs, within_s, deployed=deployed, verbose=verbose)
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    if not records:
        msg = "There is no cold start in these logs. Containers of modalkit log one line each when they start."
        raise click.ClickException(msg)
    _print(records, as_json=as_json)
    if not all(record.within_budget for record in records):
        raise SystemExit(1)


def _of_file(
    target: FileTarget, runs: int, within_s: float, *, deployed: bool, verbose: bool
) -> list[ColdStartRecord]:
    if deployed:
        return [one for one in deployed_records(target.file) if target.name in {"", one.service}]
    return [
        record
        for service in target.among(one.__name__ for one in services_of(target.file))
        for record in _watched(target.file, service, runs, within_s, verbose=verbose)
    ]


def _watched(
    file: str, service: str, runs: int, within_s: float, *, verbose: bool
) -> Iterator[ColdStartRecord]:
    """The starts of a service, with something to look at meanwhile."""
    console = Console(stderr=True)

    def heard(line: str) -> None:
        if verbose:
            console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)

    of_all = f" (of {runs})" if runs > 1 else ""
    with console.status(f"starting {service}{of_all}") as status:
        starts = started_locally(str(Path(file)), service, runs, within_s, heard)
        for number, record in enumerate(starts, 1):
            status.update(f"starting {service}, {number} of {runs} done")
            yield record


def _print(records: list[ColdStartRecord], *, as_json: bool) -> None:
    if not as_json:
        show(records, Console())
        return
    starts = [
        {**record.model_dump(mode="json"), "within_budget": record.within_budget}
        for record in records
    ]
    click.echo(json.dumps({"starts": starts}, indent=2))

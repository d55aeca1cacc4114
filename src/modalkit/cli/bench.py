"""``modalkit bench``: load an endpoint and say what it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from ..bench.comparing import changes, differences
from ..bench.cost import price_of_gpu, price_of_plan, price_stated
from ..bench.lengths import Lengths
from ..bench.report import BenchReport, Price, read_report
from ..bench.serving import served
from ..bench.session import Session, Settings
from ..bench.target import Target, credentials, parse_url
from ..discovery import services_of
from ..errors import BenchError, ModalkitError
from ..plan import ServicePlan, plan_service
from .bench_options import BenchOptions, bench_options
from .bench_progress import Display
from .bench_text import show, show_changes
from .targets import FileTarget

__all__ = ["command"]

_INTERRUPTED = 130


@click.command("bench", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="URL|FILE[::NAME]")
@bench_options
def command(target: str, options: BenchOptions) -> None:
    """Load an endpoint and show what it can do: TTFT, ITL, TTLT, throughput, errors, $/1M tokens.

    \b
      modalkit bench https://me--chat.modal.run --concurrency 1,8,32
      modalkit bench http://127.0.0.1:8000 --rate 2,4,8 --lengths sharegpt --html report.html
      modalkit bench chat.py::Chat -c 4 -n 100          # on a local Modal, started for it
      modalkit bench URL --route /embed --input '{"text": "hello"}'
      modalkit bench URL --json > new.json --compare old.json --fail-if "ttft_p90_ms>500"

    Ctrl-C ends it and shows what was measured. Keys are read from the environment alone.
    """  # noqa: D301 - click reads the character
    try:
        limits = options.limits
        older = read_report(options.compare) if options.compare else None
        report = _measured(target, options)
        if options.html is not None:
            Path(options.html).write_text(_page(report, older), "utf-8")
        problems = [one for limit in limits for one in limit.problems(report, older)]
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    _print(report, older, options)
    _end(problems, interrupted=report.interrupted)


def _measured(target: str, options: BenchOptions) -> BenchReport:
    """Load what was named: an address, or a file's service on a local Modal."""
    if "://" in target:
        headers = credentials(options.key_env, options.headers_from)
        return _loaded(parse_url(target, headers), options, _price(options, None))
    meant = FileTarget.parse(target)
    if not meant.file.endswith(".py"):
        msg = f"{target!r} is neither an address nor a file. Write http://{target}, or name a .py file."
        raise BenchError(msg)
    plan = _plan(meant)
    price = _price(options, plan)
    with Display(quiet=options.quiet) as display:
        display.say(f"starting {plan.name} on a local Modal")
        with served(meant.file, plan, options.within, display.hear) as service:
            where = parse_url(service.url, service.headers)
            try:
                return _run(where, options, price, display)
            except BenchError as error:
                msg = f"{error}{display.last_lines()}"
                raise BenchError(msg) from error


def _plan(target: FileTarget) -> ServicePlan:
    services = {service.__name__: service for service in services_of(target.file)}
    name, *others = target.among(services)
    if others:
        msg = f"{target.file} declares several services. Name one: {target.file}::{' or '.join(services)}."
        raise BenchError(msg)
    return plan_service(services[name])


def _price(options: BenchOptions, plan: ServicePlan | None) -> Price | None:
    if options.usd_per_hour is not None:
        return price_stated(options.usd_per_hour, options.containers)
    if options.gpu is not None:
        return price_of_gpu(options.gpu, options.containers)
    return None if plan is None else price_of_plan(plan, options.containers)


def _loaded(target: Target, options: BenchOptions, price: Price | None) -> BenchReport:
    with Display(quiet=options.quiet) as display:
        return _run(target, options, price, display)


def _run(
    target: Target, options: BenchOptions, price: Price | None, display: Display
) -> BenchReport:
    settings = Settings(
        wanted=options.wanted,
        stages=options.stages,
        lengths=Lengths.parse(options.lengths),
        prompts=options.given_prompts,
        bodies=options.bodies,
        content_type=options.content_type,
        timeout_s=options.timeout,
        within_s=options.within,
        price=price,
        seed=options.seed,
    )
    return asyncio.run(Session(target, settings, display.tell, display.say).report())


def _page(report: BenchReport, older: BenchReport | None) -> str:
    from ..bench.page import page  # noqa: PLC0415 - only whoever wants plots needs it

    return page(report, older)


def _print(report: BenchReport, older: BenchReport | None, options: BenchOptions) -> None:
    if options.as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        show(report, Console(highlight=False))
    if older is not None:
        console = Console(highlight=False, stderr=options.as_json)
        show_changes(changes(older, report), list(differences(older, report)), console)
    if options.html is not None:
        click.echo(f"The report is in {options.html}.", err=True)


def _end(problems: Sequence[str], *, interrupted: bool) -> None:
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if problems:
        raise SystemExit(1)
    if interrupted:
        raise SystemExit(_INTERRUPTED)

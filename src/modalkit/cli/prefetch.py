"""``modalkit prefetch``: bring the weights of a file's services into their caches, once and verified."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import click

from ..errors import ModalkitError
from ..prefetch.lines import lines, rate, summary
from ..prefetch.progress import Progress
from ..prefetching import prefetchings

__all__ = ["command"]


@click.command("prefetch", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", required=False)
@click.option("--service", help="Only this service of the file.")
@click.option(
    "--again", is_flag=True, help="Ask the source again, and read every file that is there."
)
@click.option("--json", "as_json", is_flag=True, help="Print each step as a line of JSON.")
def command(file: str | None, service: str | None, again: bool, as_json: bool) -> None:
    """Fill the weight caches of FILE's services, on a CPU container.

    \b
      modalkit prefetch chat.py                 # before the first deploy, and after each new lock
      modalkit prefetch chat.py --again         # distrust what is there: ask and read it all again
      modalkit local modalkit prefetch chat.py  # the same on this machine

    Only the files an engine reads, of the commit that is locked, each held to its SHA-256. What has
    arrived stays when it is stopped, and nothing is served before everything is there.
    """  # noqa: D301 - click reads the character
    if file is None:
        msg = "Name the file that declares the services: modalkit prefetch chat.py"
        raise click.UsageError(msg)
    try:
        _run(file, service, again=again, as_json=as_json)
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("Stopped. What has arrived is kept: the same command goes on there.", err=True)
        raise SystemExit(130) from None


def _run(file: str, service: str | None, *, again: bool, as_json: bool) -> None:
    found = prefetchings(file, service)
    if not found:
        click.echo(_nothing(file))
        return
    for one in found:
        _show(one.events(again=again), as_json=as_json)


def _show(events: Iterable[Progress], *, as_json: bool) -> None:
    if as_json:
        for event in events:
            click.echo(json.dumps(event.as_dict()))
        return
    told = _drawn(events) if sys.stderr.isatty() else _written(events)
    for event in [event for event in told if event.stage == "done"]:
        click.echo(summary(event))


def _written(events: Iterable[Progress]) -> Iterator[Progress]:
    """The same events, with lines on stderr on the way."""
    seen: list[Progress] = []

    def passing() -> Iterator[Progress]:
        for event in events:
            if event.stage == "done":
                seen.append(event)
            else:
                yield event

    for line in lines(passing()):
        click.echo(line, err=True)
    yield from seen


def _drawn(events: Iterable[Progress]) -> Iterator[Progress]:
    """The same events, with a bar for each model on the way; none where everything is there."""
    left = iter(events)
    for event in left:
        if event.stage != "done":
            yield from _with_bars(chain([event], left))
            return
        yield event


def _with_bars(events: Iterable[Progress]) -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415 - most runs have nothing to draw
    from rich.progress import BarColumn, DownloadColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[stage]}", style="dim"),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}
        for event in events:
            if event.model not in tasks:
                tasks[event.model] = bars.add_task(event.model, total=None, rate="", stage="")
            bars.update(
                tasks[event.model],
                completed=event.done_bytes,
                total=event.total_bytes or None,
                rate=rate(event),
                stage=event.note
                or f"{event.stage}, {event.done_files} of {event.total_files} files",
            )
            yield event


def _nothing(file: str) -> str:
    return (
        f"{Path(file).name} has no weights to prefetch: that takes a model of the hub, or of a source, and "
        "weights = WeightCache('name')."
    )

"""``modalkit local status``: what runs, and what it keeps."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict, cast

import click
from rich import box
from rich.console import Console
from rich.table import Table

from ...errors import ModalkitError
from ...local.presence import Running, running
from ...local.store.reset import describe
from ...local.wording import rough, sized
from .ask import answer_of
from .options import with_state

__all__ = ["command"]


class _App(TypedDict):
    name: str
    environment: str
    state: str
    version: int
    containers: int
    functions: list[str]


class _Endpoint(TypedDict):
    name: str
    url: str


class _Schedule(TypedDict):
    app: str
    function: str
    schedule: str
    next_at: float


@click.command("status")
@with_state
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(state: Path, as_json: bool) -> None:
    """Show apps, containers, endpoints, schedules and disk use; exit 1 when none is up."""
    plane = running(state)
    try:
        told = {} if plane is None else answer_of(plane, "/admin/status")
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    kept = describe(state)
    disk = {"bytes": kept.size_bytes, "counts": kept.counts}
    if as_json:
        whole = {"running": plane is not None, "state": str(state), "disk": disk, **told}
        if plane is not None:
            whole["url"], whole["dashboard"] = plane.exports["MODAL_SERVER_URL"], plane.page
        click.echo(json.dumps(whole, indent=2))
    else:
        _show(state, plane, told)
        kinds = ", ".join(
            f"{count} {kind}{'s' * (count != 1)}" for kind, count in kept.counts.items()
        )
        click.echo(f"on disk: {sized(kept.size_bytes)}{f' ({kinds})' if kinds else ''}")
    sys.exit(0 if plane is not None else 1)


def _show(state: Path, plane: Running | None, told: dict[str, object]) -> None:
    if plane is None:
        click.echo(
            f"No local Modal is up for {str(state)!r}. Start one: modalkit local up --detach"
        )
        return
    since = rough(time.time() - plane.started_at)
    click.echo(f"A local Modal is up for {str(state)!r}: process {plane.pid}, for {since}.")
    click.echo(f"dashboard: {plane.link}")
    _table(
        ("app", "environment", "state", "version", "containers", "functions"),
        (
            (
                app["name"],
                app["environment"],
                app["state"],
                app["version"],
                app["containers"],
                ", ".join(app["functions"]),
            )
            for app in cast("list[_App]", told["apps"])
        ),
    )
    _table(
        ("endpoint", "url"),
        ((one["name"], one["url"]) for one in cast("list[_Endpoint]", told["endpoints"])),
    )
    _table(
        ("schedule", "fires", "next"),
        (
            (f"{one['app']}::{one['function']}", one["schedule"], _moment(one["next_at"]))
            for one in cast("list[_Schedule]", told["schedules"])
        ),
    )


def _moment(at: float) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return f"{clock} (in {rough(max(0.0, at - time.time()))})"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Print a table, if it has rows."""
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    if table.row_count:
        Console(soft_wrap=False).print(table)

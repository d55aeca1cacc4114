"""``modalkit lock``: write down what exactly a deploy will bring, or check that it is written down."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from ..errors import LockError, ModalkitError
from ..lock import LOCK_NAME, Lock, read_lock, write_lock
from ..locking.file import changes, lock_file, newer_choices, stale
from ..locking.packages import Resolver
from ..locking.services import Asking

__all__ = ["command"]

_ALL = "*"


@click.command("lock", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", required=False)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the lock is stale.")
@click.option(
    "--upgrade",
    is_flag=False,
    flag_value=_ALL,
    metavar="[SERVICE]",
    help="Ask everything again, of one service or of all.",
)
@click.option(
    "--packages",
    "resolver",
    type=click.Choice(["auto", "uv", "pip", "declared"]),
    default="auto",
    show_default=True,
    help="Who resolves Python packages.",
)
def command(file: str | None, check: bool, upgrade: str | None, resolver: Resolver) -> None:
    """Lock every service of FILE in modalkit.lock beside it.

    \b
      modalkit lock chat.py                   # what is locked stays, what is new is added
      modalkit lock chat.py --check           # in CI: exit 1 if the lock is stale
      modalkit lock chat.py --upgrade         # move to what the hub and the indexes have now
      modalkit lock chat.py --upgrade Chat    # only one service

    The commit and every weight file of the model with its hash, what sizing knows of it, the GPUs,
    the packages of the image, and prices with their date. The lock is meant to be committed.
    """  # noqa: D301 - click reads the character
    if file is None and upgrade is not None and upgrade.endswith(".py"):
        file, upgrade = upgrade, _ALL  # `--upgrade chat.py`: the name belongs to the file
    if file is None:
        msg = "Name the file that declares the services: modalkit lock chat.py"
        raise click.UsageError(msg)
    if check and upgrade is not None:
        msg = "--check writes nothing, --upgrade does. Leave one of them out."
        raise click.UsageError(msg)
    try:
        if check:
            _check(file)
        else:
            _write(file, upgrade, resolver)
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error


def _check(file: str) -> None:
    path = Path(file).with_name(LOCK_NAME)
    lock = read_lock(path, f"modalkit lock {file}")
    problems = stale(file, lock)
    for line in problems or newer_choices(file, lock):
        click.echo(line)
    if problems:
        click.echo(f"{path} is stale. Run: modalkit lock {file}")
        raise SystemExit(1)
    click.echo(f"{path} is current.")


def _write(file: str, upgrade: str | None, resolver: Resolver) -> None:
    path = Path(file).with_name(LOCK_NAME)
    old = _old(path, upgrade, file)
    names = None if upgrade is None else [] if upgrade == _ALL else [upgrade]
    console = Console(stderr=True)
    with _bar(console) as bar:
        task = bar.add_task("", total=None, visible=False)
        asking = Asking(
            say=lambda text: console.print(text, highlight=False, style="dim", soft_wrap=True),
            warn=lambda text: console.print(text, highlight=False, style="yellow", soft_wrap=True),
            progress=lambda done, total: _advance(bar, task, done, total),
            resolver=resolver,
        )
        lock = lock_file(file, old, asking, names)
    if lock == old:
        click.echo(f"{path} is current.")
        return
    write_lock(lock, path)
    for line in changes(old, lock):
        click.echo(line)
    click.echo(f"{path} written: {_summary(file, lock)}")


def _old(path: Path, upgrade: str | None, file: str) -> Lock | None:
    """The lock there is; a damaged one is replaced only when everything is asked again."""
    if not path.exists():
        return None
    try:
        return read_lock(path, f"modalkit lock {file} --upgrade")
    except LockError as error:
        if upgrade == _ALL:
            return None
        msg = f"{error} (which asks everything again), or restore it from version control."
        raise LockError(msg) from error


def _bar(console: Console) -> Progress:
    columns = (TextColumn("hashing"), BarColumn(), DownloadColumn())
    return Progress(*columns, console=console, transient=True)


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total, visible=done < total)


def _summary(file: str, lock: Lock) -> str:
    mine = [one for key, one in lock.services.items() if key.startswith(f"{Path(file).name}:")]
    files = sum(len(one.model.files) for one in mine if one.model)
    packages = sum(len(one.image.packages) for one in mine)
    return f"{len(mine)} service(s), {files} model file(s), {packages} package(s)."

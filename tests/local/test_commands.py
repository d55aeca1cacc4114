"""Every command of Modal's command line works, or says at once what to do instead."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from modal.cli.entry_point import entrypoint_cli

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "local" / "commands.md"
PATIENCE_S = 300
# What each is run with; those that other tests run, or that need a terminal, the internet or an
# account, are not here.
WORKS = """
app list
app info hello
app history hello
app logs hello
app promote hello v1
app rollback hello v1
app rollover hello
app dashboard hello
container list
function info hello/square
function logs hello/square
function autoscaler settings hello/square
function autoscaler update hello/square --max-containers 3
function variants hello/square
image names list
volume create commands-volume
volume list
volume put commands-volume hello.py
volume ls commands-volume
volume cp commands-volume hello.py again.py
volume get commands-volume again.py -
volume rm commands-volume again.py
volume dashboard commands-volume
volume rename commands-volume commands-other --yes
volume delete commands-other --yes
dict create commands-dict
dict list
dict get commands-dict key
dict items commands-dict
dict clear commands-dict --yes
dict delete commands-dict --yes
queue create commands-queue
queue list
queue len commands-queue
queue peek commands-queue
queue clear commands-queue --yes
queue delete commands-queue --yes
nfs create commands-nfs
nfs list
nfs put commands-nfs hello.py
nfs ls commands-nfs
nfs get commands-nfs hello.py -
nfs rm commands-nfs hello.py
nfs delete commands-nfs --yes
secret create commands-secret A=b
secret list
secret delete commands-secret --yes
environment create commands
environment list
environment update commands --set-name commands-2
environment delete commands-2 --yes
workspace members list
workspace settings list
token info
profile list
profile current
config show
skills show
dashboard
"""
REFUSED = """
app stats hello
function calls hello/square
function stats hello/square
function metrics hello/square
endpoint list
endpoint library
endpoint create --name x --model Qwen/Qwen3-8B
endpoint info x
endpoint logs x
endpoint stats x
endpoint stop x
image names history x
environment roles list main
environment roles update main x --role viewer
environment billing summary main
environment billing report main --for today
workspace settings set image-builder-version 2025.06
workspace proxy-tokens list
workspace proxy-tokens create
workspace proxy-tokens update wk-1 name x
workspace proxy-tokens allow wk-1 main
workspace proxy-tokens revoke wk-1 main
workspace proxy-tokens delete wk-1 --yes
workspace service-users create x
workspace service-users list
workspace service-users delete x --yes
workspace service-users info x
workspace service-users set-role x main viewer
workspace member-tokens list
workspace member-tokens delete ak-1 --yes
workspace member-tokens disable ak-1 --yes
workspace member-tokens enable ak-1 --yes
billing summary
billing report --for today
billing rates
token new
"""


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of the commands of a group that do something."""
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield " ".join(path)


def known(arguments: list[str]) -> str:
    """Return the command that a line runs; empty where the installed client has none of it."""
    names = set(commands(entrypoint_cli))
    starts = (" ".join(arguments[:count]) for count in range(len(arguments), 0, -1))
    return next((start for start in starts if start in names), "")


def on_the_page(column: int) -> set[str]:
    """Return the commands in a column of the page's table."""
    names = set(commands(entrypoint_cli))
    found: set[str] = set()
    for line in PAGE.read_text("utf-8").splitlines():
        if not line.startswith("| "):
            continue
        cells = line.split("|")
        group = cells[1].strip(" `")
        for word in re.findall(r"`([^`]+)`", cells[column]):
            found |= {word, f"{group} {word}"} & names
    return found


def run(plane, lines: str) -> list[tuple[list[str], int, str]]:
    """Run the lines that the installed client has, and return what came of each."""
    wanted = [words for line in lines.split("\n") if known(words := line.split())]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("modal_commands.py"))],
        input=json.dumps(wanted),
        env={**os.environ, **plane.exports, "COLUMNS": "200"},
        cwd=Path(__file__).parent / "apps",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return [(words, one["code"], one["said"]) for words, one in zip(wanted, told, strict=True)]


def test_the_page_has_every_command():
    """Each command of the installed client is in one column of the table, and in one only."""
    works, refused = on_the_page(2), on_the_page(3)
    assert works | refused == set(commands(entrypoint_cli))
    assert not works & refused
    assert {known(line.split()) for line in WORKS.splitlines()} - {""} <= works
    assert {known(line.split()) for line in REFUSED.splitlines()} - {""} <= refused | {"token new"}


def test_commands_that_work(plane):
    """What the page says works does."""
    plane.deploy("hello")
    for words, code, said in run(plane, WORKS):
        assert code == 0, f"modal {' '.join(words)}: {said}"


def test_commands_that_are_refused_say_what_to_do(plane):
    """What is refused ends at once with its name and a remedy of its own."""
    plane.deploy("hello")
    for words, code, said in run(plane, REFUSED):
        assert code == 1, f"modal {' '.join(words)}: {said}"
        text = " ".join(said.split())
        assert "does not serve" in text or "needs no token" in text, text
        assert "works on Modal itself only" not in text, text

"""The options of ``modalkit bench``, and what they come to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..bench.finding import Wanted
from ..bench.lengths import Lengths
from ..bench.limits import Limit
from ..bench.loads import Load, Stage
from ..bench.workload import Kind, Prompt
from ..errors import DeclarationError
from .options import options_as

__all__ = ["BenchOptions", "bench_options"]

_SECONDS = 20.0
_CONCURRENCIES = (1, 8, 32)
_WARM_UP_SHARE = 0.15
_LEAST_WARM_UP_S = 1.0


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between them."""

    name = "N,N"

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            return tuple((int if self._whole else float)(part) for part in value.split(","))
        except ValueError:
            what = "whole numbers" if self._whole else "numbers"
            return self.fail(
                f"{value!r} must be {what} with commas between them: 1,8,32.", param, ctx
            )


class BenchOptions(NamedTuple):
    """What was asked on the command line; ``bench_options`` says what each is."""

    concurrency: tuple[int, ...] | None
    rate: tuple[float, ...] | None
    duration: float | None
    requests: int | None
    warm_up: float | None
    kind: Kind | None
    model: str | None
    route: str | None
    method: str
    inputs: tuple[str, ...]
    content_type: str
    lengths: str
    prompt: str | None
    prompts: str | None
    timeout: float
    within: float
    key_env: str | None
    header_env: tuple[str, ...]
    gpu: str | None
    usd_per_hour: float | None
    containers: int
    compare: str | None
    fail_if: tuple[str, ...]
    html: str | None
    as_json: bool
    seed: int
    quiet: bool

    @property
    def wanted(self) -> Wanted:
        """What was said of the endpoint."""
        kind = self.kind or ("route" if self.route or self.inputs else None)
        return Wanted(kind, self.model, self.route, self.method.upper(), bool(self.inputs))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The loads, in the order they are kept up: closed loops, then open ones.

        Raises:
            DeclarationError: A number that cannot be.
        """
        clients = self.concurrency or (() if self.rate else _CONCURRENCIES)
        loads = [Load(concurrency=count) for count in clients]
        loads += [Load(rate=rate) for rate in self.rate or ()]
        if self.duration is not None and self.requests is not None:
            msg = "--duration and --requests exclude each other: say how long, or how many."
            raise DeclarationError(msg)
        seconds = None if self.requests else self.duration or _SECONDS
        cut = max(_LEAST_WARM_UP_S, _WARM_UP_SHARE * (seconds or 0.0))
        warm_up = cut if self.warm_up is None else self.warm_up
        return tuple(
            Stage(load=load, duration_s=seconds, requests=self.requests, warm_up_s=warm_up)
            for load in loads
        )

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The conditions of ``--fail-if``.

        Raises:
            DeclarationError: One that is not understood, or that needs --compare.
        """
        found = tuple(Limit.parse(one) for one in self.fail_if)
        changes = [one.text for one in found if one.is_change]
        if changes and self.compare is None:
            msg = f"The condition {changes[0]!r} is about a change. Name the older bench: --compare OLD.json."
            raise DeclarationError(msg)
        return found

    @property
    def headers_from(self) -> dict[str, str]:
        """Variables by the header they fill.

        Raises:
            DeclarationError: It is not HEADER=NAME.
        """
        pairs = [one.partition("=") for one in self.header_env]
        for header, joint, variable in pairs:
            if not (header and joint and variable):
                msg = f"--header-env {header + joint + variable!r} must be HEADER=NAME, where NAME is an environment variable."
                raise DeclarationError(msg)
        return {header: variable for header, _, variable in pairs}

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """The inputs of a route: files, JSON in place, or the lines of a file.

        Raises:
            DeclarationError: There is no such file, and it is no JSON.
        """
        return tuple(body for one in self.inputs for body in _bodies(one))

    @property
    def given_prompts(self) -> tuple[Prompt, ...]:
        """The prompts that were given.

        Raises:
            DeclarationError: The file holds none.
        """
        tokens_out = Lengths.parse(self.lengths).tokens_out[1]
        if self.prompt is not None:
            return (Prompt(self.prompt, tokens_out),)
        return _prompts(Path(self.prompts), tokens_out) if self.prompts else ()


def _bodies(given: str) -> Sequence[bytes]:
    path = Path(given)
    try:
        if path.suffix == ".jsonl":
            return [line for line in path.read_bytes().splitlines() if line.strip()]
        if path.is_file():
            return [path.read_bytes()]
        json.loads(given)
    except (OSError, ValueError) as error:
        msg = f"--input {given[:80]!r} is neither a file nor JSON: {error}"
        raise DeclarationError(msg) from error
    return [given.encode()]


def _prompts(path: Path, tokens_out: int) -> tuple[Prompt, ...]:
    """The prompts of a file: lines, a ``.jsonl``, or conversations as ShareGPT has them."""
    text = path.read_text("utf-8")
    try:
        if path.suffix == ".json":
            found = [_turn(one, tokens_out) for one in json.loads(text)]
        elif path.suffix == ".jsonl":
            found = [
                _line(json.loads(line), tokens_out) for line in text.splitlines() if line.strip()
            ]
        else:
            found = [Prompt(line, tokens_out) for line in text.splitlines() if line.strip()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{str(path)!r} holds no prompts ({error!r}). Write one a line, or .jsonl objects with 'prompt' and 'tokens_out'."
        raise DeclarationError(msg) from error
    kept = tuple(one for one in found if one is not None)
    if not kept:
        msg = f"{str(path)!r} holds no prompts."
        raise DeclarationError(msg)
    return kept


def _line(written: dict[str, Any], tokens_out: int) -> Prompt:
    return Prompt(str(written["prompt"]), int(written.get("tokens_out", tokens_out)))


def _turn(conversation: dict[str, Any], tokens_out: int) -> Prompt | None:
    """The first question of a conversation; its answer's words say how long an answer may be."""
    turns = conversation["conversations"]
    if not turns or turns[0]["from"] not in {"human", "user"}:
        return None
    answer = turns[1]["value"] if len(turns) > 1 else ""
    # Three tokens for four words of English, turned around.
    asked = round(len(answer.split()) * 4 / 3)
    return Prompt(turns[0]["value"], max(1, asked) if answer else tokens_out)


_OPTIONS = (
    click.option(
        "-c", "--concurrency", type=_Numbers(whole=True), metavar="N,N",
        help="Closed loop: so many clients at once [1,8,32 without --rate].",
    ),
    click.option(
        "-r", "--rate", type=_Numbers(whole=False), metavar="R,R",
        help="Open loop: so many requests a second, at Poisson moments.",
    ),
    click.option(
        "-d", "--duration", type=click.FloatRange(0.1, 86_400), metavar="S",
        help="Seconds that are measured of each load [20].",
    ),
    click.option(
        "-n", "--requests", type=click.IntRange(1), metavar="N",
        help="Requests that are measured of each load, instead of a time.",
    ),
    click.option(
        "--warm-up", type=click.FloatRange(0, 3600), metavar="S",
        help="Seconds of each load, before that, which do not count [15 %, at least 1].",
    ),
    click.option(
        "--kind", type=click.Choice(["chat", "completions", "embeddings", "route"]),
        help="What it speaks [found by asking].",
    ),
    click.option("--model", metavar="NAME", help="The model's name [the first it has]."),
    click.option("--route", metavar="PATH", help="A typed route [the only one it has]."),
    click.option("--method", default="POST", show_default=True, metavar="METHOD", help="Of a route with --input."),
    click.option(
        "--input", "inputs", multiple=True, metavar="FILE|JSON",
        help="What a route is sent, in turn; a .jsonl has one a line [made from its JSON schema].",
    ),
    click.option("--content-type", default="application/json", show_default=True, metavar="TYPE", help="Of --input."),
    click.option(
        "--lengths", default="500:200", show_default=True, metavar="IN:OUT",
        help="Tokens of prompts and answers: 512:128, 100-900:50-300, sharegpt, alpaca.",
    ),
    click.option("--prompt", metavar="TEXT", help="Always this prompt."),
    click.option(
        "--prompts", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
        help="Prompts in turn: a line each, a .jsonl of prompt and tokens_out, a ShareGPT .json.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(min=0.01), default=300, show_default=True, metavar="S",
        help="Seconds that a request may take.",
    ),
    click.option(
        "--within", type=click.FloatRange(min=0.1), default=1800, show_default=True, metavar="S",
        help="Seconds in which it must have answered first.",
    ),
    click.option("--key-env", metavar="NAME", help="The variable with the Bearer key [MODALKIT_API_KEY]."),
    click.option(
        "--header-env", multiple=True, metavar="HEADER=NAME", help="A header out of a variable."
    ),
    click.option("--gpu", metavar="GPU", help="What a container has, for $/1M tokens: L40S, H100:2."),
    click.option(
        "--usd-per-hour", type=click.FloatRange(min=0, min_open=True), metavar="USD",
        help="What a container costs, instead.",
    ),
    click.option(
        "--containers", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="How many answer."
    ),
    click.option(
        "--compare", type=click.Path(exists=True, dir_okay=False), metavar="OLD",
        help="Show what differs from an earlier --json.",
    ),
    click.option(
        "--fail-if", multiple=True, metavar="COND",
        help="Exit code 1 if it holds: 'ttft_p90_ms>500', 'tokens_per_s@c8<90', 'ttlt_p90_ms>+10%'.",
    ),
    click.option(
        "--html", type=click.Path(dir_okay=False, writable=True), metavar="FILE",
        help="Write a report with plots.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print everything as JSON."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of requests and moments."),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
)  # fmt: skip

bench_options = options_as(BenchOptions, "target", _OPTIONS)

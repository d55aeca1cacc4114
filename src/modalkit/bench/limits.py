"""``--fail-if``: figures that must not be reached, for a pipeline that must notice."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

from .._values import did_you_mean
from ..errors import DeclarationError
from .report import BenchReport, StageReport, figures

__all__ = ["Limit"]

_FORM = re.compile(
    r"\s*(?P<figure>[a-z_0-9]+)\s*(@\s*(?P<load>[cr][\d.]+))?\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<number>[+-]?\d+(\.\d+)?)\s*(?P<percent>%)?\s*"
)
_SIGNS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_OF_ALL = "cold_start_s"
_FIGURES = (
    *(
        f"{name}_{one}_ms"
        for name in ("ttft", "itl", "tpot", "ttlt")
        for one in ("p50", "p90", "p95", "p99", "mean", "max")
    ),
    *("requests", "requests_per_s", "tokens_per_s", "prompt_tokens_per_s", "errors", "error_rate"),
    *("usd_per_million_tokens", "usd_per_million_answer_tokens", "usd_per_thousand_requests"),
    *("generator_cpu_share", _OF_ALL),
)


class Limit(NamedTuple):
    """A condition under which a bench has failed.

    Attributes:
        text: As it was written.
        figure: Whose figure.
        load: Of one load only; empty is of each.
        sign: How it is compared.
        number: With what.
        is_change: Whether that is a change in percent since an older bench.
    """

    text: str
    figure: str
    load: str
    sign: str
    number: float
    is_change: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"ttft_p90_ms>500"``, ``"tokens_per_s@c8<1000"`` or ``"ttlt_p90_ms>+10%"``.

        Raises:
            DeclarationError: It is nothing of the kind, or there is no such figure.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            msg = f"The condition {text!r} is not understood. Write FIGURE>NUMBER, such as ttft_p90_ms>500, tokens_per_s@c8<1000 or ttlt_p90_ms>+10%."
            raise DeclarationError(msg)
        if found["figure"] not in _FIGURES:
            msg = f"There is no figure {found['figure']!r} in {text!r}.{did_you_mean(found['figure'], _FIGURES)} See docs/bench.md for all of them."
            raise DeclarationError(msg)
        return cls(
            text.strip(),
            found["figure"],
            found["load"] or "",
            found["sign"],
            float(found["number"]),
            found["percent"] is not None,
        )

    def problems(self, report: BenchReport, old: BenchReport | None) -> Iterator[str]:
        """Yield a sentence for each load in which the condition holds, or cannot be looked at."""
        if self.figure == _OF_ALL:
            before = old.cold.start_s if old and old.cold else None
            yield from self._problem("", report.cold.start_s if report.cold else None, before)
            return
        stages = [one for one in report.stages if self.load in {"", one.load}]
        if not stages:
            yield f"{self.text}: there was no load {self.load or 'at all'}."
        for stage in stages:
            before_stage = _same(old, stage)
            before = figures(before_stage).get(self.figure) if before_stage else None
            yield from self._problem(stage.load, figures(stage).get(self.figure), before)

    def _problem(self, load: str, value: float | None, before: float | None) -> Iterator[str]:
        where = f" at {load}" if load else ""
        if value is None:
            yield f"{self.text}: {self.figure} was not measured{where}."
            return
        if not self.is_change:
            if _SIGNS[self.sign](value, self.number):
                yield f"{self.text}: {self.figure}{where} is {value:g}."
            return
        if not before:
            yield f"{self.text}: the older bench has no {self.figure}{where}."
            return
        change = (value / before - 1) * 100
        if _SIGNS[self.sign](change, self.number):
            yield f"{self.text}: {self.figure}{where} is {value:g}, {change:+.1f} % against {before:g}."


def _same(old: BenchReport | None, stage: StageReport) -> StageReport | None:
    by_load: Mapping[str, StageReport] = {one.load: one for one in old.stages} if old else {}
    return by_load.get(stage.load)

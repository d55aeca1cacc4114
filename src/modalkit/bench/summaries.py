"""What was measured of one load, as figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from .answers import Answer
from .measuring import Measured
from .percentiles import Distribution, Estimate, distribution, mean_estimate, quantile
from .report import Moment, Rule, StageReport

__all__ = ["summary"]

_PARTS = 10  # of the measured time, whose agreement says how sure a throughput is
_MOMENTS = 60
_KEEPS_UP = 0.95
_BEHIND = 0.05
_MANY_PER_CHUNK = 1.2


def summary(measured: Measured, conceal: Callable[[str], str]) -> StageReport:
    """Work a load's figures out.

    Args:
        measured: The load.
        conceal: Takes secrets out of what servers said.
    """
    good = [one for one in measured.answers if not one.failure]
    bad = [one for one in measured.answers if one.failure]
    seconds = max(1e-6, measured.ended - measured.begun)
    counts = any(one.tokens_out for one in good)
    load = measured.stage.load
    first, gaps, mean_gaps, last = _distributions(good)
    return StageReport(
        load=load.label,
        concurrency=load.concurrency,
        rate=load.rate,
        seconds=round(seconds, 3),
        requests=len(measured.answers),
        answered=len(good),
        errors=dict(Counter(one.failure for one in bad).most_common()),
        messages={one.failure: conceal(one.message) for one in reversed(bad)},
        in_flight=round(sum(one.ended - one.intended for one in good) / seconds, 2),
        requests_per_s=_per_second(_answers_in_parts(measured, _PARTS), seconds),
        tokens_per_s=_per_second(_tokens_in_parts(measured, _PARTS), seconds) if counts else None,
        prompt_tokens_per_s=_prompts_per_s(measured, seconds),
        tokens_in=_mean(one.tokens_in for one in good if one.tokens_in),
        tokens_out=_mean(one.tokens_out for one in good if one.tokens_out),
        tokens_per_chunk=_tokens_per_chunk(good),
        ttft_ms=first,
        itl_ms=gaps,
        tpot_ms=mean_gaps,
        ttlt_ms=last,
        rule=_rule(good, first, gaps, last),
        headroom=measured.headroom,
        timeline=_timeline(measured, seconds),
        notes=tuple(_notes(measured, good, seconds, last)),
    )


def _per_second(parts: Sequence[float], seconds: float) -> Estimate:
    """What came in each part of a time, as a rate, sure as far as the parts agree."""
    return mean_estimate([part * len(parts) / seconds for part in parts])


def _distributions(good: Sequence[Answer]) -> tuple[Distribution | None, ...]:
    """First token, gaps, mean gap and last token, in milliseconds."""
    streams = [one for one in good if one.streams]
    gaps = [[(b - a) * 1000 for a, b in pairwise(one.stamps)] for one in streams]
    mean_gaps = [
        [(one.stamps[-1] - one.stamps[0]) * 1000 / (one.tokens_out - 1)]
        for one in streams
        if one.tokens_out > 1
    ]
    return (
        distribution([[_first_ms(one)] for one in streams]),
        distribution(gaps),
        distribution(mean_gaps),
        distribution([[_last_ms(one)] for one in good]),
    )


def _first_ms(answer: Answer) -> float:
    return (answer.stamps[0] - answer.intended) * 1000 if answer.stamps else _last_ms(answer)


def _last_ms(answer: Answer) -> float:
    """To the last token of a stream, to the whole of any other answer."""
    end = answer.stamps[-1] if answer.streams and answer.stamps else answer.ended
    return (end - answer.intended) * 1000


def _rule(
    good: Sequence[Answer],
    first: Distribution | None,
    gaps: Distribution | None,
    last: Distribution | None,
) -> Rule | None:
    if first is None or gaps is None or last is None:
        return None
    tokens = quantile(sorted(float(one.tokens_out) for one in good), 0.9)
    estimated = first.p90.value + gaps.p90.value * tokens
    return Rule(
        tokens=round(tokens, 1),
        estimated_p90_ms=round(estimated, 2),
        measured_p90_ms=last.p90.value,
    )


def _parts(measured: Measured, count: int) -> tuple[float, float]:
    """Where the measured time begins, and how many parts of it are in a second."""
    return measured.begun, count / max(1e-6, measured.ended - measured.begun)


def _answers_in_parts(measured: Measured, count: int) -> list[float]:
    begun, per_s = _parts(measured, count)
    parts = [0.0] * count
    for one in (*measured.before, *measured.answers):
        if not one.failure and begun <= one.ended <= measured.ended:
            parts[min(count - 1, int((one.ended - begun) * per_s))] += 1
    return parts


def _tokens_in_parts(measured: Measured, count: int) -> list[float]:
    """The tokens that came in each part, whenever their requests were sent."""
    begun, per_s = _parts(measured, count)
    parts = [0.0] * count
    for one in (*measured.before, *measured.answers):
        if one.failure or not one.stamps:
            continue
        each = one.tokens_out / len(one.stamps)
        for stamp in one.stamps:
            if begun <= stamp <= measured.ended:
                parts[min(count - 1, int((stamp - begun) * per_s))] += each
    return parts


def _prompts_per_s(measured: Measured, seconds: float) -> float | None:
    read = sum(
        one.tokens_in
        for one in (*measured.before, *measured.answers)
        if one.stamps and measured.begun <= one.stamps[0] <= measured.ended
    )
    return round(read / seconds, 3) if read else None


def _tokens_per_chunk(good: Sequence[Answer]) -> float | None:
    chunks = sum(len(one.stamps) for one in good if one.streams)
    tokens = sum(one.tokens_out for one in good if one.streams)
    return round(tokens / chunks, 3) if chunks else None


def _mean(numbers: Iterable[float]) -> float | None:
    every = list(numbers)
    return round(sum(every) / len(every), 2) if every else None


def _timeline(measured: Measured, seconds: float) -> tuple[Moment, ...]:
    count = max(1, min(_MOMENTS, round(seconds * 2)))
    begun, per_s = _parts(measured, count)
    width = seconds / count
    answers, tokens = _answers_in_parts(measured, count), _tokens_in_parts(measured, count)
    due: list[list[Answer]] = [[] for _ in range(count)]
    for one in measured.answers:
        due[min(count - 1, int((one.intended - begun) * per_s))].append(one)
    return tuple(
        _moment(number, width, answers[number], tokens[number], due[number])
        for number in range(count)
    )


def _moment(
    number: int, width: float, answers: float, tokens: float, due: Sequence[Answer]
) -> Moment:
    good = [one for one in due if not one.failure]
    firsts, lasts = sorted(map(_first_ms, good)), sorted(map(_last_ms, good))
    return Moment(
        at_s=round((number + 0.5) * width, 3),
        requests_per_s=round(answers / width, 3),
        tokens_per_s=round(tokens / width, 3),
        errors=len(due) - len(good),
        first_p50_ms=round(quantile(firsts, 0.5), 3) if firsts else None,
        last_p50_ms=round(quantile(lasts, 0.5), 3) if lasts else None,
        last_p99_ms=round(quantile(lasts, 0.99), 3) if lasts else None,
    )


def _notes(
    measured: Measured, good: Sequence[Answer], seconds: float, last: Distribution | None
) -> Iterable[str]:
    if last is not None and (problem := measured.headroom.problem(last.p50.value)):
        yield problem
    rate = measured.stage.load.rate
    done = sum(
        1
        for one in (*measured.before, *measured.answers)
        if not one.failure and measured.begun <= one.ended <= measured.ended
    )
    due = len(measured.answers) + measured.dropped
    late = due - done
    if (
        rate is not None
        and measured.stage.duration_s
        and done < _KEEPS_UP * due
        and late > _BEHIND * due + 3 * due**0.5
    ):
        yield (
            f"The endpoint does not keep up: {due / seconds:.1f} requests a second were due and {done / seconds:.1f} "
            "were answered. Latencies grow for as long as this goes on."
        )
    if measured.dropped:
        yield f"{measured.dropped} requests that were due were not sent: too many were under way."
    if measured.interrupted:
        yield "Ended early by the user; answers still under way are left out."
    per_chunk = _tokens_per_chunk(good)
    if per_chunk is not None and per_chunk > _MANY_PER_CHUNK:
        yield f"{per_chunk:.1f} tokens come at once: ITL is between these, TPOT is by token."

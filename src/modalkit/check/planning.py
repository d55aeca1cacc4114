"""Import one file and judge the plans of its services; run as a process of its own by `plans`.

``python -m modalkit.check.planning FILE RESULT`` writes a list of JSON objects to RESULT. Whatever the
file prints, raises or ends with, the check goes on.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from ..blueprint.reading import read_file
from ..errors import DeclarationError, ModalkitError, PlanError
from ..pricing.total import Budget
from .rule import all_rules
from .rules.plans import PLAN_RULES, Planned

__all__ = ["main"]

Entry = dict[str, object]


def main(file: str, result: str, budget: str) -> None:
    """Write what the rules say of a file's services.

    Args:
        file: The file.
        result: Where to write.
        budget: What a service may cost, or an empty string.
    """
    all_rules()  # registers them
    try:
        entries = list(_judged(file, Budget.parse(budget) if budget else None))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything
        entries = list(_refused(file, error))
    Path(result).write_text(json.dumps(entries), "utf-8")


def _judged(file: str, budget: Budget | None) -> Iterator[Entry]:
    blueprint, known = read_file(file)
    by_name = {service.name: service for service in blueprint.services}
    for one in known:
        planned = Planned(one, by_name[one.plan.name], budget)
        for code, judge in PLAN_RULES.items():
            for problem in judge(planned):
                yield {
                    "code": code,
                    "service": one.plan.name,
                    "field": problem.field,
                    "message": problem.message,
                    "instead": problem.instead,
                }


def _refused(file: str, error: BaseException) -> Iterator[Entry]:
    line = _line(file, error)
    if isinstance(error, PlanError):
        for problem in error.problems:
            service, _, said = problem.partition(": ")
            yield {"code": "MK920", "service": service, "field": "", "line": line, **_said(said)}
        return
    cause = error.__cause__ or error
    if isinstance(error, ModalkitError) and (cause is error or isinstance(cause, ModalkitError)):
        if isinstance(error, DeclarationError) and "has no Modal app" in str(error):
            return
        yield {"code": "MK920", "service": "", "field": "", "line": line, **_said(str(error))}
        return
    yield {
        "code": "MK921",
        "service": "",
        "field": "",
        "line": _line(file, cause),
        "message": f"The file cannot be imported here: {type(cause).__name__}: {cause}.",
        "instead": "Install what it needs, or leave the rules over plans out with --static.",
    }


def _said(text: str) -> Entry:
    """Split an error's sentences into what is wrong and what to write."""
    wrong, found, cure = text.rpartition(" Write ")
    if not found:
        return {"message": text, "instead": "What the message says."}
    return {"message": wrong, "instead": cure}


def _line(file: str, error: BaseException) -> int:
    path = str(Path(file).resolve())
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path and frame.lineno]
    return lines[-1] if lines else 1


if __name__ == "__main__":
    main(*sys.argv[1:4])

"""Run the rules over files and gather what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path

from .declared import ModalFile
from .dockerfiles import dockerfiles_of, is_dockerfile, read_dockerfile
from .files import Candidate, find_files
from .findings import Finding, Severity, Span
from .ignores import Ignore, ignore_of, read_ignores, unsilenced
from .masking import without_keys
from .migration.old_code import is_fallback
from .rule import Problem, Rule, all_rules, find_rule
from .rules.dockerfiles import dockerfile_problems
from .rules.itself import RULE_FAILED, SYNTAX, UNREADABLE, ignore_problems
from .rules.plans import NOT_PLANNED
from .settings import Settings
from .source import SourceFile, UnreadableError, read_source

__all__ = ["CheckReport", "check_dockerfile", "check_paths", "check_source"]

_KEYS = ("MK201", "MK202")
_FIT_BY_NAME = {"MK111", "MK112", "MK117", "MK119"}
_FIT_BY_PLAN = {"MK151", "MK152", "MK153"}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        findings: Sorted by file and place.
        files: How many files were looked at.
    """

    findings: tuple[Finding, ...]
    files: int

    def count(self, severity: Severity) -> int:
        """Return how many findings have a severity."""
        return sum(one.severity is severity for one in self.findings)

    def fails(self, settings: Settings) -> bool:
        """Whether a finding is bad enough."""
        return any(one.severity.rank <= settings.fail_on.rank for one in self.findings)


def check_paths(
    paths: Sequence[str],
    settings: Settings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check files and folders.

    Args:
        paths: Files, and folders whose Python files are searched.
        settings: What to look for; everything unless given.
        progress: Told how many files are done, of how many.

    Raises:
        DeclarationError: A path that is not there.
    """
    settings = settings or Settings()
    candidates = find_files(paths, settings)
    findings: list[Finding] = []
    for done, candidate in enumerate(candidates, start=1):
        findings += _check_file(candidate, settings)
        if progress is not None:
            progress(done, len(candidates))
    return CheckReport(_sorted(findings), len(candidates))


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: one.sort_key))


def _check_file(candidate: Candidate, settings: Settings) -> list[Finding]:
    if is_dockerfile(candidate.path):
        return check_dockerfile(candidate.path, settings)
    try:
        source = read_source(candidate.path, only_modal=not candidate.named)
    except UnreadableError as error:
        return _unreadable(candidate.path, error, settings)
    if source is None:
        return []
    return [*check_source(source, settings), *_built_from(source, settings)]


def _built_from(source: SourceFile, settings: Settings) -> Iterator[Finding]:
    """What is found in the Dockerfiles from which a file builds images."""
    if "from_dockerfile" not in source.text:
        return
    for path in dockerfiles_of(ModalFile(source)):
        yield from check_dockerfile(_as_given(path, source.path), settings)


def _as_given(path: Path, beside: str) -> str:
    """A path as people would have written it: from the current folder, unless all paths are absolute."""
    return str(path) if Path(beside).is_absolute() else relpath(path)


def check_dockerfile(path: str, settings: Settings | None = None) -> list[Finding]:
    """Run the rules that know Dockerfiles over one, and apply its ignore comments."""
    settings = settings or Settings()
    try:
        dockerfile = read_dockerfile(path)
    except UnreadableError as error:
        return _unreadable(path, error, settings)
    source = dockerfile.source
    every = [
        _placed(find_rule(code), problem, source)
        for code, problem in dockerfile_problems(dockerfile)
    ]
    keys = [one.span for one in every if one.code in _KEYS]
    found = [one for one in every if settings.wants(find_rule(one.code))]
    named = (ignore_of(comment) for comment in dockerfile.comments())
    ignores = tuple(one for one in named if one is not None)
    said = [*unsilenced(found, ignores), *_ignore_findings(source, ignores, settings)]
    return without_keys(source, said, keys)


def _unreadable(path: str, error: UnreadableError, settings: Settings) -> list[Finding]:
    rule = SYNTAX if error.is_syntax else UNREADABLE
    lines = error.text.split("\n")
    line = lines[error.span.line - 1] if error.span.line <= len(lines) else ""
    problem = Problem(error.span, error.message, error.instead)
    return [_finding(rule, problem, path, error.span, line)] if settings.wants(rule) else []


def check_source(source: SourceFile, settings: Settings | None = None) -> list[Finding]:
    """Run the rules over one file that has been read, and apply its ignore comments."""
    settings = settings or Settings()
    ignores = read_ignores(source)
    file = ModalFile(source, settings.budget)
    found = list(_static_findings(file, settings)) if file.is_modal else []
    if not settings.static and any(unit.kind == "service" for unit in file.units):
        found = _with_plans(found, list(_plan_findings(file, settings, found)))
    said = [*unsilenced(found, ignores), *_ignore_findings(source, ignores, settings)]
    return without_keys(source, said, _keys(file)) if said else []


def _with_plans(static: list[Finding], planned: list[Finding]) -> list[Finding]:
    """Both, without what was said of a fit by the name where the plan knows the model itself."""
    known = {one.span.line for one in planned if one.code in _FIT_BY_PLAN}
    by_name = [one for one in static if not (one.code in _FIT_BY_NAME and one.span.line in known)]
    return [*by_name, *planned]


def _plan_findings(file: ModalFile, settings: Settings, static: list[Finding]) -> Iterator[Finding]:
    """What plans say; an error that a static rule has explained on its line is not said again."""
    from .plans import plan_problems  # noqa: PLC0415 - processes and pipes; few files need them

    explained = {one.span.line for one in static if one.severity is Severity.ERROR}
    for rule, problem in plan_problems(file, settings):
        span = file.source.span(problem.at)
        if rule.code not in NOT_PLANNED or span.line not in explained:
            yield _placed(rule, problem, file.source)


def _static_findings(file: ModalFile, settings: Settings) -> Iterator[Finding]:
    source = file.source
    for rule in all_rules():
        if rule.find is None or not settings.wants(rule):
            continue
        try:
            problems = list(rule.find(file))
        except Exception as error:  # noqa: BLE001 - one rule must not hide what the others found
            problems, rule = [_failed(rule, error)], RULE_FAILED  # noqa: PLW2901 - said under its own code
        for problem in problems:
            if not (rule.code.startswith("MK8") and is_fallback(file, problem.at)):
                yield _placed(rule, problem, source)


def _placed(rule: Rule, problem: Problem, source: SourceFile) -> Finding:
    span = source.span(problem.at)
    return _finding(rule, problem, source.path, span, source.line(span.line))


def _failed(rule: Rule, error: Exception) -> Problem:
    return Problem(
        Span(1, 1, 1, 1),
        f"{rule.code} failed on this file with {type(error).__name__}.",
        "Report it with the file, and check the rest with --ignore " + rule.code + ".",
    )


def _finding(rule: Rule, problem: Problem, path: str, span: Span, line: str) -> Finding:
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=rule.severity,
        path=path,
        span=span,
        source_line=line,
        message=problem.message,
        why=rule.why,
        instead=problem.instead,
        fix=problem.fix,
    )


def _keys(file: ModalFile) -> list[Span]:
    """Where keys stand, whether their rules were asked for or not."""
    settings = Settings(select=_KEYS)
    return [one.span for one in _static_findings(file, settings) if one.code in _KEYS]


def _ignore_findings(
    source: SourceFile, ignores: tuple[Ignore, ...], settings: Settings
) -> Iterator[Finding]:
    for ignore in ignores:
        for rule, problem in ignore_problems(ignore, settings):
            if settings.wants(rule):
                yield _placed(rule, problem, source)

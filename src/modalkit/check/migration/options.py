"""MK802, MK803, MK819: keywords and methods that have another name now, or none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import Change, change, changes_of
from .draft import Draft
from .early import setup_commands
from .keywords import Keyword, keywords, removed, renamed
from .names import renamed_members
from .old_code import app_calls, called, outdated

__all__ = ["dropped_option", "old_sandbox", "renamed_option"]

_REFUSED = "Modal refuses the keyword when the file is imported."
_REGISTER = ("modal.App().function", "modal.App().cls")


@rule("MK802", "renamed-option", "error", why=_REFUSED)
def renamed_option(file: ModalFile) -> Iterator[Problem]:
    """A keyword of Modal that has another name now."""
    yield from _options(file, "MK802")
    for name, call in app_calls(file):
        if name in _REGISTER or name == "modal.Image().run_function":
            yield from _reshaped(file, call)
        yield from setup_commands(file, name, call)


@rule("MK803", "dropped-option", "error", why=_REFUSED)
def dropped_option(file: ModalFile) -> Iterator[Problem]:
    """A keyword that Modal no longer has, because what it asked for is always so."""
    yield from _options(file, "MK803")
    for name, call in app_calls(file):
        for keyword in keywords(file, call):
            if keyword.name == "_experimental_scheduler_placement" and name in _REGISTER:
                yield outdated(change("scheduler-placement"), keyword.key)
            if keyword.name == "show_progress" and name == "modal.App().run":
                yield _progress(file, call, keyword)


@rule("MK819", "old-sandbox", "error", why="The call fails when it runs.")
def old_sandbox(file: ModalFile) -> Iterator[Problem]:
    """A method or keyword of sandboxes that is written differently now."""
    yield from _options(file, "MK819")
    yield from renamed_members(file, "MK819")
    for name, call in app_calls(file):
        if name == "modal.App().spawn_sandbox":
            yield _spawned(file, call)
        for keyword in keywords(file, call) if name in {"modal.Sandbox.create", "?.exec"} else ():
            if keyword.name in {"pty_info", "_pty_info"}:
                yield _terminal(file, call, keyword)


def _options(file: ModalFile, code: str) -> Iterator[Problem]:
    """The options that the table alone can rewrite."""
    asked = _by_call(code)
    seen: set[ast.AST] = set()
    for name, call in app_calls(file):
        mine = asked.get(name, {})
        for keyword in keywords(file, call) if mine else ():
            known = mine.get(keyword.name)
            if known is not None and keyword.key not in seen:
                seen.add(keyword.key)
                yield _rewritten(file, call, keyword, known)


@cache
def _by_call(code: str) -> dict[str, dict[str, Change]]:
    """The changes of a rule's options, by the call that took them and by their old name."""
    found: dict[str, dict[str, Change]] = {}
    for one in (*changes_of("option", code), *changes_of("dropped", code)):
        for name in one.where:
            found.setdefault(name, {})[one.old] = one
    return found


def _rewritten(file: ModalFile, call: ast.Call, keyword: Keyword, known: Change) -> Problem:
    if known.new is None:
        return outdated(known, keyword.key, "", removed(Draft(file), keyword))
    others = (one for one in keywords(file, call) if one.name == known.new)
    other = next((one for one in others if _meet(keyword, one)), None)
    if other is not None:
        return _both(Draft(file), keyword, other, known)
    edits = [*renamed(Draft(file), keyword, known.new), *_count_of_bool(file, keyword)]
    value = file.source.segment(keyword.value)
    return outdated(known, keyword.key, f"Write {known.new}={value}.", edits)


def _meet(keyword: Keyword, other: Keyword) -> bool:
    """Whether a call gets both options, and not one on one way through the program and one on another."""
    return keyword.holder is other.holder or (keyword.sure and other.sure)


def _both(draft: Draft, keyword: Keyword, other: Keyword, known: Change) -> Problem:
    """The old name beside the new one: while Modal took both, the old one's value counted."""
    value = draft.of(keyword.value)
    words = f"Write {known.new}={value}, once: the value of {known.old} counted."
    call = keyword.holder
    if other.holder is not call or not isinstance(call, ast.Call):
        return outdated(known, keyword.key, words)
    edits = [*renamed(draft, keyword, other.name), *draft.remove_argument(call, other.key)]
    return outdated(known, keyword.key, words, edits)


def _count_of_bool(file: ModalFile, keyword: Keyword) -> list[Edit]:
    """``keep_warm`` was a switch before it was a number."""
    value = keyword.value
    if keyword.name != "keep_warm" or not isinstance(value, ast.Constant):
        return []
    return (
        [Draft(file).replace(value, str(int(value.value)))] if isinstance(value.value, bool) else []
    )


def _reshaped(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    """Options whose value is written differently too."""
    given = {one.name: one for one in keywords(file, call)}
    draft = Draft(file)
    if (secret := given.get("secret")) is not None:
        yield _secret(draft, secret, given.get("secrets"))
    if (snapshot := given.get("_experimental_enable_gpu_snapshot")) is not None:
        text = f'{{"enable_gpu_snapshot": {draft.of(snapshot.value)}}}'
        edits = [
            *renamed(draft, snapshot, "experimental_options"),
            draft.replace(snapshot.value, text),
        ]
        free = "experimental_options" not in given
        words = f"Write experimental_options={text}."
        yield outdated(change("gpu-snapshot"), snapshot.key, words, edits if free else None)
    inputs = given.get("max_inputs")
    if inputs is not None and isinstance(inputs.value, ast.Constant):
        edits = [
            *renamed(draft, inputs, "single_use_containers"),
            draft.replace(inputs.value, "True"),
        ]
        one = inputs.value.value == 1
        words = "Write single_use_containers=True."
        yield outdated(change("max-inputs"), inputs.key, words, edits if one else None)


def _secret(draft: Draft, secret: Keyword, others: Keyword | None) -> Problem:
    text = draft.of(secret.value)
    if others is None:
        edits = [*renamed(draft, secret, "secrets"), draft.replace(secret.value, f"[{text}]")]
        return outdated(change("secret"), secret.key, f"Write secrets=[{text}].", edits)
    words = f"Add {text} to secrets."
    if not isinstance(others.value, ast.List) or others.holder is not secret.holder:
        return outdated(change("secret"), secret.key, words)
    after = ", " if others.value.elts else ""
    edits = [
        *removed(draft, secret),
        draft.insert(draft.start(others.value) + 1, text + after),
    ]
    return outdated(change("secret"), secret.key, words, edits)


def _progress(file: ModalFile, call: ast.Call, keyword: Keyword) -> Problem:
    """``app.run(show_progress=True)`` is a context of its own now."""
    item = file.nodes.parent(call)
    edits = removed(Draft(file), keyword)
    shown = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
    if shown and isinstance(item, ast.withitem):
        edits.append(Draft(file).insert(Draft(file).start(call), "modal.enable_output(), "))
    sure = isinstance(keyword.value, ast.Constant) and _has_modal(file)
    return outdated(change("run-progress"), keyword.key, "", edits if sure else None)


def _has_modal(file: ModalFile) -> bool:
    return any(
        alias.name == "modal" and alias.asname is None
        for node in file.nodes.of(ast.Import)
        for alias in node.names
    )


# -- sandboxes


def _spawned(file: ModalFile, call: ast.Call) -> Problem:
    draft = Draft(file)
    function = call.func
    if not isinstance(function, ast.Attribute):
        return outdated(change("spawn-sandbox"), call)
    app = draft.of(function.value)
    if not _has_modal(file):
        return outdated(
            change("spawn-sandbox"), function, f"Write modal.Sandbox.create(..., app={app})."
        )
    edits = [draft.replace(function, "modal.Sandbox.create"), draft.add_keyword(call, f"app={app}")]
    return outdated(change("spawn-sandbox"), function, "", edits)


def _terminal(file: ModalFile, call: ast.Call, keyword: Keyword) -> Problem:
    draft = Draft(file)
    if called(file, call) == "?.exec" and "modal" not in draft.of(keyword.value):
        return outdated(change("pty-info"), keyword.key, "Write pty=True.")
    edits = [*renamed(draft, keyword, "pty"), draft.replace(keyword.value, "True")]
    return outdated(change("pty-info"), keyword.key, "Write pty=True.", edits)

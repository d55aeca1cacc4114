"""The text of a lock: JSON that reads well in a diff, sealed line by line.

The seal holds a hash of the whole and four hexadecimal digits for each line, so that an edit is not
only noticed but found: a lock is trusted word for word at the start of every container.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from ..errors import LockError

__all__ = ["sealed", "unsealed"]

_WIDTH = 100
_CODES_PER_LINE = 16
_SEAL = '  "seal": {'


def sealed(content: Mapping[str, object]) -> str:
    """Write content as sorted JSON with its seal."""
    return _with_seal(_opened(content, "").removesuffix("\n}").split("\n"))


def _with_seal(body: Sequence[str]) -> str:
    codes = [_code(line) for line in body]
    rows = [
        " ".join(codes[start : start + _CODES_PER_LINE])
        for start in range(0, len(codes), _CODES_PER_LINE)
    ]
    seal = _written({"lines": rows, "sha256": _digest(body)}, "  ")
    return "\n".join([*body, "  ,", f'  "seal": {seal}', "}", ""])


def unsealed(text: str, where: str, remedy: str) -> dict[str, object]:
    """Read content back.

    Args:
        text: The text of a lock.
        where: What messages call it.
        remedy: What they tell to run.

    Raises:
        LockError: It was cut off or edited; the message names the line.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"{where} line {error.lineno} does not read as JSON ({error.msg}): it was cut off or edited. {remedy}"
        raise LockError(msg) from error
    if not isinstance(content, dict) or not isinstance(content.get("seal"), dict):
        msg = f"{where} line 1 begins no lock: there is no seal in it. {remedy}"
        raise LockError(msg)
    lines = text.split("\n")
    changed = _changed_line(lines, content.pop("seal"))
    if changed is not None:
        at = min(changed, len(lines) - 1)
        holds = f"it holds {lines[at].strip()!r}" if changed == at else "it was cut off there"
        msg = (
            f"{where} line {at + 1} is not what modalkit lock wrote; {holds}. "
            f"A lock is not edited by hand. {remedy}"
        )
        raise LockError(msg)
    return content


def _changed_line(lines: Sequence[str], seal: Mapping[str, object]) -> int | None:
    """The first line that is not as it was written, the seal's own lines included; None if all are."""
    ends = [number for number, line in enumerate(lines) if line.startswith(_SEAL)]
    body = lines[: ends[-1] - 1] if ends else lines
    if _digest(body) != seal.get("sha256"):
        rows = seal.get("lines")
        codes = " ".join(map(str, rows)).split() if isinstance(rows, list) else []
        changed = _first_difference([_code(line) for line in body], codes)
        if changed is not None:
            return changed
    # What stands beside and behind the seal counts too: of a key written twice, JSON takes the last.
    return _first_difference(lines, _with_seal(body).split("\n"))


def _first_difference(found: Sequence[str], expected: Sequence[str]) -> int | None:
    pairs = enumerate(zip_longest(found, expected))
    return next((number for number, (ours, theirs) in pairs if ours != theirs), None)


def _code(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:4]


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _written(value: object, indent: str, *, is_item: bool = False) -> str:
    """JSON with sorted keys; what holds nothing nested stays on a line, an item of a list always."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, dict | list) or (_is_flat(value) and (is_item or len(line) < _WIDTH)):
        return line
    return _opened(value, indent)


def _opened(value: Mapping[str, object] | list[object], indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(key)}: {_written(value[key], inner)}" for key in sorted(value)]
    else:
        parts = [_written(item, inner, is_item=True) for item in value]
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"


def _is_flat(value: dict[str, object] | list[object]) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return not any(isinstance(item, dict | list) and item for item in items)

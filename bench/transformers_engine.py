"""modalkit's transformers engine against `transformers serve --continuous-batching`.

Both serve the same tiny Llama (7 M parameters, random weights, a byte-level tokenizer of 8192
tokens trained here on the source of transformers) on this machine, one after the other and in
turns; a load generator measures streaming chats at 1, 16 and 32 streams. Medians over rounds.

    python bench/transformers_engine.py LOAD_GENERATOR [--rounds 3] [--write]

LOAD_GENERATOR is a script that is called with a base URL and a model name and prints a JSON list
of {"conc", "ok", "bad", "tok_s", "ttft_ms_p50", "ttft_ms_p90", "itl_ms_p50"}. Tokens are counted
as content chunks, for both servers alike. Only one server runs at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

OURS, THEIRS = "modalkit", "transformers serve"
FIGURES = ("tok_s", "ttft_ms_p50", "ttft_ms_p90", "itl_ms_p50")
RESULTS = Path(__file__).parent / "results" / "transformers_engine.md"
VOCABULARY = 8192
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def make_tokenizer():
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    source = sorted(Path(transformers.__file__).parent.glob("models/*/modeling_*.py"))[:200]
    core.train([str(path) for path in source], trainer)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def command(server: str, model: Path, port: int) -> list[str]:
    if server == OURS:
        flags = ["--model", str(model), "--port", str(port)]
        return [sys.executable, "-m", "modalkit.runtime.transformers", *flags]
    program = Path(sys.executable).with_name("transformers")
    return [str(program), "serve", str(model), "--continuous-batching", "--port", str(port)]


def measure(server: str, model: Path, load: Path) -> list[dict[str, float]]:
    """Start a server, load it, stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(model.parent / "hub")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(server, model, port), env=environment, **quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url)
        printed = subprocess.run(
            [sys.executable, str(load), url, str(model)], check=True, capture_output=True, text=True
        )
    finally:
        process.terminate()
        process.wait(timeout=60)
    return json.loads(printed.stdout)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    msg = f"{url} was not ready after 120 s."
    raise TimeoutError(msg)


def medians(rounds: list[list[dict[str, float]]]) -> dict[int, dict[str, float]]:
    by_streams: dict[int, dict[str, float]] = {}
    for rows in zip(*rounds, strict=True):
        figures = {name: statistics.median(row[name] for row in rows) for name in FIGURES}
        by_streams[int(rows[0]["conc"])] = figures
    return by_streams


def table(rounds: dict[str, list[list[dict[str, float]]]]) -> list[str]:
    ours, theirs = medians(rounds[OURS]), medians(rounds[THEIRS])
    lines = [
        "| streams | server | tok/s | TTFT p50 ms | TTFT p90 ms | ITL p50 ms | tok/s ratio |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for streams in ours:
        for server, figures in ((OURS, ours[streams]), (THEIRS, theirs[streams])):
            ratio = figures["tok_s"] / theirs[streams]["tok_s"]
            cells = " | ".join(f"{figures[name]:.1f}" for name in FIGURES)
            lines.append(f"| {streams} | {server} | {cells} | {ratio:.2f}x |")
    return lines


def report(rounds: dict[str, list[list[dict[str, float]]]], loads: list[str]) -> str:
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "uvicorn"))
    count = len(rounds[OURS])
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    lines = [
        "# The transformers engine against `transformers serve --continuous-batching`",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}; {versions}.",
        f"Medians of {count} rounds in turns; 64 chats of 64 tokens per line; the load generator",
        f"shares the machine. Load average before each round: {', '.join(loads)}.",
        "",
        *table(rounds),
        "",
        "## Every round",
        "",
    ]
    for server, measured in rounds.items():
        for number, rows in enumerate(measured, 1):
            cells = "; ".join(
                f"{row['conc']}: {row['tok_s']} tok/s, TTFT p50 {row['ttft_ms_p50']} ms, "
                f"{row['bad']} failed"
                for row in rows
            )
            lines.append(f"* {server}, round {number}: {cells}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("load", type=Path, help="the load generator")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    flags = parser.parse_args()
    rounds: dict[str, list[list[dict[str, float]]]] = {OURS: [], THEIRS: []}
    loads: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tiny-llama"
        make_model(model)
        for number in range(flags.rounds):
            loads.append(f"{os.getloadavg()[0]:.1f}")
            order = (OURS, THEIRS) if number % 2 == 0 else (THEIRS, OURS)
            for server in order:
                rounds[server].append(measure(server, model, flags.load))
                print(server, json.dumps(rounds[server][-1]), flush=True)
    text = report(rounds, loads)
    print(text)
    if flags.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

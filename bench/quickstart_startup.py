"""How much `modalkit local modal run examples/chat.py` adds to loading the model by hand.

    python bench/quickstart_startup.py [--runs 5]

Alternates two fresh processes and prints the median of each, in seconds:
  by hand    a Python process that imports torch and transformers, loads model and tokenizer, and
             answers with model.generate, until the answer is printed
  modalkit   from typing the command to the last word of the answer: local Modal, CLI, container,
             engine process, model, HTTP
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "examples" / "models" / "small-chat"
QUESTION = "Why is the sky blue?"

BY_HAND = f"""
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(MODEL)!r})
model = AutoModelForCausalLM.from_pretrained({str(MODEL)!r})
messages = [{{"role": "user", "content": {QUESTION!r}}}]
asked = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
answer = model.generate(**asked, do_sample=False, max_new_tokens=128)
print(tokenizer.decode(answer[0][asked["input_ids"].shape[1]:], skip_special_tokens=True), flush=True)
"""


def seconds_until(argv: list[str], last_words: str, env: dict[str, str]) -> float:
    """Start a command and return the seconds until it has printed these words."""
    started = time.perf_counter()
    process = subprocess.Popen(
        argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    said, took = "", None
    while piece := process.stdout.read(1):
        said += piece
        if took is None and said.endswith(last_words):
            took = time.perf_counter() - started
    process.wait()
    if took is None:
        msg = f"no answer from {argv}:\n{said}"
        raise SystemExit(msg)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    bin_folder = Path(sys.executable).parent
    env = {
        **os.environ,
        "MODALKIT_API_KEY": "bench",
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }
    modalkit = [str(bin_folder / "modalkit"), "local", "modal", "run", "examples/chat.py"]
    modalkit += ["--prompt", QUESTION]
    last_words = "blue to us."
    by_hand, ours = [], []
    for _ in range(runs):
        by_hand.append(seconds_until([sys.executable, "-c", BY_HAND], last_words, env))
        ours.append(seconds_until(modalkit, last_words, env))
    figures = {
        "by_hand_s": round(statistics.median(by_hand), 2),
        "modalkit_s": round(statistics.median(ours), 2),
        "difference_s": round(statistics.median(ours) - statistics.median(by_hand), 2),
        "runs": {
            "by_hand_s": [round(value, 2) for value in by_hand],
            "modalkit_s": [round(value, 2) for value in ours],
        },
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

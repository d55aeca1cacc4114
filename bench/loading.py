"""How fast weights come from a cold disk into the Transformers engine, beside ``dd`` of the same file.

    python bench/loading.py                 # print
    python bench/loading.py --write         # write bench/results/loading.md too
    python bench/loading.py --device cuda   # into a GPU's memory

A Llama of ``--gb`` gigabytes of random bytes in one safetensors file. Each round drops the file from the
page cache and runs ``dd`` (1 MiB blocks), then drops it again and runs a way of loading, in a fresh process
that has imported everything before its clock starts. The clock stops when every byte has arrived: a tensor
that is mapped is touched on each of its pages. A ratio compares the two of one round; the median counts.

* ``mmap``: transformers' ``from_pretrained`` as it is.
* ``read ahead``: the same, while threads read the file into the page cache; what the engine does.
* ``advised``: the same with ``posix_fadvise`` instead of reads; gVisor, where Modal's containers run, takes
  the advice and does nothing.
* ``parallel``: four threads read into memory of their own, which ``from_pretrained`` is given.
* ``uncached``: four threads, past the page cache (O_DIRECT).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "loading.md"
WAYS = ("mmap", "read ahead", "advised", "parallel", "uncached")
PIECE = 8 << 20
THREADS = 4
ALIGNED = 4096


def make_model(folder: Path, gigabytes: float) -> Path:
    """Write a Llama of about this size; its weights' file."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    layers = max(1, round((gigabytes * 1e9 - 262e6) / 134.2e6))
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=16,
        max_position_embeddings=512,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {
            name: list(tensor.shape)
            for name, tensor in LlamaForCausalLM(config).state_dict().items()
        }
    file = folder / "model.safetensors"
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    text += b" " * (-(len(text) + 8) % ALIGNED)
    noise = np.random.default_rng(0).integers(0, 256, 64 << 20, np.uint8).tobytes()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, at, len(noise)):
            out.write(noise[: at - begin])
        os.fsync(out.fileno())
    return file


def drop(file: Path) -> None:
    """Let the page cache forget a file."""
    number = os.open(file, os.O_RDONLY)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)


def dd_s(file: Path) -> float:
    """Seconds of dd."""
    started = time.perf_counter()
    words = ["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"]
    subprocess.run(words, check=True)
    return time.perf_counter() - started


def load(way: str, folder: Path, device: str) -> float:
    """Seconds of one way; to be called in a fresh process."""
    import torch
    from transformers import LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from modalkit.runtime.transformers.reading import reading_ahead

    disable_progress_bar()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
    torch.zeros(1, device=device)
    file = folder / "model.safetensors"
    started = time.perf_counter()
    if way == "mmap":
        model = LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    elif way == "read ahead":
        with reading_ahead([file]):
            model = LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    elif way == "advised":
        with advised(file):
            model = LlamaForCausalLM.from_pretrained(folder, dtype="auto")
    else:
        config = LlamaForCausalLM.config_class.from_pretrained(folder)
        state = read_state(file, direct=way == "uncached")
        model = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=state)
    model.to(device)
    if device == "cpu":
        for tensor in model.state_dict().values():
            tensor.reshape(-1)[:: ALIGNED // tensor.element_size()].sum().item()
    else:
        torch.cuda.synchronize()
    return time.perf_counter() - started


@contextmanager
def advised(file: Path) -> Iterator[None]:
    """Tell the system that a file will be read."""
    number = os.open(file, os.O_RDONLY)
    with ThreadPoolExecutor(THREADS) as pool:
        for begin in range(0, file.stat().st_size, PIECE):
            pool.submit(os.posix_fadvise, number, begin, PIECE, os.POSIX_FADV_WILLNEED)
        yield
    os.close(number)


def read_state(file: Path, *, direct: bool) -> dict:
    """Read a safetensors file into memory of its own."""
    import torch

    size = file.stat().st_size
    room = torch.empty(size + 2 * ALIGNED, dtype=torch.uint8)
    first = -room.data_ptr() % ALIGNED
    view = memoryview(room.numpy())[first:]
    number = os.open(file, os.O_RDONLY | (os.O_DIRECT if direct else 0))

    def piece(begin: int) -> None:
        end = min(begin + PIECE, size)
        asked = -(-(end - begin) // ALIGNED) * ALIGNED if direct else end - begin
        done = 0
        while done < end - begin:
            done += os.preadv(number, [view[begin + done : begin + asked]], begin + done)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(piece, range(0, size, PIECE)))
    os.close(number)
    length = struct.unpack("<Q", bytes(view[:8]))[0]
    header = json.loads(bytes(view[8 : 8 + length]))
    header.pop("__metadata__", None)
    data = room[first + 8 + length :]
    return {
        name: data[slice(*at["data_offsets"])].view(torch.bfloat16).reshape(at["shape"])
        for name, at in header.items()
    }


def measured(folder: Path, file: Path, way: str, device: str) -> tuple[float, float]:
    """Seconds of dd and of a way, one after the other, each from a cold cache."""
    drop(file)
    plain = dd_s(file)
    drop(file)
    words = [sys.executable, __file__, "--child", way, "--folder", str(folder), "--device", device]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return plain, float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.child:
        print(load(given.child, given.folder, given.device))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        file = make_model(folder, given.gb)
        report(run(folder, file, given), file.stat().st_size, given)


def run(
    folder: Path, file: Path, given: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for number in range(given.rounds):
        for way in WAYS:
            times[way].append(measured(folder, file, way, given.device))
            plain, own = times[way][-1]
            print(
                f"{number} {way:<11} dd {plain:6.2f} s  load {own:6.2f} s  {plain / own:5.2f}x",
                flush=True,
            )
    return times


def report(
    times: dict[str, list[tuple[float, float]]], size: int, given: argparse.Namespace
) -> None:
    rows = []
    for way, pairs in times.items():
        ratio = statistics.median(plain / own for plain, own in pairs)
        plain, own = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(f"| {way} | {size / own / 1e9:.2f} | {size / plain / 1e9:.2f} | {ratio:.2f} |")
    load_average = os.getloadavg()[0]
    lines = [
        "# Loading weights from a cold page cache",
        "",
        (
            f"`python bench/loading.py --gb {given.gb:g} --rounds {given.rounds} --device {given.device}`, "
            f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores, load average "
            f"{load_average:.1f}. One file of {size / 1e9:.2f} GB; medians of {given.rounds} rounds. "
            "What each way does stands in the script. The ratio is dd's time over the loading's, in one round."
        ),
        "",
        "| way | loads, GB/s | dd beside it, GB/s | ratio to dd |",
        "|---|---:|---:|---:|",
        *rows,
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if given.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()

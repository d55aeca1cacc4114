"""How fast weights come from a cold disk into the Transformers engine, beside ``dd`` of the same file.

    python bench/loading.py                 # print
    python bench/loading.py --write         # write bench/results/loading.md too
    python bench/loading.py --device cuda   # into a GPU's memory

A Llama of ``--gb`` gigabytes of random bytes in one safetensors file. Each round drops the file from the
page cache and runs ``dd`` (1 MiB blocks), then drops it again and runs a way of loading, in a fresh process
that has imported everything before its clock starts. The clock stops when every byte has arrived: a tensor
that is mapped is touched on each of its pages. A ratio compares the two of one round; the median counts.

* ``mmap``: transformers' ``from_pretrained`` as it is.
* ``read ahead``: the same, while threads read the file into the page cache; what the engine does where it
  cannot read past it.
* ``advised``: the same with ``posix_fadvise`` instead of reads; gVisor, where Modal's containers run, takes
  the advice and does nothing.
* ``in memory``: four threads read past the page cache (O_DIRECT) into memory of their own, which
  ``from_pretrained`` is given; what the engine does with files that are not in the page cache already.
* ``parallel``: the same through the page cache.
* ``fastsafetensors``, ``runai streamer``: those loaders, which SGLang and vLLM know as ``load_format``, with as
  many threads as they take by themselves; without GPUDirect Storage, which no file system under FUSE has. They run where their packages
  are, which are none of modalkit's: ``pip install --no-deps --target DIR fastsafetensors==0.5.0
  runai-model-streamer==0.17.0 humanize==4.17.0``, then ``PYTHONPATH=DIR python bench/loading.py``.
* ``straight to device``: ``from_pretrained(device_map="cuda")``; with ``--device cuda`` only.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
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


def load(way: str, folder: Path, device: str) -> tuple[float, float]:
    """Seconds of one way, and of processor time; to be called in a fresh process."""
    import torch
    from transformers import LlamaForCausalLM  # noqa: F401 - before the clock starts
    from transformers.utils.logging import disable_progress_bar

    from modalkit.runtime.transformers import in_memory, reading  # noqa: F401 - likewise

    disable_progress_bar()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
    torch.zeros(1, device=device)
    if way in PACKAGES:
        importlib.import_module(PACKAGES[way])
    started, cpu = time.perf_counter(), time.process_time()
    model = WAYS[way](folder, folder / "model.safetensors", device)
    model.to(device)
    if device == "cpu":
        for tensor in model.state_dict().values():
            tensor.reshape(-1)[:: ALIGNED // tensor.element_size()].sum().item()
    else:
        torch.cuda.synchronize()
    return time.perf_counter() - started, time.process_time() - cpu


def mapped(folder: Path, _file: Path, _device: str, **more: object) -> object:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype="auto", **more)


def read_ahead(folder: Path, file: Path, device: str) -> object:
    from modalkit.runtime.transformers.reading import reading_ahead

    with reading_ahead([file]):
        return mapped(folder, file, device)


def after_advice(folder: Path, file: Path, device: str) -> object:
    with advised(file):
        return mapped(folder, file, device)


def in_memory(folder: Path, file: Path, _device: str) -> object:
    from modalkit.runtime.transformers.in_memory import load_from_memory

    arguments = {"revision": None, "trust_remote_code": False, "dtype": "auto"}
    model = load_from_memory(folder, [file], arguments)
    if model is None:
        sys.exit("The file is in the page cache, or cannot be read past it here.")
    return model


def parallel(folder: Path, file: Path, _device: str) -> object:
    return made_of(folder, read_state(file))


def by_fastsafetensors(folder: Path, file: Path, device: str) -> object:
    from fastsafetensors import fastsafe_open

    options = {"nogds": True, "device": "cuda:0" if device == "cuda" else device}
    with fastsafe_open(filenames=[str(file)], **options) as opened:
        state = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118 - no mapping
    return made_of(folder, state)


def by_runai(folder: Path, file: Path, _device: str) -> object:
    from runai_model_streamer import SafetensorsStreamer

    with SafetensorsStreamer() as streamer:
        streamer.stream_file(str(file))
        state = {name: tensor.clone() for name, tensor in streamer.get_tensors()}
    return made_of(folder, state)


def straight(folder: Path, file: Path, device: str) -> object:
    return mapped(folder, file, device, device_map=device)


def made_of(folder: Path, state: dict) -> object:
    from transformers import LlamaForCausalLM

    config = LlamaForCausalLM.config_class.from_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=state)


WAYS = {
    "in memory": in_memory,
    "read ahead": read_ahead,
    "mmap": mapped,
    "advised": after_advice,
    "parallel": parallel,
    "fastsafetensors": by_fastsafetensors,
    "runai streamer": by_runai,
    "straight to device": straight,
}
PACKAGES = {"fastsafetensors": "fastsafetensors", "runai streamer": "runai_model_streamer"}


def why_not(way: str, device: str) -> str | None:
    """Why a way cannot be measured here; None where it can."""
    if way in PACKAGES and importlib.util.find_spec(PACKAGES[way]) is None:
        return f"{way}: its package {PACKAGES[way]} is not installed"
    if way == "straight to device" and device == "cpu":
        return f"{way}: it needs a GPU, --device cuda"
    return None


@contextmanager
def advised(file: Path) -> Iterator[None]:
    """Tell the system that a file will be read."""
    number = os.open(file, os.O_RDONLY)
    with ThreadPoolExecutor(THREADS) as pool:
        for begin in range(0, file.stat().st_size, PIECE):
            pool.submit(os.posix_fadvise, number, begin, PIECE, os.POSIX_FADV_WILLNEED)
        yield
    os.close(number)


def read_state(file: Path) -> dict:
    """Read a safetensors file into memory of its own, through the page cache."""
    import torch

    size = file.stat().st_size
    room = torch.empty(size, dtype=torch.uint8)
    view = memoryview(room.numpy())
    number = os.open(file, os.O_RDONLY)

    def piece(begin: int) -> None:
        end = min(begin + PIECE, size)
        while begin < end:
            begin += os.preadv(number, [view[begin:end]], begin)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(piece, range(0, size, PIECE)))
    os.close(number)
    length = struct.unpack("<Q", bytes(view[:8]))[0]
    header = json.loads(bytes(view[8 : 8 + length]))
    header.pop("__metadata__", None)
    data = room[8 + length :]
    return {
        name: data[slice(*at["data_offsets"])].view(torch.bfloat16).reshape(at["shape"])
        for name, at in header.items()
    }


def measured(folder: Path, file: Path, way: str, device: str) -> tuple[float, float, float]:
    """Seconds of dd and of a way, one after the other, each from a cold cache; the way's processor time."""
    drop(file)
    plain = dd_s(file)
    drop(file)
    words = [sys.executable, __file__, "--child", way, "--folder", str(folder), "--device", device]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    wall, cpu = done.stdout.split()[-2:]
    return plain, float(wall), float(cpu)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default=",".join(WAYS), help="some of them, with commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.child:
        print(*load(given.child, given.folder, given.device))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        file = make_model(folder, given.gb)
        report(run(folder, file, given), file.stat().st_size, given)


def run(
    folder: Path, file: Path, given: argparse.Namespace
) -> dict[str, list[tuple[float, float, float]]]:
    here = [way for way in given.ways.split(",") if why_not(way, given.device) is None]
    times: dict[str, list[tuple[float, float, float]]] = {way: [] for way in here}
    for number in range(given.rounds):
        for way, found in times.items():
            found.append(measured(folder, file, way, given.device))
            plain, own, cpu = found[-1]
            print(
                f"{number} {way:<11} dd {plain:6.2f} s  load {own:6.2f} s  {plain / own:5.2f}x  {cpu:5.2f} s of CPU",
                flush=True,
            )
    return times


def report(
    times: dict[str, list[tuple[float, float, float]]], size: int, given: argparse.Namespace
) -> None:
    rows = []
    for way, pairs in times.items():
        ratio = statistics.median(plain / own for plain, own, _ in pairs)
        plain, own, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(
            f"| {way} | {size / own / 1e9:.2f} | {size / plain / 1e9:.2f} | {ratio:.2f} | {cpu:.2f} |"
        )
    load_average = os.getloadavg()[0]
    lines = [
        "# Loading weights from a cold page cache",
        "",
        (
            f"`{' '.join(['python', *sys.argv])}`, "
            f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores, load average "
            f"{load_average:.1f}. One file of {size / 1e9:.2f} GB; medians of {given.rounds} rounds. "
            "What each way does stands in the script. The ratio is dd's time over the loading's, in one round."
        ),
        "",
        "| way | loads, GB/s | dd beside it, GB/s | ratio to dd | CPU s |",
        "|---|---:|---:|---:|---:|",
        *rows,
        "",
        *(
            f"Not measured: {why}."
            for way in given.ways.split(",")
            if (why := why_not(way, given.device))
        ),
    ]
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if given.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()

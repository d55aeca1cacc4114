"""The builders in plain Modal code: each one compiles alone.

modalkit local modal run examples/plain_modal.py
"""

from pathlib import Path

import modal

from modalkit import GPUProfile, ImageSpec, Resources, Scaling, WeightCache

app = modal.App("plain")

cache = WeightCache("notes", mount="/notes")
# This file imports modalkit, so its container needs it too.
image = ImageSpec(python="3.12").apt("git").pip("numpy==2.4.6").with_modalkit()


@app.function(
    image=image.to_modal(),
    gpu=GPUProfile("L4", fallbacks=["A10"]).to_modal(),
    volumes=cache.to_modal(),
    **Resources(cpu=2, memory_mib=4096).to_modal(),
    **Scaling(max_containers=2, timeout=60).to_modal(),
)
def remember(word: str) -> list[str]:
    file = Path(cache.path("words.txt"))
    with file.open("a") as words:
        words.write(word + "\n")
    return file.read_text().split()


@app.local_entrypoint()
def main(word: str = "hello") -> None:
    print("remembered so far:", ", ".join(remember.remote(word)))

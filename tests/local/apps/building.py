"""Images made by functions: one that leaves files behind, one that fails."""

import os
from pathlib import Path

import modal

volume = modal.Volume.from_name("built", create_if_missing=True)


def fetch(times: int, word: str) -> None:
    print("fetching the weights")
    Path("/weights.bin").write_text(word * times + os.environ["TOKEN"])
    Path("/root/.cache/x").mkdir(parents=True)
    Path("/root/.cache/x/y").write_text("cached")
    Path("/shared/kept").write_text("kept")


def fail() -> None:
    int("no weights today")


image = modal.Image.debian_slim().run_function(
    fetch,
    args=(2,),
    kwargs={"word": "w"},
    secrets=[modal.Secret.from_dict({"TOKEN": "-secret"})],
    volumes={"/shared": volume},
)
if os.environ.get("TEST_FAIL"):
    image = image.run_function(fail)
app = modal.App("building", image=image)


@app.function(volumes={"/shared": volume})
def look() -> list[str]:
    paths = ("/weights.bin", "/root/.cache/x/y", "/shared/kept")
    return [Path(path).read_text() for path in paths]


@app.local_entrypoint()
def main() -> None:
    print(look.remote())

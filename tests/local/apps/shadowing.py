"""A user's module has the name of one that Modal's own code has loaded."""

from pathlib import Path

import cbor2
import modal

image = modal.Image.debian_slim().add_local_file("material/shadow.py", "/root/cbor2.py")
app = modal.App("shadowing", image=image)


@app.function()
def who() -> tuple[str, bool]:
    with Path("/proc/self/cmdline").open() as words:
        return getattr(cbor2, "WHO", "the package"), "zygote" not in words.read()


@app.local_entrypoint()
def main() -> None:
    name, fresh = who.remote()
    print(f"{name}, started afresh: {fresh}")

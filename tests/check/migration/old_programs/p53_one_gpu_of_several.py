"""2024-09: GPU objects in branches, with counts read back in code and in commands."""
import os

import modal
from modal import gpu

app = modal.App("one-gpu-of-several")

if os.environ.get("SIZE") == "big":
    GPU = gpu.H100(count=8)
elif os.environ.get("SIZE") == "middle":
    GPU = modal.gpu.A100(count=2, size="80GB")
else:
    GPU = modal.gpu.L4(
        count=3,  # as many as the quota has
    )
ALIAS = GPU
SMALL = gpu.T4() if os.environ.get("CHEAP") else gpu.A10G(count=2)
options = {"gpu": GPU, "container_idle_timeout": 60}


@app.function(**options)
def shards():
    command = f"serve --tp {GPU.count}"
    return command, ALIAS.count * 2


@app.function(gpu=SMALL)
def small():
    n = SMALL.count
    return f'{SMALL.count} of {n}'


@app.local_entrypoint()
def main():
    assert shards.remote() == ("serve --tp 3", 6)
    assert small.remote() == "2 of 2"
    print("done")

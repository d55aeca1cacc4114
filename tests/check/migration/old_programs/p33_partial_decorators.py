"""2024: decorators made once, and options passed on."""
from functools import partial

import modal

app = modal.App("partial-decorators")
image = modal.Image.debian_slim()
gpu_function = partial(app.function, image=image, gpu=modal.gpu.T4(), container_idle_timeout=60)


@gpu_function(timeout=60)
def f():
    return 1


@app.function(image=image, **{"concurrency_limit": 2})
def g():
    return 2


@app.local_entrypoint()
def main():
    assert f.remote() + g.remote() == 3
    print("done")

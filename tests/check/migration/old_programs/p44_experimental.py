"""2025: experimental names that were promoted, and options that went."""
import modal

app = modal.App("experimental")


@app.function(_experimental_gpus=["L4", "T4"], _experimental_boost=True)
def f():
    return 1


@app.function(gpu="T4", _experimental_enable_gpu_snapshot=False, _experimental_custom_scaling_factor=1.0)
def g():
    return 2


@app.local_entrypoint()
def main():
    assert f.remote() + g.remote() == 3
    print("done")

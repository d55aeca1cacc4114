"""2024-08: a GPU chosen by the environment, counts read back from it."""
import os

import modal
from modal import gpu

app = modal.App("conditional-gpu")
BIG = os.environ.get("BIG", "") == "1"
N_GPU = int(os.environ.get("N_GPU", 2))
GPU_CONFIG = gpu.H100(count=N_GPU)
gpu_request = gpu.A100(count=2, size="80GB") if BIG else gpu.A10G()


@app.function(gpu=gpu_request)
def which():
    return "ok"


@app.function(gpu=GPU_CONFIG)
def tensor_parallel():
    return f"--tensor-parallel-size {GPU_CONFIG.count}"


@app.function(gpu=gpu.A100(memory=40, count=1))
def old_a100():
    return 40


@app.function(gpu=[gpu.L4(), gpu.T4(count=1), gpu.Any()])
def fallbacks():
    return 1


@app.local_entrypoint()
def main():
    assert which.remote() == "ok"
    assert tensor_parallel.remote() == "--tensor-parallel-size 2"
    assert old_a100.remote() + fallbacks.remote() == 41
    print("done")

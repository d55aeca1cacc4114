"""2023-10: modal.gpu by its full path, gpu=True, a constant count."""
import modal
import modal.gpu

stub = modal.Stub("gpu-constants")
GPU = modal.gpu.A100(memory=80, count=4)


@stub.function(gpu=True)
def anything():
    return 1


@stub.function(gpu=GPU)
def four():
    return GPU.count


@stub.function(gpu=modal.gpu.A100(size="40GB"))
def one():
    return 1


@stub.function(gpu=modal.gpu.T4(
    count=1,  # one is enough
))
def small():
    return 1


@stub.local_entrypoint()
def main():
    assert anything.remote() + four.remote() + one.remote() + small.remote() == 7
    print("done")

"""2023: run() with its progress, from a function of the program."""
import modal
from modal import gpu

stub = modal.Stub("run-in-a-script")


@stub.function(gpu=gpu.T4(), concurrency_limit=1)
def f(x):
    return x + 1


@stub.local_entrypoint()
def main():
    print("done" if f.remote(1) == 2 else "wrong")


def script():
    with stub.run(show_progress=False):
        print(f.call(1))


if __name__ == "__main__":
    with stub.run(show_progress=True) as running:
        print(f.remote(2))

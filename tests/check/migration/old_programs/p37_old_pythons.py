"""2023: Pythons of that time; unsafe, because packages may differ."""
# modalkit-test: unsafe
import modal

stub = modal.Stub("old-pythons", image=modal.Image.debian_slim(python_version="3.9"))
third = modal.Image.debian_slim("3.10")


@stub.function()
def f():
    return 1


@stub.function(image=third)
def g():
    return 2


@stub.local_entrypoint()
def main():
    assert f.remote() + g.remote() == 3
    print("done")

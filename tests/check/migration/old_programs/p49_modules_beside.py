"""2024: a module beside the file, which Modal took along by itself."""
import modal
import shop
from cakes import double

stub = modal.Stub("modules-beside")
image = modal.Image.debian_slim().env({"A": "1"})


@stub.function()
def f(x):
    return double(x) + shop.PRICE


@stub.function(image=image)
def g(x):
    return double(x)


@stub.local_entrypoint()
def main():
    assert f.remote(1) == 9
    assert g.remote(2) == 4
    print("done")

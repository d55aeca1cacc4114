"""2024-01: mounts with names, lists of mounts, packages."""
from modal import Stub, Mount, Image

data = Mount.from_local_dir("./data", remote_path="/data")
package = Mount.from_local_python_packages("shop")
everything = [data, package]

stub = Stub("mounts-in-variables", image=Image.debian_slim())


@stub.function(image=Image.debian_slim(), mounts=everything)
def total():
    import shop

    return shop.PRICE + len(open("/data/hello.txt").read())


@stub.function(image=Image.debian_slim().env({"A": "1"}), mounts=[package])
def price():
    import shop

    return shop.PRICE


@stub.local_entrypoint()
def main():
    assert total.remote() == 12
    assert price.remote() == 7
    print("done")

"""2023-02: references, package mounts, asynchronous classes and functions in classes; unsafe, because stores get names."""
# modalkit-test: unsafe
import modal
import modal.aio
from modal import create_package_mounts

stub = modal.aio.AioStub(
    "early",
    image=modal.Image.debian_slim(),
    mounts=[*modal.create_package_mounts(module_names=["helper"])],
)
async_queue = modal.aio.AioQueue()
stub.words = modal.Queue()
bucket = modal.ref("early-volume")
old = modal.SharedVolume().persist("early-volume")


@stub.generator(shared_volumes={"/data": old})
def letters(word):
    yield from word


@stub.function(
    shared_volumes={"/other": bucket},
    mounts=[modal.Mount(local_dir="assets", remote_dir="/assets")],
)
def add(first, second):
    return first + second


@stub.function(mounts=create_package_mounts(["helper"]))
def helped():
    import helper

    return helper.__name__


class Counter:
    def __enter__(self):
        self.count = 1

    @stub.function(concurrency_limit=2, interactive=False)
    def up(self, by: int):
        return self.count + by


def never():
    return stub.function(image=modal.Image.from_dockerhub("python:3.11", setup_commands=["apt update"]))


@stub.local_entrypoint
def main():
    assert [*letters.call("ab")] == ["a", "b"]
    assert add.submit(1, 2).get() == 3
    assert helped.call() == "helper"
    assert Counter().up.call(by=1) == 2
    print("done")

"""2023-07: objects without names; unsafe, because with a name they outlive the run."""
# modalkit-test: unsafe
import modal

stub = modal.Stub("new-objects", counter=modal.Dict.new())
stub.queue = modal.Queue.new()
volume = modal.Volume.new()


@stub.function(volumes={"/cache": volume})
def work(n):
    stub.counter["n"] = n
    stub.queue.put(n)


@stub.local_entrypoint()
def main():
    work.remote(7)
    assert stub.counter["n"] == 7
    assert stub.queue.get() == 7
    print("done")

"""2023-05: shared volumes; unsafe, because a Volume starts empty."""
# modalkit-test: unsafe
import modal

stub = modal.Stub("shared-volume")
cache = modal.SharedVolume().persist("old-cache")
CACHE_DIR = "/cache"


@stub.function(shared_volumes={CACHE_DIR: cache})
def write():
    with open("/cache/a.txt", "w") as f:
        f.write("a")


@stub.function(
    shared_volumes={
        CACHE_DIR: cache,  # the same
    },
    secret=modal.Secret.from_dict({"A": "b"}),
)
def read():
    import os

    return os.environ["A"]


@stub.local_entrypoint()
def main():
    write.remote()
    assert read.remote() == "b"
    print("done")

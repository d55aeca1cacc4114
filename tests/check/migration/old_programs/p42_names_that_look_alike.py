"""2024: names of other libraries that look like Modal's; only Modal's may change."""
import modal

app = modal.App("look-alikes")


class Stub:
    """Not Modal's."""

    def call(self, x):
        return x

    def lookup(self, x):
        return x


class Pool:
    def __init__(self, keep_warm=0, concurrency_limit=1, mounts=()):
        self.keep_warm, self.concurrency_limit, self.mounts = keep_warm, concurrency_limit, mounts

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


def web_endpoint(f):
    return f


@app.function(concurrency_limit=2)
def f(x):
    stub = Stub()
    with Pool(keep_warm=3, concurrency_limit=4) as pool:
        return stub.call(x) + stub.lookup(x) + pool.keep_warm + pool.concurrency_limit


@web_endpoint
def helper(container_idle_timeout=5):
    return container_idle_timeout


@app.local_entrypoint()
def main():
    assert f.remote(1) == 9
    assert helper() == 5
    print("done")

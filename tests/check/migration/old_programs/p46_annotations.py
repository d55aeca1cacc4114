"""2024: old names in annotations and helper functions."""
from __future__ import annotations

import modal


def make_stub(name: str) -> modal.Stub:
    return modal.Stub(name)


def add_function(stub: modal.Stub):
    @stub.function(serialized=True, name="added", concurrency_limit=1, container_idle_timeout=60)
    def added(x):
        return x + 1

    return added


stub = make_stub("annotations")
added = add_function(stub)


@stub.local_entrypoint()
def main():
    assert added.remote(1) == 2
    print("done")

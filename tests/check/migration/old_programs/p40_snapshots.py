"""2024-03: checkpoints, and classes that load before one."""
import modal
from modal import enter, method

stub = modal.Stub("snapshots")


@stub.cls(checkpointing_enabled=True)
class Model:
    @enter(checkpoint=True)
    def load(self):
        self.a = 1

    @enter()
    def after(self):
        self.b = 2

    @method(keep_warm=0)
    def sum(self):
        return self.a + self.b


@stub.cls(enable_memory_snapshot=True, concurrency_limit=1)
class Second:
    def __enter__(self):
        self.a = 4

    @method()
    def get(self):
        return self.a


@stub.local_entrypoint()
def main():
    assert Model().sum.remote() == 3
    assert Second().get.remote() == 4
    print("done")

"""2023-06: the mixin of the first classes, helper classes beside them, exit with its arguments."""
import modal
from modal.cls import ClsMixin

stub = modal.Stub("early-classes")


class Timer:
    """A plain context manager; Modal has nothing to do with it."""

    def __enter__(self):
        self.ticks = 1
        return self

    def __exit__(self, exc_type, exc, tb):
        return False


@stub.cls(container_idle_timeout=60)
class Model(ClsMixin):
    @modal.enter()
    def load(self):
        with Timer() as timer:
            self.ticks = timer.ticks

    @modal.method()
    def get(self):
        return self.ticks

    @modal.exit()
    def close(self, exc_type, exc_value, tb):
        print("closed")


@stub.local_entrypoint()
def main():
    assert Model().get.call() == 1
    print("done")

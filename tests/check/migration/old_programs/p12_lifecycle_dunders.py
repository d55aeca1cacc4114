"""2023-09: the container's life as dunder methods."""
import modal
from modal import method

stub = modal.Stub("lifecycle-dunders")


@stub.cls()
class Model:
    def __enter__(self):
        self.loaded = True
        return self

    @method()
    def predict(self, x):
        return x if self.loaded else None

    def __exit__(self, exc_type, exc_value, traceback):
        self.loaded = False


@stub.cls(allow_concurrent_inputs=2)
class AsyncModel:
    async def __aenter__(self):
        self.loaded = 1

    @method()
    async def predict(self, x):
        return x + self.loaded

    async def __aexit__(self, *args):
        ...


@stub.local_entrypoint()
def main():
    assert Model().predict.remote(3) == 3
    assert AsyncModel().predict.remote(3) == 4
    print("done")

"""2023-09: methods called without remote, classes made with remote."""
import modal

stub = modal.Stub("classes-called-plainly")


@stub.cls()
class Model:
    def __enter__(self):
        self.k = 3

    @modal.method()
    def predict(self, x):
        return self.scale(x) + 1

    @modal.method()
    def scale(self, x):
        return self.k * x

    @modal.method()
    def stream(self, n):
        for i in range(n):
            yield i


@stub.local_entrypoint()
def main():
    model = Model.remote()
    assert model.predict.call(2) == 7
    assert Model().predict(1) == 4
    assert Model.predict.remote(0) == 1
    assert list(Model().stream.call(2)) == [0, 1]
    print("done")

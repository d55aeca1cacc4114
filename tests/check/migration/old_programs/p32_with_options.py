"""2025-01: options given when a class is used."""
import modal

app = modal.App("with-options")


@app.cls(container_idle_timeout=30)
class Model:
    @modal.method()
    def f(self, x):
        return x


@app.local_entrypoint()
def main():
    A = Model.with_options(concurrency_limit=2, container_idle_timeout=20)
    B = Model.with_options(allow_concurrent_inputs=5)
    C = Model.with_options(
        container_idle_timeout=20,
        allow_concurrent_inputs=3,
    )
    assert [one().f.remote(1) for one in (A, B, C)] == [1, 1, 1]
    print("done")

"""2024: options shared by functions through dicts."""
import modal

app = modal.App("options-in-dicts")
SHARED = {"container_idle_timeout": 60, 'concurrency_limit': 3, "allow_concurrent_inputs": 2}
MORE = dict(keep_warm=0, timeout=120)


@app.function(**SHARED)
def f(x):
    return x


@app.function(**SHARED, memory=256)
def g(x):
    return -x


@app.cls(**MORE)
class Box:
    @modal.method()
    def get(self):
        return 5


@app.local_entrypoint()
def main():
    assert f.remote(1) + g.remote(1) == 0
    assert Box().get.remote() == 5
    print("done")

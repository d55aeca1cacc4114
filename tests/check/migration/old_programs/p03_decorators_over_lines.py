"""2024-06: App, autoscaler keywords in every layout."""
import modal

app = modal.App(
    "layouts",
)


@app.function(
    keep_warm = 0 ,  # none
    # how many at most
    concurrency_limit=2,
    container_idle_timeout=\
        120,
    timeout=60)
def first(x: int) -> int: return x + 1


@app.function(concurrency_limit=1, keep_warm=0, container_idle_timeout=30)
def second(x: int) -> int:
    return x * 2


@app.function(
    allow_concurrent_inputs=4,
)
def third(x):
    return x - 1


@app.local_entrypoint()
def main():
    assert [first.remote(1), second.remote(2), third.remote(3)] == [2, 4, 2]
    print("done")

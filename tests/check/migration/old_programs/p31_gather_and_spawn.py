"""2024: calls gathered."""
import modal
from modal.functions import FunctionCall, gather

app = modal.App("gather-and-spawn")


@app.function(concurrency_limit=4)
def f(x):
    return x * x


@app.local_entrypoint()
def main():
    calls = [f.spawn(x) for x in (1, 2, 3)]
    assert gather(*calls) == [1, 4, 9]
    assert modal.functions.gather(f.spawn(4)) == [16]
    assert isinstance(calls[0], FunctionCall)
    print("done")

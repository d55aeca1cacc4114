"""2024-10: lookup of everything."""
import modal
from modal import Dict, Queue, Volume

app = modal.App("lookups")
volume = modal.Volume.lookup("lookup-volume", create_if_missing=True)
d = Dict.lookup("lookup-dict", create_if_missing=True)
q = Queue.lookup(label="lookup-queue", create_if_missing=True)
named = Volume.from_name(label="lookup-named", create_if_missing=True)


@app.function(volumes={"/v": volume, "/w": named})
def work():
    d["a"] = 1
    q.put(2)
    return 3


@app.local_entrypoint()
def main():
    assert work.remote() == 3
    assert d["a"] + q.get() == 3
    print("done")
